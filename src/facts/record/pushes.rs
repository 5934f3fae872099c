//! Which images have a name in Docker only to be pushed under it. A tg that is killed leaves the name, and the next one, which
//! finds it here, removes it.
//! Depends on: adapters::alive, facts::record.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{State, read, write_hint};
use crate::adapters::alive::{is_alive, processes_here};

#[derive(Serialize, Deserialize)]
struct PushRecord {
    /// The engine's address.
    engine: String,
    /// The name, with its tag.
    name: String,
    pid: u32,
    /// Where that number means this process.
    processes: u32,
}

/// A name that is on record.
#[derive(Debug)]
pub struct Pushing(PathBuf);

impl Pushing {
    /// The name is gone.
    pub fn forget(self) {
        // A record that stays names what is removed once more.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// No load takes longer, wherever it runs.
const LONGEST_LOAD: Duration = Duration::from_secs(6 * 3600);

impl State {
    fn pushes(&self) -> PathBuf {
        self.base.join("pushes")
    }

    /// Remembers that an image is about to get a name in an engine, until that is forgotten.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_push(&self, engine: &str, name: &str) -> std::io::Result<Pushing> {
        let (pid, processes) = (std::process::id(), processes_here());
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let file = format!("{pid}-{}", name.chars().map(plain).collect::<String>());
        // A name of a file has 255 bytes at most; the secret of an endpoint is near the front.
        let path = self.pushes().join(file.chars().take(200).collect::<String>());
        let (engine, name) = (engine.to_owned(), name.to_owned());
        let record = PushRecord { engine, name, pid, processes };
        write_hint(&path, &serde_json::to_vec(&record)?)?;
        Ok(Pushing(path))
    }

    /// The names that are left in an engine by processes that are gone, and by this one if that is about to end. Of a process
    /// in another container that shares the records nobody here can tell whether it is alive, but no load takes for ever.
    #[must_use]
    pub fn left_over(&self, engine: &str, ends: bool) -> Vec<(String, Pushing)> {
        let here = processes_here();
        let files = std::fs::read_dir(self.pushes()).into_iter().flatten().flatten();
        let left = files.filter_map(|file| {
            let record: PushRecord = read(&file.path())?;
            let is_gone = if record.processes == here {
                !is_alive(record.pid) || (ends && record.pid == std::process::id())
            } else {
                file.metadata().ok()?.modified().ok()?.elapsed().ok()? > LONGEST_LOAD
            };
            (record.engine == engine && is_gone).then(|| (record.name, Pushing(file.path())))
        });
        left.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_name_is_left_over_once_its_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(directory.path().to_owned(), &directory.path().join("tasks.toml"));
        let left = |engine: &str, ends| {
            let left = state.left_over(engine, ends).into_iter();
            left.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let name = "127.0.0.1:1/x/app:load";
        let pushing = state.record_push("unix:///a", name).unwrap();
        assert_eq!(left("unix:///a", false), [""; 0], "it is being pushed");
        assert_eq!(left("unix:///a", true), [name]);
        // As a process leaves it that is killed; none has this number.
        let text = std::fs::read_to_string(&pushing.0).unwrap();
        let dead = text.replace(&format!("\"pid\":{}", std::process::id()), "\"pid\":2147483647");
        let abandoned = pushing.0.with_file_name("dead");
        std::fs::write(&abandoned, &dead).unwrap();
        pushing.forget();
        assert_eq!(left("unix:///b", true), [""; 0], "another engine's");
        assert_eq!(left("unix:///a", false), [name]);
        // Numbers of another container or boot are those of others.
        let here = processes_here();
        let other = dead.replace(&format!("\"processes\":{here}"), "\"processes\":1");
        std::fs::write(&abandoned, other).unwrap();
        assert_eq!(left("unix:///a", true), [""; 0]);
        let long_ago = std::time::SystemTime::now() - LONGEST_LOAD - Duration::from_secs(5);
        File::options().write(true).open(&abandoned).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(left("unix:///a", false), [name]);
        // Half of one.
        std::fs::write(&abandoned, &dead[..dead.len() / 2]).unwrap();
        assert_eq!(left("unix:///a", true), [""; 0]);
    }
}

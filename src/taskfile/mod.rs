//! `tasks.toml`: found, read, checked. Nouns only; nothing here runs or prints.
//! Depends on: std, toml, names.

use std::path::{Path, PathBuf};

mod check;
mod diagnostic;
pub mod model;
mod table;

pub use check::is_cluster_name;
pub use diagnostic::{Diagnostic, Rejected, nearest};
use model::TaskFile;

/// The name looked for in the working directory and above it.
pub const FILE_NAME: &str = "tasks.toml";

/// Why no task file could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// None in the directory nor above it.
    #[error("no {FILE_NAME} in {} or any directory above it", start.display())]
    NotFound {
        /// Where the search began.
        start: PathBuf,
    },
    /// It exists but cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was read and is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Finds the task file: `explicit` when given, else the nearest `tasks.toml` at or above `start`.
///
/// # Errors
/// [`LoadError::NotFound`].
pub fn locate(explicit: Option<&Path>, start: &Path) -> Result<PathBuf, LoadError> {
    if let Some(path) = explicit {
        return Ok(start.join(path));
    }
    start
        .ancestors()
        .map(|directory| directory.join(FILE_NAME))
        .find(|path| path.is_file())
        .ok_or_else(|| LoadError::NotFound { start: start.to_path_buf() })
}

/// Reads and checks a task file.
///
/// # Errors
/// [`LoadError::Unreadable`], or [`LoadError::Rejected`] with every finding and its place.
pub fn load(path: &Path) -> Result<TaskFile, LoadError> {
    let bytes = std::fs::read(path)
        .map_err(|source| LoadError::Unreadable { path: path.to_path_buf(), source })?;
    let rejected = |text: String, findings| Rejected { path: path.to_path_buf(), text, findings };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let finding =
                table::finding("the file is not UTF-8", valid..valid, "first bad byte here");
            return Err(rejected(text, vec![finding]).into());
        }
    };
    let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
    check::check(path, &text).map_err(|findings| rejected(text, findings).into())
}

#[cfg(test)]
mod tests;

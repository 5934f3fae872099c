//! Commands in containers. The shells that run them stay open in between: to start one takes an engine 50 ms, a command in it
//! none.
//! Depends on: adapters::docker, bollard.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::{FutureExt, Stream, StreamExt};
use hyper::body::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{DockerError, Engine, call};

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; -1 when nobody knows it.
    pub code: i64,
    /// What it printed, without the white space around it.
    pub stdout: String,
    /// The same of what it printed as errors.
    pub stderr: String,
}

/// The shells that wait for a command. They end when `tg` does, since their input is closed then.
#[derive(Clone, Default)]
pub(super) struct Shells(Arc<Mutex<HashMap<String, Vec<Shell>>>>);

impl Debug for Shells {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shells")
    }
}

impl Shells {
    /// One that is still there. Whatever came out of it meanwhile, or its end, means that it is none to be trusted.
    fn take(&self, container: &str) -> Option<Shell> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shells = idle.get_mut(container)?;
        std::iter::from_fn(|| shells.pop())
            .find_map(|mut shell| shell.output.next().now_or_never().is_none().then_some(shell))
    }

    fn put(&self, container: &str, shell: Shell) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.entry(container.to_owned()).or_default().push(shell);
    }
}

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

struct Shell {
    exec: String,
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Output,
}

/// What the shell prints behind each command. Nothing that is run there prints it by chance.
const END: &str = "tg-end-of-command-7f1c2e9ab4d05836";

impl Engine {
    /// Runs a bash script in a container, with nothing on its standard input. The script is in no process's arguments, where
    /// everybody could read it. Dropped before it is done, it runs on and nobody hears of it.
    ///
    /// # Errors
    /// [`DockerError::Call`]; a script that fails is none.
    pub async fn run_in(&self, container: &str, script: &str) -> Result<Finished, DockerError> {
        let fail = |source| call("exec in", container, source);
        let mut shell = match self.shells.take(container) {
            Some(shell) => shell,
            None => Shell::open(self, container, &["bash"]).await.map_err(fail)?,
        };
        let (finished, is_open) = shell.run(script).await.map_err(fail)?;
        if is_open {
            self.shells.put(container, shell);
            return Ok(finished);
        }
        // It was ended by somebody: that is no success, whatever it says.
        let code = self.client.inspect_exec(&shell.exec).await.map_err(fail)?.exit_code;
        Ok(Finished { code: code.filter(|code| *code != 0).unwrap_or(-1), ..finished })
    }

    /// Runs a command in a container that reads what comes in pieces. Its input ends when `pieces` closes.
    ///
    /// # Errors
    /// [`DockerError::Call`]; a command that fails is none.
    pub async fn feed(
        &self,
        container: &str,
        argv: &[&str],
        mut pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Finished, DockerError> {
        let fail = |source| call("exec in", container, source);
        let Shell { exec, mut input, mut output } =
            Shell::open(self, container, argv).await.map_err(fail)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let feed = async {
            while let Some(piece) = pieces.recv().await {
                // A process that ended early closes its end; its own message tells why.
                if input.write_all(&piece).await.is_err() {
                    return;
                }
            }
            let _ = input.shutdown().await;
        };
        let collect = async {
            while let Some(piece) = output.next().await {
                keep(piece?, &mut stdout, &mut stderr);
            }
            Ok(())
        };
        tokio::pin!(feed, collect);
        // The output ends with the process; input that it no longer reads must not keep us.
        let collected = tokio::select! {
            collected = &mut collect => collected,
            () = &mut feed => collect.await,
        };
        collected.map_err(fail)?;
        // Only now is the exit code final: asked earlier, the engine may still say 0.
        let code = self.client.inspect_exec(&exec).await.map_err(fail)?.exit_code;
        let (stdout, stderr) = (without_end(&stdout), without_end(&stderr));
        Ok(Finished { code: code.unwrap_or(-1), stdout, stderr })
    }
}

impl Shell {
    async fn open(
        engine: &Engine,
        container: &str,
        argv: &[&str],
    ) -> Result<Self, bollard::errors::Error> {
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.iter().map(|arg| (*arg).to_owned()).collect()),
            ..Default::default()
        };
        let exec = engine.client.create_exec(container, options).await?.id;
        match engine.client.start_exec(&exec, None).await? {
            StartExecResults::Attached { output, input } => Ok(Self { exec, input, output }),
            StartExecResults::Detached => Err(bollard::errors::Error::IOError {
                err: std::io::Error::other("the engine did not attach"),
            }),
        }
    }

    /// Runs a script in a shell of its own below this one, and says whether this one is still there.
    async fn run(&mut self, script: &str) -> Result<(Finished, bool), bollard::errors::Error> {
        let whole = format!(
            "( {script}\n) </dev/null; printf '\\n%s %s\\n' {END} $?; printf '\\n%s\\n' {END} >&2\n"
        );
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // A shell that has ended closes its end; its own message tells why.
        let is_told = self.input.write_all(whole.as_bytes()).await.is_ok()
            && self.input.flush().await.is_ok();
        let mut code = None;
        while code.is_none() || !ends(&stderr) {
            match self.output.next().await {
                None => break,
                Some(piece) => keep(piece?, &mut stdout, &mut stderr),
            }
            code = code_at_end(&stdout);
        }
        let is_open = is_told && code.is_some() && ends(&stderr);
        let finished = Finished {
            code: code.unwrap_or(-1),
            stdout: without_end(&stdout),
            stderr: without_end(&stderr),
        };
        Ok((finished, is_open))
    }
}

fn keep(piece: LogOutput, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) {
    match piece {
        LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
        other => stdout.extend_from_slice(&other.into_bytes()),
    }
}

fn ends(printed: &[u8]) -> bool {
    printed.strip_suffix(b"\n").is_some_and(|printed| printed.ends_with(END.as_bytes()))
}

/// The code of `END CODE` in the last line.
fn code_at_end(printed: &[u8]) -> Option<i64> {
    let line = printed.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    let code = line.strip_prefix(END.as_bytes())?;
    std::str::from_utf8(code).ok()?.trim().parse().ok()
}

fn without_end(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let text = text.rsplit_once(END).map_or(text.as_ref(), |(text, _)| text);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_command_is_seen_once_it_is_whole() {
        let printed = format!("some\ntext\n\n{END} 75\n");
        assert_eq!(code_at_end(printed.as_bytes()), Some(75));
        assert_eq!(without_end(printed.as_bytes()), "some\ntext");
        for length in 0..printed.len() {
            assert_eq!(code_at_end(&printed.as_bytes()[..length]), None, "{length}");
        }
        let errors = format!("\n{END}\n");
        assert!(ends(errors.as_bytes()));
        assert!(!ends(&errors.as_bytes()[..errors.len() - 1]));
        assert_eq!(without_end(errors.as_bytes()), "");
        assert_eq!(without_end(b"killed\n"), "killed");
    }
}

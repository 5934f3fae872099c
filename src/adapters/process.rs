//! The one place that starts processes: argv only, own process group, time limit, ended with its whole group.
//! Depends on: interrupt.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

use crate::interrupt::Interrupt;

/// How long a process may take to end after SIGINT, then after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How long pipes may stay open after the process has ended, held by something it started.
const DRAIN: Duration = Duration::from_secs(1);
/// How much of the end of an output an error keeps, in bytes.
const TAIL: usize = 8 * 1024;

/// A command: program, arguments, environment. What is shown is what is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    timeout: Option<Duration>,
}

impl Command {
    /// A program, found on the `PATH`.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the process.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Ends the process when it takes longer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// As it could be pasted into a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.envs {
            let quoted = value.to_string_lossy();
            write!(f, "{}={} ", name.to_string_lossy(), shell_words::quote(&quoted))?;
        }
        let words = std::iter::once(&self.program).chain(&self.args);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        f.write_str(&shell_words::join(&words))
    }
}

/// Which stream a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Why a process did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start `{}`", program.to_string_lossy())]
    Start {
        /// What was to be started.
        program: OsString,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("`{command}` failed with {status}{}", tail_text(tail))]
    Failed {
        /// The command as one could paste it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed on standard error.
        tail: String,
    },
    /// It took too long.
    #[error("`{command}` did not end within {} s", limit.as_secs())]
    TimedOut {
        /// The command as one could paste it.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// A signal asked tg to stop.
    #[error("interrupted")]
    Interrupted,
}

fn tail_text(tail: &str) -> String {
    if tail.trim().is_empty() { String::new() } else { format!(":\n{}", tail.trim_end()) }
}

/// Runs a command and hands every piece of output to `sink` as it comes.
///
/// # Errors
/// [`ProcessError::Start`], [`ProcessError::TimedOut`], [`ProcessError::Interrupted`]; an exit status is no error here.
pub async fn stream(
    command: &Command,
    interrupt: &Interrupt,
    mut sink: impl FnMut(Stream, &[u8]),
) -> Result<ExitStatus, ProcessError> {
    let mut child = start(command)?;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut out_buffer, mut err_buffer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let limit = command.timeout.unwrap_or(Duration::from_secs(24 * 3600));
    let deadline = tokio::time::sleep(limit);
    let drained = tokio::time::sleep(Duration::MAX / 4);
    tokio::pin!(deadline, drained);
    let mut status = None;
    loop {
        if out.is_none()
            && err.is_none()
            && let Some(status) = status
        {
            return Ok(status);
        }
        tokio::select! {
            biased;
            () = interrupt.requested() => {
                end(&mut child, interrupt).await;
                return Err(ProcessError::Interrupted);
            }
            count = read(&mut out, &mut out_buffer) => match count {
                0 => out = None,
                count => sink(Stream::Out, &out_buffer[..count]),
            },
            count = read(&mut err, &mut err_buffer) => match count {
                0 => err = None,
                count => sink(Stream::Err, &err_buffer[..count]),
            },
            ended = child.wait(), if status.is_none() => {
                let fail = |source| ProcessError::Start { program: command.program.clone(), source };
                status = Some(ended.map_err(fail)?);
                drained.as_mut().reset(tokio::time::Instant::now() + DRAIN);
            }
            () = &mut drained, if status.is_some() => (out, err) = (None, None),
            () = &mut deadline => {
                end(&mut child, interrupt).await;
                return Err(ProcessError::TimedOut { command: command.to_string(), limit });
            }
        }
    }
}

/// Runs a command that is expected to succeed and returns its standard output.
///
/// # Errors
/// As [`stream`], and [`ProcessError::Failed`] with the end of its standard error.
pub async fn output(command: &Command, interrupt: &Interrupt) -> Result<String, ProcessError> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = stream(command, interrupt, |from, bytes| match from {
        Stream::Out => out.extend_from_slice(bytes),
        Stream::Err => err.extend_from_slice(bytes),
    })
    .await?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&out).into_owned());
    }
    let tail = String::from_utf8_lossy(&err[err.len().saturating_sub(TAIL)..]).into_owned();
    Err(ProcessError::Failed { command: command.to_string(), status, tail })
}

fn start(command: &Command) -> Result<Child, ProcessError> {
    let mut process = tokio::process::Command::new(&command.program);
    process
        .args(&command.args)
        .envs(command.envs.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group, so that all it starts can be ended with it and a terminal's Ctrl-C reaches tg alone.
        .process_group(0)
        .kill_on_drop(true);
    process.current_dir(command.directory.as_deref().unwrap_or(std::path::Path::new(".")));
    process
        .spawn()
        .map_err(|source| ProcessError::Start { program: command.program.clone(), source })
}

async fn read(from: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match from {
        // A broken pipe is the end of the output as well.
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Asks the group to end, ever less kindly.
async fn end(child: &mut Child, interrupt: &Interrupt) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
        return;
    };
    for signal in [Signal::INT, Signal::TERM] {
        // The group may be gone already; then there is nothing left to end.
        let _ = kill_process_group(group, signal);
        tokio::select! {
            _ = child.wait() => break,
            () = interrupt.insisted() => break,
            () = tokio::time::sleep(GRACE) => {}
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_failure_are_kept() {
        let interrupt = Interrupt::default();
        let echo = Command::new("sh").args(["-c", "echo out; echo err >&2"]);
        assert_eq!(output(&echo, &interrupt).await.unwrap(), "out\n");
        let fail = Command::new("sh").args(["-c", "echo why >&2; exit 3"]);
        let text = output(&fail, &interrupt).await.unwrap_err().to_string();
        assert!(text.contains("exit status: 3") && text.contains("why"), "{text}");
    }

    #[tokio::test]
    async fn a_slow_process_and_its_children_are_ended() {
        let slow = Command::new("sh")
            .args(["-c", "sleep 1000 & sleep 1000"])
            .timeout(Duration::from_millis(50));
        let error = output(&slow, &Interrupt::default()).await.unwrap_err();
        assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_grandchild_that_holds_the_pipe_does_not_hold_the_run() {
        let command = Command::new("sh").args(["-c", "sleep 1000 & echo $!"]);
        let pid = output(&command, &Interrupt::default()).await.unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn a_command_is_shown_as_one_could_paste_it() {
        let command = Command::new("cargo").args(["test", "a b"]).env("X", "$(y)");
        assert_eq!(command.to_string(), "X='$(y)' cargo test 'a b'");
    }
}

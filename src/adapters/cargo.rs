//! `cargo test`: its command line, and how many tests its output says ran.
//! Depends on: adapters::process, taskfile::model (plain data).

use std::path::Path;

use super::process::Command;
use crate::taskfile::model::CargoTest;

/// The command line that compiles what a `cargo-test` step runs, and no more.
#[must_use]
pub fn compile_command(step: &CargoTest, root: &Path) -> Command {
    with_env(targets(step, root).arg("--no-run"), step)
}

/// The command line of a `cargo-test` step.
#[must_use]
pub fn command(step: &CargoTest, root: &Path, extra: &[String]) -> Command {
    let mut command = targets(step, root);
    if !step.args.is_empty() || !extra.is_empty() {
        command = command.arg("--").args(&step.args).args(extra);
    }
    with_env(command, step)
}

/// What is compiled: the same for both, or the second would compile again.
fn targets(step: &CargoTest, root: &Path) -> Command {
    let mut command = Command::new("cargo").args(["test", "--test", &step.test]).directory(root);
    if let Some(package) = &step.package {
        command = command.args(["--package", package]);
    }
    if !step.features.is_empty() {
        command = command.arg("--features").arg(step.features.join(","));
    }
    command
}

fn with_env(command: Command, step: &CargoTest) -> Command {
    step.env.iter().fold(command, |command, (name, value)| command.env(name, value))
}

/// What the tests' own lines say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u32,
    /// Tests that failed.
    pub failed: u32,
    /// Tests that were ignored.
    pub ignored: u32,
    /// Test binaries that reported; none means that nothing was compiled.
    pub binaries: u32,
}

/// Reads libtest's result lines out of a test run's output, piece by piece.
#[derive(Debug, Default)]
pub struct ResultReader {
    pending: String,
    counts: Counts,
    failed: Vec<String>,
}

impl ResultReader {
    /// Takes a piece of standard output.
    pub fn read(&mut self, bytes: &[u8]) {
        self.pending.push_str(&String::from_utf8_lossy(bytes));
        while let Some(end) = self.pending.find('\n') {
            let line: String = self.pending.drain(..=end).collect();
            self.line(&line);
        }
        // Output without line ends must not fill the memory; result lines are short.
        if self.pending.len() > 64 * 1024 {
            self.pending.clear();
        }
    }

    fn line(&mut self, line: &str) {
        let test =
            line.trim().strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        self.failed.extend(test.map(str::to_owned));
        let Some(result) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        self.counts.binaries += 1;
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            if let (Some(count), Some(what)) =
                (words.next().and_then(|n| n.parse::<u32>().ok()), words.next())
            {
                match what {
                    "passed" => self.counts.passed += count,
                    "failed" => self.counts.failed += count,
                    "ignored" => self.counts.ignored += count,
                    _ => {}
                }
            }
        }
    }

    /// What was read so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The names of the tests that failed, as far as they could be told from what else was printed.
    #[must_use]
    pub fn failed(&self) -> &[String] {
        &self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let mut reader = ResultReader::default();
        reader.read(b"running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest result: ok. 2 passed; 0 failed; 1 ig");
        reader.read(b"nored; 0 measured; 0 filtered out; finished in 0.05s\n");
        let counts = reader.counts();
        assert_eq!(counts, Counts { passed: 2, failed: 0, ignored: 1, binaries: 1 });
        assert_eq!(reader.failed(), ["a::c"]);
    }

    #[test]
    fn arguments_reach_the_test_binary() {
        let step = CargoTest {
            test: "k8s".to_owned(),
            args: vec!["--nocapture".to_owned()],
            ..CargoTest::default()
        };
        let command = command(&step, Path::new("/p"), &["one".to_owned()]);
        assert_eq!(command.to_string(), "cargo test --test k8s -- --nocapture one");
        let compile = compile_command(&step, Path::new("/p"));
        assert_eq!(compile.to_string(), "cargo test --test k8s --no-run");
    }
}

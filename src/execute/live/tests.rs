//! Tests: compiling them beside other steps, running them, and what they say.
//! Depends on: adapters, report::event, taskfile::model, error.

use super::{Live, child_failure};
use crate::adapters::cargo;
use crate::adapters::process::{self, Stream};
use crate::error::{Failure, Kind};
use crate::report::event::StepName;
use crate::taskfile::model::CargoTest;

/// More than a compiler says when it fails, in bytes.
const MOST_OUTPUT: usize = 1 << 20;

/// Failed tests that are named.
const MOST_NAMES: usize = 20;

impl Live<'_> {
    /// Compiles what a test will run. What cargo prints is shown when it fails: other steps are being told of meanwhile.
    pub(super) async fn compile_tests(
        &self,
        name: &StepName,
        test: &CargoTest,
    ) -> Result<String, Failure> {
        let mut command = cargo::compile_command(test, &self.world.file.root);
        for (variable, value) in self.names() {
            command = command.env(variable, value);
        }
        if self.color {
            command = command.env("CARGO_TERM_COLOR", "always");
        }
        let _compiling = self.compiling.lock().await;
        let mut printed = Vec::new();
        let status = process::stream(&command, &self.world.interrupt, |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
                self.note(name, line.trim(), true);
            }
            printed.extend_from_slice(bytes);
            if printed.len() > 2 * MOST_OUTPUT {
                // What it failed of comes last.
                printed.drain(..MOST_OUTPUT);
            }
        })
        .await
        .map_err(|error| self.child_error(error))?;
        if status.success() {
            return Ok(String::new());
        }
        self.output(name, Stream::Err, &printed);
        Err(child_failure(status, format!("the tests did not compile: `{command}`")))
    }

    pub(super) async fn run_tests(
        &self,
        name: &StepName,
        test: &CargoTest,
    ) -> Result<String, Failure> {
        let mut command = cargo::command(test, &self.world.file.root, &self.extra);
        for (variable, value) in self.environment().await? {
            command = command.env(variable, value);
        }
        if self.color {
            command = command.env("CARGO_TERM_COLOR", "always");
        }
        let mut results = cargo::ResultReader::default();
        let status = process::stream(&command, &self.world.interrupt, |from, bytes| {
            if from == Stream::Out {
                results.read(bytes);
            }
            self.output(name, from, bytes);
        })
        .await
        .map_err(|error| self.child_error(error))?;
        let counts = results.counts();
        let summary = format!(
            "{} passed, {} failed, {} ignored",
            counts.passed, counts.failed, counts.ignored
        );
        if status.success() && counts.passed == 0 && !test.allow_no_tests {
            let message = format!("`{}` ran no test ({summary})", test.test);
            return Err(Failure::said(Kind::NoTests, message)
                .hint("check the filter, or set allow_no_tests = true in the step"));
        }
        if status.success() {
            return Ok(summary);
        }
        let what = if counts.binaries == 0 {
            "the tests did not compile or start"
        } else {
            "tests failed"
        };
        let names: String =
            results.failed().iter().take(MOST_NAMES).map(|name| format!("\n  {name}")).collect();
        let more = results.failed().len().saturating_sub(MOST_NAMES);
        let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        Err(child_failure(status, format!("{what}: `{command}` ({summary}){names}{more}")))
    }
}

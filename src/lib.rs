//! `tg`: integration tests in Kind. Data flows one way: [`cli`] → [`taskfile`] → [`facts`] (a read-only look at the world)
//! → [`plan`] (pure) → [`execute`] (effects) → [`report`] (events). `commands` wires them; only `report` prints; only
//! `adapters::process` starts processes. The library exists for the binary, tests and documentation: no stability promise.
#![doc(hidden)]

use std::ffi::OsString;
use std::process::ExitCode;

pub mod adapters;
pub mod cli;
pub mod commands;
pub mod digest;
pub mod error;
pub mod execute;
pub mod facts;
pub mod interrupt;
pub mod names;
pub mod plan;
pub mod report;
pub mod taskfile;

/// Runs the command line and returns the exit code of the process.
#[must_use]
pub fn run(argv: &[OsString]) -> ExitCode {
    let app = match cli::parse(argv) {
        Ok(app) => app,
        // Help and version come this way, too, with their own code. Nobody reads a message that cannot be written.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = cli::Environment::read();
    let ui = commands::ui(&app, &environment);
    match commands::dispatch(app, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::print_failure(ui, &failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

//! Prints completion scripts.

use clap::CommandFactory;

use crate::cli::App;
use crate::report::Ui;

pub(crate) fn print(ui: Ui, shell: clap_complete::Shell) {
    // Into memory first: the generator panics when a reader has gone away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut App::command(), "tg", &mut script);
    ui.answer(String::from_utf8_lossy(&script).trim_end());
}

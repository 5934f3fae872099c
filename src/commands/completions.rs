//! Prints completion scripts.

use clap::CommandFactory;

use crate::cli::App;

pub(crate) fn print(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut App::command(), "tg", &mut std::io::stdout());
}

//! The only part that prints: standard output has the answer, standard error the narration.
//! Depends on: report::event, data types of plan, facts, taskfile and error.

use std::io::Write;

pub mod event;
mod failure;
pub mod json;
mod lines;
mod tables;
mod timeline;
mod why;

pub use failure::print_failure;
pub use lines::reporter;
pub use tables::{StatusRow, print_list, print_plan, print_status};
pub use timeline::Timeline;
pub use why::{Explained, print_between, print_explained, print_why};

/// How to speak.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ui {
    /// Use colour.
    pub color: bool,
    /// Answer in JSON.
    pub json: bool,
    /// Only failures.
    pub quiet: bool,
    /// Show what tools print.
    pub verbose: bool,
    /// Draw progress.
    pub draws: bool,
    /// Say which layers were moved and why.
    pub explains: bool,
    /// Write annotations for GitHub Actions.
    pub github: bool,
}

impl Ui {
    /// One line of the answer. A reader that has gone away is no failure.
    pub fn answer(self, line: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// One line of narration.
    pub fn say(self, line: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    /// Asks a yes-or-no question on the terminal; anything but `y` or `yes` is a no.
    #[must_use]
    pub fn confirm(self, question: &str) -> bool {
        let _ = write!(std::io::stderr().lock(), "{question} [y/N] ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer).is_ok();
        read && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    fn paint(self, text: &str, style: owo_colors::Style) -> String {
        use owo_colors::OwoColorize;
        if self.color { text.style(style).to_string() } else { text.to_owned() }
    }
}

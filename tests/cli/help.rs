//! Help, completions and the shape of the command line.

use crate::support::Tg;

const COMMANDS: [&str; 11] = [
    "test",
    "run",
    "build",
    "build-if-needed",
    "rebuild",
    "load",
    "load-if-needed",
    "cluster",
    "cache-status",
    "clean",
    "completions",
];

#[test]
fn the_help_shows_commands_and_options() {
    insta::assert_snapshot!(Tg::new().args(["--help"]).run(), @"");
}

#[test]
fn every_command_has_help() {
    let overview = Tg::new().args(["--help"]).run().stdout;
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} is not in the overview");
        let output = Tg::new().args([command, "--help"]).run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{command}");
        let usage = format!("Usage: tg {command}");
        assert!(output.stdout.contains(&usage), "{command}: {}", output.stdout);
    }
}

#[test]
fn the_version_is_the_crates() {
    let output = Tg::new().args(["--version"]).run();
    assert_eq!(
        output.to_string(),
        format!("--- stdout\ntg {}\n--- exit 0", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = Tg::new().args(["completions", shell]).run();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{shell}");
        assert!(output.stdout.contains("cache-status"), "{shell}");
    }
}

#[test]
fn a_reader_of_completions_that_goes_away_is_no_failure() {
    let output = Tg::new().args(["completions", "bash"]).run_with_closed_stdout();
    assert!(!output.stderr.contains("panicked"), "{output}");
}

#[test]
fn a_reader_of_help_that_goes_away_is_no_failure() {
    let output = Tg::new().args(["--help"]).run_with_closed_stdout();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    insta::assert_snapshot!(Tg::new().args(["--lst"]).run(), @"");
}

#[test]
fn an_unknown_word_for_an_option_is_a_usage_error() {
    insta::assert_snapshot!(Tg::new().args(["--color", "sometimes"]).run(), @"");
}

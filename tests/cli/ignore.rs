//! `tg ignore explain`: what a path is relative to.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::Tg;

/// A context `app` within the project, with a link to it beside it.
fn project() -> Tg {
    let tg = Tg::new()
        .file("tasks.toml", "[images.app]\ntag = \"app:test\"\ncontext = \"app\"\n")
        .file("app/Dockerfile", "FROM scratch\n")
        .file("app/.dockerignore", "src/a\n")
        .file("app/src/a", "")
        .file("app/src/both", "")
        .file("app/both", "")
        .file("outside", "");
    symlink(tg.path("app"), tg.path("link")).unwrap();
    symlink("a", tg.path("app/src/to-a")).unwrap();
    symlink("src", tg.path("app/to-src")).unwrap();
    tg
}

/// The path as it is in the context and whether it is sent, or the message.
#[track_caller]
fn explained(directory: &str, path: &str) -> String {
    let tg = project().started_in(directory);
    let path = path.replace("$DIR", &tg.path("").display().to_string());
    let output = tg.args(["--json", "ignore", "explain", &path]).run();
    if output.code != 0 {
        return format!("exit {}", output.code);
    }
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    let (sent, exists) = (answer["sent"].as_bool().unwrap(), answer["exists"].as_bool().unwrap());
    let path = answer["path"].as_str().unwrap();
    format!("{path}{}{}", if sent { "" } else { " left out" }, if exists { "" } else { " missing" })
}

#[test]
fn paths_are_relative_to_the_context_or_to_where_they_are() {
    for (directory, path, wanted) in [
        (".", "src/a", "src/a left out"),
        (".", "./src/../src/a/", "src/a left out"),
        ("app", "src/a", "src/a left out"),
        ("app/src", "src/a", "src/a left out"),
        ("app/src", "a", "src/a left out"),
        ("app/src", "./a", "src/a left out"),
        ("app/src", "../src/a", "src/a left out"),
        ("app/src", "../both", "both"),
        // What the context has goes first.
        ("app/src", "both", "both"),
        ("app/src", "./../src/both", "src/both"),
        ("app/src", "none", "none missing"),
        // Where it is started is not in the context.
        (".", "outside", "outside missing"),
        (".", "a", "a missing"),
        (".", "app/src/a", "app/src/a missing"),
        ("app/src", "../../outside", "exit 2"),
        (".", "../x", "exit 2"),
        ("app", ".", "exit 2"),
    ] {
        assert_eq!(explained(directory, path), wanted, "{path} in {directory}");
    }
}

#[test]
fn absolute_paths_may_lead_through_links() {
    for (path, wanted) in [
        ("$DIR/app/src/a", "src/a left out"),
        ("$DIR/link/src/a", "src/a left out"),
        ("$DIR/link/./src/../src/a", "src/a left out"),
        ("$DIR/link/none/at/all", "none/at/all missing"),
        // A link in the context is asked about itself.
        ("$DIR/link/src/to-a", "src/to-a"),
        ("$DIR/app/to-src", "to-src"),
        ("$DIR/app/to-src/a", "src/a left out"),
        ("$DIR/app/to-src/../src", "src"),
        ("$DIR/app/src/..", "exit 2"),
        ("$DIR/link", "exit 2"),
        ("$DIR/app", "exit 2"),
        ("$DIR/outside", "exit 2"),
    ] {
        assert_eq!(explained(".", path), wanted, "{path}");
    }
}

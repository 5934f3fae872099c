//! The documentation says what the program does: exit codes, and every task file that is shown.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of tables whose first cell is a number: that number and the second cell.
fn numbered_rows(markdown: &str) -> Vec<(u8, String)> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect())
    };
    let row = |cells: Vec<String>| Some((cells.first()?.parse().ok()?, cells.get(1)?.clone()));
    markdown.lines().filter_map(cells).filter_map(row).collect()
}

/// The fenced blocks of a language, each with the line it begins at.
fn blocks(markdown: &str, language: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, bool, String)>);
    for (index, line) in markdown.lines().enumerate() {
        let fence = line.trim().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => open = Some((index + 2, info.trim() == language, String::new())),
            (Some(_), Some(_)) => {
                found.extend(open.take().filter(|block| block.1).map(|block| (block.0, block.2)));
            }
            (Some((.., text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}

/// Loads a task file from a directory with the files that the documentation's examples speak of.
fn load(text: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    for name in ["Dockerfile", "Dockerfile.fast", "sub/Dockerfile"] {
        fs::write(directory.path().join(name), "FROM scratch\n").unwrap();
    }
    fs::write(directory.path().join("kind.yaml"), "kind: Cluster\n").unwrap();
    let path = directory.path().join("tasks.toml");
    fs::write(&path, text).unwrap();
    tg::taskfile::load(&path).map(drop).map_err(|error| error.to_string())
}

#[track_caller]
fn every_example_loads(path: &str) {
    let blocks = blocks(&read(path), "toml");
    assert!(!blocks.is_empty(), "{path} shows no task file");
    for (line, text) in blocks {
        if let Err(error) = load(&text) {
            panic!("{path}, the block at line {line}:\n{error}");
        }
    }
}

#[test]
fn the_table_of_exit_codes_is_the_programs() {
    let documented = numbered_rows(&read("docs/exit-codes.md"));
    let fixed = tg::error::EXIT_CODES.map(|(_, code, text)| (code, text.to_owned()));
    assert_eq!(documented, fixed);
}

#[test]
fn the_readmes_task_files_load() {
    every_example_loads("README.md");
}

#[test]
fn the_reference_s_task_files_load() {
    every_example_loads("docs/tasks-file.md");
}

#[test]
fn the_projects_own_task_file_loads() {
    let loaded = tg::taskfile::load(&project().join("tasks.toml"));
    assert!(!loaded.unwrap_or_else(|error| panic!("{error}")).tasks.is_empty());
}

#[test]
fn the_task_files_of_the_examples_load() {
    let entries = fs::read_dir(project().join("examples")).unwrap();
    let directories: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(!directories.is_empty(), "there are no examples");
    for directory in directories {
        let loaded = tg::taskfile::load(&directory.join("tasks.toml"));
        let file = loaded.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        assert!(!file.tasks.is_empty(), "{} has no tasks", file.path.display());
    }
}

#[test]
fn the_readers_of_documentation_see_what_is_there() {
    let table =
        "| Code | Means |\n|---|---|\n| `2` | two |\n| 60 | sixty |\n| 128 + n | signal |\n";
    assert_eq!(numbered_rows(table), [(2, "two".to_owned()), (60, "sixty".to_owned())]);
    let text = "```toml\na = 1\n```\n\n```sh\nls\n```\n\n```toml\nb = 2\n```\n";
    let expected = [(2, "a = 1\n".to_owned()), (10, "b = 2\n".to_owned())];
    assert_eq!(blocks(text, "toml"), expected);
    assert!(load("[images.app]\ndockerfile = \"Dockerfile.fast\"\n").is_ok());
    assert!(load("[image.app]\n").is_err());
}

//! The lines of an ignore file, as the builder's frontend reads them and as its client takes them over.
//! Depends on: std.

use super::{BadPattern, Rule, syntax};

/// The frontend reads lines into a buffer of this size; one that fills it fails the build.
const LONGEST_LINE: usize = 64 * 1024;

/// All rules of a file, in order.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Rule>, BadPattern> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map_or((bytes, 0), |rest| (rest, 3));
    let (bytes, dropped) = bytes;
    let mut sent = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let length = line.len() + if index == 0 { dropped } else { 0 };
        if length >= LONGEST_LINE {
            return Err(bad(number, "longer than 65535 bytes, which the builder does not read"));
        }
        let text = text_of(line);
        sent.extend(from_frontend(&text).map(|pattern| (number, text, pattern)));
    }
    refuse_control_characters(&sent)?;
    let mut rules = Vec::new();
    for (number, text, pattern) in sent {
        rules.extend(rule(number, text.trim(), &pattern)?);
    }
    Ok(rules)
}

fn bad(line: usize, message: &str) -> BadPattern {
    BadPattern { line, message: message.to_owned() }
}

/// Go's reading of bytes as text: every byte that is not part of a character stands for U+FFFD, one each, where Rust's own
/// lossy conversion would join some.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// What the frontend makes of a line: nothing of comments and blank lines. The `!` stays in front.
fn from_frontend(line: &str) -> Option<String> {
    // A comment only in the first column: "  # x" is a pattern.
    if line.starts_with('#') || line.trim().is_empty() {
        return None;
    }
    let line = line.trim();
    let (mark, path) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
    if path.is_empty() {
        return Some(mark.to_owned());
    }
    let cleaned = clean(path);
    let relative = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    Some(format!("{mark}{relative}"))
}

/// The patterns travel from the builder to its client as header values, percent-encoded once any of them holds more than
/// ASCII. Otherwise they travel as they are, and there control characters are refused.
fn refuse_control_characters(sent: &[(usize, String, String)]) -> Result<(), BadPattern> {
    if sent.iter().any(|(_, _, pattern)| !pattern.is_ascii()) {
        return Ok(());
    }
    match sent.iter().find(|(_, _, pattern)| pattern.contains(|c: char| c.is_ascii_control())) {
        Some((line, ..)) => Err(bad(*line, "a tab or another control character")),
        None => Ok(()),
    }
}

/// What the client makes of a pattern of the frontend's. It trims and cleans again: after the leading slash is gone, that
/// can find a `!` or a space that was not in front before.
fn rule(line: usize, text: &str, sent: &str) -> Result<Option<Rule>, BadPattern> {
    let sent = sent.trim();
    if sent.is_empty() {
        return Ok(None);
    }
    let cleaned = clean(sent);
    let (keeps, pattern) =
        cleaned.strip_prefix('!').map_or((false, cleaned.as_str()), |rest| (true, rest));
    if pattern.is_empty() {
        return Err(bad(line, "`!` without a pattern"));
    }
    syntax::check(pattern).map_err(|message| bad(line, message))?;
    Ok(Some(Rule::new(line, text, pattern, keeps)))
}

/// Go's `filepath.Clean`: the shortest spelling of the same path.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

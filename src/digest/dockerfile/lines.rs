//! From text to instructions: directives, comments, continued lines, heredocs, flags, as the builder's parser reads them.
//! Depends on: serde_json.
//!
//! The crates that parse Dockerfiles take a heredoc in the middle of a `RUN` for instructions and refuse two stages of
//! one name; what is read here decides whether an image is built, so it is read as the builder does.

use super::DockerfileError;
use super::lexer::words;

/// What an instruction says, with its flags taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// In lower case.
    pub(super) name: String,
    pub(super) flags: Vec<String>,
    /// The rest of the line, trimmed.
    pub(super) rest: String,
    /// The first line, from 1.
    pub(super) line: usize,
}

impl Instruction {
    /// The value of a flag, the last where it is there more than once.
    pub(super) fn flag<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).last()
    }

    /// The values of a flag that may be repeated.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter_map(move |flag| {
            let (found, value) = flag.strip_prefix("--")?.split_once('=')?;
            (found == name).then_some(value)
        })
    }

    /// The arguments: a JSON array, or what blanks separate.
    pub(super) fn arguments(&self) -> Vec<String> {
        json(&self.rest).unwrap_or_else(|| self.words())
    }

    /// What blanks separate.
    pub(super) fn words(&self) -> Vec<String> {
        self.rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// What an `ONBUILD` holds, to act in the stages that are built from its own.
    pub(super) fn trigger(&self, escape: char) -> Option<Self> {
        (self.name == "onbuild").then(|| Self::read(&self.rest, escape, self.line))
    }

    fn read(line: &str, escape: char, number: usize) -> Self {
        let line = line.trim();
        let (name, rest) = line.split_once(is_blank).unwrap_or((line, ""));
        let (flags, rest) = flags(rest.trim_start_matches(is_blank), escape);
        let rest = rest.trim().to_owned();
        Self { name: name.to_lowercase(), flags, rest, line: number }
    }

    /// Whether `<<NAME` in this line means that a heredoc follows.
    fn admits_heredocs(&self, escape: char) -> bool {
        let inner = self.trigger(escape);
        let acting = inner.as_ref().unwrap_or(self);
        matches!(acting.name.as_str(), "add" | "copy" | "run") && json(&acting.rest).is_none()
    }
}

/// A file, read.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) instructions: Vec<Instruction>,
    pub(super) escape: char,
}

/// A heredoc's terminator.
#[derive(Debug, PartialEq, Eq)]
struct Heredoc {
    name: String,
    /// Tabs before the terminator do not count.
    chomp: bool,
}

/// Reads the instructions of a file.
pub(super) fn read(text: &str) -> Result<Lines, DockerfileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape_directive(text)?;
    let mut lines = text.split_inclusive('\n').enumerate();
    let mut instructions = Vec::new();
    while let Some((number, raw)) = lines.next() {
        let number = number + 1;
        if is_comment(raw) {
            continue;
        }
        let (first, mut continued) = continuation(trim_line_end(raw).trim_start(), escape);
        let mut line = first.to_owned();
        if line.is_empty() && !continued {
            continue;
        }
        while continued && let Some((_, raw)) = lines.next() {
            // Comments and empty lines do not end a continued line.
            if is_comment(raw) || raw.trim().is_empty() {
                continue;
            }
            let (more, goes_on) = continuation(trim_line_end(raw), escape);
            line.push_str(more);
            continued = goes_on;
        }
        let instruction = Instruction::read(&line, escape, number);
        if instruction.admits_heredocs(escape) && line.contains("<<") {
            for heredoc in heredocs(&line) {
                let ends = |raw: &str| {
                    let raw = trim_line_end(raw);
                    let tabs: &[char] = if heredoc.chomp { &['\t'] } else { &[] };
                    raw.trim_start_matches(tabs) == heredoc.name
                };
                if !lines.any(|(_, raw)| ends(raw)) {
                    let message = format!("the heredoc `{}` does not end", heredoc.name);
                    return Err(DockerfileError::at(number, message));
                }
            }
        }
        instructions.push(instruction);
    }
    Ok(Lines { instructions, escape })
}

/// The value of a directive in the comments at the very top, with its line.
pub(super) fn directive(text: &str, name: &str, sign: &str) -> Option<(String, usize)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        if number == 0 && line.starts_with("#!") {
            continue;
        }
        let (found, value) = directive_line(line, sign)?;
        if found == name {
            return Some((value.to_owned(), number + 1));
        }
    }
    None
}

fn directive_line<'a>(line: &'a str, sign: &str) -> Option<(String, &'a str)> {
    let (name, value) = line.strip_prefix(sign)?.split_once('=')?;
    let (name, value) = (name.trim().to_lowercase(), value.trim());
    let known = matches!(name.as_str(), "syntax" | "escape" | "check");
    (known && !value.is_empty()).then_some((name, value))
}

/// The escape character. Unlike the other directives it may be indented, and none may be there twice.
fn escape_directive(text: &str) -> Result<char, DockerfileError> {
    let mut seen: Vec<String> = Vec::new();
    let mut escape = '\\';
    for (number, line) in text.lines().enumerate() {
        let Some((name, value)) = directive_line(line.trim_start(), "#") else { break };
        if seen.contains(&name) {
            return Err(DockerfileError::at(number + 1, format!("directive `{name}` is repeated")));
        }
        if name == "escape" {
            escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => {
                    let message = format!("invalid escape character `{value}`");
                    return Err(DockerfileError::at(number + 1, message));
                }
            };
        }
        seen.push(name);
    }
    Ok(escape)
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn trim_line_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without its continuation character, and whether it had one. A doubled one is none.
fn continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

/// The flags at the start, with quotes and escapes resolved, and what follows. The builder goes by bytes here.
fn flags(line: &str, escape: char) -> (Vec<String>, &str) {
    let bytes = line.as_bytes();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(|b| char::from(*b).is_whitespace()) {
            at += 1;
        }
        if !bytes.get(at..).is_some_and(|rest| rest.starts_with(b"--")) {
            return (flags, line.get(at..).unwrap_or_default());
        }
        let (word, blank, end) = flag_word(bytes, at, escape);
        at = end;
        if word == "--" && at < bytes.len() {
            return (flags, line.get(at..).unwrap_or_default());
        }
        if word != "--" && (blank || !word.is_empty()) {
            flags.push(word);
        }
    }
}

/// One flag from `at`: its text, whether quotes make it count although empty, and where it ends.
fn flag_word(bytes: &[u8], mut at: usize, escape: char) -> (String, bool, usize) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut quoted = false;
    while let Some(byte) = bytes.get(at) {
        let c = char::from(*byte);
        if quote.is_none() && c.is_whitespace() {
            break;
        }
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '\'' | '"') {
            quote = Some(c);
            quoted = true;
        } else if c == escape {
            at += 1;
            word.extend(bytes.get(at).map(|byte| char::from(*byte)));
        } else {
            word.push(c);
        }
        at += 1;
    }
    (word, quoted, at.min(bytes.len()))
}

/// The words of `ARG` and `ENV`, with their quotes.
pub(super) fn quoted_words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // An escape at the very end is dropped.
            if let Some(escaped) = chars.next() {
                word.push(c);
                word.push(escaped);
            }
            continue;
        }
        match quote {
            Some(open) if open == c => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `ENV` in both of its forms. A name without a value is `None`.
pub(super) fn pairs(rest: &str, escape: char) -> Option<Vec<(String, String)>> {
    let words = quoted_words(rest, escape);
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (name, value) = rest.split_once(is_blank)?;
        let value = value.trim_start_matches(is_blank);
        return Some(vec![(name.to_owned(), value.to_owned())]);
    }
    words
        .iter()
        .map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

fn json(rest: &str) -> Option<Vec<String>> {
    rest.trim_start().starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

fn heredocs(line: &str) -> Vec<Heredoc> {
    let words = words(line, true).unwrap_or_default();
    words.iter().filter_map(|word| heredoc(word)).collect()
}

/// Whether a word stands for the content of a heredoc.
pub(super) fn is_heredoc(word: &str) -> bool {
    heredoc(word).is_some()
}

fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let mut words = words(rest, false).ok()?;
    let name = words.pop()?;
    words.is_empty().then_some(Heredoc { name, chomp })
}

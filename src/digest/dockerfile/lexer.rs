//! The builder's shell lexer: quotes, escapes and variables of one word, or of a line that is split into words.
//! Depends on: std.

use std::iter::Peekable;
use std::str::Chars;

use super::pattern::{replace, trim_prefix, trim_suffix};
use super::variables::{Found, Variables, Word};

/// How a line is read.
#[derive(Clone, Copy, Debug)]
struct Mode {
    escape: char,
    /// Quotes stay in the result.
    raw_quotes: bool,
    /// Variables without a value stay as they are written.
    keep_unset: bool,
}

/// `${${${…}}}` nests once for each level; a file that nests deeper than this is no Dockerfile.
const DEEPEST: usize = 100;

/// Fills in the variables of one word and takes off its quotes.
pub(super) fn expand(word: &str, variables: &Variables, escape: char) -> Result<Word, String> {
    let mode = Mode { escape, raw_quotes: false, keep_unset: false };
    let (result, _) = Lexer::new(word, variables, mode, false).until(None, false)?;
    Ok(result)
}

/// Splits a line as the builder does when it looks for heredocs: the escape is always a backslash, nothing is filled in.
pub(super) fn words(line: &str, raw: bool) -> Result<Vec<String>, String> {
    let mode = Mode { escape: '\\', raw_quotes: raw, keep_unset: true };
    let none = Variables::default();
    let (_, words) = Lexer::new(line, &none, mode, raw).until(None, raw)?;
    Ok(words)
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    variables: &'a Variables,
    mode: Mode,
    /// Escapes stay in the result.
    raw_escapes: bool,
    depth: usize,
    /// The word being read, one for all levels: a substitution drops what stands before it in the same word.
    word: String,
}

/// The words of one level.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    inside: bool,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, variables: &'a Variables, mode: Mode, raw_escapes: bool) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let chars = text.chars().peekable();
        Self { chars, variables, mode, raw_escapes, depth: 0, word: String::new() }
    }

    /// Reads to the end, or to behind `stop`.
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<(Word, Vec<String>), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("substitutions are nested too deeply".to_owned());
        }
        let outer = std::mem::replace(&mut self.raw_escapes, raw);
        let read = self.level(stop);
        self.raw_escapes = outer;
        self.depth -= 1;
        read
    }

    fn level(&mut self, stop: Option<char>) -> Result<(Word, Vec<String>), String> {
        let mut result = Word::default();
        let mut words = Words::default();
        self.word.clear();
        while let Some(&c) = self.chars.peek() {
            if Some(c) == stop {
                self.chars.next();
                return Ok((result, self.finished(words)));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.text.chars().for_each(|c| self.add(&mut words, c));
                    result.append(&value);
                }
                '\'' | '"' | '<' => {
                    let value = match c {
                        '\'' => self.single_quoted()?,
                        '"' => self.double_quoted()?,
                        _ => self.less_than(),
                    };
                    self.word.push_str(&value.text);
                    words.inside = true;
                    result.append(&value);
                }
                _ => {
                    self.chars.next();
                    if c == self.mode.escape {
                        if self.raw_escapes {
                            self.add_raw(&mut words, c);
                            result.push(c);
                        }
                        let Some(escaped) = self.chars.next() else { break };
                        self.add_raw(&mut words, escaped);
                        result.push(escaped);
                    } else {
                        self.add(&mut words, c);
                        result.push(c);
                    }
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("`{stop}` is missing at the end of a substitution")),
            None => Ok((result, self.finished(words))),
        }
    }

    fn add(&mut self, words: &mut Words, c: char) {
        if !c.is_whitespace() {
            self.add_raw(words, c);
        } else if words.inside && !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
            words.inside = false;
        }
    }

    fn add_raw(&mut self, words: &mut Words, c: char) {
        self.word.push(c);
        words.inside = true;
    }

    fn finished(&mut self, mut words: Words) -> Vec<String> {
        if !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
        }
        words.done
    }

    fn quote(&mut self, result: &mut Word) {
        let quote = self.chars.next();
        if self.mode.raw_quotes {
            quote.into_iter().for_each(|c| result.push(c));
        }
    }

    fn single_quoted(&mut self) -> Result<Word, String> {
        let mut result = Word::default();
        self.quote(&mut result);
        while let Some(&c) = self.chars.peek() {
            if c == '\'' {
                self.quote(&mut result);
                return Ok(result);
            }
            self.chars.next();
            result.push(c);
        }
        Err("a single quote is not closed".to_owned())
    }

    fn double_quoted(&mut self) -> Result<Word, String> {
        let mut result = Word::default();
        self.quote(&mut result);
        while let Some(&c) = self.chars.peek() {
            match c {
                '"' => {
                    self.quote(&mut result);
                    return Ok(result);
                }
                '$' => {
                    let value = self.dollar()?;
                    result.append(&value);
                }
                _ => {
                    self.chars.next();
                    if c != self.mode.escape {
                        result.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        result.push(c);
                    }
                    match self.chars.peek() {
                        None => {}
                        // Only these can be escaped in here; any other escape stays.
                        Some(&next) if matches!(next, '"' | '$') || next == self.mode.escape => {
                            self.chars.next();
                            result.push(next);
                        }
                        Some(_) => result.push(c),
                    }
                }
            }
        }
        Err("a double quote is not closed".to_owned())
    }

    /// `<<` keeps the blanks behind it, so that a heredoc stays one word.
    fn less_than(&mut self) -> Word {
        self.chars.next();
        let mut text = String::from('<');
        if self.chars.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(blank) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                text.push(blank);
            }
        }
        Word::known(text)
    }

    fn dollar(&mut self) -> Result<Word, String> {
        self.chars.next();
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok(Word::known("$"));
            }
            return Ok(self.value(&name, || format!("${name}")));
        }
        match self.chars.peek() {
            None => return Err("`}` is missing at the end of a substitution".to_owned()),
            Some('{' | '}' | ':') => return Err("bad substitution: a name is missing".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            Some('}') => Ok(self.value(&name, || format!("${{{name}}}"))),
            Some(':') => {
                let operator = self.chars.next();
                self.modified(&name, operator, true)
            }
            Some('/') => self.replaced(&name),
            operator => self.modified(&name, operator, false),
        }
    }

    fn value(&self, name: &str, written: impl FnOnce() -> String) -> Word {
        match self.variables.find(name) {
            Found::Set(value) => value.clone(),
            Found::Unknown => Word::unknown(),
            Found::Unset if self.mode.keep_unset => Word::known(written()),
            Found::Unset => Word::default(),
        }
    }

    /// A name, or one special parameter, or all the digits of a position.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&c) = self.chars.peek() {
            if name.is_empty() && c.is_numeric() {
                while let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
                break;
            }
            let special = matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!');
            if name.is_empty() && special {
                self.chars.next();
                return c.to_string();
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            self.chars.next();
            name.push(c);
        }
        name
    }

    /// `${X:-w}` and its like; with the colon an empty value counts as none.
    fn modified(
        &mut self,
        name: &str,
        operator: Option<char>,
        colon: bool,
    ) -> Result<Word, String> {
        let sign: String = colon.then_some(':').into_iter().chain(operator).collect();
        let operator = match operator {
            Some(c @ ('+' | '-' | '?')) => c,
            Some(c @ ('#' | '%')) if !colon => c,
            _ => return Err(format!("unsupported modifier ({sign}) in substitution")),
        };
        let (word, _) = self.until(Some('}'), matches!(operator, '#' | '%'))?;
        let found = self.variables.find(name);
        if self.mode.keep_unset && matches!(found, Found::Unset) {
            return Ok(Word::known(format!("${{{name}{sign}{}}}", word.text)));
        }
        let value = match found {
            Found::Set(value) => Some(value.clone()),
            Found::Unset => None,
            Found::Unknown => return Ok(Word::unknown()),
        };
        if matches!(operator, '#' | '%') {
            return trimmed(&value.unwrap_or_default(), &word, operator);
        }
        let counts = match &value {
            None => false,
            Some(_) if !colon => true,
            Some(value) => match value.filled() {
                Some(filled) => filled,
                None => return Ok(value.clone()),
            },
        };
        match operator {
            '-' if counts => Ok(value.unwrap_or_default()),
            '-' => Ok(word),
            '+' if counts => Ok(word),
            '+' => Ok(Word::default()),
            _ if counts => Ok(value.unwrap_or_default()),
            _ if !word.text.is_empty() => Err(format!("{name}: {}", word.text)),
            _ if value.is_some() => Err(format!("{name}: is not allowed to be empty")),
            _ => Err(format!("{name}: is not allowed to be unset")),
        }
    }

    /// `${X/p/r}` and `${X//p/r}`.
    fn replaced(&mut self, name: &str) -> Result<Word, String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let value = match self.variables.find(name) {
            Found::Set(value) => value.clone(),
            Found::Unset if self.mode.keep_unset => {
                let written = format!("${{{name}/{}/{}}}", pattern.text, replacement.text);
                return Ok(Word::known(written));
            }
            Found::Unset => Word::default(),
            Found::Unknown => Word::unknown(),
        };
        if let Some(unknown) = Word::unknown_by(&[&value, &pattern, &replacement]) {
            return Ok(unknown);
        }
        replace(&value.text, &pattern.text, &replacement.text, all).map(Word::known)
    }
}

/// `${X#p}`, `${X##p}`, `${X%p}` and `${X%%p}`; the second sign is the first character of the pattern.
fn trimmed(value: &Word, pattern: &Word, operator: char) -> Result<Word, String> {
    if let Some(unknown) = Word::unknown_by(&[value, pattern]) {
        return Ok(unknown);
    }
    let longest = pattern.text.starts_with(operator);
    let pattern = pattern.text.strip_prefix(operator).unwrap_or(&pattern.text);
    let trim = if operator == '#' { trim_prefix } else { trim_suffix };
    trim(&value.text, pattern, longest).map(Word::known)
}

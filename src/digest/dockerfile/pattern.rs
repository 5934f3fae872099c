//! The wildcard patterns of `${X#p}`, `${X%p}` and `${X/p/r}`: `*`, `?`, and a backslash before them.
//! Depends on: std.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// One character, but no line end, as in the builder's own expressions.
    One,
    Many,
}

/// Takes the shortest or the longest match of the pattern off the front.
pub(super) fn trim_prefix(value: &str, pattern: &str, longest: bool) -> Result<String, String> {
    let tokens = tokens(pattern)?;
    let value: Vec<char> = value.chars().collect();
    let end = ends(&tokens, &value, 0, longest).unwrap_or(0);
    Ok(value[end..].iter().collect())
}

/// Takes the shortest or the longest match of the pattern off the back.
pub(super) fn trim_suffix(value: &str, pattern: &str, longest: bool) -> Result<String, String> {
    let turned: String = value.chars().rev().collect();
    let rest = trim_prefix(&turned, &reversed(pattern), longest)?;
    Ok(rest.chars().rev().collect())
}

/// Replaces the first match, or all of them; a match is the leftmost, then the longest.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    all: bool,
) -> Result<String, String> {
    let tokens = tokens(pattern)?;
    let value: Vec<char> = value.chars().collect();
    let find = |from: usize| {
        (from..=value.len()).find_map(|at| ends(&tokens, &value, at, true).map(|end| (at, end)))
    };
    let mut out = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some((start, end)) = find(from) {
        out.extend(&value[copied..start]);
        let found: String = value[start..end].iter().collect();
        if !all {
            out.push_str(replacement);
            copied = end;
            break;
        }
        // An empty match right behind another match is none.
        if end > copied || start == 0 {
            out.push_str(&filled(replacement, &found));
        }
        copied = end;
        from = end.max(from + 1);
        if from > value.len() {
            break;
        }
    }
    out.extend(&value[copied..]);
    Ok(out)
}

/// Where a match that begins at `start` ends. A pattern's greedy reading is its longest match and the lazy one its
/// shortest, so the set of all ends is enough and no input takes more than pattern times value.
fn ends(tokens: &[Token], value: &[char], start: usize, longest: bool) -> Option<usize> {
    let mut here = vec![false; value.len() + 1];
    here[start] = true;
    for token in tokens {
        let mut next = vec![false; value.len() + 1];
        for at in start..=value.len() {
            let open = match token {
                Token::Many => here[at] || (at > start && next[at - 1] && value[at - 1] != '\n'),
                Token::One => at > start && here[at - 1] && value[at - 1] != '\n',
                Token::Literal(wanted) => at > start && here[at - 1] && value[at - 1] == *wanted,
            };
            next[at] = open;
        }
        here = next;
    }
    if longest { here.iter().rposition(|open| *open) } else { here.iter().position(|open| *open) }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, String> {
    let mut chars = pattern.chars().peekable();
    let mut out = Vec::new();
    while let Some(c) = chars.next() {
        out.push(match c {
            '*' => Token::Many,
            '?' => Token::One,
            // These two had to be escaped inside of `${}` only.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
            '\\' => match chars.next() {
                Some(c @ ('*' | '?' | '\\')) => Token::Literal(c),
                _ => return Err(format!("invalid escape in the pattern `{pattern}`")),
            },
            c => Token::Literal(c),
        });
    }
    Ok(out)
}

/// The pattern from back to front, with every backslash still before what it escapes.
fn reversed(pattern: &str) -> String {
    let mut pieces: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        pieces.push(escaped.map_or_else(|| c.to_string(), |escaped| format!("{c}{escaped}")));
    }
    pieces.into_iter().rev().collect()
}

/// The builder hands the replacement of `//` to a template in which `$0` is the match and every other name is empty.
fn filled(template: &str, found: &str) -> String {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '$' {
            out.push(c);
        } else if chars.next_if_eq(&'$').is_some() {
            out.push('$');
        } else if let Some((name, rest)) = template_name(&chars) {
            chars = rest;
            if name == "0" {
                out.push_str(found);
            }
        } else {
            out.push('$');
        }
    }
    out
}

/// The name behind a `$`, with or without braces, and what follows it.
fn template_name<'a>(chars: &Peekable<Chars<'a>>) -> Option<(String, Peekable<Chars<'a>>)> {
    let mut rest = chars.clone();
    let braced = rest.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
        name.push(c);
    }
    let closed = !braced || rest.next_if_eq(&'}').is_some();
    (closed && !name.is_empty()).then_some((name, rest))
}

//! One pattern against one path. The builder sorts patterns into kinds, and matches some of them without a regular
//! expression; those differ from the expression in places, so the kinds are part of the rules.
//! Depends on: std, regex.

use std::borrow::Cow;
use std::cell::OnceCell;

use regex::Regex;

use super::{lines, regexp};

/// How a pattern is matched.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The path is this.
    Exact,
    /// `dir/**`: the path begins with what precedes the stars.
    Prefix,
    /// `**/x`, `**x`: the path ends with what follows the stars, or is that without its slash.
    Suffix,
    /// Everything else.
    Wild(Wild),
    /// A regular expression that Go refuses, which the builder finds out when it asks the pattern.
    Malformed(String),
}

/// A pattern that needs a regular expression, with what can be told without asking it.
#[derive(Clone, Debug)]
pub(super) struct Wild {
    /// Every path that matches begins and ends with these, which do not overlap.
    prefix: Box<str>,
    suffix: Box<str>,
    /// Every path that matches has these bytes.
    bytes: ByteSet,
    middle: Middle,
}

#[derive(Clone, Debug)]
enum Middle {
    /// A single `*`.
    Star,
    /// The expression for the whole path.
    Expression(Regex),
}

/// Some bytes. Two that differ can count as one, so that a set fits a word.
#[derive(Clone, Copy, Debug)]
struct ByteSet(u64);

impl ByteSet {
    fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0, |set, byte| set | 1 << (byte % 64)))
    }

    fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A path, as bytes and, once a regular expression is asked, as text.
pub(super) struct Subject<'a> {
    bytes: &'a [u8],
    set: OnceCell<ByteSet>,
    text: OnceCell<Cow<'a, str>>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, set: OnceCell::new(), text: OnceCell::new() }
    }

    fn set(&self) -> ByteSet {
        *self.set.get_or_init(|| ByteSet::of(self.bytes))
    }

    /// Go's expressions see U+FFFD for every byte that is not part of a character.
    fn text(&self) -> &str {
        self.text.get_or_init(|| match std::str::from_utf8(self.bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(lines::text_of(self.bytes)),
        })
    }
}

impl Kind {
    /// The kind of a cleaned pattern, with its regular expression made ready.
    pub(super) fn of(pattern: &str) -> Self {
        let translation = Translation::of(pattern);
        match translation.kind {
            Sort::Exact => Self::Exact,
            Sort::Prefix => Self::Prefix,
            Sort::Suffix => Self::Suffix,
            Sort::Wild => {
                Wild::new(pattern, &translation.expression).map_or_else(Self::Malformed, Self::Wild)
            }
        }
    }

    /// Whether the path matches; an error where the builder finds the pattern malformed.
    pub(super) fn matches(&self, pattern: &str, path: &Subject<'_>) -> Result<bool, &str> {
        let (pattern, bytes) = (pattern.as_bytes(), path.bytes);
        Ok(match self {
            Self::Exact => bytes == pattern,
            Self::Prefix => begins(bytes, &pattern[..pattern.len() - 2]),
            Self::Suffix => {
                let suffix = &pattern[2..];
                ends(bytes, suffix) || suffix.strip_prefix(b"/") == Some(bytes)
            }
            Self::Wild(wild) => wild.matches(path),
            Self::Malformed(message) => return Err(message),
        })
    }
}

/// As `starts_with`, and quicker for the many that differ in the first byte already, and for no prefix at all.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    match prefix.first() {
        None => true,
        first => bytes.first() == first && bytes.starts_with(prefix),
    }
}

/// As `ends_with`, and quicker for the many that differ in the last byte already, and for no suffix at all.
fn ends(bytes: &[u8], suffix: &[u8]) -> bool {
    match suffix.last() {
        None => true,
        last => bytes.last() == last && bytes.ends_with(suffix),
    }
}

impl Wild {
    fn new(pattern: &str, expression: &str) -> Result<Self, String> {
        if pattern.contains(FAR_REACHING) {
            return Ok(Self {
                prefix: "".into(),
                suffix: "".into(),
                bytes: ByteSet::of(b""),
                middle: Middle::Expression(regexp::compile(expression)?),
            });
        }
        let wildcard = |c: char| matches!(c, '*' | '?');
        let (start, end) = (pattern.find(wildcard), pattern.rfind(wildcard));
        let (start, end) = (start.unwrap_or(pattern.len()), end.map_or(0, |at| at + 1));
        let (prefix, suffix) = (&pattern[..start], &pattern[end..]);
        let middle = if &pattern[start..end] == "*" {
            Middle::Star
        } else {
            Middle::Expression(regexp::compile(expression)?)
        };
        // The slash of `**/` goes with the stars, which can match nothing.
        let suffix = match suffix.strip_prefix('/') {
            Some(rest) if pattern[..end].ends_with("**") => rest,
            _ => suffix,
        };
        // For the same reason no slash is required.
        let literal = |byte: &u8| !matches!(byte, b'*' | b'?' | b'/');
        let bytes = ByteSet::of(&pattern.bytes().filter(literal).collect::<Vec<_>>());
        Ok(Self { prefix: prefix.into(), suffix: suffix.into(), bytes, middle })
    }

    fn matches(&self, path: &Subject<'_>) -> bool {
        let (prefix, suffix) = (self.prefix.as_bytes(), self.suffix.as_bytes());
        let (bytes, fixed) = (path.bytes, prefix.len() + suffix.len());
        if bytes.len() < fixed || !begins(bytes, prefix) || !ends(bytes, suffix) {
            return false;
        }
        match &self.middle {
            Middle::Star => !bytes[prefix.len()..bytes.len() - suffix.len()].contains(&b'/'),
            Middle::Expression(expression) => {
                path.set().holds(self.bytes) && expression.is_match(path.text())
            }
        }
    }
}

/// Skipped by the builder's scanner in front of a pattern, though not where the pattern is compared as it is.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Brackets and escapes reach further than they seem to, and `|` and `{2}` mean what they mean in regular expressions. The
/// two marks differ from the bytes of a path that they match. No shortcuts around any of them.
const FAR_REACHING: [char; 8] =
    ['[', ']', '\\', '^', '|', '{', BYTE_ORDER_MARK, char::REPLACEMENT_CHARACTER];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Exact,
    Prefix,
    Suffix,
    Wild,
}

/// A pattern rewritten as a regular expression in Go's syntax. Brackets are handed on one by one, and what stands between
/// them is rewritten as anywhere else: `[*]` becomes `[[^/]*]`.
struct Translation {
    kind: Sort,
    expression: String,
}

impl Translation {
    fn of(pattern: &str) -> Self {
        let mut made = Self { kind: Sort::Exact, expression: "^".to_owned() };
        let mut rest = pattern.strip_prefix(BYTE_ORDER_MARK).unwrap_or(pattern);
        let mut first = true;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '*' => match rest.strip_prefix('*') {
                    Some(after) => {
                        rest = after.strip_prefix('/').unwrap_or(after);
                        made.stars(first, rest.is_empty());
                    }
                    None => made.wild("[^/]*"),
                },
                '?' => made.wild("[^/]"),
                '.' | '+' | '(' | ')' | '$' => {
                    made.expression.push('\\');
                    made.expression.push(character);
                }
                '\\' => {
                    made.expression.push('\\');
                    if let Some(escaped) = rest.chars().next() {
                        rest = &rest[escaped.len_utf8()..];
                        made.wild(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                '[' => made.wild("["),
                ']' => made.wild("]"),
                other => made.expression.push(other),
            }
            first = false;
        }
        made.expression.push('$');
        made
    }

    fn wild(&mut self, expression: &str) {
        self.expression.push_str(expression);
        self.kind = Sort::Wild;
    }

    /// `**`, with the slash behind it.
    fn stars(&mut self, first: bool, last: bool) {
        if last && self.kind == Sort::Exact {
            self.kind = Sort::Prefix;
        } else {
            self.wild(if last { ".*" } else { "(.*/)?" });
        }
        if first {
            self.kind = Sort::Suffix;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_expressions_of_a_kind() {
        use Sort::{Exact, Prefix, Suffix, Wild};
        for (pattern, kind, expression) in [
            ("a", Exact, ""),
            ("a.b", Exact, ""),
            ("a^b", Exact, ""),
            ("{a,b}", Exact, ""),
            ("a/b/**", Prefix, ""),
            ("a**", Prefix, ""),
            ("**", Suffix, ""),
            ("**/a", Suffix, ""),
            ("**a.b", Suffix, ""),
            ("*", Wild, "^[^/]*$"),
            ("?", Wild, "^[^/]$"),
            ("a.*", Wild, r"^a\.[^/]*$"),
            ("a/**/b", Wild, "^a/(.*/)?b$"),
            ("a/**b", Wild, "^a/(.*/)?b$"),
            ("a**/b", Wild, "^a(.*/)?b$"),
            ("**/a*", Wild, "^(.*/)?a[^/]*$"),
            ("**/a/**", Wild, "^(.*/)?a/.*$"),
            ("***", Wild, "^(.*/)?[^/]*$"),
            ("****", Wild, "^(.*/)?.*$"),
            ("a****", Wild, "^a(.*/)?.*$"),
            ("a*/**", Wild, "^a[^/]*/.*$"),
            ("[a-c]", Wild, "^[a-c]$"),
            ("a]", Wild, "^a]$"),
            ("[*]", Wild, "^[[^/]*]$"),
            ("[?.]", Wild, r"^[[^/]\.]$"),
            ("[**]", Wild, "^[(.*/)?]$"),
            (r"\d", Wild, r"^\d$"),
            (r"a\*b", Wild, r"^a\*b$"),
            (r"a*\", Wild, r"^a[^/]*\$"),
            ("a|b{2}*", Wild, "^a|b{2}[^/]*$"),
            ("^*", Wild, "^^[^/]*$"),
            ("é?", Wild, "^é[^/]$"),
            ("\u{feff}a?", Wild, "^a[^/]$"),
            ("\u{feff}**", Suffix, ""),
        ] {
            let made = Translation::of(pattern);
            assert_eq!(made.kind, kind, "{pattern}");
            if kind == Wild {
                assert_eq!(made.expression, expression, "{pattern}");
            }
        }
    }
}

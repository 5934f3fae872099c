//! Regular expressions in Go's syntax, as far as patterns can spell them, rewritten for the `regex` crate. The two share
//! one ancestor but read classes differently: `[`, `&&`, `--` and `~~` in a class have a meaning in Rust only, and `\d`,
//! `\w`, `\s` and `\b` are ASCII in Go.
//! Depends on: std, regex.

use std::cmp::Ordering;
use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// Room for an expression made of the longest line there can be.
const LARGEST: usize = 256 << 20;

/// Makes a Go expression ready to match, or says why Go refuses it.
pub(super) fn compile(go: &str) -> Result<Regex, String> {
    let made = String::with_capacity(8 * go.len());
    let mut translator = Translator { rest: go, made, repeatable: Repeatable::No };
    translator.run()?;
    let mut builder = RegexBuilder::new(&translator.made);
    builder.size_limit(LARGEST).build().map_err(|error| error.to_string())
}

/// Bits of an expression are read from the front of `rest` and written to the end of `made`.
struct Translator<'a> {
    rest: &'a str,
    made: String,
    repeatable: Repeatable,
}

/// Whether what was read last can be repeated by a `{n}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeatable {
    Yes,
    /// It was a repetition itself.
    Again,
    /// There is nothing to repeat.
    No,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(character) = self.rest.chars().next() {
            let mut repeatable = Repeatable::Yes;
            match character {
                '[' => self.class()?,
                '\\' if self.rest.starts_with(r"\Q") => repeatable = self.quoted(),
                '\\' => self.escape()?,
                // These are operators still: of the patterns' own characters only `|` and `{` are left with their meaning,
                // by an oversight of the builder's, and the others come from rewriting wildcards.
                '^' | '$' | '.' | ')' => self.operator(character),
                '|' => {
                    self.operator(character);
                    repeatable = Repeatable::No;
                }
                '*' | '?' => {
                    self.operator(character);
                    repeatable = Repeatable::Again;
                }
                '(' => {
                    self.made.push_str("(?:");
                    self.skip(1);
                }
                '{' if self.repetition()? => repeatable = Repeatable::Again,
                other => {
                    self.literal(u32::from(other));
                    self.skip(other.len_utf8());
                }
            }
            self.repeatable = repeatable;
        }
        Ok(())
    }

    fn operator(&mut self, character: char) {
        self.made.push(character);
        self.skip(1);
    }

    /// `{2}`, `{2,}` or `{2,5}`; everything else that begins with a brace stands for itself.
    fn repetition(&mut self) -> Result<bool, String> {
        let Some((inside, rest)) = self.rest[1..].split_once('}') else {
            return Ok(false);
        };
        let (low, high) = match inside.split_once(',') {
            None => (inside, Some(inside)),
            Some((low, "")) => (low, None),
            Some((low, high)) => (low, Some(high)),
        };
        let number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0') && !text.is_empty())
        };
        if !number(low) || !high.is_none_or(number) {
            return Ok(false);
        }
        let count = |text: &str| text.parse::<u32>().ok().filter(|count| *count <= 1000);
        let valid = count(low)
            .is_some_and(|low| high.is_none_or(|high| count(high).is_some_and(|high| low <= high)));
        if !valid || self.repeatable != Repeatable::Yes {
            return Err(format!("the builder cannot repeat by `{{{inside}}}` here"));
        }
        let _ = write!(self.made, "{{{inside}}}");
        self.rest = rest;
        Ok(true)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.skip(character.len_utf8());
        Some(character)
    }

    fn literal(&mut self, character: u32) {
        self.range_of(character, character);
    }

    /// Written so that it reads the same inside of a class and outside. Go knows halves of surrogates, which no text holds.
    fn range_of(&mut self, low: u32, high: u32) {
        let low = if (0xd800..=0xdfff).contains(&low) { 0xe000 } else { low };
        let high = if (0xd800..=0xdfff).contains(&high) { 0xd7ff } else { high };
        // Writing into a String cannot fail.
        let _ = match low.cmp(&high) {
            Ordering::Less => write!(self.made, "[\\x{{{low:x}}}-\\x{{{high:x}}}]"),
            Ordering::Equal => write!(self.made, "\\x{{{low:x}}}"),
            Ordering::Greater => write!(self.made, "[a&&b]"),
        };
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let assertion = match self.rest.as_bytes().get(1) {
            Some(b'A') => r"\A",
            Some(b'z') => r"\z",
            Some(b'b') => r"(?-u:\b)",
            Some(b'B') => r"(?-u:\B)",
            _ => {
                if !self.shared_class()? {
                    let character = self.escaped()?;
                    self.literal(character);
                }
                return Ok(());
            }
        };
        self.made.push_str(assertion);
        self.skip(2);
        Ok(())
    }

    /// `\Q…\E`, or to the very end: characters that stand for themselves.
    fn quoted(&mut self) -> Repeatable {
        self.skip(2);
        let (quoted, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
        for character in quoted.chars() {
            self.literal(u32::from(character));
        }
        self.rest = rest;
        // Where nothing is quoted, what precedes is last, and then Go does not mind whether it is a repetition.
        match self.repeatable {
            Repeatable::No if quoted.is_empty() => Repeatable::No,
            _ => Repeatable::Yes,
        }
    }

    /// An escape that stands for many characters, inside of a class or outside, if one is next.
    fn shared_class(&mut self) -> Result<bool, String> {
        let mut characters = self.rest.chars();
        let class = match (characters.next(), characters.next()) {
            (Some('\\'), Some('d')) => "[0-9]",
            (Some('\\'), Some('D')) => "[^0-9]",
            (Some('\\'), Some('s')) => r"[\t\n\f\r ]",
            (Some('\\'), Some('S')) => r"[^\t\n\f\r ]",
            (Some('\\'), Some('w')) => "[0-9A-Za-z_]",
            (Some('\\'), Some('W')) => "[^0-9A-Za-z_]",
            (Some('\\'), Some(which @ ('p' | 'P'))) => {
                return self.property(which);
            }
            _ => return Ok(false),
        };
        self.made.push_str(class);
        self.skip(2);
        Ok(true)
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`: a Unicode category or script.
    fn property(&mut self, which: char) -> Result<bool, String> {
        let text = &self.rest[2..];
        let unknown =
            || format!("`\\{which}` without a Unicode category or script that the builder knows");
        let (name, rest) = match text.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or_else(unknown)?,
            None => text.split_at(text.chars().next().map_or(0, char::len_utf8)),
        };
        let negated = (which == 'P') != name.starts_with('^');
        let name = name.strip_prefix('^').unwrap_or(name);
        let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | ' ');
        if !name.chars().all(plain) {
            return Err(unknown());
        }
        let sign = if negated { 'P' } else { 'p' };
        let candidates = ["gc", "sc"].map(|kind| format!("\\{sign}{{{kind}={name}}}"));
        let known = candidates.into_iter().find(|class| Regex::new(class).is_ok());
        self.made.push_str(&known.ok_or_else(unknown)?);
        self.rest = rest;
        Ok(true)
    }

    /// The one character that an escape stands for.
    fn escaped(&mut self) -> Result<u32, String> {
        self.skip(1);
        let name = self.next().ok_or("a backslash at the end")?;
        let character = match name {
            '0'..='7' => self.octal(name),
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Some(u32::from(other)),
            _ => None,
        };
        character.ok_or_else(|| format!("the builder knows no such escape as `\\{name}` here"))
    }

    /// Up to three digits; a single one other than 0 would be a reference to a group, which Go does not have.
    fn octal(&mut self, first: char) -> Option<u32> {
        let mut value = first.to_digit(8)?;
        let mut digits = 1;
        while digits < 3
            && let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8))
        {
            value = value * 8 + digit;
            digits += 1;
            self.skip(1);
        }
        (digits > 1 || first == '0').then_some(value)
    }

    /// `\x41` or `\x{1f600}`.
    fn hexadecimal(&mut self) -> Option<u32> {
        if let Some(braced) = self.rest.strip_prefix('{') {
            let (digits, rest) = braced.split_once('}')?;
            self.rest = rest;
            let digits = Some(digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            let value = u32::from_str_radix(digits.trim_start_matches('0'), 16);
            let zero = !digits.is_empty() && digits.bytes().all(|b| b == b'0');
            return if zero { Some(0) } else { value.ok().filter(|v| *v <= u32::from(char::MAX)) };
        }
        let high = self.next()?.to_digit(16)?;
        let low = self.next()?.to_digit(16)?;
        Some(high * 16 + low)
    }

    /// `[…]`. What it names is written as ranges of numbers, which read the same everywhere.
    fn class(&mut self) -> Result<(), String> {
        self.skip(1);
        self.made.push('[');
        if self.rest.starts_with('^') {
            self.made.push('^');
            self.skip(1);
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.rest.starts_with("[:") && self.posix_class()? {
                continue;
            }
            if !self.shared_class()? {
                self.range()?;
            }
        }
        self.made.push(']');
        self.skip(1);
        Ok(())
    }

    fn range(&mut self) -> Result<(), String> {
        let low = self.bound()?;
        let mut high = low;
        // A `-` in front of the `]` stands for itself.
        if self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            self.skip(1);
            high = self.bound()?;
        }
        if high < low {
            return Err("a range in `[…]` that ends before it begins".to_owned());
        }
        self.range_of(low, high);
        Ok(())
    }

    fn bound(&mut self) -> Result<u32, String> {
        if self.rest.starts_with('\\') {
            return self.escaped();
        }
        self.next().map(u32::from).ok_or_else(|| "`[` without its `]`".to_owned())
    }

    /// `[:alpha:]` in a class. The name reaches to the next `:]`, wherever that is.
    fn posix_class(&mut self) -> Result<bool, String> {
        let Some(end) = self.rest[2..].find(":]") else {
            return Ok(false);
        };
        let name = &self.rest[2..2 + end];
        let known = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        if !known.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("the builder knows no class `[:{name}:]`"));
        }
        // Spelled and defined alike in Rust.
        let _ = write!(self.made, "[:{name}:]");
        self.skip(2 + end + 2);
        Ok(true)
    }
}

//! The rules of `.dockerignore` as BuildKit applies them: parse a file, then ask about paths.
//! Pure; knows no file system. The rules come from the `patternmatcher` and `ignorefile` packages of the Moby project.
//! Depends on: std.

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: any byte but a slash.
    One,
    /// `*`: any bytes but slashes.
    Star,
    /// `**` at the end: anything.
    Rest,
    /// `**` elsewhere: nothing, or anything that ends in a slash.
    Directories,
    /// `[…]`: one byte of these ranges, or none of them.
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

/// A line of the ignore file.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The line number, from 1.
    pub line: usize,
    /// The pattern as matched: cleaned, without `!`.
    pub pattern: String,
    /// `!`: what matches is kept.
    pub keeps: bool,
    tokens: Vec<Token>,
}

/// All lines of an ignore file, in order. The last one that matches decides.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

/// A line that the builder would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// The line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl IgnoreRules {
    /// Reads the bytes of an ignore file.
    ///
    /// # Errors
    /// The first line that is malformed: such a file fails the build, too.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadPattern> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut rules = Vec::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            rules.extend(parse_line(index + 1, &text)?);
        }
        Ok(Self { rules })
    }

    /// The rule that decides about a path (relative, `/` between components), if any matches.
    #[must_use]
    pub fn deciding(&self, path: &[u8]) -> Option<&Rule> {
        self.rules.iter().rev().find(|rule| rule.matches_or_parent(path))
    }

    /// Whether the builder leaves the path out of the context.
    #[must_use]
    pub fn excludes(&self, path: &[u8]) -> bool {
        self.deciding(path).is_some_and(|rule| !rule.keeps)
    }

    /// Whether something below an excluded directory could still be kept by a `!` line.
    #[must_use]
    pub fn may_keep_below(&self, directory: &[u8]) -> bool {
        self.rules.iter().filter(|rule| rule.keeps).any(|rule| {
            let fixed = rule.fixed_prefix();
            let shorter = fixed.len().min(directory.len());
            fixed[..shorter] == directory[..shorter]
        })
    }
}

impl Rule {
    fn matches_or_parent(&self, path: &[u8]) -> bool {
        let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        matches(&self.tokens, path)
            || parents.into_iter().any(|(at, _)| matches(&self.tokens, &path[..at]))
    }

    /// The leading bytes of every path that this rule can match.
    fn fixed_prefix(&self) -> Vec<u8> {
        self.tokens
            .iter()
            .map_while(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None })
            .collect()
    }
}

fn parse_line(line: usize, text: &str) -> Result<Option<Rule>, BadPattern> {
    // A comment only in the first column: "  # x" is a pattern.
    if text.starts_with('#') || text.trim().is_empty() {
        return Ok(None);
    }
    let text = text.trim();
    let (keeps, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    let bad = |message: &str| BadPattern { line, message: message.to_owned() };
    if text.is_empty() {
        return Err(bad("`!` without a pattern"));
    }
    let mut pattern = clean(text);
    if pattern.len() > 1 && pattern.starts_with('/') {
        pattern.remove(0);
    }
    if pattern == "." {
        // The builder drops "exclude everything by naming the root": the root itself is never excluded.
        return Ok(None);
    }
    let tokens = tokenize(pattern.as_bytes()).map_err(bad)?;
    Ok(Some(Rule { line, pattern, keeps, tokens }))
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

fn tokenize(pattern: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = pattern.get(at) {
        at += 1;
        match byte {
            b'*' if pattern.get(at) == Some(&b'*') => {
                at += 1;
                if pattern.get(at) == Some(&b'/') {
                    at += 1;
                }
                tokens.push(if at >= pattern.len() { Token::Rest } else { Token::Directories });
            }
            b'*' => tokens.push(Token::Star),
            b'?' => tokens.push(Token::One),
            b'\\' => {
                let escaped = pattern.get(at).ok_or("a backslash at the end")?;
                tokens.push(Token::Byte(*escaped));
                at += 1;
            }
            b'[' => {
                let (class, next) = class(pattern, at)?;
                tokens.push(class);
                at = next;
            }
            other => tokens.push(Token::Byte(other)),
        }
    }
    Ok(tokens)
}

fn class(pattern: &[u8], mut at: usize) -> Result<(Token, usize), &'static str> {
    const OPEN: &str = "`[` without its `]`";
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let one = |at: &mut usize| -> Result<u8, &'static str> {
        let mut byte = *pattern.get(*at).ok_or(OPEN)?;
        *at += 1;
        if byte == b'\\' {
            byte = *pattern.get(*at).ok_or(OPEN)?;
            *at += 1;
        } else if byte == b'-' {
            return Err("a range without its start");
        }
        Ok(byte)
    };
    loop {
        if pattern.get(at) == Some(&b']') && !ranges.is_empty() {
            return Ok((Token::Class { negated, ranges }, at + 1));
        }
        if pattern.get(at) == Some(&b']') {
            return Err("an empty `[]`");
        }
        let low = one(&mut at)?;
        let high = if pattern.get(at) == Some(&b'-') {
            at += 1;
            one(&mut at)?
        } else {
            low
        };
        if high < low {
            return Err("a range whose end comes before its start");
        }
        ranges.push((low, high));
    }
}

fn matches(tokens: &[Token], path: &[u8]) -> bool {
    let Some((token, rest)) = tokens.split_first() else {
        return path.is_empty();
    };
    match token {
        Token::Rest => true,
        Token::Byte(wanted) => path.first() == Some(wanted) && matches(rest, &path[1..]),
        Token::One => path.first().is_some_and(|b| *b != b'/') && matches(rest, &path[1..]),
        Token::Class { negated, ranges } => {
            let Some(byte) = path.first() else {
                return false;
            };
            let inside = ranges.iter().any(|(low, high)| (low..=high).contains(&byte));
            inside != *negated && matches(rest, &path[1..])
        }
        Token::Star => {
            let segment = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
            (0..=segment).any(|skip| matches(rest, &path[skip..]))
        }
        Token::Directories => {
            let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
            matches(rest, path) || slashes.into_iter().any(|(at, _)| matches(rest, &path[at + 1..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, excluded: &[&str], kept: &[&str]) {
        let rules = IgnoreRules::parse(file.as_bytes()).unwrap();
        for path in excluded {
            assert!(rules.excludes(path.as_bytes()), "{file:?} must exclude {path}");
        }
        for path in kept {
            assert!(!rules.excludes(path.as_bytes()), "{file:?} must keep {path}");
        }
    }

    #[test]
    fn patterns_mean_what_the_builder_means() {
        check("target", &["target", "target/debug/x"], &["sub/target", "targets"]);
        check("/target/", &["target"], &["a/target"]);
        check("**/target", &["target", "a/target", "a/b/target/x"], &["a/targets"]);
        check("dir/**", &["dir/a", "dir/a/b"], &["dir", "dirx/a"]);
        check("*.md", &["a.md"], &["sub/a.md"]);
        check("**/*.md", &["a.md", "sub/a.md"], &["a.mdx"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["b", "a/xb"]);
        check("**x", &["x", "a/x"], &["ax"]);
        check("?.txt", &["a.txt"], &["ab.txt", "/.txt"]);
        check("[a-c].x", &["a.x", "c.x"], &["d.x"]);
        check("[^a].x", &["b.x"], &["a.x"]);
        check("{a,b}", &["{a,b}"], &["a", "b"]);
        check("a\\*b", &["a*b"], &["axb"]);
        check("./a/../b", &["b"], &["a"]);
    }

    #[test]
    fn the_last_match_wins() {
        check("*\n!keep", &["a", "b/c"], &["keep", "keep/below"]);
        check("**\n!keep/a", &["keep", "keep/b"], &["keep/a", "keep/a/x"]);
        check("!a\na", &["a"], &[]);
        check("a\n!a/b\na/b/c", &["a", "a/b/c"], &["a/b", "a/b/d"]);
    }

    #[test]
    fn lines_are_read_as_the_builder_reads_them() {
        check(
            "\u{feff}a\r\n# comment\n\n  b  \n  # c\n! d",
            &["a", "b", "# c"],
            &["d", "# comment"],
        );
    }

    #[test]
    fn malformed_lines_are_errors_with_their_number() {
        for (file, line) in
            [("a\n!", 2), ("[", 1), ("\n\n[z-a]", 3), ("a\\", 1), ("[]", 1), ("[-a]", 1)]
        {
            assert_eq!(IgnoreRules::parse(file.as_bytes()).unwrap_err().line, line, "{file:?}");
        }
    }

    #[test]
    fn an_excluded_directory_is_pruned_only_when_nothing_below_can_be_kept() {
        let rules = IgnoreRules::parse(b"*\n!src/main.rs\n!docs").unwrap();
        assert!(rules.may_keep_below(b"src"));
        assert!(rules.may_keep_below(b"docs/deep"));
        assert!(!rules.may_keep_below(b"target"));
        assert!(IgnoreRules::parse(b"*\n!**/x").unwrap().may_keep_below(b"target"));
    }
}

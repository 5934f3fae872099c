//! The rules of `.dockerignore` as the builder applies them, quirks included: parse a file, then ask about paths while
//! walking down. Pure; knows no file system. The rules are those of the packages `patternmatcher` and `ignorefile` of the
//! Moby project and of the walk in `fsutil`; `tests/differential.rs` compares the result with the real builder's.
//! Depends on: std, regex.

mod lines;
mod matched;
mod pattern;
mod regexp;
mod syntax;

pub use matched::Matched;
use pattern::{Kind, Subject};

/// A line of the ignore file.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The line number, from 1.
    pub line: usize,
    /// The line as written, without the spaces around it.
    pub text: String,
    /// The pattern as matched: cleaned, without `!`.
    pub pattern: String,
    /// `!`: what matches is kept.
    pub keeps: bool,
    kind: Kind,
}

/// All lines of an ignore file, in order.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
    exceptions: Exceptions,
}

/// What the `!` lines say about directories that are excluded.
#[derive(Clone, Debug)]
enum Exceptions {
    /// Something is kept only below these paths, which end in a slash, or above them.
    At(Vec<Vec<u8>>),
    /// They may match anywhere.
    Anywhere,
}

/// A line that the builder refuses, or would as soon as it asks it about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// The line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// What the rules say about one path.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The path is left out. A directory is there all the same where something below it is kept.
    pub excluded: bool,
    /// The last rule that matched, if any did: it decided.
    pub by: Option<&'a Rule>,
}

/// What becomes of a path, and why.
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'a> {
    /// The path is left out. A directory is there all the same where something below it is kept.
    pub excluded: bool,
    /// The rule that decided, if any matched.
    pub by: Option<&'a Rule>,
    /// What that rule matched: the path itself, or the highest directory above it.
    pub at: &'a [u8],
    /// The excluded directory above the path that the builder does not look into. Then the verdict is that directory's.
    pub pruned: Option<&'a [u8]>,
    /// The builder lists the file but refuses to open it, and the image gets an empty file.
    pub emptied: bool,
}

impl IgnoreRules {
    /// Reads the bytes of an ignore file.
    ///
    /// # Errors
    /// A line that is malformed in itself: such a file fails the build.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadPattern> {
        let rules = lines::read(bytes)?;
        let exceptions = Exceptions::of(&rules);
        Ok(Self { rules, exceptions })
    }

    /// Whether there are no rules at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the rules say about a path (relative, `/` between components), given what they said about the directory that it
    /// is in.
    ///
    /// # Errors
    /// A rule that is malformed in a way that the builder finds only when it asks the rule, and that it would ask here.
    pub fn verdict(&self, parent: &Matched, path: &[u8]) -> Result<Verdict<'_>, BadPattern> {
        self.decide(parent, path, |_| {})
    }

    /// The verdict on a directory, with what has to be known about it for the paths in it.
    ///
    /// # Errors
    /// As for [`IgnoreRules::verdict`].
    pub fn enter(
        &self,
        parent: &Matched,
        directory: &[u8],
    ) -> Result<(Verdict<'_>, Matched), BadPattern> {
        let mut matched = Matched::for_rules(self.rules.len());
        let verdict = self.decide(parent, directory, |index| matched.insert(index))?;
        Ok((verdict, matched))
    }

    /// Whether the builder does not even look into a directory, given that it is excluded.
    #[must_use]
    pub fn prunes(&self, directory: &[u8]) -> bool {
        match &self.exceptions {
            Exceptions::Anywhere => false,
            Exceptions::At(paths) => !paths.iter().any(|path| {
                path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
            }),
        }
    }

    /// Walks down to a path and says what becomes of it.
    ///
    /// # Errors
    /// As for [`IgnoreRules::verdict`], for the path or a directory above it.
    pub fn explain<'a>(&'a self, path: &'a [u8]) -> Result<Explanation<'a>, BadPattern> {
        let mut parent = Matched::default();
        // Directories with the rules that matched them.
        let mut above: Vec<(&[u8], Matched)> = Vec::new();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in slashes {
            let directory = &path[..end];
            let (verdict, matched) = self.enter(&parent, directory)?;
            above.push((directory, matched.clone()));
            if verdict.excluded && self.prunes(directory) {
                return Ok(self.explanation(verdict, &above, directory, Some(directory)));
            }
            parent = matched;
        }
        let verdict = self.verdict(&parent, path)?;
        let explanation = self.explanation(verdict, &above, path, None);
        Ok(Explanation { emptied: !verdict.excluded && self.refuses_to_open(path), ..explanation })
    }

    fn explanation<'a>(
        &'a self,
        verdict: Verdict<'a>,
        above: &[(&'a [u8], Matched)],
        path: &'a [u8],
        pruned: Option<&'a [u8]>,
    ) -> Explanation<'a> {
        let index =
            self.rules.iter().position(|rule| verdict.by.is_some_and(|by| std::ptr::eq(by, rule)));
        let highest = above
            .iter()
            .find(|(_, matched)| index.is_some_and(|index| matched.contains(index)))
            .map_or(path, |(directory, _)| directory);
        Explanation {
            excluded: verdict.excluded,
            by: verdict.by,
            at: highest,
            pruned,
            emptied: false,
        }
    }

    /// Asks the rules in order. One that could not change the outcome so far is not asked, and then counts as not matching
    /// for the paths below, too, even where it would match: that is how the builder does it.
    fn decide(
        &self,
        parent: &Matched,
        path: &[u8],
        mut note: impl FnMut(usize),
    ) -> Result<Verdict<'_>, BadPattern> {
        let subject = Subject::new(path);
        let mut verdict = Verdict { excluded: false, by: None };
        for (index, rule) in self.rules.iter().enumerate() {
            let asked = rule.keeps == verdict.excluded;
            if parent.contains(index) || (asked && rule.matches(&subject)?) {
                note(index);
                verdict = Verdict { excluded: !rule.keeps, by: Some(rule) };
            }
        }
        Ok(verdict)
    }

    /// Whether the builder's client, asked for the bytes of a file that it listed, finds it excluded. Then it looks at
    /// every directory above the path anew, also by rules that it did not ask while walking, and can come to another verdict:
    /// `a`, `!a/b`, `a` lists `a/b`, and sends it empty.
    #[must_use]
    pub fn refuses_to_open(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let above: Vec<&[u8]> = slashes.map(|(end, _)| &path[..end]).collect();
        let mut excluded = false;
        for rule in self.rules.iter() {
            if rule.keeps != excluded {
                continue;
            }
            let matches = |path: &&[u8]| rule.matches(&Subject::new(path)) == Ok(true);
            match rule.matches(&Subject::new(path)) {
                Err(_) => return true,
                Ok(true) => excluded = !rule.keeps,
                Ok(false) if above.iter().any(matches) => excluded = !rule.keeps,
                Ok(false) => {}
            }
        }
        excluded
    }
}

impl Rule {
    fn new(line: usize, text: &str, pattern: &str, keeps: bool) -> Self {
        let kind = Kind::of(pattern);
        Self { line, text: text.to_owned(), pattern: pattern.to_owned(), keeps, kind }
    }

    fn matches(&self, path: &Subject<'_>) -> Result<bool, BadPattern> {
        let matches = self.kind.matches(&self.pattern, path);
        matches.map_err(|message| BadPattern { line: self.line, message: message.to_owned() })
    }

    /// Where everything that this rule can match is, as far as the builder can tell: nowhere in particular if there are
    /// wildcards other than a last `/*` or `/**`.
    fn place(&self) -> Option<Vec<u8>> {
        let place = self.pattern.strip_suffix("/**").unwrap_or(&self.pattern);
        let place = place.strip_suffix("/*").unwrap_or(place);
        let fixed = !place.contains(['*', '[', ']', '?', '^', '\\']);
        fixed.then(|| format!("{place}/").into_bytes())
    }
}

impl Exceptions {
    fn of(rules: &[Rule]) -> Self {
        let places = rules.iter().filter(|rule| rule.keeps).map(Rule::place);
        places.collect::<Option<_>>().map_or(Self::Anywhere, Self::At)
    }
}

impl Default for Exceptions {
    fn default() -> Self {
        Self::At(Vec::new())
    }
}

#[cfg(test)]
mod tests;

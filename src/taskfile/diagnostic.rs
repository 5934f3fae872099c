//! What is wrong in a file, and where: data for `report` to draw.
//! Depends on: std.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// One finding in a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, lower case, no full stop.
    pub message: String,
    /// Bytes of the source that the message is about.
    pub span: Range<usize>,
    /// A few words under the span.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// A file that could not be accepted, with everything found wrong in it.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The file.
    pub path: PathBuf,
    /// Its text, for the source lines.
    pub text: String,
    /// At least one finding.
    pub findings: Vec<Diagnostic>,
}

impl Rejected {
    /// Line and column of a byte offset, both counted from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            let (line, column) = self.position(finding.span.start);
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{line}:{column}: {}", self.path.display(), finding.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejected {}

/// The nearest of `candidates` to a name that is not among them, if any is near enough to be a slip of the finger.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count().max(3) / 3;
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["dockerfile", "context", "target"];
        assert_eq!(nearest("dockerfil", names), Some("dockerfile"));
        assert_eq!(nearest("contxet", names), Some("context"));
        assert_eq!(nearest("platform", names), None);
    }
}

//! Sources of `ADD` that are fetched, and whether what they hold is pinned.
//! Depends on: std.

use super::reference::is_commit;
use super::variables::Word;

/// What is known of a source before the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A path of the context.
    Local,
    /// A remote source of which checksum or commit is given.
    Pinned,
    /// A remote source, or what may become one, whose content nothing pins.
    Open,
}

/// Where a source comes from, once its variables are filled in.
pub(super) fn origin(source: &Word, checksum: Option<&Word>) -> Origin {
    let text = source.text.as_str();
    let checksum = checksum.filter(|word| !word.open).map(|word| word.text.as_str());
    let Some(remote) = Remote::read(text) else {
        let doubtful = source.open && may_become_remote(text);
        return if doubtful { Origin::Open } else { Origin::Local };
    };
    let pinned = match remote {
        Remote::Http => checksum.is_some_and(|checksum| checksum.contains(':')),
        Remote::Git { query, fragment } => {
            checksum.is_some_and(is_commit) || (!source.open && names_commit(query, fragment))
        }
    };
    if pinned { Origin::Pinned } else { Origin::Open }
}

enum Remote<'a> {
    Http,
    Git { query: &'a str, fragment: &'a str },
}

impl<'a> Remote<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if let Some((scheme, path)) = path.split_once("://") {
            return match scheme.to_lowercase().as_str() {
                "git" | "ssh" => Some(Self::Git { query, fragment }),
                "http" | "https" if path.contains('/') && path.ends_with(".git") => {
                    Some(Self::Git { query, fragment })
                }
                "http" | "https" => Some(Self::Http),
                _ => None,
            };
        }
        // `git@host:path`, with any user.
        let (user, rest) = path.split_once('@')?;
        let (host, _) = rest.split_once(':')?;
        let of = |text: &str, extra: &str| {
            let valid = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
            !text.is_empty() && text.chars().all(valid)
        };
        (of(user, "-_") && of(host, "-.")).then_some(Self::Git { query, fragment })
    }
}

/// Whether what follows the known beginning could still make it a remote source.
fn may_become_remote(known: &str) -> bool {
    let end = known.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    end.is_none_or(|end| known[end..].starts_with([':', '@']))
}

/// Whether a git source names one commit. A query that is escaped is not looked into.
fn names_commit(query: &str, fragment: &str) -> bool {
    let in_fragment = fragment.split(':').next().is_some_and(is_commit);
    let in_query = query.split('&').any(|part| {
        let pair = part.split_once('=');
        pair.is_some_and(|(name, value)| {
            matches!(name, "checksum" | "commit" | "ref") && is_commit(value)
        })
    });
    in_fragment || in_query
}

/// A source as it is written, without what may be a password in it: user information and the query.
pub(super) fn without_secrets(written: &str) -> String {
    let written = match outside_braces(written, |c| c == '?') {
        Some(query) => {
            let fragment = outside_braces(written, |c| c == '#').filter(|at| *at > query);
            written[..query].to_owned() + fragment.map_or("", |at| &written[at..])
        }
        None => written.to_owned(),
    };
    // A variable may hold the scheme; then a colon makes it more than the user of `git@host:path`.
    let scheme = written.find("://").map(|at| at + "://".len());
    let start = scheme.unwrap_or(0);
    let rest = &written[start..];
    let authority = outside_braces(rest, |c| c == '/').map_or(rest, |end| &rest[..end]);
    let user = if scheme.is_some() { authority.rfind('@') } else { authority.find('@') };
    match user.filter(|at| scheme.is_some() || authority[..*at].contains(':')) {
        Some(at) => written[..start].to_owned() + &rest[at + 1..],
        None => written,
    }
}

/// Where such a character is that is not part of `${…}`.
fn outside_braces(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut depth = 0_usize;
    let mut found = text.char_indices().filter(|(at, c)| {
        match c {
            '{' if text[..*at].ends_with('$') => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => return depth == 0 && wanted(*c),
        }
        false
    });
    found.next().map(|(at, _)| at)
}

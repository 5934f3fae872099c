//! Which patterns the builder refuses before it asks them about any path. For that it has Go's `filepath.Match` match them
//! against `.`, which reads a pattern piece by piece and stops at the first piece that does not match: `[` is refused, and
//! `x*[` is not, until it is asked.
//! Depends on: std.

const PROBE: &str = ".";
const UNCLOSED: &str = "`[` without its `]`";

/// Says what is malformed.
pub(super) fn check(pattern: &str) -> Result<(), &'static str> {
    let (mut pattern, mut name) = (pattern, PROBE);
    while !pattern.is_empty() {
        let after_stars = pattern.trim_start_matches('*');
        let star = after_stars.len() < pattern.len();
        let (piece, rest) = split(after_stars);
        if star && piece.is_empty() {
            return Ok(());
        }
        let ends = |left: &&str| left.is_empty() || !rest.is_empty();
        let mut left = match_piece(piece, name)?.filter(ends);
        if left.is_none() && star && !name.is_empty() {
            left = match_piece(piece, "")?;
        }
        match left {
            Some(left) => (pattern, name) = (rest, left),
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Cuts before the next `*` outside of brackets. Brackets are told apart more simply here than where classes are read.
fn split(pattern: &str) -> (&str, &str) {
    let mut inside = false;
    let mut characters = pattern.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' => inside = true,
            ']' => inside = false,
            '*' if !inside => return pattern.split_at(at),
            _ => {}
        }
    }
    (pattern, "")
}

/// What is left of the name behind the piece, if that matches. It is read to its end in any case.
fn match_piece<'a>(piece: &str, name: &'a str) -> Result<Option<&'a str>, &'static str> {
    let mut piece = piece.chars();
    let mut name = name.chars();
    let mut matches = true;
    while let Some(character) = piece.next() {
        let given = name.next();
        matches &= given.is_some();
        matches &= match character {
            '[' => {
                let (inside, after) = match_class(piece.as_str(), given)?;
                piece = after.chars();
                inside
            }
            '?' => true,
            '\\' => given == Some(piece.next().ok_or("a backslash at the end")?),
            other => given == Some(other),
        };
    }
    Ok(matches.then_some(name.as_str()))
}

/// Whether the class whose `[` has been read holds the character, and what follows the class.
fn match_class(text: &str, given: Option<char>) -> Result<(bool, &str), &'static str> {
    let negated = text.starts_with('^');
    let mut rest = text.strip_prefix('^').unwrap_or(text);
    if rest.starts_with(']') {
        return Err("a `[]` that names no character");
    }
    let mut inside = false;
    loop {
        let (low, after) = bound(rest)?;
        let (high, after) = match after.strip_prefix('-') {
            Some(upper) => bound(upper)?,
            None => (low, after),
        };
        inside |= given.is_some_and(|given| (low..=high).contains(&given));
        if let Some(after) = after.strip_prefix(']') {
            return Ok((inside != negated, after));
        }
        rest = after;
    }
}

/// One end of a range and what follows. Something has to, since the class is still open.
fn bound(text: &str) -> Result<(char, &str), &'static str> {
    if text.starts_with(['-', ']']) {
        return Err("a range in `[…]` that lacks one of its ends");
    }
    let mut characters = text.strip_prefix('\\').unwrap_or(text).chars();
    let bound = characters.next().ok_or(UNCLOSED)?;
    if characters.as_str().is_empty() { Err(UNCLOSED) } else { Ok((bound, characters.as_str())) }
}

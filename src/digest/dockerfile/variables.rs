//! Texts that may be known in part only, and the variables that hold them.
//! Depends on: std.

use std::collections::BTreeMap;

/// A text of which everything, or only the beginning, is known before the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// The text as far as it is known.
    pub(super) text: String,
    /// Whether something unknown follows.
    pub(super) open: bool,
    /// The volatile argument for which it is open, where it is one.
    pub(super) volatile: Option<String>,
}

impl Word {
    pub(super) fn known(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn unknown() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// The value of an argument that is no input: it is another with every build.
    pub(super) fn volatile(name: &str) -> Self {
        Self { volatile: Some(name.to_owned()), ..Self::unknown() }
    }

    /// Nothing known, when one of these is not known to its end.
    pub(super) fn unknown_by(words: &[&Self]) -> Option<Self> {
        let open = words.iter().find(|word| word.open)?;
        Some(Self { volatile: open.volatile.clone(), ..Self::unknown() })
    }

    pub(super) fn push(&mut self, c: char) {
        if !self.open {
            self.text.push(c);
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        if !self.open {
            self.text.push_str(&other.text);
            self.open = other.open;
            self.volatile.clone_from(&other.volatile);
        }
    }

    /// Whether this is more than nothing, where that can be told.
    pub(super) fn filled(&self) -> Option<bool> {
        if self.text.is_empty() && self.open { None } else { Some(!self.text.is_empty()) }
    }
}

/// The variables at one place of a Dockerfile.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    pub(super) values: BTreeMap<String, Word>,
    /// Whether a base image may have set others.
    pub(super) open: bool,
}

impl Variables {
    pub(super) fn set(&mut self, name: impl Into<String>, value: Word) {
        self.values.insert(name.into(), value);
    }

    pub(super) fn find(&self, name: &str) -> Found<'_> {
        match self.values.get(name) {
            Some(value) => Found::Set(value),
            None if self.open => Found::Unknown,
            None => Found::Unset,
        }
    }
}

/// What a name stands for.
pub(super) enum Found<'a> {
    Set(&'a Word),
    Unset,
    Unknown,
}

//! Which rules matched a directory. Depends on: std.

/// Which rules matched a directory: they match everything below it, too. The root's, which none matches, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// One bit for each of the first rules, so that few files need the rest.
    first: u64,
    rest: Box<[u64]>,
}

const BITS: usize = u64::BITS as usize;

impl Matched {
    pub(super) fn for_rules(count: usize) -> Self {
        let words = count.div_ceil(BITS).saturating_sub(1);
        Self { first: 0, rest: vec![0; words].into_boxed_slice() }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        let word = match index / BITS {
            0 => Some(&self.first),
            word => self.rest.get(word - 1),
        };
        word.is_some_and(|word| word >> (index % BITS) & 1 == 1)
    }

    pub(super) fn insert(&mut self, index: usize) {
        let word = match index / BITS {
            0 => Some(&mut self.first),
            word => self.rest.get_mut(word - 1),
        };
        if let Some(word) = word {
            *word |= 1 << (index % BITS);
        }
    }
}

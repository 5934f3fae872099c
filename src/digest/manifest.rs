//! Records as files: what an image was made from, and the stat cache. Bytes only; `facts::record` has the files.
//! A line with kind and schema, the value, and a SHA-256 of both: anything else reads as nothing.
//! Depends on: postcard, serde, sha2, digest::tree.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tree::Trees;

/// What an image was made from, kept so that a later difference can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The key of it all.
    pub key: String,
    /// See [`super::Inputs`].
    pub parts: BTreeMap<String, String>,
    /// A digest of each line of the Dockerfile, to tell which of them changed without keeping what they say.
    pub lines: Vec<[u8; 8]>,
    /// Every path of every context.
    pub trees: Trees,
}

/// The value as a file's bytes; `kind` is a word with a schema number.
///
/// # Errors
/// Never in practice: the values have nothing that cannot be written.
pub fn encode(kind: &str, value: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = postcard::to_extend(value, head(kind))?;
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    Ok(bytes)
}

/// The value in a file's bytes; nothing when they are damaged, cut short, or of another kind or schema.
#[must_use]
pub fn decode<T: DeserializeOwned>(kind: &str, bytes: &[u8]) -> Option<T> {
    let (all, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    let body = all.strip_prefix(head(kind).as_slice())?;
    if Sha256::digest(all).as_slice() != sum {
        return None;
    }
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

fn head(kind: &str) -> Vec<u8> {
    format!("tg {kind}\n").into_bytes()
}

/// The digest of each line of a Dockerfile.
#[must_use]
pub fn lines(dockerfile: &[u8]) -> Vec<[u8; 8]> {
    let short = |line: &[u8]| {
        let sha: [u8; 32] = Sha256::digest(line).into();
        let mut short = [0; 8];
        short.copy_from_slice(&sha[..8]);
        short
    };
    dockerfile.split(|byte| *byte == b'\n').map(short).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let manifest = Manifest { key: "tg2:00".to_owned(), ..Manifest::default() };
        let bytes = encode("manifest 1", &manifest).unwrap();
        assert_eq!(decode("manifest 1", &bytes), Some(manifest));
        assert_eq!(decode::<Manifest>("manifest 2", &bytes), None);
        for cut in 0..bytes.len() {
            assert_eq!(decode::<Manifest>("manifest 1", &bytes[..cut]), None, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode::<Manifest>("manifest 1", &damaged), None, "damaged at {at}");
        }
    }
}

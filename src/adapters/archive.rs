//! Image archives: leaving out what is not needed while one streams by, and the parts that one is made of.
//! Depends on: names, adapters::endpoint (types), tar.

use std::collections::BTreeSet;

use hyper::body::Bytes;
use serde_json::json;
use tar::{EntryType, Header};

use super::endpoint::Pushed;
use crate::names::ImageRef;

const BLOCK: usize = 512;
/// Smaller blobs are never left out: manifests and configurations are read from the archive itself.
const SMALL: u64 = 64 * 1024;

/// Leaves blobs out of an image archive as it streams by. Everything that is no blob of an image layout passes, and so does the
/// layout of Docker before 25, which has no blobs.
#[derive(Debug, Default)]
pub struct Filter {
    known: BTreeSet<String>,
    header: Vec<u8>,
    /// Bytes of the current entry and of what fills up its last block.
    left: u64,
    leaves_out: bool,
    /// The last header continues in the next one.
    is_extended: bool,
}

impl Filter {
    /// Leaves out these blobs, by their digests.
    #[must_use]
    pub fn new(known: BTreeSet<String>) -> Self {
        Self { known, ..Self::default() }
    }

    /// What is left of the next piece.
    #[must_use]
    pub fn pass(&mut self, piece: &Bytes) -> Bytes {
        if self.known.is_empty() {
            return piece.clone();
        }
        let mut passed = Vec::with_capacity(piece.len() + BLOCK);
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            if self.left > 0 {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                let (content, after) = rest.split_at(length);
                if !self.leaves_out {
                    passed.extend_from_slice(content);
                }
                self.left -= length as u64;
                rest = after;
                continue;
            }
            let (head, after) = rest.split_at((BLOCK - self.header.len()).min(rest.len()));
            self.header.extend_from_slice(head);
            rest = after;
            if self.header.len() == BLOCK {
                self.enter();
                if !self.leaves_out {
                    passed.extend_from_slice(&self.header);
                }
                self.header.clear();
            }
        }
        Bytes::from(passed)
    }

    fn enter(&mut self) {
        let header = Header::from_byte_slice(&self.header);
        let size = header.entry_size().unwrap_or(0);
        self.left = size.div_ceil(BLOCK as u64) * BLOCK as u64;
        let kind = header.entry_type();
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let digest = name.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
        // One whose header is spread over several passes: its beginning already has.
        self.leaves_out = kind == EntryType::Regular
            && !self.is_extended
            && size >= SMALL
            && digest.is_some_and(|digest| self.known.contains(&digest));
        self.is_extended =
            kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink();
    }
}

/// The header of a file in an archive. `name` has at most 100 bytes, as all those of an image layout.
#[must_use]
pub fn entry_header(name: &str, length: u64) -> Bytes {
    let mut header = Header::new_ustar();
    // Only a name that is too long fails, and the archive is refused where it is read then.
    let _ = header.set_path(name);
    header.set_size(length);
    header.set_mode(0o644);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

/// What fills up the last block of a file.
#[must_use]
pub fn padding(length: u64) -> Bytes {
    let over = usize::try_from(length % BLOCK as u64).unwrap_or(0);
    Bytes::from(vec![0; if over == 0 { 0 } else { BLOCK - over }])
}

/// The index of an image layout with one image under its name.
#[must_use]
pub fn index(pushed: &Pushed, image: &ImageRef) -> Vec<u8> {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": pushed.media_type, "digest": pushed.manifest.digest, "size": pushed.manifest.size,
            "annotations": {
                "io.containerd.image.name": image.canonical(),
                "org.opencontainers.image.ref.name": image.tag(),
            },
        }],
    });
    index.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content).unwrap();
        };
        add(&format!("blobs/sha256/{}", hex('a')), &[1; 70_001]);
        add(&format!("blobs/sha256/{}", hex('b')), &[2; 100_000]);
        add(&format!("blobs/sha256/{}", hex('c')), b"small");
        add("index.json", b"{}");
        add(&format!("{}/layer.tar", hex('a')), &[3; 70_000]);
        let mut name = tar::Header::new_gnu();
        name.set_size(80_000);
        // Too long for one header.
        let long = format!("{}/{}", "d".repeat(120), hex('a'));
        builder.append_data(&mut name, long, [4; 80_000].as_slice()).unwrap();
        builder.into_inner().unwrap()
    }

    fn filtered(known: &[char], piece: usize) -> Vec<u8> {
        let digests = known.iter().map(|digit| format!("sha256:{}", hex(*digit))).collect();
        let mut filter = Filter::new(digests);
        let archive = archive();
        archive.chunks(piece).flat_map(|c| filter.pass(&Bytes::copy_from_slice(c))).collect()
    }

    fn names(archive: &[u8]) -> Vec<(char, u64)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let last = path.trim_start_matches("blobs/sha256/").chars().next().unwrap();
            (last, entry.size())
        });
        entries.collect()
    }

    #[test]
    fn known_blobs_are_left_out_and_nothing_else() {
        let rest = [('a', 70_000), ('d', 80_000)];
        let whole = [('a', 70_001), ('b', 100_000), ('c', 5), ('i', 2), rest[0], rest[1]];
        for piece in [1, 511, 512, 513, 70_000, 1 << 20] {
            assert_eq!(filtered(&[], piece), archive(), "{piece}");
            assert_eq!(names(&filtered(&['f'], piece)), whole, "{piece}");
            assert_eq!(names(&filtered(&['a'], piece)), whole[1..], "{piece}");
            let neither = [whole[0], whole[2], whole[3], whole[4], whole[5]];
            assert_eq!(names(&filtered(&['b', 'c'], piece)), neither, "{piece}");
            assert_eq!(names(&filtered(&['a', 'b', 'c'], piece)), whole[2..], "{piece}");
        }
    }

    #[test]
    fn parts_make_an_archive() {
        let mut archive = Vec::new();
        for (name, length) in [("oci-layout", 5_u64), ("index.json", 512), ("empty", 0)] {
            archive.extend_from_slice(&entry_header(name, length));
            archive.extend(vec![7; usize::try_from(length).unwrap()]);
            archive.extend_from_slice(&padding(length));
            assert_eq!(archive.len() % BLOCK, 0, "{name}");
        }
        archive.extend([0; 2 * BLOCK]);
        assert_eq!(names(&archive), [('o', 5), ('i', 512), ('e', 0)]);
    }
}

//! What the endpoint holds: blobs in files without names, manifests, uploads under way, and blobs that it only claims to have.
//! Depends on: tempfile, tokio, sha2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper::body::Bytes;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// A piece of a blob, in bytes.
const PIECE: usize = 256 * 1024;

/// A blob on its way out.
pub(super) type Pieces = BoxStream<'static, std::io::Result<Bytes>>;

/// Why something was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// Nothing is under that name.
    #[error("unknown")]
    Unknown,
    /// The bytes are not those that the digest promised.
    #[error("the content does not have the digest {0}")]
    Digest(String),
    /// A piece that does not begin where the last one ended.
    #[error("expected offset {0}")]
    Offset(u64),
    /// More than the endpoint may hold.
    #[error("too large")]
    TooLarge,
    /// The spool cannot be written or read.
    #[error(transparent)]
    Spool(#[from] std::io::Error),
}

/// A manifest as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// An upload under way. Its file has no name, so it is gone when nobody holds it any more, however this process ends.
pub(super) struct Upload {
    file: File,
    hasher: Sha256,
    pub(super) length: u64,
}

#[derive(Clone, Debug)]
struct Blob {
    file: Arc<std::fs::File>,
    length: u64,
}

pub(super) struct Store {
    /// Bytes that all blobs together may have.
    limit: u64,
    held: AtomicU64,
    blobs: Mutex<BTreeMap<String, Blob>>,
    manifests: Mutex<BTreeMap<String, Manifest>>,
    tagged: Mutex<Option<Manifest>>,
    claims: Mutex<BTreeMap<String, u64>>,
    missed: Mutex<BTreeSet<String>>,
    served: Mutex<BTreeMap<IpAddr, Served>>,
    claims_all: AtomicBool,
}

/// What one address got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The digests of blobs.
    pub blobs: BTreeSet<String>,
    /// When it got the last piece of one.
    pub last: Option<Instant>,
}

/// A lock that a panic elsewhere left is as good as any other: each value is whole at all times.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Store {
    pub(super) fn new(claims: BTreeMap<String, u64>, limit: u64) -> Self {
        Self {
            limit,
            held: AtomicU64::new(0),
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            tagged: Mutex::default(),
            claims: Mutex::new(claims),
            missed: Mutex::default(),
            served: Mutex::default(),
            claims_all: AtomicBool::new(false),
        }
    }

    pub(super) async fn begin(&self) -> Result<Upload, StoreError> {
        let file = File::from_std(tempfile::tempfile()?);
        Ok(Upload { file, hasher: Sha256::new(), length: 0 })
    }

    pub(super) async fn append(&self, upload: &mut Upload, bytes: &[u8]) -> Result<(), StoreError> {
        let more = bytes.len() as u64;
        if self.held.fetch_add(more, Ordering::Relaxed) + more > self.limit {
            return Err(StoreError::TooLarge);
        }
        upload.hasher.update(bytes);
        upload.file.write_all(bytes).await?;
        upload.length += more;
        Ok(())
    }

    /// Keeps what was uploaded if it is what it was said to be; else it is gone.
    pub(super) async fn finish(&self, mut upload: Upload, digest: &str) -> Result<(), StoreError> {
        upload.file.flush().await?;
        if digest_of(upload.hasher) != digest {
            self.held.fetch_sub(upload.length, Ordering::Relaxed);
            return Err(StoreError::Digest(digest.to_owned()));
        }
        let blob = Blob { file: Arc::new(upload.file.into_std().await), length: upload.length };
        locked(&self.blobs).insert(digest.to_owned(), blob);
        Ok(())
    }

    pub(super) fn discard(&self, upload: &Upload) {
        self.held.fetch_sub(upload.length, Ordering::Relaxed);
    }

    /// The size of a blob that is here, or that every node is known to have.
    pub(super) fn size(&self, digest: &str) -> Option<u64> {
        let held = locked(&self.blobs).get(digest).map(|blob| blob.length);
        let claimed = held.or_else(|| locked(&self.claims).get(digest).copied());
        // Nobody looks at the size of what need not be sent.
        claimed.or_else(|| self.claims_all.load(Ordering::Relaxed).then_some(0))
    }

    /// Whether any blob at all is said to be here.
    pub(super) fn claim_all(&self, all: bool) {
        self.claims_all.store(all, Ordering::Relaxed);
    }

    /// A blob that is here, in pieces, and its bytes. One that was only claimed is noted: a node lacks it all the same.
    pub(super) fn open(&self, digest: &str) -> Result<(Pieces, u64), StoreError> {
        let blob = locked(&self.blobs).get(digest).cloned();
        let Some(Blob { file, length }) = blob else {
            locked(&self.missed).insert(digest.to_owned());
            return Err(StoreError::Unknown);
        };
        let pieces = futures_util::stream::try_unfold(0, move |offset| {
            let file = Arc::clone(&file);
            async move {
                let read = tokio::task::spawn_blocking(move || read_at(&file, offset, length));
                let piece = read.await.map_err(std::io::Error::other)??;
                let end = offset + piece.len() as u64;
                Ok((!piece.is_empty()).then_some((piece, end)))
            }
        });
        Ok((pieces.boxed(), length))
    }

    pub(super) fn put_manifest(
        &self,
        name: &str,
        manifest: Manifest,
    ) -> Result<String, StoreError> {
        let digest = digest_of_bytes(&manifest.bytes);
        if name.contains(':') && name != digest {
            return Err(StoreError::Digest(name.to_owned()));
        }
        if !name.contains(':') {
            *locked(&self.tagged) = Some(manifest.clone());
        }
        locked(&self.manifests).insert(digest.clone(), manifest);
        Ok(digest)
    }

    /// A manifest by its digest; by any tag the one that was last pushed with a tag, since an endpoint has one image.
    pub(super) fn manifest(&self, name: &str) -> Option<Manifest> {
        if name.contains(':') {
            return locked(&self.manifests).get(name).cloned();
        }
        locked(&self.tagged).clone()
    }

    pub(super) fn note_served(&self, to: IpAddr, digest: &str) {
        locked(&self.served).entry(to).or_default().blobs.insert(digest.to_owned());
    }

    pub(super) fn note_piece(&self, to: IpAddr) {
        locked(&self.served).entry(to).or_default().last = Some(Instant::now());
    }

    /// What an address got; nothing if it never asked for a blob.
    pub(super) fn served(&self, to: IpAddr) -> Served {
        locked(&self.served).get(&to).cloned().unwrap_or_default()
    }

    /// Whether a blob arrived here.
    pub(super) fn holds(&self, digest: &str) -> bool {
        locked(&self.blobs).contains_key(digest)
    }

    /// Blobs that were claimed, and asked for all the same. From now on they are not claimed.
    pub(super) fn take_missed(&self) -> BTreeSet<String> {
        let missed = std::mem::take(&mut *locked(&self.missed));
        locked(&self.claims).retain(|digest, _| !missed.contains(digest));
        missed
    }

    /// How many blobs are here, and their bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, u64) {
        let blobs = locked(&self.blobs);
        (blobs.len(), blobs.values().map(|blob| blob.length).sum())
    }
}

pub(super) fn digest_of_bytes(bytes: &[u8]) -> String {
    digest_of(Sha256::new_with_prefix(bytes))
}

/// The next piece of a file that others read, too.
fn read_at(file: &std::fs::File, offset: u64, length: u64) -> std::io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(PIECE);
    let mut piece = vec![0; left.min(PIECE)];
    file.read_exact_at(&mut piece, offset)?;
    Ok(Bytes::from(piece))
}

fn digest_of(hasher: Sha256) -> String {
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

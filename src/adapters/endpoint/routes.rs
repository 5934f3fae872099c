//! The routes of the OCI distribution specification that a push and a pull use.
//! Depends on: hyper, http-body-util, adapters::endpoint::store.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Mutex, watch};

use super::store::{Manifest, Store, StoreError, Upload, digest_of_bytes};

/// More than any manifest has; the specification asks for at least 4 MiB.
const MANIFEST_LIMIT: usize = 4 << 20;
/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Answer = Result<Response<Body>, StoreError>;

pub(super) struct Routes {
    prefix: String,
    pub(super) store: Arc<Store>,
    uploads: Mutex<BTreeMap<String, Upload>>,
    next: AtomicU64,
    /// Whether everything has been pushed.
    complete: watch::Sender<bool>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// What a request is about.
enum Object<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    NewUpload,
    Upload(&'a str),
}

impl Routes {
    pub(super) fn new(secret: &str, store: Store) -> Self {
        let (prefix, next) = (format!("/v2/{secret}/"), AtomicU64::new(0));
        let store = Arc::new(store);
        let complete = watch::Sender::new(false);
        Self { prefix, store, uploads: Mutex::default(), next, complete }
    }

    pub(super) fn complete(&self) {
        self.complete.send_replace(true);
    }

    /// Waits until something has arrived, or nothing more will.
    async fn wait_for(&self, is_here: impl Fn() -> bool) {
        let mut complete = self.complete.subscribe();
        // Only a sender that is gone fails, and this is the sender.
        let _ = complete.wait_for(|complete| *complete || is_here()).await;
    }

    /// Something has arrived: those who wait look again.
    fn arrived(&self) {
        self.complete.send_modify(|_| {});
    }

    pub(super) async fn answer(
        &self,
        from: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        if request.uri().path() == "/v2/" {
            return Ok(plain(StatusCode::OK, "{}"));
        }
        let answer = self.route(from, request).await;
        Ok(answer.unwrap_or_else(|error| {
            let status = match error {
                StoreError::Unknown => StatusCode::NOT_FOUND,
                StoreError::Digest(_) => StatusCode::BAD_REQUEST,
                StoreError::Offset(_) => StatusCode::RANGE_NOT_SATISFIABLE,
                StoreError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                StoreError::Spool(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let errors =
                serde_json::json!({"errors": [{"code": "UNKNOWN", "message": error.to_string()}]});
            plain(status, &errors.to_string())
        }))
    }

    async fn route(&self, from: IpAddr, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        // Whoever does not know the secret learns nothing, not even that there is something.
        let inside = path.strip_prefix(&self.prefix).ok_or(StoreError::Unknown)?;
        let (repository, object) = object(inside).ok_or(StoreError::Unknown)?;
        let (method, headers) = (request.method().clone(), request.headers().clone());
        let (digest, mount) = (query(&request, "digest"), query(&request, "mount"));
        match (method, object) {
            (Method::HEAD | Method::GET, Object::Manifest(name)) => {
                // Docker asks first whether it need push at all, and it asks here, on loopback.
                if !from.is_loopback() {
                    self.wait_for(|| self.store.manifest(name).is_some()).await;
                }
                self.get_manifest(name, request.method() == Method::GET)
            }
            (Method::PUT, Object::Manifest(name)) => {
                self.put_manifest(repository, name, &headers, request.into_body()).await
            }
            (Method::HEAD, Object::Blob(digest)) => {
                let size = self.store.size(digest).ok_or(StoreError::Unknown)?;
                Ok(blob_head(digest, size).body(empty()).unwrap_or_default())
            }
            (Method::GET, Object::Blob(digest)) => {
                self.wait_for(|| self.store.holds(digest)).await;
                let (pieces, size) = self.store.open(digest)?;
                self.store.note_served(from, digest);
                let store = Arc::clone(&self.store);
                let stream = pieces.map_ok(move |piece| {
                    store.note_piece(from);
                    Frame::data(piece)
                });
                let body = StreamBody::new(stream).boxed_unsync();
                Ok(blob_head(digest, size).body(body).unwrap_or_default())
            }
            (Method::POST, Object::NewUpload)
                if mount.as_ref().is_some_and(|digest| self.store.size(digest).is_some()) =>
            {
                let digest = mount.unwrap_or_default();
                Ok(created(&format!("{}{repository}/blobs/{digest}", self.prefix), &digest))
            }
            (Method::POST, Object::NewUpload) => {
                let upload = self.store.begin().await?;
                match digest {
                    // All at once.
                    Some(digest) => {
                        self.end_upload(upload, &headers, &digest, repository, request.into_body())
                            .await
                    }
                    None => {
                        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
                        self.uploads.lock().await.insert(id.clone(), upload);
                        Ok(self.accepted(repository, &id, 0))
                    }
                }
            }
            (Method::PATCH, Object::Upload(id)) => {
                let mut upload = self.take_upload(id).await?;
                let read = self.read(&mut upload, &headers, request.into_body()).await;
                let length = upload.length;
                // What came so far is kept, also of a broken piece: the sender asks how far it got.
                self.uploads.lock().await.insert(id.to_owned(), upload);
                read?;
                Ok(self.accepted(repository, id, length))
            }
            (Method::PUT, Object::Upload(id)) => {
                let upload = self.take_upload(id).await?;
                let digest = digest.ok_or(StoreError::Unknown)?;
                self.end_upload(upload, &headers, &digest, repository, request.into_body()).await
            }
            (Method::GET, Object::Upload(id)) => {
                let length = self.uploads.lock().await.get(id).map(|upload| upload.length);
                let mut response =
                    self.accepted(repository, id, length.ok_or(StoreError::Unknown)?);
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            (Method::DELETE, Object::Upload(id)) => {
                let upload = self.take_upload(id).await?;
                self.store.discard(&upload);
                Ok(plain(StatusCode::NO_CONTENT, ""))
            }
            _ => Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "")),
        }
    }

    fn get_manifest(&self, name: &str, with_body: bool) -> Answer {
        let manifest = self.store.manifest(name).ok_or(StoreError::Unknown)?;
        let digest = digest_of_bytes(&manifest.bytes);
        let response = Response::builder()
            .header(CONTENT_TYPE, manifest.media_type)
            .header(CONTENT_LENGTH, manifest.bytes.len())
            .header("Docker-Content-Digest", digest);
        let body = if with_body { full(manifest.bytes) } else { empty() };
        Ok(response.body(body).unwrap_or_default())
    }

    async fn put_manifest(
        &self,
        repository: &str,
        name: &str,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Answer {
        let read = Limited::new(body, MANIFEST_LIMIT).collect();
        let read = tokio::time::timeout(SILENCE, read).await.map_err(std::io::Error::other)?;
        let bytes = read.map_err(|_too_long_or_broken| StoreError::TooLarge)?.to_bytes().to_vec();
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or("application/octet-stream").to_owned();
        let digest = self.store.put_manifest(name, Manifest { media_type, bytes })?;
        self.arrived();
        let place = format!("{}{repository}/manifests/{digest}", self.prefix);
        Ok(created(&place, &digest))
    }

    async fn take_upload(&self, id: &str) -> Result<Upload, StoreError> {
        self.uploads.lock().await.remove(id).ok_or(StoreError::Unknown)
    }

    async fn end_upload(
        &self,
        mut upload: Upload,
        headers: &HeaderMap,
        digest: &str,
        repository: &str,
        body: Incoming,
    ) -> Answer {
        if let Err(error) = self.read(&mut upload, headers, body).await {
            self.store.discard(&upload);
            return Err(error);
        }
        self.store.finish(upload, digest).await?;
        self.arrived();
        Ok(created(&format!("{}{repository}/blobs/{digest}", self.prefix), digest))
    }

    /// Appends a body to an upload, piece by piece as it comes.
    async fn read(
        &self,
        upload: &mut Upload,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<(), StoreError> {
        let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let start = range.and_then(|range| {
            let range = range.strip_prefix("bytes ").unwrap_or(range);
            range.split('-').next()?.parse::<u64>().ok()
        });
        if start.is_some_and(|start| start != upload.length) {
            return Err(StoreError::Offset(upload.length));
        }
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame()).await;
            let Some(frame) = frame.map_err(std::io::Error::other)? else { return Ok(()) };
            if let Ok(bytes) = frame.map_err(std::io::Error::other)?.into_data() {
                self.store.append(upload, &bytes).await?;
            }
        }
    }

    fn accepted(&self, repository: &str, id: &str, length: u64) -> Response<Body> {
        Response::builder()
            .status(StatusCode::ACCEPTED)
            .header(LOCATION, format!("{}{repository}/blobs/uploads/{id}", self.prefix))
            .header(RANGE, format!("0-{}", length.saturating_sub(1)))
            .header("Docker-Upload-UUID", id)
            .header(CONTENT_LENGTH, 0)
            .body(empty())
            .unwrap_or_default()
    }
}

/// The repository and the object of a path behind the secret.
fn object(path: &str) -> Option<(&str, Object<'_>)> {
    if let Some((repository, name)) = path.split_once("/manifests/") {
        return Some((repository, Object::Manifest(name)));
    }
    let (repository, blob) = path.split_once("/blobs/")?;
    let object = match blob.strip_prefix("uploads/") {
        Some("") => Object::NewUpload,
        Some(id) => Object::Upload(id),
        None => Object::Blob(blob),
    };
    Some((repository, object))
}

fn query(request: &Request<Incoming>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    // Of all characters of a digest only the colon may come encoded.
    Some(value.replace("%3A", ":").replace("%3a", ":"))
}

fn blob_head(digest: &str, size: u64) -> hyper::http::response::Builder {
    Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, size)
        .header("Docker-Content-Digest", digest)
}

fn created(place: &str, digest: &str) -> Response<Body> {
    Response::builder()
        .status(StatusCode::CREATED)
        .header(LOCATION, place)
        .header("Docker-Content-Digest", digest)
        .header(CONTENT_LENGTH, 0)
        .body(empty())
        .unwrap_or_default()
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(text.as_bytes().to_vec()));
    *response.status_mut() = status;
    response
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    full(Vec::new())
}

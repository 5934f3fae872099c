//! A registry for the length of one load: Docker pushes into it what the nodes lack, and the nodes pull it.
//!
//! It speaks the part of the OCI distribution specification (1.1) that Docker's push and containerd's pull use, serves only
//! names that begin with this load's secret, listens only where it is told to, checks every digest, and writes only into
//! files without names, which go with it.
//! Depends on: names, hyper, oci-spec, tokio, tempfile, sha2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

mod pushed;
mod routes;
mod store;

pub use pushed::{Blob, Pushed};
pub use store::Served;

use routes::Routes;
use store::Store;

/// The same port each time, if it is free: the overlay2 store compresses layers for a push and remembers their digests by
/// the address of the registry.
const PREFERRED_PORT: u16 = 41917;
/// What every repository name begins with, followed by its secret.
const NAME_PREFIX: &str = "tg-load-";
/// How long a connection may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A running endpoint. It ends when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    port: u16,
    secret: String,
    is_reachable: bool,
    routes: Arc<Routes>,
    _serving: AbortOnDropHandle<()>,
}

impl Endpoint {
    /// Listens on loopback and on `gateways` (the addresses of the cluster's network on this machine), all at one port; on
    /// loopback alone where the gateways are not this machine's. `claims` are blobs, with their sizes, that every node has:
    /// Docker is told that they are here, so that it does not send them. `limit` is how many bytes it takes at most.
    ///
    /// # Errors
    /// What the system said: no free port, no space for the spool.
    pub async fn start(
        gateways: &[IpAddr],
        claims: BTreeMap<String, u64>,
        limit: u64,
    ) -> std::io::Result<Self> {
        let (listeners, is_reachable) = match listen(gateways, PREFERRED_PORT).await {
            Ok(listeners) => (listeners, true),
            Err(_) => match listen(gateways, 0).await {
                Ok(listeners) => (listeners, true),
                Err(_) => (listen(&[], 0).await?, false),
            },
        };
        let port =
            listeners.first().map_or(Ok(0), |first| first.local_addr().map(|at| at.port()))?;
        let secret = format!("{NAME_PREFIX}{}", secret()?);
        let routes = Arc::new(Routes::new(&secret, Store::new(claims, limit)));
        let serving = tokio::spawn(serve(listeners, Arc::clone(&routes)));
        let serving = AbortOnDropHandle::new(serving);
        Ok(Self { port, secret, is_reachable, routes, _serving: serving })
    }

    /// Whether it listens where the nodes could reach it.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.is_reachable
    }

    /// Where a node begins to look for any name, if `host` is the address on which it reaches this machine.
    #[must_use]
    pub fn url(&self, host: IpAddr) -> String {
        format!("http://{}/v2/{}", SocketAddr::new(host, self.port), self.secret)
    }

    /// The name of a repository as seen from `host`, which is an address that the endpoint listens on.
    #[must_use]
    pub fn repository(&self, host: IpAddr, name: &str) -> String {
        format!("{}/{}/{name}", SocketAddr::new(host, self.port), self.secret)
    }

    /// Blobs that were claimed and that a node asked for all the same, since the last call. They are not claimed any more:
    /// the next push brings them.
    #[must_use]
    pub fn take_missed(&self) -> BTreeSet<String> {
        self.routes.store.take_missed()
    }

    /// Everything has been pushed, or will not be: nodes that asked for more need not wait any longer. Until then a node
    /// that asks for what has not arrived is kept waiting.
    pub fn complete(&self) {
        self.routes.complete();
    }

    /// Whether Docker is told that every blob is here. Then it sends the manifest alone, and nothing is known to be here.
    pub fn claim_all(&self, all: bool) {
        self.routes.store.claim_all(all);
    }

    /// The image that was pushed, for a platform such as `linux/amd64`; `None` before a manifest for it has arrived.
    #[must_use]
    pub fn pushed(&self, platform: &str) -> Option<Pushed> {
        pushed::pushed(&self.routes.store, platform)
    }

    /// Whether a blob arrived. One that was only claimed has not.
    #[must_use]
    pub fn holds(&self, digest: &str) -> bool {
        self.routes.store.holds(digest)
    }

    /// What an address got; nothing if it never asked for a blob that is here.
    #[must_use]
    pub fn served(&self, to: IpAddr) -> Served {
        self.routes.store.served(to)
    }

    /// A manifest or a blob that arrived, in pieces, and its bytes; `None` if it did not arrive.
    #[must_use]
    pub fn open(&self, digest: &str) -> Option<(BoxStream<'static, std::io::Result<Bytes>>, u64)> {
        if let Some(manifest) = self.routes.store.manifest(digest) {
            let length = manifest.bytes.len() as u64;
            let whole = Ok(Bytes::from(manifest.bytes));
            return Some((futures_util::stream::iter([whole]).boxed(), length));
        }
        if self.holds(digest) { self.routes.store.open(digest).ok() } else { None }
    }
}

/// All listeners at one port, the first on loopback; port 0 is any that is free.
async fn listen(gateways: &[IpAddr], port: u16) -> std::io::Result<Vec<TcpListener>> {
    let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = loopback.local_addr()?.port();
    let mut listeners = vec![loopback];
    for gateway in gateways {
        listeners.push(TcpListener::bind(SocketAddr::new(*gateway, port)).await?);
    }
    Ok(listeners)
}

/// 128 bits from the system, in hex.
fn secret() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn serve(listeners: Vec<TcpListener>, routes: Arc<Routes>) {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, Arc::clone(&routes)));
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    // Dropped with this task, and then every connection ends.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            // Out of descriptors, most likely; others will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let routes = Arc::clone(&routes);
        connections.spawn(async move {
            let service = service_fn(|request| routes.answer(from.ip(), request));
            // A connection that breaks is the other side's to report. TLS is answered with 400, which tells Docker to go on
            // without.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests;

//! A registry for the length of one load: Docker pushes into it what the nodes lack, and the nodes pull it.
//!
//! It speaks the part of the OCI distribution specification (1.1) that Docker's push and containerd's pull use, serves only
//! names that begin with this load's secret, listens only where it is told to, checks every digest, and writes only into a
//! spool of its own, which goes with it.
//! Depends on: hyper, tokio, tempfile, sha2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

mod routes;
mod store;

use routes::Routes;
use store::Store;

/// The same port each time, if it is free: the overlay2 store compresses layers for a push and remembers their digests by
/// the address of the registry.
const PREFERRED_PORT: u16 = 41917;
/// What every repository name begins with, followed by the process and its secret.
const NAME_PREFIX: &str = "tg-load-";
/// How long a connection may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// A running endpoint. It ends when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    port: u16,
    secret: String,
    routes: Arc<Routes>,
    _serving: AbortOnDropHandle<()>,
}

impl Endpoint {
    /// Listens on loopback and on `gateways` (the addresses of the cluster's network on this machine), all at one port.
    /// `claims` are blobs, with their sizes, that every node has: Docker is told that they are here, so that it does not
    /// send them. `limit` is how many bytes it takes at most.
    ///
    /// # Errors
    /// What the system said: an address that is not this machine's, no free port, no space for the spool.
    pub async fn start(
        gateways: &[IpAddr],
        claims: BTreeMap<String, u64>,
        limit: u64,
    ) -> std::io::Result<Self> {
        let listeners = match listen(gateways, PREFERRED_PORT).await {
            Ok(listeners) => listeners,
            Err(_) => listen(gateways, 0).await?,
        };
        let port =
            listeners.first().map_or(Ok(0), |first| first.local_addr().map(|at| at.port()))?;
        let secret = format!("{NAME_PREFIX}{}-{}", std::process::id(), secret()?);
        let routes = Arc::new(Routes::new(&secret, Store::new(claims, limit)?));
        let serving = tokio::spawn(serve(listeners, Arc::clone(&routes)));
        Ok(Self { port, secret, routes, _serving: AbortOnDropHandle::new(serving) })
    }

    /// The name of a repository as seen from `host`, which is an address that the endpoint listens on.
    #[must_use]
    pub fn repository(&self, host: IpAddr, name: &str) -> String {
        format!("{}/{}/{name}", SocketAddr::new(host, self.port), self.secret)
    }

    /// How many blobs arrived, and their bytes.
    #[must_use]
    pub fn arrived(&self) -> (usize, u64) {
        self.routes.store.held()
    }

    /// Blobs that were claimed and that a node asked for all the same, since the last call. They are not claimed any more:
    /// the next push brings them.
    #[must_use]
    pub fn take_missed(&self) -> BTreeSet<String> {
        self.routes.store.take_missed()
    }

    /// The digest of the manifest that was last pushed under a tag.
    #[must_use]
    pub fn manifest_digest(&self, tag: &str) -> Option<String> {
        self.routes.manifest_digest(tag)
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

/// The process that made a repository name of an endpoint, if it is one.
#[must_use]
pub fn maker_of(repository: &str) -> Option<u32> {
    let (_, inside) = repository.strip_prefix("127.0.0.1:")?.split_once('/')?;
    inside.strip_prefix(NAME_PREFIX)?.split('-').next()?.parse().ok()
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
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely; others will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let routes = Arc::clone(&routes);
        connections.spawn(async move {
            let service = service_fn(|request| routes.answer(request));
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

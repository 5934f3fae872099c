//! The cheapest question to an engine: the version of its API and what it is, in a millisecond.
//! Depends on: hyper, tokio.

use std::time::Duration;

use bollard::ClientVersion;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

const LIMIT: Duration = Duration::from_secs(5);

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The newest version of the API that it speaks.
    api: (usize, usize),
    /// Its name, version and operating system, with when its socket was made: another engine there is another one.
    pub(super) server: String,
}

impl Answer {
    /// The newest version that both sides speak.
    pub(super) fn api_version(&self, ours: ClientVersion) -> ClientVersion {
        if self.api < (ours.major_version, ours.minor_version) {
            ClientVersion { major_version: self.api.0, minor_version: self.api.1 }
        } else {
            ours
        }
    }
}

/// Asks the engine behind a socket; `None` when it does not say what it should, whatever the reason.
pub(super) async fn ping(socket: &str) -> Option<Answer> {
    tokio::time::timeout(LIMIT, ask(socket)).await.ok()?
}

async fn ask(socket: &str) -> Option<Answer> {
    use std::os::unix::fs::MetadataExt;
    let made = std::fs::metadata(socket).ok()?;
    let stream = UnixStream::connect(socket).await.ok()?;
    let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.ok()?;
    let request =
        Request::get("/_ping").header("Host", "docker").body(Empty::<Bytes>::new()).ok()?;
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.ok()?,
        _ = connection => return None,
    };
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let (major, minor) = header("Api-Version")?.split_once('.')?;
    let api = (major.parse().ok()?, minor.parse().ok()?);
    let (server, system) = (header("Server")?, header("Ostype")?);
    let server = format!("{server} {system} {}:{}:{}", made.dev(), made.ino(), made.ctime());
    Some(Answer { api, server })
}

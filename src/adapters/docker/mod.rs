//! The Docker engine, through its API. Building is `buildx`'s.
//! Depends on: names, adapters::process, bollard, hyper.

use std::path::PathBuf;
use std::time::Duration;

use bollard::{ClientVersion, Docker};

use super::docker_config;
use super::process::{self, Command};
use crate::interrupt::Interrupt;

mod containers;
mod exec;
mod images;
mod ping;

pub use containers::{ContainerState, Network, NodeContainer};
pub use exec::Finished;
pub use images::{IMAGE_LABEL, Image, KEY_LABEL};

/// How long one call to the engine may take, in seconds. Exports stream and are not bound by it.
const CALL_LIMIT: u64 = 120;

/// What failed, on what, and what the engine said.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no engine to talk to.
    #[error("cannot reach Docker at {host}")]
    Connect {
        /// The address.
        host: String,
        /// What the client said.
        source: bollard::errors::Error,
    },
    /// The context that is set cannot be used.
    #[error("cannot use the Docker context: {0}")]
    Context(String),
    /// One call failed.
    #[error("cannot {operation} {object}")]
    Call {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// What the engine said.
        source: bollard::errors::Error,
    },
}

/// A connection to the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    client: Docker,
    host: String,
    platform: String,
    fingerprint: Option<String>,
    /// The version of the API that both sides speak.
    api: (usize, usize),
    shells: exec::Shells,
}

/// Which engine the environment asks for.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// The directory of Docker's own configuration (`DOCKER_CONFIG` or `~/.docker`).
    pub config: Option<PathBuf>,
}

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

impl Engine {
    /// Connects as Docker's own client would: `DOCKER_HOST`, then the context, then the default socket. `known` tells the
    /// platform of an engine that was met before, by its [`Engine::fingerprint`]: asking takes an engine 10 ms.
    ///
    /// # Errors
    /// [`DockerError::Context`] or [`DockerError::Connect`].
    pub async fn connect(
        address: &Address,
        interrupt: &Interrupt,
        known: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, DockerError> {
        let host = resolve(address, interrupt).await?;
        let fail = |source| DockerError::Connect { host: host.clone(), source };
        let answer = match host.strip_prefix("unix://") {
            Some(socket) => ping::ping(socket).await,
            None => None,
        };
        let default = bollard::API_DEFAULT_VERSION;
        let default = ClientVersion { ..*default };
        let version = answer.as_ref().map_or(default, |answer| answer.api_version(default));
        let client = if host.starts_with("unix://") {
            Docker::connect_with_unix(&host, CALL_LIMIT, &version)
        } else if host.starts_with("tcp://") || host.starts_with("http://") {
            Docker::connect_with_http(&host, CALL_LIMIT, &version)
        } else {
            let message = format!("{host}: only unix:// and tcp:// are supported");
            return Err(DockerError::Context(message));
        };
        let mut client = client.map_err(fail)?;
        let fingerprint = answer.as_ref().map(|answer| format!("{host} {}", answer.server));
        let first = async {
            if answer.is_none() {
                client = client.negotiate_version().await?;
            }
            if let Some(platform) = fingerprint.as_deref().and_then(known) {
                return Ok((client, platform));
            }
            let version = client.version().await?;
            let part = |part: Option<String>| part.unwrap_or_default();
            Ok((client, format!("{}/{}", part(version.os), part(version.arch))))
        };
        let (client, platform) = tokio::time::timeout(Duration::from_secs(15), first)
            .await
            .map_err(|_elapsed| fail(bollard::errors::Error::RequestTimeoutError))?
            .map_err(fail)?;
        let api = client.client_version();
        let api = (api.major_version, api.minor_version);
        Ok(Self { client, host, platform, fingerprint, api, shells: exec::Shells::default() })
    }

    /// What tells this engine apart from others that were met at the same address; `None` where nothing does.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The platform that the engine runs on, such as `linux/amd64`.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// The address in use.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The engine's own id, which no other engine has.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn id(&self) -> Result<String, DockerError> {
        let info = self.client.info().await;
        let info = info.map_err(|source| call("ask for", "the engine's id", source))?;
        Ok(info.id.unwrap_or_default())
    }

    pub(super) fn client(&self) -> &Docker {
        &self.client
    }
}

pub(super) fn call(
    operation: &'static str,
    object: &str,
    source: bollard::errors::Error,
) -> DockerError {
    DockerError::Call { operation, object: object.to_owned(), source }
}

fn is_not_found(error: &bollard::errors::Error) -> bool {
    let bollard::errors::Error::DockerResponseServerError { status_code, .. } = error else {
        return false;
    };
    *status_code == 404
}

async fn resolve(address: &Address, interrupt: &Interrupt) -> Result<String, DockerError> {
    if let Some(host) = address.host.as_ref().filter(|host| !host.is_empty()) {
        return Ok(host.clone());
    }
    let configured = || address.config.as_deref().and_then(docker_config::current_context);
    let context = address.context.clone().filter(|name| !name.is_empty()).or_else(configured);
    let Some(context) = context.filter(|name| name != "default") else {
        return Ok(DEFAULT_HOST.to_owned());
    };
    let command = Command::new("docker")
        .args(["context", "inspect", &context, "--format", "{{.Endpoints.docker.Host}}"])
        .timeout(Duration::from_secs(10));
    let host = process::output(&command, interrupt).await;
    Ok(host.map_err(|error| DockerError::Context(error.to_string()))?.trim().to_owned())
}

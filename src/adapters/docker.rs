//! The Docker engine, through its API: inspect, tag, export, containers. Building is `buildx`'s.
//! Depends on: names, adapters::process, bollard.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListImagesOptions, PushImageOptions,
    RemoveImageOptions, TagImageOptions,
};
use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;

use super::docker_config;
use super::process::{self, Command};
use crate::interrupt::Interrupt;
use crate::names::{ConfigDigest, ImageRef};

/// The label that carries the content key.
pub const KEY_LABEL: &str = "dev.tg.key";
/// The label that names the image of the task file, since labels are inherited by `FROM`.
pub const IMAGE_LABEL: &str = "dev.tg.image";
const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";
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

/// An image as the engine describes it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The engine's own id: a config, manifest or index digest, by its store.
    pub id: String,
    /// The config digest, when the engine tells it.
    pub config: Option<ConfigDigest>,
    /// The digests of its layers when they are unpacked, the lowest first.
    pub layers: Vec<String>,
    /// Whether it is an index: of several platforms, or with attestations.
    pub is_index: bool,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// Bytes.
    pub size: u64,
}

/// A container of a Kind cluster that runs Kubernetes.
#[derive(Clone, Debug)]
pub struct NodeContainer {
    /// Its name, which is also the node's.
    pub name: String,
    /// Its full id.
    pub id: String,
    /// `running`, `exited`, `paused`, …
    pub state: String,
    /// When it was created, in seconds since 1970.
    pub created: u64,
}

/// Whether a container runs, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// It runs and is not paused.
    pub is_running: bool,
    /// When it was started last, as the engine writes it.
    pub started: String,
    /// `running`, `exited`, `paused`, …
    pub status: String,
}

/// Where a container is reached, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// How it is.
    pub state: ContainerState,
    /// The addresses at which it reaches this machine.
    pub gateways: Vec<IpAddr>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// A connection to the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    client: Docker,
    host: String,
    platform: String,
    /// The version of the API that both sides speak.
    api: (usize, usize),
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
    /// Connects as Docker's own client would: `DOCKER_HOST`, then the context, then the default socket.
    ///
    /// # Errors
    /// [`DockerError::Context`] or [`DockerError::Connect`].
    pub async fn connect(address: &Address, interrupt: &Interrupt) -> Result<Self, DockerError> {
        let host = resolve(address, interrupt).await?;
        let fail = |source| DockerError::Connect { host: host.clone(), source };
        let version = bollard::API_DEFAULT_VERSION;
        let client = if host.starts_with("unix://") {
            Docker::connect_with_unix(&host, CALL_LIMIT, version)
        } else if host.starts_with("tcp://") || host.starts_with("http://") {
            Docker::connect_with_http(&host, CALL_LIMIT, version)
        } else {
            let message = format!("{host}: only unix:// and tcp:// are supported");
            return Err(DockerError::Context(message));
        };
        let client = client.map_err(fail)?;
        let first = async {
            let client = client.negotiate_version().await?;
            let version = client.version().await?;
            Ok((client, version))
        };
        let (client, version) = tokio::time::timeout(Duration::from_secs(15), first)
            .await
            .map_err(|_elapsed| fail(bollard::errors::Error::RequestTimeoutError))?
            .map_err(fail)?;
        let part = |part: Option<String>| part.unwrap_or_default();
        let platform = format!("{}/{}", part(version.os), part(version.arch));
        let api = client.client_version();
        let api = (api.major_version, api.minor_version);
        Ok(Self { client, host, platform, api })
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

    /// Looks at an image by name or id; `None` when there is none.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        let inspect = match self.client.inspect_image(name).await {
            Ok(inspect) => inspect,
            Err(error) if is_not_found(&error) => return Ok(None),
            Err(source) => return Err(call("inspect image", name, source)),
        };
        let id = inspect.id.unwrap_or_default();
        // The containerd store tells the config digest of a plain manifest in an annotation and has a descriptor for
        // every image; without a descriptor the id itself is the config digest.
        let media_type = inspect.descriptor.as_ref().and_then(|d| d.media_type.as_deref());
        let is_index =
            media_type.is_some_and(|t| t.contains("index") || t.contains("manifest.list"));
        let config = match inspect.descriptor {
            None => ConfigDigest::parse(&id),
            Some(descriptor) => descriptor
                .annotations
                .and_then(|annotations| ConfigDigest::parse(annotations.get("config.digest")?)),
        };
        let labels = inspect.config.and_then(|config| config.labels).unwrap_or_default();
        let size = inspect.size.unwrap_or_default().try_into().unwrap_or_default();
        let layers = inspect.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
        Ok(Some(Image { id, config, layers, is_index, labels, size }))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn tag(&self, image: &str, name: &ImageRef) -> Result<(), DockerError> {
        let options = TagImageOptions {
            repo: Some(name.repository().to_owned()),
            tag: Some(name.tag().to_owned()),
        };
        let tagged = self.client.tag_image(image, Some(options)).await;
        tagged.map_err(|source| call("tag image", image, source))
    }

    /// Removes a name of an image, and the image when it was the last one. Nothing to remove is no error.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn untag(&self, name: &str) -> Result<(), DockerError> {
        match self.client.remove_image(name, None::<RemoveImageOptions>, None).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(source) => Err(call("remove image", name, source)),
        }
    }

    /// Pushes an image as `repository:load`, a name that it has only for that time; of an index (several platforms, or
    /// attestations) only what the engine's own platform needs, where the engine can tell that apart.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn push_as(
        &self,
        image: &str,
        repository: &str,
        is_index: bool,
    ) -> Result<(), DockerError> {
        const TAG: &str = "load";
        let options =
            TagImageOptions { repo: Some(repository.to_owned()), tag: Some(TAG.to_owned()) };
        let tagged = self.client.tag_image(image, Some(options)).await;
        tagged.map_err(|source| call("tag image", image, source))?;
        // Since API 1.46.
        let platform = (is_index && self.api >= (1, 46)).then(|| {
            let (os, architecture) = self.platform.split_once('/').unwrap_or_default();
            serde_json::json!({"os": os, "architecture": architecture}).to_string()
        });
        let options = PushImageOptions { tag: Some(TAG.to_owned()), platform };
        let mut progress = std::pin::pin!(self.client.push_image(repository, Some(options), None));
        let mut pushed = Ok(());
        while let Some(told) = progress.next().await {
            if let Err(source) = told {
                pushed = Err(call("push image", image, source));
                break;
            }
        }
        self.untag(&format!("{repository}:{TAG}")).await?;
        pushed
    }

    /// Names of images that look like this pattern (`*` stops at slashes).
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn names_like(&self, pattern: &str) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("reference".to_owned(), vec![pattern.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let list = self.client.list_images(Some(options)).await;
        let list = list.map_err(|source| call("list images like", pattern, source))?;
        Ok(list.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// A container's state and its networks.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn network(&self, container: &str) -> Result<Network, DockerError> {
        let inspect = self.client.inspect_container(container, None::<InspectContainerOptions>);
        let inspect =
            inspect.await.map_err(|source| call("inspect container", container, source))?;
        let state = inspect.state.unwrap_or_default();
        let is_running = state.running == Some(true) && state.paused != Some(true);
        let started = state.started_at.unwrap_or_default();
        let status = state.status.map(|status| status.to_string()).unwrap_or_default();
        let networks = inspect.network_settings.and_then(|settings| settings.networks);
        let (mut gateways, mut addresses) = (Vec::new(), Vec::new());
        for (_, network) in networks.into_iter().flatten() {
            gateways.extend(network.gateway.and_then(|gateway| gateway.parse::<IpAddr>().ok()));
            addresses.extend(network.ip_address.and_then(|at| at.parse::<IpAddr>().ok()));
        }
        let state = ContainerState { is_running, started, status };
        Ok(Network { state, gateways, addresses })
    }

    /// The image as an archive, in pieces.
    pub fn export(&self, name: &str) -> impl Stream<Item = Result<Bytes, DockerError>> + use<> {
        let name = name.to_owned();
        self.client
            .export_image(&name)
            .map(move |piece| piece.map_err(|source| call("export image", &name, source)))
    }

    /// The node containers of a Kind cluster, stopped ones included, by name. Load balancers are not nodes.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn nodes(&self, cluster: &str) -> Result<Vec<NodeContainer>, DockerError> {
        let filter = format!("{CLUSTER_LABEL}={cluster}");
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![filter])])),
            ..Default::default()
        };
        let list = self.client.list_containers(Some(options)).await;
        let list =
            list.map_err(|source| call("list the containers of cluster", cluster, source))?;
        let mut nodes: Vec<NodeContainer> = list
            .into_iter()
            .filter(|container| {
                let labels = container.labels.as_ref();
                labels
                    .and_then(|labels| labels.get(ROLE_LABEL))
                    .is_some_and(|role| role == "control-plane" || role == "worker")
            })
            .map(|container| NodeContainer {
                name: container
                    .names
                    .and_then(|names| names.into_iter().next())
                    .map(|name| name.trim_start_matches('/').to_owned())
                    .unwrap_or_default(),
                id: container.id.unwrap_or_default(),
                created: container.created.unwrap_or_default().try_into().unwrap_or_default(),
                state: container.state.map(|state| state.to_string()).unwrap_or_default(),
            })
            .collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
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

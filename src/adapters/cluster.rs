//! Kind clusters: the `kind` command for their life, the kube client for their readiness. Always by explicit kubeconfig.
//! Depends on: adapters::process, kube, k8s-openapi.

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, ServiceAccount};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::process::{self, Command, ProcessError};
use crate::interrupt::Interrupt;

/// How long `kind create cluster` may take.
pub const CREATE_LIMIT: Duration = Duration::from_secs(600);
/// How long the other `kind` commands may take.
const KIND_LIMIT: Duration = Duration::from_secs(120);
/// How long a new cluster may take to be ready after `kind create` has ended.
pub const READY_LIMIT: Duration = Duration::from_secs(180);
/// Between two looks at a cluster that is not ready yet.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The `kind` command failed.
    #[error(transparent)]
    Kind(#[from] ProcessError),
    /// The kubeconfig is not one that tg may use.
    #[error("{0}")]
    Kubeconfig(String),
    /// It names no registry that could be used.
    #[error("the cluster names no registry: {0}")]
    NoRegistry(String),
    /// It did not get ready in time.
    #[error("the cluster was not ready within {} s: {last}", limit.as_secs())]
    NotReady {
        /// The limit.
        limit: Duration,
        /// What was missing when last looked.
        last: String,
    },
}

/// The command that creates a cluster; it writes the cluster's access into `kubeconfig` and nowhere else.
#[must_use]
pub fn create_command(
    name: &str,
    kubeconfig: &Path,
    config: Option<&Path>,
    node_image: Option<&str>,
) -> Command {
    let mut command = Command::new("kind")
        .args(["create", "cluster", "--name", name, "--kubeconfig"])
        .arg(kubeconfig)
        .timeout(CREATE_LIMIT);
    if let Some(config) = config {
        command = command.arg("--config").arg(config);
    }
    if let Some(image) = node_image {
        command = command.arg("--image").arg(image);
    }
    command
}

/// The command that deletes a cluster by its name, and its entry in `kubeconfig`.
#[must_use]
pub fn delete_command(name: &str, kubeconfig: &Path) -> Command {
    Command::new("kind")
        .args(["delete", "cluster", "--name", name, "--kubeconfig"])
        .arg(kubeconfig)
        .timeout(KIND_LIMIT)
}

/// Asks kind for the access to a cluster.
///
/// # Errors
/// [`ClusterError::Kind`].
pub async fn kubeconfig(name: &str, interrupt: &Interrupt) -> Result<String, ClusterError> {
    let command =
        Command::new("kind").args(["get", "kubeconfig", "--name", name]).timeout(KIND_LIMIT);
    Ok(process::output(&command, interrupt).await?)
}

/// A client for exactly the cluster that the text describes. The server must be on this machine or be the Docker host:
/// nothing else can be a Kind cluster of ours.
async fn client(kubeconfig: &str, docker_host: &str) -> Result<Client, ClusterError> {
    let wrong = |error: &dyn std::fmt::Display| ClusterError::Kubeconfig(error.to_string());
    let parsed = Kubeconfig::from_yaml(kubeconfig).map_err(|error| wrong(&error))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| wrong(&error))?;
    let host = config.cluster_url.host().unwrap_or_default().to_owned();
    let local =
        host == "localhost" || host == "0.0.0.0" || host.starts_with("127.") || host == "[::1]";
    if !local && !docker_host.contains(&host) {
        let message = format!("the kubeconfig leads to {host}, which is not this machine: refused");
        return Err(ClusterError::Kubeconfig(message));
    }
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).map_err(|error| wrong(&error))
}

/// What keeps a cluster from being used right now; `None` when all its nodes are ready.
///
/// # Errors
/// [`ClusterError::Kubeconfig`].
pub async fn nodes_not_ready(
    kubeconfig: &str,
    docker_host: &str,
) -> Result<Option<String>, ClusterError> {
    let client = client(kubeconfig, docker_host).await?;
    Ok(not_ready_nodes(&client).await)
}

/// Waits until all nodes are ready, the default ServiceAccount is there and CoreDNS is available.
///
/// # Errors
/// [`ClusterError::NotReady`] with what was missing, or [`ProcessError::Interrupted`] inside [`ClusterError::Kind`].
pub async fn wait_ready(
    kubeconfig: &str,
    docker_host: &str,
    interrupt: &Interrupt,
) -> Result<(), ClusterError> {
    let client = client(kubeconfig, docker_host).await?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let missing = match not_ready_nodes(&client).await {
            Some(missing) => Some(missing),
            None => missing_system(&client).await,
        };
        let Some(last) = missing else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(ClusterError::NotReady { limit: READY_LIMIT, last });
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = interrupt.requested() => return Err(ProcessError::Interrupted.into()),
        }
    }
}

/// The registry that a cluster names for its developers (KEP-1755).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRegistry {
    /// Where this machine reaches it, such as `localhost:5001`.
    pub host: String,
    /// What it is called in the nodes, by their container runtime's own configuration.
    pub from_nodes: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct LocalRegistryHosting {
    host: Option<String>,
    host_from_container_runtime: Option<String>,
}

/// The registry that a cluster names, in the ConfigMap `local-registry-hosting` of `kube-public`.
///
/// # Errors
/// [`ClusterError::Kubeconfig`], or [`ClusterError::NoRegistry`] with what is missing.
pub async fn local_registry(
    kubeconfig: &str,
    docker_host: &str,
) -> Result<LocalRegistry, ClusterError> {
    const NAME: &str = "local-registry-hosting";
    let client = client(kubeconfig, docker_host).await?;
    let map = Api::<ConfigMap>::namespaced(client, "kube-public").get_opt(NAME).await;
    let missing = |why: String| ClusterError::NoRegistry(why);
    let map = map.map_err(|error| missing(error.to_string()))?;
    let map =
        map.ok_or_else(|| missing(format!("there is no ConfigMap `{NAME}` in kube-public")))?;
    let text = map.data.and_then(|mut data| data.remove("localRegistryHosting.v1"));
    let text = text.ok_or_else(|| missing(format!("`{NAME}` has no localRegistryHosting.v1")))?;
    local_registry_of(&text).map_err(missing)
}

fn local_registry_of(text: &str) -> Result<LocalRegistry, String> {
    let told: LocalRegistryHosting = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let host = told.host.filter(|host| !host.is_empty()).ok_or("it names no host")?;
    let from_nodes = told.host_from_container_runtime.filter(|host| !host.is_empty());
    Ok(LocalRegistry { from_nodes: from_nodes.unwrap_or_else(|| host.clone()), host })
}

async fn not_ready_nodes(client: &Client) -> Option<String> {
    let nodes = match Api::<Node>::all(client.clone()).list(&ListParams::default()).await {
        Ok(nodes) => nodes.items,
        Err(error) => return Some(format!("the API server does not answer: {error}")),
    };
    if nodes.is_empty() {
        return Some("no node has joined".to_owned());
    }
    let waiting: Vec<String> = nodes
        .into_iter()
        .filter(|node| {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            !conditions
                .is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        })
        .filter_map(|node| node.metadata.name)
        .collect();
    (!waiting.is_empty()).then(|| format!("not ready: {}", waiting.join(", ")))
}

async fn missing_system(client: &Client) -> Option<String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
    if accounts.get("default").await.is_err() {
        return Some("the default ServiceAccount is missing".to_owned());
    }
    let deployments = Api::<Deployment>::namespaced(client.clone(), "kube-system");
    let available = match deployments.get("coredns").await {
        Ok(dns) => dns.status.and_then(|status| status.available_replicas).unwrap_or(0),
        Err(error) => return Some(format!("CoreDNS: {error}")),
    };
    (available == 0).then(|| "CoreDNS is not available".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_for_this_machine_and_for_nodes() {
        let registry = |host: &str, from_nodes: &str| {
            Ok(LocalRegistry { host: host.to_owned(), from_nodes: from_nodes.to_owned() })
        };
        let both = "host: \"localhost:5001\"\nhostFromContainerRuntime: \"kind-registry:5000\"\nhelp: \"x\"\n";
        for (text, expected) in [
            ("host: \"localhost:5001\"\n", registry("localhost:5001", "localhost:5001")),
            (both, registry("localhost:5001", "kind-registry:5000")),
            ("help: x\n", Err("it names no host".to_owned())),
            ("host: \"\"\n", Err("it names no host".to_owned())),
        ] {
            assert_eq!(local_registry_of(text), expected, "{text}");
        }
        assert!(local_registry_of("- a").is_err());
    }
}

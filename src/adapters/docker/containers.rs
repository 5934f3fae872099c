//! Containers that are nodes of a Kind cluster.
//! Depends on: adapters::docker, bollard.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};

use super::{DockerError, Engine, call};

const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";

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

impl Engine {
    /// A container's state and its networks.
    ///
    /// # Errors
    /// [`DockerError::Call`].
    pub async fn network(&self, container: &str) -> Result<Network, DockerError> {
        let inspect = self.client().inspect_container(container, None::<InspectContainerOptions>);
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
        let list = self.client().list_containers(Some(options)).await;
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

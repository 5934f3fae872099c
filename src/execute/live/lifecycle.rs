//! Making and deleting the cluster, one tg at a time.
//! Depends on: facts, adapters, report::event, taskfile::model, error.

use super::Live;
use crate::adapters::{cluster, process};
use crate::error::{Failure, Kind};
use crate::facts::record::Creating;
use crate::report::event::StepName;
use crate::taskfile::model::CreatePolicy;

impl Live<'_> {
    pub(super) async fn create_cluster(&self, name: &StepName) -> Result<String, Failure> {
        let (world, spec) = (self.world, &self.world.file.cluster);
        let _held =
            self.lock(name, world.state.cluster_lock(&spec.name), "makes or deletes it").await?;
        // Nobody else makes one now: whatever is there under the name was there before.
        let there = world.engine.nodes(&spec.name).await;
        let there = there.map_err(|error| Failure::new(Kind::Docker, error))?;
        if there.is_empty() && spec.create == CreatePolicy::Never {
            return Err(Failure::said(Kind::Cluster, "the one that was being made is not there"));
        }
        if !there.is_empty() {
            if let Ok(None) = world.not_ready(&there).await {
                return Ok(format!("another tg made it: {}", counted(there.len())));
            }
            let message = format!("there are nodes of a cluster `{}` that is not ready", spec.name);
            return Err(Failure::said(Kind::Cluster, message).hint("tg cluster create --recreate"));
        }
        let kubeconfig = self.kubeconfig_path();
        let record = |creating, containers| {
            let written = world.state.record_cluster(&spec.name, creating, containers);
            written.map_err(|error| Failure::new(Kind::Internal, error))
        };
        let creating = Some(Creating::now());
        record(creating, Vec::new())?;
        let config = spec.config.as_deref();
        let command =
            cluster::create_command(&spec.name, &kubeconfig, config, spec.node_image.as_deref());
        let created = process::output(&command, &world.interrupt).await;
        if let Err(error) = created {
            // What this run began, this run removes; also when it was interrupted, so without listening to that.
            let delete = cluster::delete_command(&spec.name, &kubeconfig);
            let deleted = process::output(&delete, &crate::interrupt::Interrupt::default()).await;
            let left = world.engine.nodes(&spec.name).await;
            // A record without containers would later claim a cluster that somebody else makes under this name.
            if deleted.is_ok() || left.is_ok_and(|nodes| nodes.is_empty()) {
                world.state.forget_cluster(&spec.name);
            }
            return Err(self.cluster_failure(error.into()));
        }
        let nodes = world.engine.nodes(&spec.name).await;
        let nodes = nodes.map_err(|error| Failure::new(Kind::Docker, error))?;
        let containers: Vec<String> = nodes.iter().map(|node| node.id.clone()).collect();
        record(creating, containers.clone())?;
        self.note(name, "nodes are up; waiting until they are ready", false);
        let text = std::fs::read_to_string(&kubeconfig)
            .map_err(|error| Failure::new(Kind::Cluster, error))?;
        let ready = cluster::wait_ready(&text, world.engine.host(), &world.interrupt).await;
        // Others wait for it until now.
        record(None, containers)?;
        ready.map_err(|error| self.cluster_failure(error))?;
        Ok(counted(nodes.len()))
    }

    /// Deletes the cluster; with `only_broken`, not one that another tg has made while its lock was waited for.
    pub(super) async fn delete_cluster(
        &self,
        step: &StepName,
        only_broken: bool,
    ) -> Result<String, Failure> {
        let (world, name) = (self.world, &self.world.file.cluster.name);
        let held = self.lock(step, world.state.cluster_lock(name), "makes or deletes it").await?;
        let nodes =
            world.engine.nodes(name).await.map_err(|error| Failure::new(Kind::Docker, error))?;
        if nodes.is_empty() {
            world.state.forget_cluster(name);
            return Ok("was not there".to_owned());
        }
        if only_broken && held.waited && matches!(world.not_ready(&nodes).await, Ok(None)) {
            return Ok("another tg has made it anew".to_owned());
        }
        if !world.is_ours(&nodes) {
            return Err(Failure::said(
                Kind::Refused,
                format!("tg did not make the cluster `{name}` and leaves it alone"),
            )
            .hint(format!("kind delete cluster --name {name}")));
        }
        let command = cluster::delete_command(name, &self.kubeconfig_path());
        let deleted = process::output(&command, &world.interrupt).await;
        deleted.map_err(|error| self.cluster_failure(error.into()))?;
        world.state.forget_cluster(name);
        Ok(format!("{} nodes removed", nodes.len()))
    }
}

fn counted(nodes: usize) -> String {
    format!("{nodes} node{}", if nodes == 1 { "" } else { "s" })
}

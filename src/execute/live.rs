//! The effects on the real world: the cluster, tests and commands here, builds and loads in their own files.
//! Depends on: facts, adapters, report::event, taskfile::model, error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::effects::Effects;
use super::interrupted;
use crate::adapters::cluster;
use crate::adapters::process::{self, Command, ProcessError, Stream};
use crate::error::{Failure, Kind};
use crate::facts::gather::{World, chain};
use crate::facts::{Facts, Known};
use crate::names::ImageId;
use crate::report::event::{Emitter, EventKind, StepName};
use crate::taskfile::model::{BuildCache, CargoTest, ClusterAction, ImageSpec, Step};

mod build;
mod lifecycle;
mod load;
mod lock;
mod tests;
mod told;
mod transfer;

pub use build::build_request;
pub use load::sweep;
pub use transfer::next_generations;

/// The real world of one run.
pub struct Live<'a> {
    /// What facts come from.
    pub world: &'a World,
    /// Where events go.
    pub emitter: &'a Emitter,
    /// The id of the run.
    pub run: String,
    /// What was asked for, for others who wait for it.
    pub command: String,
    /// The images of this run, for the tests' environment.
    pub images: Vec<ImageId>,
    /// Arguments after `--`.
    pub extra: Vec<String>,
    /// Whether children may use colour.
    pub color: bool,
    /// Held while tests are compiled.
    pub compiling: tokio::sync::Mutex<()>,
}

impl Effects for Live<'_> {
    async fn observe(&self, step: &Step) -> Facts {
        self.world.gather(std::slice::from_ref(step)).await
    }

    async fn build(
        &self,
        name: &StepName,
        image: &ImageId,
        cache: BuildCache,
        is_forced: bool,
    ) -> Result<String, Failure> {
        self.build_image(name, image, cache, is_forced).await
    }

    async fn load(
        &self,
        name: &StepName,
        image: &ImageId,
        nodes: &[String],
        facts: &Facts,
    ) -> Result<String, Failure> {
        self.load_image(name, image, nodes, facts).await
    }

    async fn cluster(&self, name: &StepName, action: ClusterAction) -> Result<String, Failure> {
        match action {
            ClusterAction::Delete => self.delete_cluster(name, false).await,
            ClusterAction::DeleteBroken => self.delete_cluster(name, true).await,
            ClusterAction::Ensure => self.create_cluster(name).await,
        }
    }

    async fn compile(&self, name: &StepName, test: &CargoTest) -> Result<String, Failure> {
        self.compile_tests(name, test).await
    }

    async fn test(&self, name: &StepName, test: &CargoTest) -> Result<String, Failure> {
        self.run_tests(name, test).await
    }

    async fn command(&self, name: &StepName, argv: &[String]) -> Result<String, Failure> {
        let (program, args) = argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let mut command = Command::new(program).args(args).directory(&self.world.file.root);
        for (variable, value) in self.environment().await? {
            command = command.env(variable, value);
        }
        let sink = |from, bytes: &[u8]| self.output(name, from, bytes);
        let status = process::stream(&command, &self.world.interrupt, sink)
            .await
            .map_err(|error| self.child_error(error))?;
        if status.success() {
            return Ok(String::new());
        }
        Err(child_failure(status, format!("`{}` failed with {status}", argv.join(" "))))
    }
}

impl Live<'_> {
    fn output(&self, name: &StepName, from: Stream, bytes: &[u8]) {
        let (step, stderr, bytes) = (name.clone(), from == Stream::Err, bytes.to_vec());
        self.emitter.emit(EventKind::Output { step, stderr, bytes });
    }

    fn note(&self, name: &StepName, text: impl Into<String>, detail: bool) {
        self.emitter.emit(EventKind::Note { step: name.clone(), text: text.into(), detail });
    }

    fn child_error(&self, error: ProcessError) -> Failure {
        match (self.world.interrupt.signal(), error) {
            (Some(signal), _) => interrupted(signal),
            (None, error) => Failure::new(Kind::Child(127), error),
        }
    }

    fn kubeconfig_path(&self) -> PathBuf {
        self.world.state.kubeconfig(&self.world.file.cluster.name)
    }

    /// What children are told. `KUBECONFIG` is always the cluster's own file, whether or not it is there: the ambient
    /// context must never be what a test falls back to.
    async fn environment(&self) -> Result<Vec<(String, String)>, Failure> {
        let file = &self.world.file;
        let name = file.cluster.name.clone();
        let kubeconfig = self.kubeconfig_path();
        let nodes = self.world.engine.nodes(&name).await.unwrap_or_default();
        if !nodes.is_empty() && (!kubeconfig.exists() || !self.world.is_ours(&nodes)) {
            let text = cluster::kubeconfig(&name, &self.world.interrupt).await;
            let text = text.map_err(|error| self.cluster_failure(error))?;
            let written = self.world.state.write_file(&kubeconfig, text.as_bytes());
            written.map_err(|error| Failure::new(Kind::Internal, error))?;
        }
        let mut environment = self.names();
        for (suffix, spec) in self.chosen() {
            if let Known::Yes(Some(host)) = self.world.host_image(spec).await {
                let digest = host.config.map_or(host.id, |config| config.to_string());
                environment.push((format!("TG_IMAGE_ID_{suffix}"), digest));
            }
        }
        Ok(environment)
    }

    /// What children are told that is known before anything is done.
    fn names(&self) -> Vec<(String, String)> {
        let tag = |(suffix, spec): (String, &ImageSpec)| {
            (format!("TG_IMAGE_{suffix}"), spec.tag.familiar().to_owned())
        };
        let kubeconfig = self.kubeconfig_path().display().to_string();
        let own = [
            ("KUBECONFIG".to_owned(), kubeconfig),
            ("KIND_CLUSTER_NAME".to_owned(), self.world.file.cluster.name.clone()),
            ("TG_RUN_ID".to_owned(), self.run.clone()),
        ];
        own.into_iter().chain(self.chosen().map(tag)).collect()
    }

    /// The images that children are told of, each with what the names of its variables end in: the variants of this run, and
    /// of other images the plain ones.
    fn chosen(&self) -> impl Iterator<Item = (String, &ImageSpec)> {
        let file = &self.world.file;
        let mut chosen: BTreeMap<&String, &ImageId> = BTreeMap::new();
        for id in file.images.keys().filter(|id| id.variant.is_none()).chain(&self.images) {
            chosen.insert(&id.name, id);
        }
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let with_suffix =
            move |id: &ImageId| Some((id.name.chars().map(upper).collect(), file.images.get(id)?));
        chosen.into_values().filter_map(with_suffix)
    }

    fn cluster_failure(&self, error: cluster::ClusterError) -> Failure {
        if let Some(signal) = self.world.interrupt.signal() {
            return interrupted(signal);
        }
        let hint = match &error {
            cluster::ClusterError::Kind(ProcessError::Start { .. }) => {
                "install kind 0.30 or newer and have it on the PATH".to_owned()
            }
            _ => "tg cluster status".to_owned(),
        };
        Failure::said(Kind::Cluster, chain(&error)).hint(hint)
    }
}

/// The child's own exit code passes through; ended by a signal it is 128 and the signal's number, as a shell has it.
fn child_failure(status: std::process::ExitStatus, message: String) -> Failure {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Failure::said(Kind::Child(u8::try_from(code).unwrap_or(1)), message)
}

//! Loading: what each node lacks, once, into all nodes at the same time, and then proved by each node's CRI.
//! Depends on: facts, adapters, digest, report::event, taskfile::model, error.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Live;
use crate::adapters::docker::ContainerState;
use crate::adapters::node::{DEFAULT_SNAPSHOTTER, Naming};
use crate::error::{Failure, Kind};
use crate::execute::interrupted;
use crate::facts::gather::chain;
use crate::facts::{Contents, Facts, HostImage, Known, NodeImage};
use crate::names::{ConfigDigest, ImageId};
use crate::report::event::{EventKind, LoadReport, NodeLoad, StepName};
use crate::taskfile::model::{ImageSpec, LoadStrategy};

mod archive;
mod push;
mod registry;
mod tell;

pub use push::sweep;

/// How long a node's CRI may take to show what its containerd has: it is told of changes, it does not look.
const CRI_LAG: Duration = Duration::from_secs(10);
/// Between two looks at a node.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Between two looks at whether a node that is taking an image still runs.
const WATCH: Duration = Duration::from_secs(2);
/// More than any image takes, to end a load that hangs.
const LIMIT: Duration = Duration::from_secs(3600);

/// One image on its way into some nodes.
struct Load<'a> {
    live: &'a Live<'a>,
    step: &'a StepName,
    spec: &'a ImageSpec,
    host: &'a HostImage,
    /// What each node had before.
    before: BTreeMap<String, Contents>,
}

/// How it went on each node.
type Outcomes = BTreeMap<String, NodeLoad>;

impl Live<'_> {
    pub(super) async fn load_image(
        &self,
        step: &StepName,
        image: &ImageId,
        nodes: &[String],
        facts: &Facts,
    ) -> Result<String, Failure> {
        let Some(spec) = self.world.file.images.get(image) else {
            return Err(Failure::said(Kind::TaskFile, format!("unknown image `{image}`")));
        };
        let host = match facts.images.get(image).map(|known| &known.host) {
            Some(Known::Yes(Some(host))) => host,
            Some(Known::Unknown(why)) => return Err(Failure::said(Kind::Docker, why.clone())),
            _ => {
                let message = format!("{} is not in Docker", spec.tag);
                return Err(Failure::said(Kind::Load, message).hint(format!("tg build {image}")));
            }
        };
        if nodes.is_empty() {
            return Err(Failure::said(Kind::Cluster, "the cluster has no node to load into")
                .hint("tg cluster status"));
        }
        if spec.tag.tag() == "latest" {
            let text = "pods pull `:latest` again unless they set imagePullPolicy: what is loaded is ignored then";
            self.note(step, text, false);
        }
        let mut load = Load { live: self, step, spec, host, before: BTreeMap::new() };
        tokio::select! {
            loaded = load.run(nodes, facts) => loaded,
            () = self.world.interrupt.requested() => {
                push::sweep_own(self.world).await;
                Err(interrupted(self.world.interrupt.signal().unwrap_or(2)))
            }
        }
    }
}

impl Load<'_> {
    async fn run(&mut self, nodes: &[String], facts: &Facts) -> Result<String, Failure> {
        let began = Instant::now();
        let mut outcomes = Outcomes::new();
        for (node, contents) in self.contents(nodes, facts).await {
            match contents {
                Ok(contents) => drop(self.before.insert(node, contents)),
                Err(why) => drop(outcomes.insert(node, NodeLoad::failed(why))),
            }
        }
        let looked = began.elapsed();
        let (tagged, moved): (Vec<String>, Vec<String>) =
            self.before.keys().cloned().partition(|node| self.known_as(node).is_some());
        let named = join_all(tagged.iter().map(|node| self.tag(node))).await;
        let (named, lost): (Vec<_>, Vec<_>) =
            tagged.into_iter().zip(named).partition(|(_, outcome)| outcome.result.is_ok());
        outcomes.extend(named);
        // What it was known as may be gone by now.
        let moved: Vec<String> =
            moved.into_iter().chain(lost.into_iter().map(|(node, _)| node)).collect();
        let mut report = self.bring(&moved).await;
        outcomes.append(&mut report.nodes);
        report.nodes = outcomes;
        report.facts = looked;
        self.finish(report)
    }

    /// What the nodes have, with their blobs: as it was just seen, or by another look.
    async fn contents(
        &self,
        nodes: &[String],
        facts: &Facts,
    ) -> Vec<(String, Result<Contents, String>)> {
        let engine = &self.live.world.engine;
        let ask = async |node: &String| {
            let listed = match facts.nodes.get(node) {
                Some(Known::Yes(contents)) if self.live.world.is_enough(contents, self.host) => {
                    return Ok(contents.clone());
                }
                Some(Known::Yes(contents)) => contents.clone(),
                _ => engine.contents(node, DEFAULT_SNAPSHOTTER).await?,
            };
            engine.closer(node, &listed).await
        };
        let look = async |node: &String| ask(node).await.map_err(|error| chain(&error));
        let looked = join_all(nodes.iter().map(look)).await;
        nodes.iter().cloned().zip(looked).collect()
    }

    /// The name under which a node has the image already, if it only lacks the right one.
    fn known_as(&self, node: &str) -> Option<String> {
        let image = NodeImage::of(self.before.get(node)?, &self.spec.tag, Some(self.host));
        image.elsewhere.filter(|_| image.is_unpacked)
    }

    fn naming<'n>(
        &'n self,
        before: &'n Contents,
        config: &'n ConfigDigest,
        superseded: Option<&'n ConfigDigest>,
    ) -> Naming<'n> {
        let superseded = superseded.filter(|old| *old != config);
        Naming { image: &self.spec.tag, config, superseded, snapshotter: before.snapshotter() }
    }

    async fn tag(&self, node: &str) -> NodeLoad {
        let began = Instant::now();
        let mut outcome = NodeLoad::by("tag-only");
        let (Some(before), Some(known_as), Some(config)) =
            (self.before.get(node), self.known_as(node), &self.host.config)
        else {
            return NodeLoad::failed(format!("node {node} is unknown"));
        };
        let superseded = NodeImage::superseded(before, &self.spec.tag);
        let naming = self.naming(before, config, superseded.as_ref());
        let named = self.live.world.engine.add_name(node, &naming, &known_as);
        let named = self.while_it_runs(node, named).await;
        outcome.transfer = began.elapsed();
        outcome.result = match named {
            Ok(told) => self.verify(node, Some(told), config).await,
            Err(why) => Err(why),
        };
        outcome.verify = began.elapsed() - outcome.transfer;
        outcome
    }

    /// Brings the image into nodes that lack it, by the first way that works for each.
    async fn bring(&self, nodes: &[String]) -> LoadReport {
        let mut report = LoadReport::default();
        if nodes.is_empty() {
            return report;
        }
        let strategy = self.live.world.file.load;
        let mut left = nodes.to_vec();
        let mut why = None;
        if !matches!(strategy, LoadStrategy::Archive | LoadStrategy::Registry) {
            match self.deliver(nodes).await {
                Ok(mut delivery) => self.by_push(&mut delivery, &mut left, &mut report).await,
                Err(said) => why = Some(said),
            }
        }
        if left.is_empty() {
            return report;
        }
        if matches!(strategy, LoadStrategy::PushAndPull | LoadStrategy::PushAndImport) {
            let why = why.unwrap_or_default();
            report.nodes.extend(left.into_iter().map(|n| (n, NodeLoad::failed(why.clone()))));
            return report;
        }
        match self.identity(&report).await {
            Err(why) => {
                report.nodes.extend(left.into_iter().map(|n| (n, NodeLoad::failed(why.clone()))));
            }
            Ok(config) if strategy == LoadStrategy::Registry => {
                self.by_registry(&left, &config, &mut report).await;
            }
            Ok(config) => self.by_archive(&left, &config, why.as_deref(), &mut report).await,
        }
        report
    }

    /// What the nodes are to have, for ways that do not tell. Without it nothing could be proved.
    async fn identity(&self, report: &LoadReport) -> Result<ConfigDigest, String> {
        if let Some(config) = report.config.as_ref().or(self.host.config.as_ref()) {
            return Ok(config.clone());
        }
        self.learn().await.map_err(|why| {
            format!(
                "{} has attestations or several platforms, and Docker does not tell what it is ({why}): build it with --provenance=false",
                self.spec.tag
            )
        })
    }

    /// Asks the node what it has now, or believes what it has `told` with the load itself.
    async fn verify(
        &self,
        node: &str,
        told: Option<Contents>,
        config: &ConfigDigest,
    ) -> Result<(), String> {
        let engine = &self.live.world.engine;
        let snapshotter = self.before.get(node).map_or(DEFAULT_SNAPSHOTTER, Contents::snapshotter);
        let host = HostImage { config: Some(config.clone()), ..self.host.clone() };
        let deadline = Instant::now() + CRI_LAG;
        let mut contents = told;
        let mut looked_again = false;
        loop {
            let seen = match contents.take() {
                Some(contents) => Ok(contents),
                None => engine.contents(node, snapshotter).await.map_err(|error| chain(&error)),
            };
            let what = match seen {
                Err(why) => why,
                Ok(seen) => {
                    let found = NodeImage::of(&seen, &self.spec.tag, Some(&host));
                    let is_right = found.tagged.as_ref() == Some(config) && found.is_unpacked;
                    if is_right {
                        if looked_again {
                            // The CRI did not show it in time for the load to remove what it replaces.
                            self.remove_superseded(node, config).await;
                        }
                        return Ok(());
                    }
                    let what = match &found.tagged {
                        None => "nothing".to_owned(),
                        Some(id) if id == config => format!("{} without its layers", id.short()),
                        Some(id) => format!("{}, not {}", id.short(), config.short()),
                    };
                    format!("has {what} under {} after the load", self.spec.tag)
                }
            };
            if Instant::now() > deadline {
                self.remove_broken(node, config).await;
                return Err(format!("node {node}: {what}"));
            }
            looked_again = true;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Removes a name whose layers did not arrive: whoever starts a pod with it would get an error that nobody understands.
    async fn remove_broken(&self, node: &str, config: &ConfigDigest) {
        let (Some(before), Some(chain)) = (self.before.get(node), self.host.chains.last()) else {
            return;
        };
        // The load has failed already, and says so.
        let naming = self.naming(before, config, None);
        let _ = self.live.world.engine.remove_broken(node, &naming, chain).await;
    }

    /// Removes what the name stood for before, where nothing else does and no container is made from it.
    async fn remove_superseded(&self, node: &str, config: &ConfigDigest) {
        let Some(before) = self.before.get(node) else { return };
        let superseded = NodeImage::superseded(before, &self.spec.tag);
        if let Some(old) = superseded.filter(|old| old != config) {
            // It is in the way of nobody: what fails here is not worth a failure.
            let _ = self.live.world.engine.remove_unused(node, &old).await;
        }
    }

    /// Does something with a node while that runs as it does now. A paused node would take for ever, and one that was
    /// restarted has lost it.
    async fn while_it_runs<T, E: std::error::Error + 'static>(
        &self,
        node: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        let engine = &self.live.world.engine;
        let gone = async {
            let mut first: Option<ContainerState> = None;
            loop {
                match engine.network(node).await.map(|network| network.state) {
                    Err(error) => return chain(&error),
                    Ok(state) if !state.is_running => {
                        return format!("node {node} is {}", state.status);
                    }
                    Ok(state) if first.as_ref().is_some_and(|first| *first != state) => {
                        return format!("node {node} was restarted");
                    }
                    Ok(state) => first = Some(state),
                }
                tokio::time::sleep(WATCH).await;
            }
        };
        tokio::select! {
            done = work => done.map_err(|error| chain(&error)),
            why = gone => Err(why),
            () = tokio::time::sleep(LIMIT) => Err(format!("node {node} took more than {} s", LIMIT.as_secs())),
        }
    }

    /// Tells how it went, and says it in one line.
    fn finish(&self, report: LoadReport) -> Result<String, Failure> {
        let text = tell::summary(&report, self.host);
        let failed: Vec<String> =
            report.nodes.values().filter_map(|node| node.result.clone().err()).collect();
        let (of, good) = (report.nodes.len(), report.nodes.len() - failed.len());
        let step = self.step.clone();
        self.live.emitter.emit(EventKind::Loaded { step, report: Box::new(report) });
        if failed.is_empty() {
            return Ok(text);
        }
        let message = format!(
            "loading {} failed on {} of {of} nodes ({good} have it):\n{}",
            self.spec.tag,
            failed.len(),
            failed.join("\n")
        );
        Err(Failure::said(Kind::Load, message).hint(format!("tg load {}", self.spec.id)))
    }
}

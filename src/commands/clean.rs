//! Removes what tg made: its cluster, and images under the task file's tags that carry its label. Shows first, asks, then does.

use super::Context;
use crate::cli::CleanPart;
use crate::error::{Failure, Kind};
use crate::execute::effects::Effects;
use crate::execute::live::Live;
use crate::facts::Known;
use crate::facts::gather::World;
use crate::names::ImageRef;
use crate::report::event::{Emitter, StepName};
use crate::taskfile::model::ClusterAction;

pub(crate) async fn clean(
    context: &Context,
    world: &World,
    what: CleanPart,
    yes: bool,
) -> Result<(), Failure> {
    let ui = context.ui;
    let name = &world.file.cluster.name;
    let docker = |error| Failure::new(Kind::Docker, anyhow::Error::new(error));
    let mut cluster = false;
    if what != CleanPart::Images {
        let nodes = world.engine.nodes(name).await.map_err(docker)?;
        cluster = !nodes.is_empty() && world.is_ours(&nodes);
        if cluster {
            ui.answer(&format!("cluster {name}: {} node(s)", nodes.len()));
        } else if !nodes.is_empty() {
            ui.say(&format!("cluster {name} is left alone: tg did not make it"));
        }
    }
    let images = if what == CleanPart::Cluster { Vec::new() } else { ours(context, world).await };
    for (tag, size) in &images {
        ui.answer(&format!("image {tag}: {} MB", size / 1_000_000));
    }
    if !cluster && images.is_empty() {
        ui.say("nothing to remove");
        return Ok(());
    }
    if context.app.global.dry_run {
        return Ok(());
    }
    if !yes {
        if !context.environment.asks {
            return Err(Failure::said(Kind::Refused, "nobody to ask whether to remove this")
                .hint("tg clean --yes"));
        }
        if !ui.confirm("Remove this?") {
            return Err(Failure::said(Kind::Refused, "not confirmed; nothing was removed"));
        }
    }
    for (tag, _) in &images {
        world.engine.untag(tag.familiar()).await.map_err(docker)?;
    }
    if cluster {
        delete_cluster(world).await?;
    }
    ui.say("removed");
    Ok(())
}

async fn ours(context: &Context, world: &World) -> Vec<(ImageRef, u64)> {
    let mut found = Vec::new();
    for spec in world.file.images.values() {
        match world.host_image(spec).await {
            Known::Yes(Some(host)) if host.key.is_some() => {
                found.push((spec.tag.clone(), host.size))
            }
            Known::Yes(Some(_)) => {
                context.ui.say(&format!("image {} is left alone: tg did not build it", spec.tag));
            }
            _ => {}
        }
    }
    found
}

async fn delete_cluster(world: &World) -> Result<(), Failure> {
    let emitter = Emitter::new(drop);
    let live = Live {
        world,
        emitter: &emitter,
        run: String::new(),
        command: "clean".to_owned(),
        images: Vec::new(),
        extra: Vec::new(),
        color: false,
        compiling: tokio::sync::Mutex::default(),
    };
    let step = StepName { index: 0, kind: "cluster", object: world.file.cluster.name.clone() };
    live.cluster(&step, ClusterAction::Delete).await.map(drop)
}

//! Creates, deletes and looks at the cluster.

use super::{Context, run, until_interrupted};
use crate::cli::ClusterVerb;
use crate::error::{Failure, Kind};
use crate::facts::gather::World;
use crate::facts::{ClusterState, Known};
use crate::report::print_status;
use crate::taskfile::model::{ClusterAction, Step};

pub(crate) async fn cluster(
    context: &Context,
    world: &World,
    what: ClusterVerb,
) -> Result<(), Failure> {
    let ensure = Step::Cluster(ClusterAction::Ensure);
    let mut steps = Vec::new();
    let name = match what {
        ClusterVerb::Status => {
            let facts = until_interrupted(&world.interrupt, world.gather(&[ensure])).await?;
            print_status(context.ui, &world.file, &facts, &[]);
            let ready = matches!(facts.cluster, Known::Yes(ClusterState::Ready { .. }));
            let not_ready = || {
                Failure::said(Kind::Cluster, "the cluster is not ready").hint("tg cluster create")
            };
            return if ready { Ok(()) } else { Err(not_ready()) };
        }
        ClusterVerb::Delete => {
            steps.push(Step::Cluster(ClusterAction::Delete));
            "cluster delete"
        }
        ClusterVerb::Create { recreate } => {
            let facts = world.gather(std::slice::from_ref(&ensure));
            let facts = until_interrupted(&world.interrupt, facts).await?;
            if recreate && matches!(facts.cluster, Known::Yes(ClusterState::Broken { .. })) {
                steps.push(Step::Cluster(ClusterAction::DeleteBroken));
            }
            steps.push(ensure);
            "cluster create"
        }
    };
    run::run(context, world, run::Request { name: name.to_owned(), steps, extra: Vec::new() }).await
}

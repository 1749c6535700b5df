//! Whose turn it is: the order of executions that want the same, out of the list of all.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use launchway_crds::execution::Environments;

use crate::outline::ExecutionOutline;

use super::world::{Siblings, World};

/// The order in which executions take their turn.
fn order(execution: &ObjectMeta) -> (Option<Timestamp>, String) {
    (execution.creation_timestamp.as_ref().map(|time| time.0), name(execution))
}

fn name(execution: &ObjectMeta) -> String {
    execution.name.clone().unwrap_or_default()
}

/// Other executions that have not ended.
fn others<'a>(all: &'a [ExecutionOutline], world: &'a World) -> impl Iterator<Item = &'a ExecutionOutline> {
    all.iter()
        .filter(|other| other.metadata.uid != world.execution.metadata.uid)
        .filter(|other| other.ended().is_none())
}

/// The oldest other execution that waits for one of the same environments and was there first. Nobody waits for one that
/// has not begun because its pipeline is suspended.
#[must_use]
pub fn ahead(all: &[ExecutionOutline], world: &World, wanted: &Environments) -> Option<String> {
    let mine = order(&world.execution.metadata);
    others(all, world)
        .filter(|other| order(&other.metadata) < mine)
        .filter(|other| other.progress.as_ref().is_some_and(|progress| !progress.suspended))
        .filter(|other| {
            other.environments().is_some_and(|theirs| theirs.all().any(|name| wanted.all().any(|mine| mine == name)))
        })
        .min_by_key(|other| order(&other.metadata))
        .map(|other| name(&other.metadata))
}

/// Whether an execution only tells once more of one that ended: it ends by itself.
fn is_known(world: &World, execution: &ExecutionOutline) -> bool {
    let ledger =
        world.pipeline.iter().filter_map(|pipeline| pipeline.status.as_ref()).flat_map(|status| &status.ledger);
    let (name, uid) = (name(&execution.metadata), execution.metadata.uid.as_deref());
    ledger.into_iter().any(|entry| entry.name == name && Some(entry.uid.as_str()) != uid)
}

/// Executions of the same pipeline. One that a GitOps tool creates again after its end replaces none and holds none up.
#[must_use]
pub fn siblings(all: &[ExecutionOutline], world: &World) -> Siblings {
    let mine = order(&world.execution.metadata);
    let same: Vec<&ExecutionOutline> = others(all, world)
        .filter(|other| other.pipeline == world.execution.spec.pipeline_ref.name && !is_known(world, other))
        .collect();
    let (older, newer): (Vec<_>, Vec<_>) =
        same.iter().map(|other| order(&other.metadata)).filter(|other| *other != mine).partition(|other| *other < mine);
    Siblings {
        older: older.into_iter().min().map(|(_, name)| name),
        newer: newer.into_iter().max().map(|(_, name)| name),
    }
}

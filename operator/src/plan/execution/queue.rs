//! Whose turn it is: the order of executions that want the same, out of the list of all.

use jiff::Timestamp;
use launchway_crds::{PipelineExecution, conditions::reasons, execution::Environments};

use super::world::{Siblings, World};

/// The order in which executions take their turn.
fn order(execution: &PipelineExecution) -> (Option<Timestamp>, String) {
    (execution.metadata.creation_timestamp.as_ref().map(|time| time.0), name(execution))
}

fn name(execution: &PipelineExecution) -> String {
    execution.metadata.name.clone().unwrap_or_default()
}

/// Other executions that have not ended.
fn others<'a>(all: &'a [PipelineExecution], world: &'a World) -> impl Iterator<Item = &'a PipelineExecution> {
    all.iter()
        .filter(|other| other.metadata.uid != world.execution.metadata.uid)
        .filter(|other| other.status.as_ref().is_none_or(|status| status.completion_time.is_none()))
}

/// Whether an execution has not begun because its pipeline is suspended: nobody waits for that.
fn is_suspended(execution: &PipelineExecution) -> bool {
    let first = execution.status.as_ref().and_then(|status| status.steps.first());
    first.is_some_and(|step| !step.state.is_terminal() && step.reason.as_deref() == Some(reasons::SUSPENDED))
}

/// The oldest other execution that waits for one of the same environments and was there first.
#[must_use]
pub fn ahead(all: &[PipelineExecution], world: &World, wanted: &Environments) -> Option<String> {
    let mine = order(&world.execution);
    others(all, world)
        .filter(|other| order(other) < mine && !is_suspended(other))
        .filter(|other| {
            let theirs = other.status.as_ref().and_then(|status| status.environments.as_ref());
            theirs.is_some_and(|theirs| theirs.all().any(|name| wanted.all().any(|mine| mine == name)))
        })
        .min_by_key(|other| order(other))
        .map(name)
}

/// Whether an execution only tells once more of one that ended: it ends by itself.
fn is_known(world: &World, execution: &PipelineExecution) -> bool {
    let ledger =
        world.pipeline.iter().filter_map(|pipeline| pipeline.status.as_ref()).flat_map(|status| &status.ledger);
    let (name, uid) = (name(execution), execution.metadata.uid.as_deref());
    ledger.into_iter().any(|entry| entry.name == name && Some(entry.uid.as_str()) != uid)
}

/// Executions of the same pipeline. One that a GitOps tool creates again after its end replaces none and holds none up.
#[must_use]
pub fn siblings(all: &[PipelineExecution], world: &World) -> Siblings {
    let mine = order(&world.execution);
    let same: Vec<&PipelineExecution> = others(all, world)
        .filter(|other| other.spec.pipeline_ref == world.execution.spec.pipeline_ref && !is_known(world, other))
        .collect();
    Siblings {
        older: same
            .iter()
            .filter(|other| order(other) < mine)
            .min_by_key(|other| order(other))
            .map(|other| name(other)),
        newer: same
            .iter()
            .filter(|other| order(other) > mine)
            .max_by_key(|other| order(other))
            .map(|other| name(other)),
    }
}

//! The planner of a pipeline: whether it can run, and whether a change of its source starts an execution.
//!
//! [`needs`] says which facts matter, [`next`] decides on them. A start takes three steps, so that a crash between any
//! two of them starts nothing twice and forgets nothing: status says which execution is due, and for which revision; the
//! execution of that name is created; status says that nothing is due any more.

mod change;
mod ready;
mod rivals;
pub mod world;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Pipeline,
    common::Span,
    conditions::{self, reasons, types},
    pipeline::{HistoryImages, PipelineStatus, PipelineType},
};

pub use change::{Start, is_busy, stage_only};
pub use rivals::{are_rivals, environments, rival};
use world::{LookFor, Needs, World};

/// How often a pipeline looks by itself whether the execution that holds up a change has ended: that one was deleted is
/// not always told.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// What is to be done for a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// An execution to create. Facts are read again afterwards, and status is not written before.
    pub start: Option<Start>,
    /// What is to be said of the pipeline.
    pub status: PipelineStatus,
    /// Whether there is more to do once this status is written.
    pub again: bool,
    /// How the source is to be watched; None when it is left alone.
    pub watch: Option<Watch>,
    /// When to look again, whatever happens.
    pub wake: Option<Timestamp>,
}

/// How a source is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How often it is asked.
    pub interval: Span,
    /// Whether it is to be asked at once, because nothing is known of it yet.
    pub soon: bool,
}

/// Which facts matter. They are asked for twice: whether the source has to be asked may depend on the executions.
#[must_use]
pub fn needs(world: &World) -> Needs {
    let Ok(Some(_)) = change::watched(world, ready::doubt(world).as_ref()) else { return Needs::default() };
    let seen = change::known(world);
    let due = seen.as_ref().and_then(|seen| seen.due.as_deref());
    let look = match due {
        Some(due) if change::may_start(world, due) => LookFor::Now,
        _ => LookFor::Last,
    };
    Needs { executions: due.is_some(), look }
}

/// What is to be done. Pure and total: the same facts always give the same plan.
#[must_use]
pub fn next(world: &World) -> Plan {
    let doubt = ready::doubt(world);
    let mut status = world.pipeline.status.clone().unwrap_or_default();
    let generation = world.pipeline.metadata.generation;
    status.observed_generation = generation.unwrap_or_default();
    let changed = change::follow(world, doubt.as_ref(), &mut status);
    if world.pipeline.spec.history.images == HistoryImages::Keep {
        status.conditions.retain(|condition| condition.type_ != types::IMAGES_DELETED);
    }
    let (reason, message) = doubt.unwrap_or((reasons::READY, "its environments are there".into()));
    let ready = reason == reasons::READY;
    let at = Time(world.now);
    conditions::set(&mut status.conditions, &at, generation, types::READY, ready, reason, &message);
    conditions::set(&mut status.conditions, &at, generation, types::RECONCILING, false, reason, "");
    conditions::set(&mut status.conditions, &at, generation, types::STALLED, !ready, reason, &message);
    let waits = status.source.as_ref().is_some_and(|seen| seen.due.is_some()) && changed.start.is_none();
    let wake = waits.then(|| world.now.saturating_add(LOOK_AGAIN).unwrap_or(world.now));
    Plan { start: changed.start, status, again: changed.again, watch: changed.watch, wake }
}

/// Whether a change of one pipeline can mean something for another: what starts by itself, where releases come from, and
/// which of them deploy to the same Environment.
#[must_use]
pub fn concerns(changed: &Pipeline, other: &Pipeline) -> bool {
    let name = changed.metadata.name.as_deref();
    let coupled = changed.spec.type_ == PipelineType::StageOnly
        && other.spec.type_ == PipelineType::FullStack
        && other.spec.starts_on_change().is_some();
    let rivals = name != other.metadata.name.as_deref() && are_rivals(&changed.spec, &other.spec);
    coupled || rivals || (name.is_some() && other.spec.source.pipeline.as_deref() == name)
}

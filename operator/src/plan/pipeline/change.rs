//! What a change of the source means: which executions it starts, and when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Pipeline, PipelineExecution,
    conditions::{self, reasons, types},
    names::short_hash,
    pipeline::{Concurrency, PipelineStatus, PipelineType},
    trigger::{OnChange, SourceSeen},
};

use super::{
    Watch,
    ready::Doubt,
    world::{Look, World},
};
use crate::plan::execution::world::Fault;

/// An execution that a change starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name, which follows from pipeline, revision and the moment in which that was seen first.
    pub name: String,
    /// The revision that it runs.
    pub revision: String,
}

/// What following the source came to.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub(super) start: Option<Start>,
    pub(super) again: bool,
    pub(super) watch: Option<Watch>,
}

/// Why changes of a source start nothing now.
pub(super) enum Held {
    /// Another pipeline answers them, or this one's source cannot tell: what is known of the source means nothing later.
    Forgets(Doubt),
    /// Only for now: what has changed meanwhile starts an execution once it is over.
    Waits(Doubt),
}

/// How the source of a pipeline is watched; None when executions are started by people alone.
pub(super) fn watched(world: &World, doubt: Option<&Doubt>) -> Result<Option<(String, OnChange)>, Held> {
    let spec = &world.pipeline.spec;
    let Some(how) = spec.starts_on_change() else { return Ok(None) };
    let Some(key) = spec.source.key() else { return Ok(None) };
    if let Some(first) = &world.stage_only {
        let why = format!(
            "Pipeline {first} is stage-only and starts on changes of {key}: this one is left to people, until one of them gets another trigger or source"
        );
        return Err(Held::Forgets((reasons::STAGE_ONLY_WINS, why)));
    }
    if spec.suspend {
        let why = "spec.suspend holds changes: the newest one starts an execution when it ends".to_string();
        return Err(Held::Waits((reasons::SUSPENDED, why)));
    }
    if let Some((_, why)) = doubt {
        return Err(Held::Waits((reasons::NOT_READY, format!("changes wait until the pipeline is ready: {why}"))));
    }
    Ok(Some((key, how)))
}

/// What is known of the source that the pipeline names now.
pub(super) fn known(world: &World) -> Option<SourceSeen> {
    let key = world.pipeline.spec.source.key()?;
    world.pipeline.status.as_ref()?.source.clone().filter(|seen| seen.of == key)
}

/// Follows the source: brings what status says of it up to date, and says what that starts.
pub(super) fn follow(world: &World, doubt: Option<&Doubt>, status: &mut PipelineStatus) -> Followed {
    let (key, how) = match watched(world, doubt) {
        Ok(Some(watched)) => watched,
        Ok(None) => {
            status.source = None;
            status.conditions.retain(|condition| condition.type_ != types::SOURCE_WATCHED);
            return Followed::default();
        }
        Err(Held::Forgets(why)) => {
            status.source = None;
            say(world, status, Some(why));
            return Followed::default();
        }
        Err(Held::Waits(why)) => {
            say(world, status, Some(why));
            return Followed::default();
        }
    };
    status.source = known(world);
    let watch = Watch { interval: how.interval, soon: status.source.is_none() };
    let mut followed = Followed { watch: Some(watch), ..Followed::default() };
    match &world.look {
        Look::NotYet => {}
        Look::Failed { fault, lasting } => {
            if *lasting {
                say(world, status, Some(fault_reason(fault)));
            }
        }
        Look::Seen { revision, fresh } => {
            say(world, status, None);
            followed.again = see(world, status, &key, revision.as_deref());
            followed.start = if followed.again { None } else { start(world, status, *fresh) };
        }
    }
    followed
}

/// Takes note of a revision; says whether it is one that is to be run.
fn see(world: &World, status: &mut PipelineStatus, key: &str, revision: Option<&str>) -> bool {
    let Some(seen) = &mut status.source else {
        // What was there before anybody looked starts nothing: a pipeline that is restored from a backup, or created
        // again, would deploy what nobody asked for.
        status.source = Some(SourceSeen {
            of: key.to_string(),
            revision: revision.map(str::to_string),
            since: Time(world.now),
            due: None,
            execution: None,
        });
        return false;
    };
    if seen.revision.as_deref() == revision {
        return false;
    }
    seen.revision = revision.map(str::to_string);
    seen.since = Time(world.now);
    // The newest change alone: whatever was due before is not started any more.
    seen.due = revision.map(|revision| name(&world.pipeline, revision, &seen.since));
    seen.due.is_some()
}

/// The execution that is due, if its moment has come. One that exists already is taken note of.
fn start(world: &World, status: &mut PipelineStatus, fresh: bool) -> Option<Start> {
    let remembered = |due: &str| status.ledger.iter().any(|entry| entry.name == due);
    let seen = status.source.as_ref()?;
    let (due, revision) = (seen.due.clone()?, seen.revision.clone()?);
    if exists(world, &due) || remembered(&due) {
        if let Some(seen) = &mut status.source {
            seen.execution = seen.due.take();
        }
        return None;
    }
    (fresh && may_start(world, &due)).then_some(Start { name: due, revision })
}

fn exists(world: &World, name: &str) -> bool {
    world.executions.iter().any(|execution| execution.metadata.name.as_deref() == Some(name))
}

/// Whether nothing of this pipeline is in the way of an execution that is due.
pub(super) fn may_start(world: &World, due: &str) -> bool {
    let busy = match world.pipeline.spec.concurrency {
        Concurrency::Queue | Concurrency::Refuse => world.executions.iter().any(is_busy),
        // The new one takes the place of the other: that is for the executions to settle.
        Concurrency::Replace => false,
    };
    !busy && !exists(world, due)
}

/// Whether an execution has not ended.
#[must_use]
pub fn is_busy(execution: &PipelineExecution) -> bool {
    execution.status.as_ref().is_none_or(|status| status.completion_time.is_none())
}

/// The stage-only pipeline among others that starts on changes of the same source: then only that one starts
/// (`cloud-manager.md` §1.4). Only a coupled pipeline yields.
#[must_use]
pub fn stage_only(pipeline: &Pipeline, others: &[Pipeline]) -> Option<String> {
    if pipeline.spec.type_ != PipelineType::FullStack || pipeline.spec.starts_on_change().is_none() {
        return None;
    }
    let key = pipeline.spec.source.key()?;
    others
        .iter()
        .filter(|other| other.spec.type_ == PipelineType::StageOnly && other.metadata.deletion_timestamp.is_none())
        .filter(|other| other.spec.starts_on_change().is_some() && other.spec.source.key().as_ref() == Some(&key))
        .filter_map(|other| other.metadata.name.clone())
        .min()
}

/// Longest name of a pipeline that goes into the name of an execution whole.
const HEAD_MAX: usize = 45;

/// The name of the execution for a change: the same every time that this change is looked at, another one when the same
/// revision comes back later.
fn name(pipeline: &Pipeline, revision: &str, since: &Time) -> String {
    let own = pipeline.metadata.name.clone().unwrap_or_default();
    let uid = pipeline.metadata.uid.clone().unwrap_or_default();
    let head: String = own.chars().take(HEAD_MAX).collect();
    let digits = revision.rsplit(':').next().unwrap_or_default();
    let short: String = digits.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let hash = short_hash(format!("{uid} {revision} {}", since.0).as_bytes());
    format!("{}-{}-{hash}", head.trim_end_matches(['-', '.']), short.to_ascii_lowercase())
}

fn fault_reason(fault: &Fault) -> Doubt {
    match fault {
        Fault::Absent(why) => (reasons::SOURCE_NOT_FOUND, why.clone()),
        Fault::Refused(why) => (reasons::SOURCE_UNAUTHORIZED, why.clone()),
        Fault::Unreachable(why) => (reasons::SOURCE_UNREACHABLE, why.clone()),
    }
}

/// Says whether changes are noticed. While the reason stays the same so do the words: a registry that words its errors
/// differently each time would have status written each time.
fn say(world: &World, status: &mut PipelineStatus, why: Option<Doubt>) {
    let watched = why.is_none();
    let (reason, message) = why.unwrap_or((reasons::WATCHED, "the source is asked for changes".into()));
    let generation = world.pipeline.metadata.generation;
    let same = conditions::get(&status.conditions, types::SOURCE_WATCHED)
        .is_some_and(|old| old.reason == reason && old.observed_generation == generation);
    if !same {
        let at = Time(world.now);
        conditions::set(&mut status.conditions, &at, generation, types::SOURCE_WATCHED, watched, reason, &message);
    }
}

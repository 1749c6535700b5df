//! Which executions that ended may be deleted: those beyond the limits that nobody needs.
//!
//! Nothing depends on the objects for its safety: what a promotion, a second deployment or a way back takes, and what may
//! not run again, stands in the ledger. They are kept because people look at them.

use std::{borrow::Borrow, cmp::Reverse, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use launchway_crds::{
    Environment, Pipeline,
    pipeline::{LedgerEntry, PipelineType},
};

use super::{Action, world::World};
use crate::outline::{End, ExecutionOutline};

/// Most deletions of one round: another round follows.
const ROUND: usize = 20;

/// Executions of a pipeline that ended and are beyond its limits, in no order.
pub(super) fn beyond<'a>(pipeline: &Pipeline, executions: &'a [Arc<ExecutionOutline>]) -> Vec<&'a ExecutionOutline> {
    let name = pipeline.metadata.name.as_deref().unwrap_or_default();
    let limits = pipeline.spec.history;
    [(End::Succeeded, limits.succeeded), (End::Failed, limits.failed)]
        .into_iter()
        .flat_map(|(end, limit)| {
            let mut ended: Vec<&ExecutionOutline> = executions
                .iter()
                .map(AsRef::as_ref)
                .filter(|one: &&ExecutionOutline| {
                    one.pipeline == name && one.ended().is_some_and(|(_, how)| how == end)
                })
                .collect();
            ended.sort_by_cached_key(|one| Reverse(turn(one)));
            ended.split_off(ended.len().min(usize::try_from(limit).unwrap_or_default()))
        })
        .collect()
}

/// Executions of the pipeline to delete, oldest first.
pub(super) fn surplus(world: &World) -> Vec<Action> {
    let mut beyond = beyond(&world.pipeline, &world.executions);
    if beyond.is_empty() {
        return vec![];
    }
    let needed = Needed::of(&world.environments, world.executions.iter().map(AsRef::as_ref), &world.pipelines);
    beyond.retain(|one| one.is_told() && is_remembered(&world.pipeline, one) && !needed.has(one));
    beyond.sort_by_cached_key(|one| turn(one));
    beyond.truncate(ROUND);
    beyond
        .into_iter()
        .map(|one| Action::DeleteExecution {
            name: one.metadata.name.clone().unwrap_or_default(),
            uid: one.metadata.uid.clone().unwrap_or_default(),
            version: one.metadata.resource_version.clone().unwrap_or_default(),
        })
        .collect()
}

/// The order in which executions ended.
fn turn(one: &ExecutionOutline) -> (Option<Timestamp>, Option<String>) {
    (one.ended().map(|(at, _)| at), one.metadata.name.clone())
}

/// Whether the ledger tells of it: without that it would run again if somebody created it again.
fn is_remembered(pipeline: &Pipeline, one: &ExecutionOutline) -> bool {
    ledger(pipeline).iter().any(|entry| Some(&entry.uid) == one.metadata.uid.as_ref())
}

/// What a pipeline remembers, newest first.
pub(super) fn ledger(pipeline: &Pipeline) -> &[LedgerEntry] {
    pipeline.status.as_ref().map_or(&[], |status| status.ledger.as_slice())
}

/// What of a namespace's history somebody still needs.
#[derive(Debug, Default)]
pub(super) struct Needed {
    uids: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Needed {
    fn has(&self, one: &ExecutionOutline) -> bool {
        let ObjectMeta { uid, name, .. } = &one.metadata;
        uid.as_ref().is_some_and(|uid| self.uids.contains(uid))
            || name.as_ref().is_some_and(|name| self.names.contains(name))
    }

    /// Whether it is the execution that an entry of a ledger tells of.
    pub(super) fn has_entry(&self, entry: &LedgerEntry) -> bool {
        self.uids.contains(&entry.uid) || self.names.contains(&entry.name)
    }

    /// What everything of one namespace needs; of the executions, those that have not ended.
    pub(super) fn of<'a, E: Borrow<Environment>, P: Borrow<Pipeline>>(
        environments: &[E],
        executions: impl IntoIterator<Item = &'a ExecutionOutline>,
        pipelines: &[P],
    ) -> Self {
        let mut needed = Self::default();
        for status in environments.iter().filter_map(|environment| environment.borrow().status.as_ref()) {
            needed.uids.extend(status.deployed.iter().map(|deployed| deployed.uid.clone()));
            let web_tier = status.deployed.iter().filter_map(|deployed| deployed.web_tier.as_ref());
            needed.uids.extend(web_tier.map(|origin| origin.uid.clone()));
            needed.uids.extend(status.target.iter().map(|target| target.uid.clone()));
            needed.uids.extend(status.lock.iter().map(|lock| lock.uid.clone()));
        }
        for waits in executions.into_iter().filter(|one| one.ended().is_none()) {
            needed.uids.extend(waits.progress.as_ref().and_then(|progress| progress.takes.clone()));
            needed.names.extend(waits.names.iter().cloned());
        }
        for pipeline in pipelines {
            needed.remember(environments, pipelines, pipeline.borrow());
        }
        needed
    }

    /// What a pipeline's next execution may want to take.
    fn remember<E: Borrow<Environment>, P: Borrow<Pipeline>>(
        &mut self,
        environments: &[E],
        pipelines: &[P],
        pipeline: &Pipeline,
    ) {
        let entries = ledger(pipeline);
        let debt = pipeline.status.iter().flat_map(|status| &status.debt);
        self.names.extend(debt.map(|debt| debt.execution.clone()));
        // Re-execute: only ever the last one.
        self.uids.extend(entries.first().map(|entry| entry.uid.clone()));
        // Promote: the last that passed.
        self.uids.extend(entries.iter().find(|entry| entry.has_passed()).map(|entry| entry.uid.clone()));
        // Roll back: the last that passed with another release than the one that runs, and where that came from.
        if matches!(pipeline.spec.type_, PipelineType::FullStack | PipelineType::ProductionOnly) {
            let runs = pipeline.spec.production.as_ref().and_then(|production| {
                let found = environments
                    .iter()
                    .map(Borrow::borrow)
                    .find(|environment| environment.metadata.name.as_ref() == Some(&production.environment))?;
                found.status.as_ref()?.deployed.as_ref().map(|deployed| deployed.release.digest())
            });
            let passed = || entries.iter().filter(|entry| entry.has_passed());
            let release = |entry: &LedgerEntry| entry.release.as_ref().map(|release| release.digest());
            self.uids.extend(passed().find(|entry| release(entry) != runs).map(|entry| entry.uid.clone()));
            // Whoever made what runs, on whichever pipeline.
            let makers = pipelines.iter().flat_map(|other| ledger(other.borrow()));
            self.uids.extend(
                makers
                    .filter(|entry| runs.is_some() && release(entry) == runs && entry.has_passed())
                    .map(|entry| entry.uid.clone()),
            );
        }
    }
}

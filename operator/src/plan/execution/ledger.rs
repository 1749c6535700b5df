//! What a pipeline remembers of its executions: changes of its status, as pure functions for whoever writes it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    digest::ImageRef,
    execution::{Mode, PipelineExecutionSpec, PipelineExecutionStatus, Step},
    names::short_hash,
    pipeline::{Debt, ImagesState, LEDGER_MAX, LedgerEntry, PipelineStatus},
    step::{StepName, StepState},
};

use super::{identity, step_of, world::World};

/// What there is to remember of an execution that ends with this status.
pub(super) fn entry(world: &World, status: &PipelineExecutionStatus) -> LedgerEntry {
    let (name, _, uid) = identity(world);
    let approved = status.approvals.iter().any(|approval| approval.step == StepName::ApprovalProduction);
    // A deployment that is done again stands on the approval of the first one.
    let inherited = status.source.is_some() && step_of(status, StepName::ApprovalProduction).is_none();
    let production = step_of(status, StepName::DeployProduction);
    LedgerEntry {
        name: name.into(),
        uid: uid.into(),
        spec_hash: spec_hash(&world.execution.spec),
        result: status.state.clone(),
        release: status.release.clone(),
        images: status.images.clone(),
        made_at: status.made_at.clone(),
        began_production: production.is_some_and(|step| began(step.state, step.reason.as_deref())),
        approved: approved || (inherited && production.is_some()),
        trigger: status.trigger,
        skipped: skipped(&world.execution.spec, status),
        images_state: None,
        at: Time(world.now),
    }
}

/// Whether the deployment reached the Environment: what ended it before that is no reason to try it again.
fn began(state: StepState, reason: Option<&str>) -> bool {
    match state {
        StepState::Running | StepState::Finished | StepState::RollingBack | StepState::RolledBack => true,
        StepState::Failed | StepState::Error => reason == Some(reasons::DEPLOYMENT_FAILED),
        StepState::NotStarted | StepState::Waiting | StepState::Cancelled | StepState::Incomplete => false,
    }
}

/// Whether a pipeline remembers that an execution ended this way: when it was told, and what became of its images since, does
/// not matter.
pub(super) fn is_told(pipeline: &PipelineStatus, entry: &LedgerEntry) -> bool {
    pipeline
        .ledger
        .iter()
        .any(|old| LedgerEntry { at: entry.at.clone(), images_state: entry.images_state, ..old.clone() } == *entry)
}

/// Adds an ended execution to what a pipeline remembers; says whether anything changed.
///
/// A request that came between an earlier entry and the status may have changed how the execution ended: then the new
/// entry takes the place of the old one.
pub fn remember(pipeline: &mut PipelineStatus, entry: &LedgerEntry, steps: &TestedSteps) -> bool {
    if is_told(pipeline, entry) {
        return false;
    }
    pipeline.ledger.retain(|old| old.uid != entry.uid);
    pipeline.ledger.insert(0, entry.clone());
    bound(&mut pipeline.ledger);
    if entry.result == reasons::FINISHED {
        pipeline.debt.retain(|debt| !steps.passed.contains(&debt.step));
    } else if !entry.began_production {
        // Left out by an execution that did not come to anything after all: nothing runs that was not tested.
        pipeline.debt.retain(|debt| debt.execution != entry.name);
        return true;
    }
    for step in &steps.skipped {
        if pipeline.debt.iter().all(|debt| debt.step != *step) {
            pipeline.debt.push(Debt { step: *step, execution: steps.skipped_by.clone(), since: entry.at.clone() });
        }
    }
    true
}

/// Forgets what is too much, oldest first, but not what somebody may still ask for: the last execution, which can be done
/// again, and the last two releases that passed, the newest of which is promoted and one of which is the way back from the
/// other. Images that are still to be deleted are known by their entries alone: these go last, unless they are most of it.
/// A registry that deletes nothing must not cost the memory of executions that are there.
fn bound(ledger: &mut Vec<LedgerEntry>) {
    while ledger.len() > LEDGER_MAX {
        let needed = needed(ledger);
        let oldest = |may_go: &dyn Fn(&LedgerEntry) -> bool| {
            (0..ledger.len()).rev().find(|at| !needed.contains(&Some(*at)) && may_go(&ledger[*at]))
        };
        let is_let_go = |entry: &LedgerEntry| entry.images_state == Some(ImagesState::LetGo);
        let most = ledger.iter().filter(|entry| is_let_go(entry)).count() > LEDGER_MAX / 2;
        let goes = oldest(&|entry| most || !is_let_go(entry)).or_else(|| oldest(&|_| true));
        ledger.remove(goes.unwrap_or(ledger.len() - 1));
    }
}

/// Places of the entries that somebody may still ask for.
fn needed(ledger: &[LedgerEntry]) -> [Option<usize>; 3] {
    let digest = |entry: &LedgerEntry| entry.release.as_ref().map(ImageRef::digest);
    let passed = || ledger.iter().enumerate().filter(|(_, entry)| entry.has_passed());
    let last = passed().next();
    let other = last.and_then(|(_, last)| passed().find(|(_, entry)| digest(entry) != digest(last)));
    [Some(0), last.map(|(at, _)| at), other.map(|(at, _)| at)]
}

/// Tests of an ended execution, for the debt of its pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestedSteps {
    /// What the release never had because of an emergency of this pipeline.
    pub skipped: Vec<StepName>,
    /// Name of the execution that left these out: this one, or the one whose release it took.
    pub skipped_by: String,
    /// Passed.
    pub passed: Vec<StepName>,
}

impl TestedSteps {
    pub(super) fn of(world: &World, status: &PipelineExecutionStatus) -> Self {
        let (name, ..) = identity(world);
        let spec = &world.execution.spec;
        let passed =
            status.steps.iter().filter(|step| step.state == StepState::Finished).map(|step| step.name).collect();
        let (skipped, skipped_by) = match &status.source {
            None => (skipped(spec, status), name.into()),
            // A pipeline that never tests could not pay: what it promotes is owed by the pipeline that left it out.
            Some(source) if source.pipeline == spec.pipeline_ref.name && tests(world) => {
                (source.skipped.clone(), source.execution.clone())
            }
            Some(_) => (vec![], name.into()),
        };
        Self { skipped, skipped_by, passed }
    }
}

fn tests(world: &World) -> bool {
    world.pipeline.as_ref().is_some_and(|pipeline| pipeline.spec.tested_on().is_some())
}

/// Tests that the release of an execution never had because of an emergency, in the order of steps.
fn skipped(asked: &PipelineExecutionSpec, status: &PipelineExecutionStatus) -> Vec<StepName> {
    if let Some(source) = &status.source {
        return source.skipped.clone();
    }
    let left_out =
        |step: &&Step| asked.mode == Mode::Emergency && step.reason.as_deref() == Some(reasons::SKIPPED_IN_EMERGENCY);
    status.steps.iter().filter(left_out).map(|step| step.name).collect()
}

/// Hash of what an execution was asked to do: who asked does not belong to it.
pub(super) fn spec_hash(spec: &PipelineExecutionSpec) -> String {
    let asked = PipelineExecutionSpec { requested_by: None, ..spec.clone() };
    short_hash(serde_json::to_string(&asked).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests;

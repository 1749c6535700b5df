//! What a pipeline remembers of its executions: changes of its status, as pure functions for whoever writes it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    execution::{Mode, PipelineExecutionSpec, PipelineExecutionStatus},
    names::short_hash,
    pipeline::{Debt, LEDGER_MAX, LedgerEntry, PipelineStatus},
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
    pipeline.ledger.truncate(LEDGER_MAX);
    if entry.result == reasons::FINISHED {
        pipeline.debt.retain(|debt| !steps.passed.contains(&debt.step));
        for step in &steps.skipped {
            if pipeline.debt.iter().all(|debt| debt.step != *step) {
                pipeline.debt.push(Debt { step: *step, execution: entry.name.clone(), since: entry.at.clone() });
            }
        }
    } else {
        // Left out by an execution that did not succeed after all: nothing runs that was not tested.
        pipeline.debt.retain(|debt| debt.execution != entry.name);
    }
    true
}

/// Tests of an ended execution, for the debt of its pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestedSteps {
    /// Left out because of an emergency.
    pub skipped: Vec<StepName>,
    /// Passed.
    pub passed: Vec<StepName>,
}

impl TestedSteps {
    pub(super) fn of(asked: &PipelineExecutionSpec, status: &PipelineExecutionStatus) -> Self {
        let named = |wanted: &dyn Fn(&launchway_crds::execution::Step) -> bool| {
            status.steps.iter().filter(|step| wanted(step)).map(|step| step.name).collect()
        };
        let left_out = |step: &launchway_crds::execution::Step| {
            asked.mode == Mode::Emergency && step.reason.as_deref() == Some(reasons::SKIPPED_IN_EMERGENCY)
        };
        Self { skipped: named(&left_out), passed: named(&|step| step.state == StepState::Finished) }
    }
}

/// Hash of what an execution was asked to do: who asked does not belong to it.
pub(super) fn spec_hash(spec: &PipelineExecutionSpec) -> String {
    let asked = PipelineExecutionSpec { requested_by: None, ..spec.clone() };
    short_hash(serde_json::to_string(&asked).unwrap_or_default().as_bytes())
}

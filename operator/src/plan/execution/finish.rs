//! How an execution ends, and what is left to do when it has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment,
    conditions::reasons,
    execution::{PipelineExecutionSpec, PipelineExecutionStatus},
    names::short_hash,
    pipeline::LedgerEntry,
    step::{StepName, StepState},
};

use super::{Plan, action::Action, holds, identity, name_of, status, world::World};

/// Every step passed.
pub(super) fn succeeded(world: &World, mut status: PipelineExecutionStatus) -> Plan {
    let message = match (&status.release, &status.environments) {
        (Some(release), Some(environments)) => format!("{} runs {}", environments.production, release.digest()),
        _ => String::new(),
    };
    status::over(world, &mut status, StepName::DeployProduction, true, reasons::FINISHED, &message);
    remember(world, status, vec![])
}

/// A step ended the execution.
pub(super) fn ended(world: &World, mut status: PipelineExecutionStatus, step: StepName, actions: Vec<Action>) -> Plan {
    let ended = status.steps.iter().find(|candidate| candidate.name == step);
    let message = ended.and_then(|step| step.message.clone()).unwrap_or_default();
    let (succeeded, reason) = match ended.map(|step| (step.state, step.reason.as_deref())) {
        Some((StepState::Finished, Some(reason))) => (true, reason.to_string()),
        Some((StepState::Cancelled, _)) => (false, reasons::CANCELLED.to_string()),
        Some((StepState::Error, _)) => (false, reasons::ERROR.to_string()),
        Some((_, Some(reason))) if [reasons::ALREADY_EXECUTED, reasons::NAME_REUSED].contains(&reason) => {
            (false, reason.to_string())
        }
        _ => (false, reasons::FAILED.to_string()),
    };
    let told = format!("{}: {message}", step.as_str());
    status::over(world, &mut status, step, succeeded, &reason, &told);
    remember(world, status, actions)
}

/// The ledger is written before the status that says "over", so that no moment exists in which an
/// execution ended and could still be run again under its name.
fn remember(world: &World, status: PipelineExecutionStatus, mut actions: Vec<Action>) -> Plan {
    if let Some(entry) = missing_entry(world, &status) {
        actions.push(entry);
    }
    Plan { actions, status, again: true, wake: None }
}

fn missing_entry(world: &World, status: &PipelineExecutionStatus) -> Option<Action> {
    let pipeline = world.pipeline.as_ref()?;
    let (name, _, uid) = identity(world);
    let unworthy = [reasons::ALREADY_EXECUTED, reasons::NAME_REUSED].contains(&status.state.as_str());
    // A request that came between this entry and the status may have changed how it ended: then it is told anew.
    let told = pipeline.status.as_ref().and_then(|status| status.ledger.iter().find(|entry| entry.uid == uid));
    let known = told.is_some_and(|entry| entry.result == status.state && entry.release == status.release);
    if unworthy || known {
        return None;
    }
    let entry = LedgerEntry {
        name: name.into(),
        uid: uid.into(),
        spec_hash: spec_hash(&world.execution.spec),
        result: status.state.clone(),
        release: status.release.clone(),
        at: Time(world.now),
    };
    Some(Action::Remember { pipeline: pipeline.metadata.name.clone().unwrap_or_default(), entry: Box::new(entry) })
}

/// What is left to do for an execution that ended: give its environments back.
///
/// Only now: an environment that is free while its last deployer is still at work could be taken by
/// another execution, and the record of the first would then tell of the second.
pub(super) fn after(world: &World, status: PipelineExecutionStatus) -> Plan {
    let held = |environment: &Option<Environment>| {
        environment
            .as_ref()
            .filter(|environment| holds(world, environment))
            .map(|environment| Action::Unlock { environment: name_of(environment).into() })
    };
    let actions = [held(&world.production), held(&world.stage)].into_iter().flatten().collect();
    Plan { actions, status, again: false, wake: None }
}

/// Hash of what an execution was asked to do: who asked does not belong to it.
pub(super) fn spec_hash(spec: &PipelineExecutionSpec) -> String {
    let asked = PipelineExecutionSpec { requested_by: None, ..spec.clone() };
    short_hash(serde_json::to_string(&asked).unwrap_or_default().as_bytes())
}

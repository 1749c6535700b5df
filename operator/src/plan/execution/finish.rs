//! How an execution ends, and what is left to do when it has.

use launchway_crds::{
    Environment,
    conditions::reasons,
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};

use super::{Plan, action::Action, holds, ledger, name_of, status, world::World};

/// Every step passed.
pub(super) fn succeeded(world: &World, mut status: PipelineExecutionStatus) -> Plan {
    let reached = status.environments.as_ref().and_then(|names| names.production.as_deref().or_else(|| names.tested()));
    let message = match (&status.release, reached) {
        (Some(release), Some(environment)) => format!("{environment} runs {}", release.digest()),
        _ => "the packages pass".into(),
    };
    let last = status.steps.last().map_or(StepName::Validate, |step| step.name);
    status::over(world, &mut status, last, true, reasons::FINISHED, &message);
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
    Plan { actions, status, again: true, wake: None, look: None }
}

fn missing_entry(world: &World, status: &PipelineExecutionStatus) -> Option<Action> {
    let pipeline = world.pipeline.as_ref()?;
    let unworthy = [reasons::ALREADY_EXECUTED, reasons::NAME_REUSED].contains(&status.state.as_str());
    let entry = ledger::entry(world, status);
    let told = pipeline.status.as_ref().is_some_and(|known| ledger::is_told(known, &entry));
    if unworthy || told {
        return None;
    }
    Some(Action::Remember {
        pipeline: pipeline.metadata.name.clone().unwrap_or_default(),
        entry: Box::new(entry),
        tests: ledger::TestedSteps::of(world, status),
    })
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
    Plan { actions, status, again: false, wake: None, look: None }
}

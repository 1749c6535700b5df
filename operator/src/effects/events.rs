//! Events: the start and the end of an execution, each end or wait of a step that is not told by these, and what an
//! Environment's rollout came to.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};
use launchway_crds::{
    Environment, PipelineExecution,
    conditions::{self, reasons, truncate, types},
    environment::{EnvironmentStatus, RolloutState},
    execution::PipelineExecutionStatus,
    step::StepState,
};

use crate::context::Context;

/// Longest note of an Event.
const NOTE_MAX: usize = 1000;

/// Tells what changed of an execution since an older status.
pub async fn tell(context: &Context, execution: &PipelineExecution, old: &PipelineExecutionStatus) {
    let Some(new) = &execution.status else { return };
    publish(context, &execution.object_ref(&()), transitions(old, new)).await;
}

/// Tells what changed of an Environment since an older status.
pub async fn tell_environment(context: &Context, environment: &Environment, old: &EnvironmentStatus) {
    let Some(new) = &environment.status else { return };
    publish(context, &environment.object_ref(&()), turns(old, new)).await;
}

/// Writes Events about an object. Best effort: an Event that is lost loses nothing else.
pub async fn publish(context: &Context, reference: &ObjectReference, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let publish = context.recorder.publish(&event, reference);
        match tokio::time::timeout(crate::error::CALL_LIMIT, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason = event.reason, "Failed to write an Event"),
            Err(_) => tracing::warn!(reason = event.reason, "Timed out writing an Event"),
        }
    }
}

/// The Events for the difference between two statuses of an Environment: what a rollout came to, and what a person has
/// to know of.
fn turns(old: &EnvironmentStatus, new: &EnvironmentStatus) -> Vec<Event> {
    let mut events = vec![];
    let state =
        |status: &EnvironmentStatus| status.rollout.as_ref().map(|rollout| (rollout.state, rollout.revision.clone()));
    if let Some(rollout) = new.rollout.as_ref().filter(|_| state(old) != state(new)) {
        let told = match rollout.state {
            RolloutState::Progressing | RolloutState::Paused => None,
            RolloutState::Complete => Some((false, "RolloutComplete")),
            RolloutState::Failed => Some((true, reasons::ROLLOUT_FAILED)),
            RolloutState::RollingBack => Some((true, reasons::ROLLING_BACK)),
            RolloutState::RolledBack => Some((true, reasons::ROLLED_BACK)),
        };
        let note = if rollout.message.is_empty() { &rollout.phase } else { &rollout.message };
        events.extend(told.map(|(bad, reason)| event(kind(bad), reason.to_owned(), note, "rollout")));
    }
    let waits = [
        (types::DELETING, reasons::DELETION_WAITS),
        (types::READY, reasons::CONFIGURATION_MISSING),
        (types::READY, reasons::CHANGE_REFUSED),
    ];
    for (type_, reason) in waits {
        let is = |status: &EnvironmentStatus| {
            conditions::get(&status.conditions, type_).filter(|is| is.reason == reason).map(|is| is.message.clone())
        };
        if let (None, Some(note)) = (is(old), is(new)) {
            events.push(event(EventType::Warning, reason.to_owned(), &note, "environment"));
        }
    }
    events
}

/// The Events for the difference between two statuses.
fn transitions(old: &PipelineExecutionStatus, new: &PipelineExecutionStatus) -> Vec<Event> {
    let before =
        |name| old.steps.iter().find(|step| step.name == name).map_or(StepState::NotStarted, |step| step.state);
    let mut events = vec![];
    let begins = old.start_time.is_none() && new.start_time.is_some();
    let ends = old.completion_time.is_none() && new.completion_time.is_some();
    if begins {
        events.push(event(EventType::Normal, "ExecutionStarted".into(), "", "execution"));
    }
    events.extend(emergency(old, new));
    for step in &new.steps {
        let bad = match step.state {
            // That a step began follows from the end of the one before: it would double the Events of an execution.
            StepState::NotStarted | StepState::Running | StepState::Incomplete => continue,
            // What took no time of its own is no news beside the start, nor the last success beside the end.
            StepState::Finished if begins || ends => continue,
            StepState::Waiting | StepState::Finished => false,
            StepState::Failed
            | StepState::Error
            | StepState::Cancelled
            | StepState::RollingBack
            | StepState::RolledBack => true,
        };
        if step.state == before(step.name) {
            continue;
        }
        let note = format!("{}: {}", step.name.as_str(), step.message.clone().unwrap_or_default());
        let expired = step.state == StepState::Cancelled && step.reason.as_deref() == Some(reasons::TIMED_OUT);
        let reason = if expired { "WaitExpired".into() } else { format!("Step{:?}", step.state) };
        events.push(event(kind(bad), reason, &note, step.name.as_str()));
    }
    events.extend(expiring(old, new));
    if ends {
        let succeeded = launchway_crds::conditions::get(&new.conditions, launchway_crds::conditions::types::SUCCEEDED);
        let bad = succeeded.is_none_or(|condition| condition.status != "True");
        let note = succeeded.map(|condition| condition.message.clone()).unwrap_or_default();
        events.push(event(kind(bad), format!("Execution{}", new.state), &note, "execution"));
    }
    events
}

pub(super) const fn kind(bad: bool) -> EventType {
    if bad { EventType::Warning } else { EventType::Normal }
}

/// An emergency, as soon as it is known what it leaves out: why, and that. One that ends with its first status, refused or
/// known already, leaves nothing out.
fn emergency(old: &PipelineExecutionStatus, new: &PipelineExecutionStatus) -> Option<Event> {
    let told = |status: &PipelineExecutionStatus| {
        conditions::get(&status.conditions, types::EMERGENCY).map(|condition| condition.message.clone())
    };
    let goes_on = new.completion_time.is_none();
    let note = told(new).filter(|note| goes_on && told(old).as_ref() != Some(note))?;
    Some(event(EventType::Warning, reasons::EMERGENCY.into(), &note, "execution"))
}

/// A wait whose end is near: told once.
fn expiring(old: &PipelineExecutionStatus, new: &PipelineExecutionStatus) -> Option<Event> {
    let told =
        |status: &PipelineExecutionStatus| status.waiting_for.as_ref().and_then(|waits| waits.expiring_since.clone());
    let waiting = new.waiting_for.as_ref().filter(|_| told(new).is_some() && told(old) != told(new))?;
    let until = waiting.until.as_ref().map(|until| format!(" until {}", until.0)).unwrap_or_default();
    let how = waiting.command.as_ref().map(|command| format!(": {command}")).unwrap_or_default();
    let step = waiting.step.as_str();
    Some(event(
        EventType::Warning,
        "WaitExpiring".into(),
        &format!("{step}: waits{until} for {}{how}", waiting.why),
        step,
    ))
}

/// An Event with its note cut to what one may have.
#[must_use]
pub fn event(type_: EventType, reason: String, note: &str, action: &str) -> Event {
    Event {
        type_,
        reason,
        note: (!note.is_empty()).then(|| truncate(note, NOTE_MAX)),
        action: action.into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use launchway_crds::{
        execution::{Step, WaitingFor},
        step::StepName,
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wait_is_told_before_and_at_its_end() {
        let at = |second| Time(jiff::Timestamp::from_second(second).unwrap());
        let waits = |expiring: Option<i64>| PipelineExecutionStatus {
            waiting_for: Some(WaitingFor {
                step: StepName::ApprovalProduction,
                why: "approval".into(),
                since: at(0),
                until: Some(at(100)),
                expiring_since: expiring.map(at),
                who: None,
                command: Some("kubectl launchway approve a".into()),
            }),
            ..Default::default()
        };
        let told = |old, new| transitions(&old, &new).into_iter().map(|event| event.reason).collect::<Vec<_>>();
        assert!(told(waits(None), waits(None)).is_empty());
        assert_eq!(told(waits(None), waits(Some(80))), ["WaitExpiring"]);
        assert!(told(waits(Some(80)), waits(Some(80))).is_empty());
        let mut over = waits(None);
        let mut step = Step::new(StepName::ApprovalProduction, None);
        (step.state, step.reason) = (StepState::Cancelled, Some(reasons::TIMED_OUT.into()));
        over.steps.push(step);
        assert_eq!(told(waits(Some(80)), over), ["WaitExpired"]);
    }

    #[test]
    fn only_transitions_that_matter_are_told() {
        let mut old =
            PipelineExecutionStatus { steps: vec![Step::new(StepName::Validate, None)], ..Default::default() };
        assert!(transitions(&old, &old).is_empty());
        let reasons = |old: &PipelineExecutionStatus, new: &PipelineExecutionStatus| -> Vec<String> {
            transitions(old, new).into_iter().map(|event| event.reason).collect()
        };
        let mut new = old.clone();
        new.start_time = Some(Time("2026-11-01T00:00:00Z".parse().unwrap()));
        new.steps[0].state = StepState::Running;
        assert_eq!(reasons(&old, &new), ["ExecutionStarted"]);
        old = new.clone();
        new.steps[0].message = Some("still".into());
        assert!(reasons(&old, &new).is_empty());
        new.steps[0].state = StepState::Finished;
        assert_eq!(reasons(&old, &new), ["StepFinished"]);
        assert_eq!(reasons(&PipelineExecutionStatus::default(), &new), ["ExecutionStarted"], "in one write");
        let mut over = new.clone();
        over.completion_time = Some(Time("2026-11-01T01:00:00Z".parse().unwrap()));
        over.state = "Finished".into();
        assert_eq!(reasons(&old, &over), ["ExecutionFinished"], "the last step ends with it");
        over.steps[0].state = StepState::Failed;
        assert_eq!(reasons(&old, &over), ["StepFailed", "ExecutionFinished"]);
    }

    #[test]
    fn an_emergency_is_told_once_with_what_it_leaves_out() {
        let now = Time("2026-11-01T00:00:00Z".parse().unwrap());
        let mut new = PipelineExecutionStatus { start_time: Some(now.clone()), ..Default::default() };
        let tell = |status: &mut PipelineExecutionStatus, message: &str| {
            conditions::set(&mut status.conditions, &now, None, types::EMERGENCY, true, reasons::EMERGENCY, message);
        };
        tell(&mut new, "leaves out securityTest: the shop is down");
        let told = transitions(&PipelineExecutionStatus::default(), &new);
        assert_eq!(
            told.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(),
            ["ExecutionStarted", "Emergency"]
        );
        assert!(matches!(told[1].type_, EventType::Warning));
        assert_eq!(told[1].note.as_deref(), Some("leaves out securityTest: the shop is down"));
        let mut ended = new.clone();
        (ended.completion_time, ended.state) = (Some(now.clone()), reasons::FINISHED.into());
        assert_eq!(transitions(&new, &ended).len(), 1, "it is still one, and was told");
        assert_eq!(transitions(&PipelineExecutionStatus::default(), &ended).len(), 2, "it began and ended at once");
    }

    #[test]
    fn of_an_environment_turns_are_told_once() {
        let status = |state: &str, message: &str| -> EnvironmentStatus {
            serde_json::from_value(json!({ "rollout": {
                "state": state, "phase": "Surge", "since": "2026-11-21T10:00:00Z", "revision": "r", "message": message,
            } }))
            .unwrap()
        };
        let going = status("Progressing", "starts");
        assert!(turns(&EnvironmentStatus::default(), &going).is_empty());
        let back = status("RollingBack", "prod-publish-1: no node type");
        let told = turns(&going, &back);
        assert_eq!((told.len(), told[0].reason.as_str()), (1, "RollingBack"));
        assert_eq!(told[0].note.as_deref(), Some("prod-publish-1: no node type"));
        assert!(turns(&back, &status("RollingBack", "Author: starts")).is_empty());
        assert_eq!(turns(&back, &status("RolledBack", "x"))[0].reason, "RolledBack");
    }
}

//! Events: the start and the end of an execution, and each end or wait of a step.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};
use launchway_crds::{PipelineExecution, conditions::truncate, execution::PipelineExecutionStatus, step::StepState};

use crate::context::Context;

/// Longest note of an Event.
const NOTE_MAX: usize = 1000;

/// Tells what changed of an execution since an older status. Best effort: an Event that is lost loses nothing else.
pub async fn tell(context: &Context, execution: &PipelineExecution, old: &PipelineExecutionStatus) {
    let Some(new) = &execution.status else { return };
    publish(context, &execution.object_ref(&()), transitions(old, new)).await;
}

/// Writes Events about an object.
pub(super) async fn publish(context: &Context, reference: &ObjectReference, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let publish = context.recorder.publish(&event, reference);
        match tokio::time::timeout(crate::error::CALL_LIMIT, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason = event.reason, "Failed to write an Event"),
            Err(_) => tracing::warn!(reason = event.reason, "Timed out writing an Event"),
        }
    }
}

/// The Events for the difference between two statuses.
fn transitions(old: &PipelineExecutionStatus, new: &PipelineExecutionStatus) -> Vec<Event> {
    let before =
        |name| old.steps.iter().find(|step| step.name == name).map_or(StepState::NotStarted, |step| step.state);
    let mut events = vec![];
    if old.start_time.is_none() && new.start_time.is_some() {
        events.push(event(false, "ExecutionStarted".into(), "", "execution"));
    }
    for step in &new.steps {
        let bad = match step.state {
            // That a step began follows from the end of the one before: it would double the Events of an execution.
            StepState::NotStarted | StepState::Running | StepState::Incomplete => continue,
            StepState::Waiting | StepState::Finished => false,
            StepState::Failed | StepState::Error | StepState::Cancelled => true,
        };
        if step.state == before(step.name) {
            continue;
        }
        let note = format!("{}: {}", step.name.as_str(), step.message.clone().unwrap_or_default());
        events.push(event(bad, format!("Step{:?}", step.state), &note, step.name.as_str()));
    }
    if old.completion_time.is_none() && new.completion_time.is_some() {
        let succeeded = launchway_crds::conditions::get(&new.conditions, launchway_crds::conditions::types::SUCCEEDED);
        let bad = succeeded.is_none_or(|condition| condition.status != "True");
        let note = succeeded.map(|condition| condition.message.clone()).unwrap_or_default();
        events.push(event(bad, format!("Execution{}", new.state), &note, "execution"));
    }
    events
}

pub(super) fn event(bad: bool, reason: String, note: &str, action: &str) -> Event {
    Event {
        type_: if bad { EventType::Warning } else { EventType::Normal },
        reason,
        note: (!note.is_empty()).then(|| truncate(note, NOTE_MAX)),
        action: action.into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use launchway_crds::{execution::Step, step::StepName};

    use super::*;

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
    }
}

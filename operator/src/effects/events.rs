//! Events: one for each transition of a step, and one for the end of an execution.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};
use launchway_crds::{PipelineExecution, conditions::truncate, execution::PipelineExecutionStatus, step::StepState};

use crate::context::Context;

/// Longest note of an Event.
const NOTE_MAX: usize = 1000;

/// Tells what changed between two statuses of an execution. Best effort: an Event that is lost loses nothing else.
pub async fn tell(
    context: &Context,
    execution: &PipelineExecution,
    old: &PipelineExecutionStatus,
    new: &PipelineExecutionStatus,
) {
    let reference: ObjectReference = execution.object_ref(&());
    for event in transitions(old, new) {
        let publish = context.recorder.publish(&event, &reference);
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
    for step in &new.steps {
        if step.state == before(step.name) || step.state == StepState::NotStarted {
            continue;
        }
        let bad = matches!(step.state, StepState::Failed | StepState::Error | StepState::Cancelled);
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

fn event(bad: bool, reason: String, note: &str, action: &str) -> Event {
    Event {
        type_: if bad { EventType::Warning } else { EventType::Normal },
        reason,
        note: Some(truncate(note, NOTE_MAX)),
        action: action.into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use launchway_crds::{execution::Step, step::StepName};

    use super::*;

    #[test]
    fn only_transitions_are_told() {
        let mut old =
            PipelineExecutionStatus { steps: vec![Step::new(StepName::Validate, None)], ..Default::default() };
        assert!(transitions(&old, &old).is_empty());
        let mut new = old.clone();
        new.steps[0].state = StepState::Running;
        assert_eq!(transitions(&old, &new)[0].reason, "StepRunning");
        old = new.clone();
        new.steps[0].message = Some("still".into());
        assert!(transitions(&old, &new).is_empty());
    }
}

//! A round of an execution: observe, plan, act, and write down what became of it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::{Pipeline, PipelineExecution, step::StepName};

use crate::{
    context::Context,
    effects::{events, execution::perform, status},
    error::Error,
    observe,
    plan::execution::{next, revision},
};

/// An execution goes through all of its steps in far fewer rounds: more mean that effects have none.
const ROUNDS: usize = 40;

/// Moves an execution on as far as it goes now; says when to look again.
pub(super) async fn reconcile(
    context: Arc<Context>,
    mut remembered: PipelineExecution,
) -> Result<Option<Timestamp>, Error> {
    for _ in 0..ROUNDS {
        let Some(world) = observe::execution::world(&context, &remembered).await? else { return Ok(None) };
        let plan = next(&world);
        if !plan.actions.is_empty() {
            for action in &plan.actions {
                perform(&context, &world, action).await?;
            }
            remembered = world.execution;
            continue;
        }
        let old = world.execution.status.clone().unwrap_or_default();
        let news = !plan.status.untold.is_empty();
        let changed = plan.status != old;
        remembered = world.execution;
        if changed {
            remembered.status = Some(plan.status);
            let written = status::replace(&context, &remembered).await?;
            // Nothing waits for an Event: the next step begins meanwhile.
            let context = context.clone();
            tokio::spawn(async move { events::tell(&context, &written, &old).await });
        }
        // After the record: what was not told before a restart is found here, too.
        if news {
            context.notifier.tell(&remembered.namespace().unwrap_or_default(), &remembered.name_any());
        }
        if !(changed && plan.again) {
            return Ok(plan.wake);
        }
    }
    Err(Error::NoProgress(ROUNDS))
}

/// Executions of a namespace in memory that can be read and are chosen.
fn chosen(
    store: &Store<DeserializeGuard<PipelineExecution>>,
    namespace: &str,
    choose: impl Fn(&PipelineExecution) -> bool,
) -> Vec<ObjectRef<DeserializeGuard<PipelineExecution>>> {
    store
        .state()
        .iter()
        .filter(|object| object.namespace().as_deref() == Some(namespace))
        .filter(|object| object.0.as_ref().is_ok_and(&choose))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// Executions that a change of an Environment may move on: those that run or wait and go there.
pub(super) fn concerned(
    store: &Store<DeserializeGuard<PipelineExecution>>,
    namespace: &str,
    environment: &str,
) -> Vec<ObjectRef<DeserializeGuard<PipelineExecution>>> {
    chosen(store, namespace, |execution| {
        execution.status.as_ref().is_none_or(|status| {
            status.completion_time.is_none()
                && status.environments.as_ref().is_none_or(|names| names.all().any(|name| name == environment))
        })
    })
}

/// Executions of the same pipeline that a new one may replace, or that may go on because one has ended.
pub(super) fn siblings(
    store: &Store<DeserializeGuard<PipelineExecution>>,
    changed: &DeserializeGuard<PipelineExecution>,
) -> Vec<ObjectRef<DeserializeGuard<PipelineExecution>>> {
    let Ok(changed) = &changed.0 else { return vec![] };
    // In between nothing that it does concerns the others: with a thousand that wait, each write would wake them all.
    if changed.status.as_ref().is_some_and(|status| status.completion_time.is_none()) {
        return vec![];
    }
    chosen(store, &changed.namespace().unwrap_or_default(), |other| {
        other.metadata.uid != changed.metadata.uid
            && other.spec.pipeline_ref == changed.spec.pipeline_ref
            && other.status.as_ref().is_some_and(|status| status.completion_time.is_none())
    })
}

/// Executions of a pipeline that changed: those that have not begun for good, and those that do not tell yet that they
/// run another version of it.
pub(super) fn of_pipeline(
    store: &Store<DeserializeGuard<PipelineExecution>>,
    changed: &DeserializeGuard<Pipeline>,
) -> Vec<ObjectRef<DeserializeGuard<PipelineExecution>>> {
    let name = changed.name_any();
    let version = changed.0.as_ref().ok().map(revision::of);
    chosen(store, &changed.namespace().unwrap_or_default(), |execution| {
        execution.spec.pipeline_ref.name == name
            && execution.status.as_ref().is_none_or(|status| {
                (status.step == Some(StepName::Validate) && status.completion_time.is_none())
                    || version.as_ref().is_some_and(|version| revision::is_news(status, version))
            })
    })
}

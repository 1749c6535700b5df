//! After a round of a Pipeline: lets go what its limits do not keep.

use kube::{ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use launchway_crds::{Pipeline, PipelineExecution};

use crate::{
    context::Context,
    effects::memory::perform,
    error::Error,
    observe::{self, memory::Executions},
    plan::memory::next,
};

/// Deletes executions beyond the limits, and versions that nobody runs.
pub(super) async fn tidy(context: &Context, executions: &Executions, namespace: &str, name: &str) -> Result<(), Error> {
    let Some(world) = observe::memory::world(context, executions, namespace, name).await? else { return Ok(()) };
    for action in &next(&world) {
        perform(context, &world.pipeline, action).await?;
    }
    Ok(())
}

/// The pipeline of an execution that ended: there may be one too many now.
pub(super) fn of_execution(
    changed: &DeserializeGuard<PipelineExecution>,
) -> Option<ObjectRef<DeserializeGuard<Pipeline>>> {
    let execution = changed.0.as_ref().ok()?;
    execution.status.as_ref().and_then(|status| status.completion_time.as_ref())?;
    Some(ObjectRef::new(&execution.spec.pipeline_ref.name).within(&execution.namespace()?))
}

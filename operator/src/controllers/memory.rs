//! After a round of a Pipeline: lets go what its limits do not keep.

use kube::{ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use launchway_crds::Pipeline;

use crate::{
    context::Context,
    effects::memory::perform,
    error::Error,
    observe::{self, memory::Executions},
    outline::ExecutionOutline,
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
pub(super) fn of_execution(changed: &ExecutionOutline) -> Option<ObjectRef<DeserializeGuard<Pipeline>>> {
    changed.ended()?;
    Some(ObjectRef::new(&changed.pipeline).within(&changed.namespace()?))
}

//! A round of an Environment: observe, plan, change, and write down what became of it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use launchway_crds::{Environment, PipelineExecution};

use crate::{
    context::Context,
    effects::{environment::perform, status},
    error::Error,
    observe,
    plan::environment::{next, world::Desired},
    render::Release,
};

/// Moves the workloads of an Environment one step on; says when to look again.
///
/// Changes come before status: a status that says "complete" is never ahead of the workloads, and a
/// change that was made but not told of is found again.
pub(super) async fn reconcile(
    context: Arc<Context>,
    namespace: String,
    name: String,
) -> Result<Option<Timestamp>, Error> {
    let Some(observed) = observe::environment::observe(&context, &namespace, &name).await? else { return Ok(None) };
    let plan = next(&observed.world);
    let environment = &observed.world.environment;
    if let (Desired::Release(desired), Some(contracts)) = (&observed.world.desired, &observed.contracts) {
        let release = Release {
            environment,
            reference: &desired.release,
            images: &desired.images,
            contracts,
            execution: &observed.execution,
        };
        for change in &plan.changes {
            perform(&context, environment, &release, change).await?;
        }
    }
    if environment.status.as_ref() != Some(&plan.status) {
        let mut object = environment.clone();
        object.status = Some(plan.status);
        status::replace(&context, &object).await?;
    }
    Ok(plan.wake)
}

/// Environments of an execution. Whenever it changes: that it was deleted is told in the same way,
/// and a lock that it left has to be taken away.
pub(super) fn of_execution(
    changed: &DeserializeGuard<PipelineExecution>,
) -> Vec<ObjectRef<DeserializeGuard<Environment>>> {
    let Ok(execution) = &changed.0 else { return vec![] };
    let Some(names) = execution.status.as_ref().and_then(|status| status.environments.as_ref()) else { return vec![] };
    let namespace = execution.namespace().unwrap_or_default();
    names.all().map(|name| ObjectRef::new(name).within(&namespace)).collect()
}

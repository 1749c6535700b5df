//! A round of an Environment: observe, plan, change, and write down what became of it.

use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use kube::{ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use launchway_crds::{
    Environment, PipelineExecution,
    conditions::{self, types},
};

use crate::{
    context::Context,
    effects::{drift, environment::perform, status},
    error::Error,
    observe,
    plan::environment::{next, world::Desired},
    render::Release,
};

/// How many changes that do not wait for each other are made at once.
const TOGETHER: usize = 4;

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
        let release = Release { environment, content: &desired.content, contracts };
        for together in plan.changes.chunk_by(|one, next| one.goes_with(next)) {
            for some in together.chunks(TOGETHER) {
                let made: Vec<_> = some.iter().map(|change| perform(&context, environment, &release, change)).collect();
                try_join_all(made).await?;
            }
        }
    }
    if environment.status.as_ref() != Some(&plan.status) {
        let mut object = environment.clone();
        object.status = Some(plan.status.clone());
        status::replace(&context, &object).await?;
        drift::tell(&context, environment, &plan.status).await;
    }
    Ok(plan.wake)
}

/// Whether an Environment says that somebody changed it by hand.
pub(super) fn has_drifted(environment: &Environment) -> bool {
    let status = environment.status.as_ref();
    status
        .and_then(|status| conditions::get(&status.conditions, types::DRIFTED))
        .is_some_and(|drifted| drifted.status == "True")
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

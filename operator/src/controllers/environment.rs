//! A round of an Environment: observe, plan, change, and write down what became of it.

use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::execution::Environments;

use crate::{
    context::Context,
    effects::{
        drift,
        environment::{Material, finalize, perform},
        events, status,
    },
    error::Error,
    observe,
    outline::{EnvironmentOutline, ExecutionOutline},
    plan::environment::{aim, next},
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
    if finalize(&context, environment, plan.finalizer).await? {
        // The Environment has another version now, or is gone: facts are read again.
        return Ok(Some(observed.world.now));
    }
    let aim = aim(&observed.world);
    let source = aim.as_ref().map(|aim| observed.source(aim));
    let material = Material { source, configuration: observed.configuration.as_ref() };
    for together in plan.changes.chunk_by(|one, next| one.goes_with(next)) {
        for some in together.chunks(TOGETHER) {
            let made: Vec<_> = some.iter().map(|change| perform(&context, environment, material, change)).collect();
            try_join_all(made).await?;
        }
    }
    if environment.status.as_ref() != Some(&plan.status) {
        let mut object = environment.clone();
        object.status = Some(plan.status.clone());
        status::replace(&context, &object).await?;
        drift::tell(&context, environment, &plan.status).await;
        events::tell_environment(&context, &object, &environment.status.clone().unwrap_or_default()).await;
    }
    Ok(plan.wake)
}

/// Environments of an execution that was deleted: a lock that it left has to be taken away. One that ends takes it away
/// itself, and what it asks for before is written in the Environment.
pub(super) fn of_execution(
    store: &Store<ExecutionOutline>,
    changed: &ExecutionOutline,
) -> Vec<ObjectRef<EnvironmentOutline>> {
    if store.get(&ObjectRef::from_obj(changed)).is_some() {
        return vec![];
    }
    let namespace = changed.namespace().unwrap_or_default();
    let names = changed.environments().into_iter().flat_map(Environments::all);
    names.map(|name| ObjectRef::new(name).within(&namespace)).collect()
}

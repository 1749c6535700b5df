//! A round of an Environment: observe, plan, change, and write down what became of it.

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::{Environment, environment::EnvironmentStatus, execution::Environments};

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
    plan::environment::{Change, aim, next, refused},
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
    if let Err(error) = make(&context, environment, material, &plan.changes).await {
        // Nobody reads the operator's log to learn why a rollout stands still.
        if let Some(why) = error.refusal() {
            tell(&context, environment, refused(&observed.world, why)).await?;
        }
        return Err(error);
    }
    tell(&context, environment, plan.status).await?;
    Ok(plan.wake)
}

/// Makes changes in their order, those together that do not wait for each other.
async fn make(
    context: &Context,
    environment: &Environment,
    material: Material<'_>,
    changes: &[Change],
) -> Result<(), Error> {
    for together in changes.chunk_by(|one, next| one.goes_with(next)) {
        for some in together.chunks(TOGETHER) {
            let made: Vec<_> = some.iter().map(|change| perform(context, environment, material, change)).collect();
            // Of several that are refused always the first is told of: whichever fails first would be other words every time.
            join_all(made).await.into_iter().collect::<Result<(), Error>>()?;
        }
    }
    Ok(())
}

/// Writes a status down and tells of it, unless the Environment has it already.
async fn tell(context: &Context, environment: &Environment, status: EnvironmentStatus) -> Result<(), Error> {
    if environment.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let object = Environment { status: Some(status.clone()), ..environment.clone() };
    status::replace(context, &object).await?;
    drift::tell(context, environment, &status).await;
    events::tell_environment(context, &object, &environment.status.clone().unwrap_or_default()).await;
    Ok(())
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

//! A round of a Pipeline: observe, plan, start what a change of its source asks for, and write down what became of it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::Pipeline;

use crate::{
    context::Context,
    effects::{self, status},
    error::Error,
    observe::{self, source::Key},
    outline::{EnvironmentOutline, ExecutionOutline},
    plan::pipeline::{concerns, environments, next},
};

/// Note a change, start its execution, note that: more rounds mean that effects have none.
const ROUNDS: usize = 8;

/// Says whether a pipeline can run, and starts what is due; says when to look again.
pub(super) async fn reconcile(
    context: Arc<Context>,
    namespace: String,
    name: String,
) -> Result<Option<Timestamp>, Error> {
    let key = Key::new(&namespace, &name);
    for _ in 0..ROUNDS {
        let Some(world) = observe::pipeline::world(&context, &namespace, &name).await? else {
            context.sources.set(&key, &launchway_crds::pipeline::Source::default(), None);
            return Ok(None);
        };
        let plan = next(&world);
        context.sources.set(&key, &world.pipeline.spec.source, plan.watch);
        if let Some(start) = &plan.start {
            effects::pipeline::start(&context, &world.pipeline, start).await?;
            continue;
        }
        if world.pipeline.status.as_ref() != Some(&plan.status) {
            let mut pipeline = world.pipeline;
            pipeline.status = Some(plan.status);
            status::replace(&context, &pipeline).await?;
        }
        if !plan.again {
            return Ok(plan.wake);
        }
    }
    Err(Error::NoProgress(ROUNDS))
}

/// Pipelines of a namespace in memory that can be read and are chosen.
fn chosen(
    store: &Store<DeserializeGuard<Pipeline>>,
    namespace: Option<&str>,
    choose: impl Fn(&Pipeline) -> bool,
) -> Vec<ObjectRef<DeserializeGuard<Pipeline>>> {
    store
        .state()
        .iter()
        .filter(|object| object.namespace().as_deref() == namespace)
        .filter(|object| object.0.as_ref().is_ok_and(&choose))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// Pipelines that name an Environment.
pub(super) fn of_environment(
    store: &Store<DeserializeGuard<Pipeline>>,
    changed: &EnvironmentOutline,
) -> Vec<ObjectRef<DeserializeGuard<Pipeline>>> {
    let environment = changed.metadata.name.as_deref().unwrap_or_default();
    chosen(store, changed.metadata.namespace.as_deref(), |pipeline| {
        environments(&pipeline.spec).any(|name| name == environment)
    })
}

/// Pipelines to which the change of another one means something.
pub(super) fn of_pipeline(
    store: &Store<DeserializeGuard<Pipeline>>,
    changed: &DeserializeGuard<Pipeline>,
) -> Vec<ObjectRef<DeserializeGuard<Pipeline>>> {
    let Ok(changed) = &changed.0 else { return vec![] };
    chosen(store, changed.namespace().as_deref(), |other| concerns(changed, other))
}

/// The pipeline of an execution, while it waits for its executions to end: most changes of most executions mean nothing
/// to it.
pub(super) fn of_execution(
    store: &Store<DeserializeGuard<Pipeline>>,
    changed: &ExecutionOutline,
) -> Vec<ObjectRef<DeserializeGuard<Pipeline>>> {
    let pipeline = ObjectRef::new(&changed.pipeline).within(changed.metadata.namespace.as_deref().unwrap_or_default());
    let waits = |pipeline: &Pipeline| {
        let seen = pipeline.status.as_ref().and_then(|status| status.source.as_ref());
        seen.is_some_and(|seen| seen.due.is_some())
    };
    // Ten thousand are told of when the operator starts: it is looked up, not looked for.
    store.get(&pipeline).filter(|found| found.0.as_ref().is_ok_and(waits)).map(|_| pipeline).into_iter().collect()
}

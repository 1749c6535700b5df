//! The three controllers: what wakes them, and the round that each of them does.

mod environment;
mod execution;
mod memory;
mod pipeline;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::Job,
    core::v1::{Pod, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    names::{FIELD_MANAGER, labels},
};
use tokio::sync::mpsc;

use crate::{
    context::Context,
    error::Error,
    notify,
    observe::{
        memory::Executions,
        source::{Key, watch},
        webhook::Webhooks,
    },
    operator_command::Parts,
};

/// How many objects of a kind are worked on at once.
const CONCURRENCY: u16 = 8;
/// How often the gauges of executions are brought up to date.
const GAUGES: Duration = Duration::from_secs(15);

/// Runs the controllers until the operator is told to end.
///
/// # Errors
/// None yet: what fails is tried again.
pub async fn run(parts: Parts) -> Result<(), kube::Error> {
    let context = Arc::new(Context::new(&parts));
    let (changed, changes) = mpsc::unbounded_channel();
    // It never ends: it is dropped with the rest.
    let watching = tokio::spawn(watch::run(context.clone(), changed));
    let all: Api<DeserializeGuard<PipelineExecution>> = Api::all(parts.watch_client.clone());
    let controller = Controller::new(all, watcher::Config::default());
    let store = controller.store();
    tokio::join!(
        executions(&parts, &context, controller),
        environments(&parts, &context),
        pipelines(&parts, &context, changes, store),
        notify::run(context.clone(), parts.shutdown.clone()),
    );
    parts.receiver.serve_for(None);
    watching.abort();
    Ok(())
}

/// Pods and workloads that the operator made.
fn made_by_us() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={FIELD_MANAGER}", labels::MANAGED_BY))
}

async fn executions(
    parts: &Parts,
    context: &Arc<Context>,
    controller: Controller<DeserializeGuard<PipelineExecution>>,
) {
    let store = controller.store();
    let (same, of_pipeline) = (store.clone(), store.clone());
    let counted = count(store.clone(), context.clone());
    let rounds = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .owns(Api::<Job>::all(parts.watch_client.clone()), made_by_us())
        // The container's end is known long before the Job's.
        .watches(
            Api::<Pod>::all(parts.watch_client.clone()),
            made_by_us(),
            noted(context, |pod| labelled(pod, labels::EXECUTION)),
        )
        .watches(
            Api::<DeserializeGuard<Environment>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            move |changed| {
                let namespace = changed.namespace().unwrap_or_default();
                execution::concerned(&store, &namespace, &changed.name_any())
            },
        )
        .watches(
            Api::<DeserializeGuard<PipelineExecution>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            move |changed| execution::siblings(&same, &changed),
        )
        .watches(
            Api::<DeserializeGuard<Pipeline>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            move |changed| execution::of_pipeline(&of_pipeline, &changed),
        )
        .graceful_shutdown_on(parts.shutdown.clone().wait())
        .run(
            |object, context| {
                let remembered = object.clone();
                timed("execution", object, context, |context, _, _| async move {
                    let Ok(remembered) = &remembered.0 else { return Ok(None) };
                    execution::reconcile(context, remembered.clone()).await
                })
            },
            error_policy,
            context.clone(),
        )
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = rounds => {}
        () = counted => {}
    }
}

/// Keeps the gauges of executions current. They are counted from memory: nothing is asked of the apiserver.
async fn count(store: Store<DeserializeGuard<PipelineExecution>>, context: Arc<Context>) {
    let mut tick = tokio::time::interval(GAUGES);
    loop {
        tick.tick().await;
        let all = store.state();
        let statuses: Vec<_> = all.iter().filter_map(|object| object.0.as_ref().ok()?.status.as_ref()).collect();
        context.metrics.executions(statuses.iter().map(|status| status.state.as_str()));
        context
            .metrics
            .waiting(statuses.iter().filter_map(|status| status.waiting_for.as_ref()).map(|waiting| waiting.step));
    }
}

async fn environments(parts: &Parts, context: &Arc<Context>) {
    let all: Api<DeserializeGuard<Environment>> = Api::all(parts.watch_client.clone());
    let controller = Controller::new(all, watcher::Config::default());
    let counted = count_drifted(controller.store(), context.clone());
    let rounds = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .watches(Api::<StatefulSet>::all(parts.watch_client.clone()), made_by_us(), noted(context, owned))
        // Whoever changes one of these by hand is told of it, and it is put back.
        .watches(Api::<Service>::all(parts.watch_client.clone()), made_by_us(), noted(context, owned))
        .watches(Api::<PodDisruptionBudget>::all(parts.watch_client.clone()), made_by_us(), noted(context, owned))
        .watches(Api::<NetworkPolicy>::all(parts.watch_client.clone()), made_by_us(), noted(context, owned))
        .watches(Api::<Ingress>::all(parts.watch_client.clone()), made_by_us(), noted(context, owned))
        .watches(
            Api::<Pod>::all(parts.watch_client.clone()),
            made_by_us(),
            noted(context, |pod| labelled(pod, labels::ENVIRONMENT)),
        )
        .watches(
            Api::<DeserializeGuard<PipelineExecution>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            |changed| environment::of_execution(&changed),
        )
        .graceful_shutdown_on(parts.shutdown.clone().wait())
        .run(
            |object, context| timed("environment", object, context, environment::reconcile),
            error_policy,
            context.clone(),
        )
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = rounds => {}
        () = counted => {}
    }
}

/// Keeps the gauge of Environments that drifted current, from memory.
async fn count_drifted(store: Store<DeserializeGuard<Environment>>, context: Arc<Context>) {
    let mut tick = tokio::time::interval(GAUGES);
    loop {
        tick.tick().await;
        let all = store.state();
        let drifted = all.iter().filter(|object| object.0.as_ref().is_ok_and(environment::has_drifted)).count();
        context.metrics.drifted(drifted);
    }
}

async fn pipelines(
    parts: &Parts,
    context: &Arc<Context>,
    changes: mpsc::UnboundedReceiver<Key>,
    executions: Executions,
) {
    let all: Api<DeserializeGuard<Pipeline>> = Api::all(parts.watch_client.clone());
    let controller = Controller::new(all, watcher::Config::default());
    parts.receiver.serve_for(Some(Arc::new(Webhooks::new(context.clone(), controller.store()))));
    let (of_environment, of_pipeline, of_execution) = (controller.store(), controller.store(), controller.store());
    let changes = futures::stream::unfold(changes, |mut changes| async move {
        let key: Key = changes.recv().await?;
        Some((ObjectRef::new(&key.name).within(&key.namespace), changes))
    });
    controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .watches(
            Api::<DeserializeGuard<Environment>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            move |changed| {
                pipeline::of_environment(&of_environment, changed.namespace().as_deref(), &changed.name_any())
            },
        )
        .watches(
            Api::<DeserializeGuard<Pipeline>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            move |changed| pipeline::of_pipeline(&of_pipeline, &changed),
        )
        .watches(
            Api::<DeserializeGuard<PipelineExecution>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            move |changed| pipeline::of_execution(&of_execution, &changed),
        )
        .watches(
            Api::<DeserializeGuard<PipelineExecution>>::all(parts.watch_client.clone()),
            watcher::Config::default(),
            |changed| memory::of_execution(&changed),
        )
        .reconcile_on(changes)
        .graceful_shutdown_on(parts.shutdown.clone().wait())
        .run(
            move |object, context| {
                let executions = executions.clone();
                timed("pipeline", object, context, |context, namespace, name| async move {
                    let wake = pipeline::reconcile(context.clone(), namespace.clone(), name.clone()).await?;
                    memory::tidy(&context, &executions, &namespace, &name).await?;
                    Ok(wake)
                })
            },
            error_policy,
            context.clone(),
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// A mapper that also remembers how new the object is: what is read because of it must not be older.
fn noted<K, T>(
    context: &Arc<Context>,
    concerned: impl Fn(&K) -> Option<ObjectRef<T>> + Send + Sync + 'static,
) -> impl Fn(K) -> Option<ObjectRef<T>> + Send + Sync + 'static
where
    K: Resource<DynamicType = ()>,
    T: Resource,
{
    let context = context.clone();
    move |object| {
        context.fresh.note(&object);
        concerned(&object)
    }
}

/// The object that made another.
fn owned<K, T>(object: &K) -> Option<ObjectRef<T>>
where
    K: Resource<DynamicType = ()>,
    T: Resource<DynamicType = ()>,
{
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    ObjectRef::from_owner_ref(object.namespace().as_deref(), owner, ())
}

/// The object that a pod names in a label.
fn labelled<K>(pod: &Pod, label: &str) -> Option<ObjectRef<DeserializeGuard<K>>>
where
    K: Resource<DynamicType = ()>,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let name = pod.labels().get(label)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// Measures a round, and makes its result the next time to look.
async fn timed<K, F>(
    kind: &'static str,
    object: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
    round: impl FnOnce(Arc<Context>, String, String) -> F,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()>,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
    F: Future<Output = Result<Option<Timestamp>, Error>>,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let begun = Instant::now();
    if let Err(unreadable) = &object.0 {
        // One object that cannot be read must not stop the others. It changes, or stays as it is.
        tracing::error!(kind, namespace, name, error = %unreadable, "Object cannot be read");
        context.metrics.reconcile(kind, "unreadable", begun.elapsed().as_secs_f64());
        return Ok(Action::await_change());
    }
    let result = round(context.clone(), namespace.clone(), name.clone()).await;
    let label = result.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconcile(kind, label, begun.elapsed().as_secs_f64());
    let wake = result.inspect_err(|error| match error {
        // Somebody else wrote first: it is read and decided again, and nothing is wrong.
        Error::Conflict(_) => tracing::debug!(kind, namespace, name, %error, "Round begins again"),
        Error::Kube { .. } | Error::TimedOut { .. } | Error::NoProgress(_) => {
            tracing::warn!(kind, namespace, name, %error, "Round failed");
        }
    })?;
    context.succeeded(&format!("{namespace}/{name}"));
    Ok(wake.map_or_else(Action::await_change, |at| {
        let pause = at.duration_since(Timestamp::now()).max(jiff::SignedDuration::from_millis(200));
        Action::requeue(Duration::try_from(pause).unwrap_or_default())
    }))
}

#[expect(clippy::needless_pass_by_value, reason = "the controller passes it so")]
fn error_policy<K>(object: Arc<DeserializeGuard<K>>, error: &Error, context: Arc<Context>) -> Action
where
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let key = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    Action::requeue(context.pause(key, error))
}

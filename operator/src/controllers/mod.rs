//! The three controllers: what wakes them, and the round that each of them does.

mod environment;
mod execution;
mod feed;
mod images;
mod memory;
mod pipeline;
mod turns;

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    Stream, StreamExt,
    channel::mpsc::unbounded,
    future::{join3, join4},
    stream::BoxStream,
};
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
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, WatchStreamExt,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use launchway_crds::{
    Pipeline,
    names::{FIELD_MANAGER, labels},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use self::{
    feed::Feed,
    turns::{Told, Turns},
};
use crate::{
    context::Context,
    error::Error,
    notify,
    observe::{
        source::{Key, watch},
        webhook::Webhooks,
    },
    operator_command::Parts,
    outline::{EnvironmentOutline, ExecutionOutline},
};

/// How many objects of a kind are worked on at once.
const CONCURRENCY: u16 = 8;
/// How often the gauges of executions are brought up to date.
const GAUGES: Duration = Duration::from_secs(15);

/// A pipeline, or why it cannot be read.
type AnyPipeline = DeserializeGuard<Pipeline>;

/// Runs the controllers until the operator is told to end.
///
/// # Errors
/// None yet: what fails is tried again.
pub async fn run(parts: Parts) -> Result<(), kube::Error> {
    let context = Arc::new(Context::new(&parts));
    let (changed, changes) = mpsc::unbounded_channel();
    // It never ends: it is dropped with the rest.
    let watching = tokio::spawn(watch::run(context.clone(), changed));
    let mut feeds = Feeds { executions: Feed::new(), environments: Feed::new(), pipelines: Feed::new() };
    let rounds = join4(
        executions(&parts, &context, &mut feeds),
        environments(&parts, &context, &mut feeds),
        pipelines(&parts, &context, changes, &mut feeds),
        notify::run(context.clone(), parts.shutdown.clone()),
    );
    let counting =
        count(feeds.executions.store(), feeds.environments.store(), feeds.pipelines.store(), context.clone());
    let feeding = join3(
        feeds.executions.run(Api::all(parts.watch_client.clone()), &context.fresh),
        feeds.environments.run(Api::all(parts.watch_client.clone()), &context.fresh),
        feeds.pipelines.run(Api::all(parts.watch_client.clone()), &context.fresh),
    );
    tokio::select! {
        _ = rounds => {}
        _ = feeding => {}
        () = counting => {}
    }
    parts.receiver.serve_for(None);
    watching.abort();
    Ok(())
}

/// What several controllers watch, each kind once.
struct Feeds {
    executions: Feed<ExecutionOutline>,
    environments: Feed<EnvironmentOutline>,
    pipelines: Feed<AnyPipeline>,
}

/// Objects that the operator made.
fn made_by_us() -> watcher::Config {
    feed::config().labels(&format!("{}={FIELD_MANAGER}", labels::MANAGED_BY))
}

/// Objects of a kind by their metadata: a change of any part of them is told, and only that much is sent.
fn metadata<K: Resource<DynamicType = ()>>(parts: &Parts) -> Api<PartialObjectMeta<K>> {
    Api::all(parts.watch_client.clone())
}

/// Those of them that carry a label.
fn made_with(label: &str) -> watcher::Config {
    feed::config().labels(&format!("{}={FIELD_MANAGER},{label}", labels::MANAGED_BY))
}

fn executions(parts: &Parts, context: &Arc<Context>, feeds: &mut Feeds) -> impl Future<Output = ()> + Send + use<> {
    let (store, environments) = (feeds.executions.store(), feeds.environments.store());
    let (same, of_environment, of_pipeline) = (store.clone(), store.clone(), store.clone());
    Controller::for_shared_stream(feeds.executions.changes(), store)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .owns(Api::<Job>::all(parts.watch_client.clone()), made_by_us())
        // The container's end is known long before the Job's.
        .watches(
            metadata::<Pod>(parts),
            made_with(labels::EXECUTION),
            noted(context, |pod| labelled(pod, labels::EXECUTION)),
        )
        .watches_shared_stream(feeds.environments.changes(), move |changed| {
            execution::concerned(&of_environment, &changed)
        })
        // When a list is read, each of those that wait looks by itself: to look for each of ten thousand who waits for it is
        // a hundred million looks.
        .watches_shared_stream(feeds.executions.later_changes(), move |changed| execution::siblings(&same, &changed))
        .watches_shared_stream(feeds.pipelines.changes(), move |changed| execution::of_pipeline(&of_pipeline, &changed))
        .graceful_shutdown_on(parts.shutdown.clone().wait())
        .run(
            move |object, context| {
                let environments = environments.clone();
                timed("execution", object.clone(), context, |context, _, _| async move {
                    if execution::has_settled(&object, &environments).await {
                        return Ok(None);
                    }
                    execution::reconcile(context, object).await
                })
            },
            error_policy,
            context.clone(),
        )
        .for_each(|_| std::future::ready(()))
}

/// Keeps the gauges current. They are counted from memory: nothing is asked of the apiserver.
async fn count(
    executions: Store<ExecutionOutline>,
    environments: Store<EnvironmentOutline>,
    pipelines: Store<AnyPipeline>,
    context: Arc<Context>,
) {
    let mut tick = tokio::time::interval(GAUGES);
    loop {
        tick.tick().await;
        let all = executions.state();
        let begun = || all.iter().filter_map(|execution| execution.progress.as_ref());
        context.metrics.executions(begun().map(|progress| progress.state.as_str()));
        context.metrics.waiting(begun().filter_map(|progress| progress.waits_at));
        let owed = |pipeline: &AnyPipeline| pipeline.0.as_ref().ok()?.status.as_ref().map(|status| status.debt.len());
        context.metrics.emergencies(
            all.iter().filter(|execution| execution.emergency).count(),
            pipelines.state().iter().filter_map(|pipeline| owed(pipeline)).sum(),
        );
        context.metrics.drifted(environments.state_filter(EnvironmentOutline::has_drifted).len());
    }
}

fn environments(parts: &Parts, context: &Arc<Context>, feeds: &mut Feeds) -> impl Future<Output = ()> + Send + use<> {
    let executions = feeds.executions.store();
    let objects = [
        told_of(metadata::<StatefulSet>(parts), made_by_us(), context, owned),
        // Whoever changes one of these by hand is told of it, and it is put back.
        told_of(metadata::<Service>(parts), made_by_us(), context, owned),
        told_of(metadata::<PodDisruptionBudget>(parts), made_by_us(), context, owned),
        told_of(metadata::<NetworkPolicy>(parts), made_by_us(), context, owned),
        told_of(metadata::<Ingress>(parts), made_by_us(), context, owned),
        told_of(metadata::<Pod>(parts), made_with(labels::ENVIRONMENT), context, |pod| {
            labelled(pod, labels::ENVIRONMENT)
        }),
    ];
    let watches = objects.len();
    let changed = feeds.environments.changes().map(|changed| Told::About(ObjectRef::from_obj(changed.as_ref())));
    let released = feeds
        .executions
        .changes()
        .flat_map(move |changed| futures::stream::iter(environment::of_execution(&executions, &changed)))
        .map(Told::About);
    let (ended, looked_at) = unbounded();
    let told = objects.into_iter().chain([changed.boxed(), released.boxed()]);
    let turns = Turns::new(context.clone(), told, watches, looked_at, usize::from(CONCURRENCY));
    Controller::for_shared_stream(futures::stream::pending(), feeds.environments.store())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(turns)
        .graceful_shutdown_on(parts.shutdown.clone().wait())
        .run(
            |object, context| timed("environment", object, context, environment::reconcile),
            error_policy,
            context.clone(),
        )
        .for_each(move |result| {
            if let Some(environment) = turns::dealt_with(result) {
                // Nobody counts any more when the operator ends.
                let _ = ended.unbounded_send(environment);
            }
            std::future::ready(())
        })
}

/// What a watch of objects tells of Environments.
fn told_of<K>(
    api: Api<K>,
    config: watcher::Config,
    context: &Arc<Context>,
    concerned: impl Fn(&K) -> Option<ObjectRef<EnvironmentOutline>> + Send + Sync + 'static,
) -> BoxStream<'static, Told>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let concerned = noted(context, concerned);
    watcher(api, config)
        .default_backoff()
        .filter_map(move |event| {
            std::future::ready(match event {
                Ok(Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) => {
                    concerned(object).map(Told::About)
                }
                Ok(Event::InitDone) => Some(Told::Listed),
                Ok(Event::Init) => None,
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "Watch broke off, it begins again");
                    None
                }
            })
        })
        .boxed()
}

fn pipelines(
    parts: &Parts,
    context: &Arc<Context>,
    changes: mpsc::UnboundedReceiver<Key>,
    feeds: &mut Feeds,
) -> impl Future<Output = ()> + Send + use<> {
    let (store, executions) = (feeds.pipelines.store(), feeds.executions.store());
    parts.receiver.serve_for(Some(Arc::new(Webhooks::new(context.clone(), store.clone()))));
    let (of_environment, of_pipeline, of_execution) = (store.clone(), store.clone(), store.clone());
    Controller::for_shared_stream(feeds.pipelines.changes(), store)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .watches_shared_stream(feeds.environments.changes_of_specs(), move |changed| {
            pipeline::of_environment(&of_environment, &changed)
        })
        .watches_shared_stream(feeds.pipelines.changes(), move |changed| pipeline::of_pipeline(&of_pipeline, &changed))
        .watches_shared_stream(feeds.executions.changes(), move |changed| {
            pipeline::of_execution(&of_execution, &changed)
        })
        .watches_shared_stream(feeds.executions.changes(), |changed| memory::of_execution(&changed))
        .reconcile_on(told(changes))
        .graceful_shutdown_on(parts.shutdown.clone().wait())
        .run(
            move |object, context| {
                let (executions, unreadable) = (executions.clone(), object.0.as_ref().err().cloned());
                let deletes = object.0.as_ref().is_ok_and(images::deletes);
                timed("pipeline", object, context, move |context, namespace, name| async move {
                    if let Some(unreadable) = unreadable {
                        return Err(Error::Unreadable { doing: "read the pipeline", why: unreadable.error });
                    }
                    let wake = pipeline::reconcile(context.clone(), namespace.clone(), name.clone()).await?;
                    memory::tidy(&context, &executions, &namespace, &name).await?;
                    if !deletes {
                        return Ok(wake);
                    }
                    let again = images::tidy(&context, &executions, &namespace, &name).await?;
                    Ok(wake.into_iter().chain(again).min())
                })
            },
            error_policy,
            context.clone(),
        )
        .for_each(|_| std::future::ready(()))
}

/// Pipelines whose sources changed.
fn told(changes: mpsc::UnboundedReceiver<Key>) -> impl Stream<Item = ObjectRef<AnyPipeline>> + Send {
    futures::stream::unfold(changes, |mut changes| async move {
        let key: Key = changes.recv().await?;
        Some((ObjectRef::new(&key.name).within(&key.namespace), changes))
    })
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
fn labelled<K: Resource<DynamicType = ()>>(pod: &PartialObjectMeta<Pod>, label: &str) -> Option<ObjectRef<K>> {
    let name = pod.labels().get(label)?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// Measures a round, and makes its result the next time to look.
async fn timed<K, F>(
    kind: &'static str,
    object: Arc<K>,
    context: Arc<Context>,
    round: impl FnOnce(Arc<Context>, String, String) -> F,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()>,
    F: Future<Output = Result<Option<Timestamp>, Error>>,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let begun = Instant::now();
    let result = round(context.clone(), namespace.clone(), name.clone()).await;
    let label = result.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconcile(kind, label, begun.elapsed().as_secs_f64());
    let wake = result.inspect_err(|error| match error {
        // Somebody else wrote first: it is read and decided again, and nothing is wrong.
        Error::Conflict(_) => tracing::debug!(kind, namespace, name, %error, "Round begins again"),
        // It must not stop the others. It changes, or stays as it is.
        Error::Unreadable { .. } => tracing::error!(kind, namespace, name, %error, "Object cannot be read"),
        Error::Kube { .. } | Error::TimedOut { .. } | Error::Taken(_) | Error::NoProgress(_) => {
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
fn error_policy<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let key = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    Action::requeue(context.pause(key, error))
}

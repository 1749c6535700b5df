//! Effects of an execution: locks, targets, Jobs, the ledger.

use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::ControllerRevision, batch::v1::Job},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions, PropagationPolicy},
};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    conditions::truncate,
    environment::{EnvironmentStatus, Lock, RolloutState},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
    error::{Error, bounded},
    observe::now,
    plan::execution::{
        action::{Action, Work},
        ledger::remember,
        world::{Denied, JobFacts, World},
    },
    render::{job::job, revision::controller_revision},
};

use super::{build, counted, status};

/// How often a compare-and-set is tried at once.
const TRIES: usize = 5;
/// Longest message of a rollout.
const MESSAGE_MAX: usize = 1024;

/// Performs actions in their order. Facts are to be read again, but where the apiserver refused one: that is a fact like the
/// others, and with it the execution tells why it does not go on. Nobody reads the operator's log to learn that.
///
/// # Errors
/// When the apiserver does not answer, or does not let an execution that has ended give an Environment back.
pub async fn perform_all(context: &Context, mut world: World, actions: &[Action]) -> Result<Option<World>, Error> {
    for action in actions {
        let Err(error) = perform(context, &world, action).await else { continue };
        let Some(why) = error.refusal().map(str::to_owned) else { return Err(error) };
        match action {
            Action::CreateJob { step, .. } => {
                world.jobs.insert(*step, JobFacts::Refused { why });
            }
            Action::KeepRevision { .. }
            | Action::Lock { .. }
            | Action::SetTarget { .. }
            | Action::Resume { .. }
            | Action::Stop { .. }
            | Action::DeleteJob { .. }
            | Action::Remember { .. } => world.denied = Some(Denied { action: action.clone(), why }),
            // It has ended, and its Environment takes the lock away itself.
            Action::Unlock { .. } => return Err(error),
        }
        return Ok(Some(world));
    }
    Ok(None)
}

/// Performs one action for the execution of a world.
///
/// # Errors
/// When the apiserver does not answer, or the object changed meanwhile. Facts are to be read again.
pub async fn perform(context: &Context, world: &World, action: &Action) -> Result<(), Error> {
    let execution = &world.execution;
    tracing::info!(execution = %key(execution), action = action.category(), "Performing");
    counted(context, action.category(), async {
        match action {
            Action::KeepRevision { owner, spec, revision } => {
                let namespace = execution.namespace().unwrap_or_default();
                let object = controller_revision(&namespace, owner, spec, revision);
                let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &namespace);
                create("keep the pipeline's version", &api, &object).await
            }
            Action::Lock { environment } => lock(context, world, environment).await,
            Action::Unlock { environment } => {
                change(context, world, environment, |found| {
                    let held =
                        found.lock.as_ref().is_some_and(|lock| Some(&lock.uid) == execution.metadata.uid.as_ref());
                    held.then(|| found.lock = None).is_some()
                })
                .await
            }
            Action::SetTarget { environment, target } => {
                let known = read(world, environment);
                // That it is open was decided on this spec: over another one it is decided anew.
                let generation = known.and_then(|known| known.metadata.generation);
                let edit = |found: &mut Environment| {
                    let same = known.is_none() || found.metadata.generation == generation;
                    let found = found.status.get_or_insert_default();
                    let held = found.lock.as_ref().is_some_and(|lock| lock.uid == target.uid);
                    let known = found.target.as_ref() == Some(target);
                    (same && held && !known)
                        .then(|| {
                            found.target = Some(target.as_ref().clone());
                            found.rollout = None;
                            found.restore = None;
                        })
                        .is_some()
                };
                compare_and_set(context, world, environment, known, edit).await
            }
            Action::Resume { environment } => {
                change(context, world, environment, |found| {
                    let own = found.target.as_mut().filter(|target| is(execution, &target.uid));
                    own.is_some_and(|target| target.pause_after.take().is_some())
                })
                .await
            }
            Action::Stop { environment, why } => {
                change(context, world, environment, |found| {
                    let own = found.target.as_ref().is_some_and(|target| is(execution, &target.uid));
                    let pauses = found.rollout.as_mut().filter(|rollout| own && rollout.state == RolloutState::Paused);
                    pauses
                        .map(|rollout| {
                            rollout.state = RolloutState::Failed;
                            rollout.message = truncate(why, MESSAGE_MAX);
                        })
                        .is_some()
                })
                .await
            }
            Action::CreateJob { step, work } => {
                if let Work::Build { sources, .. } = work.as_ref() {
                    build::prepare(context, execution, sources).await?;
                }
                // Nothing is deleted from a registry while a build begins that may make the same again.
                let _turn = match work.as_ref() {
                    Work::BuildImage { .. } => Some(context.builds.read().await),
                    _ => None,
                };
                let job = job(execution, *step, work, &context.installation);
                let api: Api<Job> = Api::namespaced(context.client.clone(), &execution.namespace().unwrap_or_default());
                create("create a job", &api, &job).await
            }
            Action::DeleteJob { name, uid } => delete_job(context, execution, name, uid).await,
            Action::Remember { pipeline, entry, tests } => {
                let known = world.pipeline.iter().find(|known| known.name_any() == *pipeline);
                let edit = |found: &mut Pipeline| remember(found.status.get_or_insert_default(), entry, tests);
                compare_and_set(context, world, pipeline, known, edit).await
            }
        }
    })
    .await
}

/// Whether a UID is that of an execution.
fn is(execution: &PipelineExecution, uid: &str) -> bool {
    execution.metadata.uid.as_deref() == Some(uid)
}

/// Makes an object, or leaves the one that somebody made before: whether it is ours is seen when it is read.
async fn create<K>(doing: &'static str, api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let made = async {
        match api.create(&PostParams::default(), object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            other => other.map(|_| ()),
        }
    };
    bounded(doing, made).await
}

/// `NAMESPACE/NAME` of an execution, for logs.
fn key(execution: &PipelineExecution) -> String {
    format!("{}/{}", execution.namespace().unwrap_or_default(), execution.name_any())
}

/// Takes an Environment, unless somebody has it, or it is about to be deleted: that may have come after the round read it.
async fn lock(context: &Context, world: &World, environment: &str) -> Result<(), Error> {
    let execution = &world.execution;
    let edit = |found: &mut Environment| {
        let deleted = found.metadata.deletion_timestamp.is_some();
        let status = found.status.get_or_insert_default();
        if deleted || status.lock.is_some() {
            return false;
        }
        status.lock = Some(Lock {
            execution: execution.name_any(),
            uid: execution.metadata.uid.clone().unwrap_or_default(),
            since: Time(now()),
        });
        true
    };
    compare_and_set(context, world, environment, read(world, environment), edit).await
}

/// Changes the status of an Environment by compare-and-set. `edit` says whether it changed anything.
async fn change(
    context: &Context,
    world: &World,
    environment: &str,
    edit: impl Fn(&mut EnvironmentStatus) -> bool,
) -> Result<(), Error> {
    let edit = |found: &mut Environment| edit(found.status.get_or_insert_default());
    compare_and_set(context, world, environment, read(world, environment), edit).await
}

/// An Environment as the round has read it.
fn read<'a>(world: &'a World, name: &str) -> Option<&'a Environment> {
    [&world.stage, &world.production].into_iter().flatten().find(|known| known.name_any() == name)
}

/// Changes the status of an object of the execution's namespace. `known` is what the round has read of it: it is
/// written over that version, or, when others wrote meanwhile, read and asked again.
async fn compare_and_set<K>(
    context: &Context,
    world: &World,
    name: &str,
    known: Option<&K>,
    edit: impl Fn(&mut K) -> bool,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &world.execution.namespace().unwrap_or_default());
    let mut known = known.cloned();
    for _ in 0..TRIES {
        let found = match known.take() {
            Some(known) => Some(known),
            None => bounded("read an object to change", api.get_opt(name)).await?,
        };
        let Some(mut found) = found else { return Ok(()) };
        if !edit(&mut found) {
            return Ok(());
        }
        match status::replace(context, &found).await {
            Err(Error::Conflict(_)) => {}
            other => return other.map(|_| ()),
        }
    }
    Err(Error::Conflict("change the status of an object"))
}

async fn delete_job(context: &Context, execution: &PipelineExecution, name: &str, uid: &str) -> Result<(), Error> {
    let api: Api<Job> = Api::namespaced(context.client.clone(), &execution.namespace().unwrap_or_default());
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: Some(uid.into()), resource_version: None }),
        ..DeleteParams::default()
    };
    let gone = async {
        match api.delete(name, &parameters).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    };
    bounded("delete a job", gone).await
}

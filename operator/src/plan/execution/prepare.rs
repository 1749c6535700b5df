//! The steps before any image: `validate` and `build`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment, Pipeline,
    conditions::reasons,
    environment::{EnvironmentType, Runtime},
    execution::{Artifact, FILES_MAX, PipelineExecutionStatus, WaitingFor},
    step::{StepName, StepState},
};

use super::{
    Verdict,
    action::Action,
    finish::spec_hash,
    holds, identity, name_of, step_of,
    world::{Fault, World},
};

/// How long an execution waits for objects that it refers to: GitOps tools apply in any order.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How long a registry may be away before an execution gives up.
const REGISTRY_PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Pause before it is looked again whether an older execution still waits.
const QUEUE_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// Pause between two tries.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Everything that the pipeline refers to exists, and its environments are this execution's alone.
pub(super) fn validate(world: &World, status: &PipelineExecutionStatus) -> Verdict {
    let wanted = &world.execution.spec.pipeline_ref.name;
    let Some(pipeline) = &world.pipeline else {
        return absent(world, status, "Pipeline", wanted);
    };
    if let Some(verdict) = remembered(world, pipeline) {
        return verdict;
    }
    let (stage, production) = match (&world.stage, &world.production) {
        (None, _) => return absent(world, status, "Environment", &pipeline.spec.stage.environment),
        (_, None) => return absent(world, status, "Environment", &pipeline.spec.production.environment),
        (Some(stage), Some(production)) => (stage, production),
    };
    for (environment, type_, field) in
        [(stage, EnvironmentType::Stage, "stage"), (production, EnvironmentType::Production, "production")]
    {
        if environment.spec.type_ != type_ {
            return Verdict::failed(
                reasons::WRONG_ENVIRONMENT_TYPE,
                format!(
                    "spec.{field}.environment of Pipeline {wanted} names Environment {}, which is of type {:?}: name one of type {type_:?}",
                    name_of(environment),
                    environment.spec.type_,
                ),
            );
        }
    }
    if let Err(verdict) = bases(world, stage, production) {
        return *verdict;
    }
    take(world, [stage, production])
}

/// An execution that ended before does not run again, whoever creates it once more.
fn remembered(world: &World, pipeline: &Pipeline) -> Option<Verdict> {
    let (name, _, uid) = identity(world);
    let ledger = &pipeline.status.as_ref()?.ledger;
    let entry = ledger.iter().find(|entry| entry.name == name && entry.uid != uid)?;
    let ended = format!("ended as {} at {}", entry.result, entry.at.0);
    if entry.spec_hash != spec_hash(&world.execution.spec) {
        return Some(Verdict::failed(
            reasons::NAME_REUSED,
            format!("another execution named {name} {ended}: give this one a name of its own"),
        ));
    }
    let state = if entry.result == reasons::FINISHED { StepState::Finished } else { StepState::Failed };
    Some(Verdict::Ended {
        state,
        reason: reasons::ALREADY_EXECUTED.into(),
        message: format!("this execution {ended} and does not run again: create one with another name"),
        actions: vec![],
    })
}

fn absent(world: &World, status: &PipelineExecutionStatus, kind: &str, name: &str) -> Verdict {
    let (_, namespace, _) = identity(world);
    let message = format!("{kind} {name} does not exist in namespace {namespace}: create it or correct the reference");
    let began = began(world, status, StepName::Validate);
    if world.now.duration_since(began) < PATIENCE {
        return Verdict::retrying(message, began.saturating_add(PATIENCE).unwrap_or(world.now));
    }
    Verdict::failed(reasons::NOT_FOUND, message)
}

/// When a step began, or now.
fn began(world: &World, status: &PipelineExecutionStatus, step: StepName) -> Timestamp {
    step_of(status, step).and_then(|step| step.started_at.as_ref()).map_or(world.now, |at| at.0)
}

/// The base images of an Environment: its own, or those of the installation.
pub(super) fn runtime_of(world: &World, environment: &Environment) -> Runtime {
    let own = environment.spec.runtime.clone().unwrap_or_default();
    Runtime {
        aem: own.aem.or_else(|| world.default_runtime.aem.clone()),
        dispatcher: own.dispatcher.or_else(|| world.default_runtime.dispatcher.clone()),
        image_pull_secrets: own.image_pull_secrets,
    }
}

/// One release runs on both environments, so both must name the same bases.
fn bases(world: &World, stage: &Environment, production: &Environment) -> Result<(), Box<Verdict>> {
    let (one, other) = (runtime_of(world, stage), runtime_of(world, production));
    for (field, one, other) in [("aem", &one.aem, &other.aem), ("dispatcher", &one.dispatcher, &other.dispatcher)] {
        if one.is_none() {
            return Err(Box::new(Verdict::failed(
                reasons::NO_RUNTIME,
                format!(
                    "no base image for {field}: set spec.runtime.{field} of Environment {}, or the chart's value runtime.{field}",
                    name_of(stage)
                ),
            )));
        }
        if one != other {
            return Err(Box::new(Verdict::failed(
                reasons::RUNTIME_MISMATCH,
                format!(
                    "Environments {} and {} name different base images in spec.runtime.{field}: one release runs on both, so name the same",
                    name_of(stage),
                    name_of(production)
                ),
            )));
        }
    }
    Ok(())
}

/// Takes the environments, always in the same order, so that two executions never wait for each other. For the same
/// reason who has one of them goes on, whoever is older: the older one waits for just that Environment.
fn take(world: &World, environments: [&Environment; 2]) -> Verdict {
    let (_, namespace, uid) = identity(world);
    let begun = environments.iter().any(|environment| holds(world, environment));
    for environment in environments {
        let name = name_of(environment);
        match environment.status.as_ref().and_then(|status| status.lock.as_ref()) {
            Some(lock) if lock.uid == uid => {}
            Some(lock) => {
                let holder = &lock.execution;
                return queued(
                    world,
                    format!("Environment {name} is taken by execution {holder}"),
                    Some(format!("kubectl launchway status {holder} --namespace {namespace}")),
                    None,
                );
            }
            None => match world.ahead.as_ref().filter(|_| !begun) {
                Some(older) => {
                    return queued(
                        world,
                        format!("execution {older} waits for Environment {name} longer"),
                        Some(format!("kubectl launchway status {older} --namespace {namespace}")),
                        // Its end changes no Environment if it never had one, so no event tells of it.
                        world.now.saturating_add(QUEUE_PAUSE).ok(),
                    );
                }
                None => {
                    return Verdict::acting(
                        format!("takes Environment {name}"),
                        vec![Action::Lock { environment: name.into() }],
                    );
                }
            },
        }
    }
    Verdict::finished("pipeline and environments are usable")
}

fn queued(world: &World, why: String, command: Option<String>, wake: Option<Timestamp>) -> Verdict {
    Verdict::Waiting {
        reason: reasons::ENVIRONMENT_LOCKED,
        waiting: Box::new(WaitingFor {
            step: StepName::Validate,
            why,
            since: Time(world.now),
            until: None,
            who: None,
            command,
        }),
        wake,
        actions: vec![],
    }
}

/// The packages are there: the artifact is resolved to a digest, once.
pub(super) fn build(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    if let Some(artifact) = &status.artifact {
        return Verdict::finished(format!("uses {}", artifact.reference));
    }
    match &world.artifact {
        None => Verdict::running("looks the artifact up in the registry"),
        Some(Ok(found)) => {
            let mut files = found.files.clone();
            files.truncate(FILES_MAX);
            status.artifact = Some(Artifact { reference: found.reference.clone(), files });
            Verdict::finished(format!("uses {} with {} files", found.reference, found.files.len()))
        }
        Some(Err(fault)) => faulty(world, status, StepName::Build, fault, reasons::ARTIFACT_NOT_FOUND),
    }
}

/// What a fault of a registry means for a step.
pub(super) fn faulty(
    world: &World,
    status: &PipelineExecutionStatus,
    step: StepName,
    fault: &Fault,
    absent: &str,
) -> Verdict {
    match fault {
        Fault::Absent(message) => Verdict::failed(absent, message.clone()),
        Fault::Refused(message) => Verdict::failed(reasons::REGISTRY_REFUSED, message.clone()),
        Fault::Unreachable(message) => {
            let began = began(world, status, step);
            if world.now.duration_since(began) < REGISTRY_PATIENCE {
                Verdict::retrying(
                    format!("{message}; tries again"),
                    world.now.saturating_add(PAUSE).unwrap_or(world.now),
                )
            } else {
                Verdict::error(reasons::REGISTRY_UNREACHABLE, message.clone())
            }
        }
    }
}

/// Whether both environments are still this execution's.
pub(super) fn locked(world: &World) -> Result<(), Verdict> {
    for (environment, field) in [(&world.stage, "stage"), (&world.production, "production")] {
        let held = environment.as_ref().is_some_and(|environment| holds(world, environment));
        if !held {
            return Err(Verdict::error(
                reasons::ENVIRONMENT_LOCKED,
                format!(
                    "this execution no longer holds its {field} Environment: it was deleted or its status was changed by hand"
                ),
            ));
        }
    }
    Ok(())
}

//! The step `validate`: everything that the pipeline refers to exists, the execution may ask for what it asks for, and
//! its environments are this execution's alone.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment, Pipeline,
    conditions::reasons,
    environment::{EmergencyMode, EnvironmentType},
    execution::{Environments, Mode, PipelineExecutionStatus, WaitingFor},
    pipeline::{Concurrency, PipelineType},
    step::{StepName, StepState},
};

use crate::plan::bases;

use super::{
    Verdict,
    action::Action,
    git, holds, identity,
    ledger::spec_hash,
    name_of,
    prepare::began,
    route::{self, only_production},
    source, web_tier,
    world::{Guard, World},
};

/// How long an execution waits for objects that it refers to: GitOps tools apply in any order.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// A place in a pipeline, and the Environment that is there.
struct Place<'a> {
    field: &'static str,
    name: &'a str,
    found: Option<&'a Environment>,
    fits: fn(EnvironmentType) -> bool,
    wanted: &'static str,
}

/// Whether the execution can run, and its turn has come.
pub(super) fn validate(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let wanted = &world.execution.spec.pipeline_ref.name;
    let Some(pipeline) = &world.pipeline else {
        return unguarded(world).unwrap_or_else(|| absent(world, status, "Pipeline", wanted));
    };
    let refused = remembered(world, pipeline)
        .or_else(|| impossible(world, pipeline))
        .or_else(|| unguarded(world))
        .or_else(|| repeated(world, pipeline));
    if let Some(verdict) = refused {
        return verdict;
    }
    let names = status.environments.clone().unwrap_or_default();
    let mut environments = vec![];
    for place in places(world, &names) {
        let Some(environment) = place.found else { return absent(world, status, "Environment", place.name) };
        if !(place.fits)(environment.spec.type_) {
            return Verdict::failed(
                reasons::WRONG_ENVIRONMENT_TYPE,
                format!(
                    "spec.{}.environment of Pipeline {wanted} names Environment {}, which is of type {:?}: name one of type {}",
                    place.field, place.name, environment.spec.type_, place.wanted,
                ),
            );
        }
        if environment.metadata.deletion_timestamp.is_some() && !holds(world, environment) {
            return Verdict::failed(
                reasons::NOT_FOUND,
                format!("Environment {} is being deleted: create it again, or name another one", place.name),
            );
        }
        environments.push(environment);
    }
    if let Some(verdict) = no_emergency(world, &environments) {
        return verdict;
    }
    if let Some(verdict) = web_tier::impossible(world) {
        return verdict;
    }
    if !only_production(pipeline.spec.type_, status.trigger)
        && let Err(verdict) = same_bases(world, &environments)
    {
        return *verdict;
    }
    if let Some(Err(verdict)) = source::taken(world) {
        return verdict;
    }
    turn(world, pipeline, &environments)
        .or_else(|| take(world, &environments))
        .unwrap_or_else(|| git::resolve(world, status))
}

fn places<'a>(world: &'a World, names: &'a Environments) -> Vec<Place<'a>> {
    let place = |field, name: &'a Option<String>, found: &'a Option<Environment>, fits, wanted| {
        name.as_deref().map(|name| Place { field, name, found: found.as_ref(), fits, wanted })
    };
    let all = [
        place("stage", &names.stage, &world.stage, |is| is == EnvironmentType::Stage, "Stage"),
        place(
            "deployment",
            &names.deployment,
            &world.stage,
            |is| is != EnvironmentType::Production,
            "Development or Stage",
        ),
        place("production", &names.production, &world.production, |is| is == EnvironmentType::Production, "Production"),
    ];
    all.into_iter().flatten().collect()
}

/// What an execution asks for has to make sense for its pipeline.
fn impossible(world: &World, pipeline: &Pipeline) -> Option<Verdict> {
    let (asked, type_) = (&world.execution.spec, pipeline.spec.type_);
    let builds = type_ != PipelineType::ProductionOnly;
    let sources = pipeline.spec.source.git.is_some();
    let why = if asked.artifact.is_some() && !builds {
        "spec.artifact: a ProductionOnly pipeline builds nothing; name a tested execution in spec.sourceExecution"
    } else if asked.change.is_some() && !builds {
        "spec.change: a ProductionOnly pipeline has no source that changes"
    } else if asked.artifact.is_some() && sources {
        "spec.artifact: this pipeline builds its packages from Git; name a commit in spec.commit"
    } else if (asked.commit.is_some() || asked.rebuild) && !sources {
        "spec.commit and spec.rebuild: only a pipeline with spec.source.git builds packages"
    } else if asked.source_execution.is_some() && builds {
        "spec.sourceExecution: only a ProductionOnly pipeline takes the release of another execution"
    } else if (asked.re_execute.is_some() || asked.roll_back_to.is_some()) && pipeline.spec.production.is_none() {
        "spec.reExecute and spec.rollBackTo: this pipeline does not deploy to production"
    } else if asked.mode == Mode::Emergency && pipeline.spec.tested_on().is_none() && builds {
        "spec.mode: a pipeline without a place for tests has nothing that an emergency could leave out"
    } else {
        return None;
    };
    Some(Verdict::failed(
        reasons::NOT_POSSIBLE,
        format!("{why} (Pipeline {} is of type {type_:?})", asked.pipeline_ref.name),
    ))
}

/// There may be one pipeline of each type for an Environment: the one that was there first (`cloud-manager.md` §1.3).
fn repeated(world: &World, pipeline: &Pipeline) -> Option<Verdict> {
    let (older, environment) = world.rival.as_ref()?;
    let (name, type_) = (&world.execution.spec.pipeline_ref.name, pipeline.spec.type_);
    Some(Verdict::failed(
        reasons::PIPELINE_EXISTS,
        format!(
            "Pipeline {older} is of type {type_:?} for Environment {environment} and was there before Pipeline {name}: delete \
             one of the two, or name another Environment"
        ),
    ))
}

/// Whether this is the first look at an emergency: the only one that asks who was allowed to create it, for an
/// installation that is upgraded later takes nothing away from that.
pub(super) fn is_new_emergency(world: &World) -> bool {
    world.execution.spec.mode == Mode::Emergency && world.execution.status.is_none()
}

/// The verb that an emergency needs is asked by the apiserver: not while its policy was missing.
fn unguarded(world: &World) -> Option<Verdict> {
    if !is_new_emergency(world) {
        return None;
    }
    let created = world.execution.metadata.creation_timestamp.as_ref().map(|at| at.0);
    let why = match &world.guard {
        Guard::InForce { since, .. } if created.is_some_and(|created| created >= *since) => return None,
        Guard::InForce { since, .. } => {
            format!("it was created before the policy was installed, or last edited, at {since}")
        }
        Guard::Missing(what) => what.clone(),
        Guard::NotLookedAt => "the policy was not looked at".into(),
    };
    Some(Verdict::failed(
        reasons::EMERGENCY_UNGUARDED,
        format!(
            "nobody checked who declared this emergency: {why}. Have an administrator install the policies (helm upgrade, or \
             kubectl apply -k config/policy), and create another execution"
        ),
    ))
}

/// An emergency has to be allowed where the release goes in the end.
fn no_emergency(world: &World, environments: &[&Environment]) -> Option<Verdict> {
    let last = environments.last().filter(|_| world.execution.spec.mode == Mode::Emergency)?;
    (last.spec.emergency_mode == EmergencyMode::Disabled).then(|| {
        Verdict::failed(
            reasons::EMERGENCY_NOT_ENABLED,
            format!(
                "Environment {} does not allow emergencies: set its spec.emergencyMode to Enabled, or run without spec.mode",
                name_of(last)
            ),
        )
    })
}

/// An execution that ended before does not run again, whoever creates it once more.
pub(super) fn remembered(world: &World, pipeline: &Pipeline) -> Option<Verdict> {
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

/// One release runs on every Environment of the way, so all must name the same bases.
fn same_bases(world: &World, environments: &[&Environment]) -> Result<(), Box<Verdict>> {
    let (Some(first), Some(last)) = (environments.first(), environments.last()) else { return Ok(()) };
    let (one, other) = (bases::of(&first.spec, &world.default_runtime), bases::of(&last.spec, &world.default_runtime));
    for (field, one, other) in [("aem", &one.aem, &other.aem), ("dispatcher", &one.dispatcher, &other.dispatcher)] {
        // Beside a dispatcher that is built alone stands the image that runs there.
        if one.is_none() && !(field == "aem" && web_tier::is_own(world)) {
            return Err(Box::new(Verdict::failed(
                reasons::NO_RUNTIME,
                format!(
                    "no base image for {field}: set spec.runtime.{field} of Environment {}, or the chart's value runtime.{field}",
                    name_of(first)
                ),
            )));
        }
        if one != other {
            return Err(Box::new(Verdict::failed(
                reasons::RUNTIME_MISMATCH,
                format!(
                    "Environments {} and {} name different base images in spec.runtime.{field}: one release runs on both, so name the same",
                    name_of(first),
                    name_of(last)
                ),
            )));
        }
    }
    Ok(())
}

/// Whether others of the pipeline come first; none when it is this one's turn.
///
/// Names order what was created in one second, so an older one can turn up late: who has an Environment by then goes on,
/// for the older one waits for it.
fn turn(world: &World, pipeline: &Pipeline, environments: &[&Environment]) -> Option<Verdict> {
    if has_begun(world, environments) {
        return None;
    }
    let (_, namespace, _) = identity(world);
    let name = &world.execution.spec.pipeline_ref.name;
    if pipeline.spec.suspend {
        return Some(queued(
            world,
            reasons::SUSPENDED,
            format!("Pipeline {name} is suspended"),
            Some(format!(
                "kubectl patch pipeline {name} --namespace {namespace} --type merge --patch '{{\"spec\":{{\"suspend\":false}}}}'"
            )),
        ));
    }
    let older = world.siblings.older.as_ref()?;
    if pipeline.spec.concurrency == Concurrency::Refuse {
        return Some(Verdict::failed(
            reasons::BUSY,
            format!(
                "execution {older} of Pipeline {name} runs, and its spec.concurrency is Refuse: wait for it to end"
            ),
        ));
    }
    Some(queued(
        world,
        reasons::BUSY,
        format!("execution {older} of Pipeline {name} runs"),
        Some(format!("kubectl launchway status {older} --namespace {namespace}")),
    ))
}

/// Whether a newer execution of the pipeline takes the place of this one, which is at this step. What has come to
/// production's door is not thrown away by a push.
pub(super) fn may_be_replaced(world: &World, step: StepName) -> bool {
    world.pipeline.as_ref().is_some_and(|pipeline| pipeline.spec.concurrency == Concurrency::Replace)
        && step < StepName::ApprovalProduction
}

/// Whether the execution finds its packages in a registry; else it takes a release that exists.
pub(super) fn takes_artifact(world: &World) -> bool {
    world.pipeline.as_ref().is_some_and(|pipeline| {
        pipeline.spec.source.git.is_none()
            && !only_production(pipeline.spec.type_, route::trigger(&world.execution.spec))
    })
}

/// Environments of this execution, in the order in which they are locked.
fn own(world: &World) -> Vec<(&'static str, Option<&Environment>)> {
    let recorded = world.execution.status.as_ref().and_then(|status| status.environments.clone());
    let names = recorded
        .or_else(|| Some(route::environments(&world.pipeline.as_ref()?.spec, &world.execution.spec)))
        .unwrap_or_default();
    let tested = names.tested().map(|_| ("stage", world.stage.as_ref()));
    let production = names.production.as_ref().map(|_| ("production", world.production.as_ref()));
    tested.into_iter().chain(production).collect()
}

/// Whether every Environment of this execution, if it has any, is its own.
pub(super) fn holds_all(world: &World) -> bool {
    own(world).iter().all(|(_, found)| found.is_some_and(|environment| holds(world, environment)))
}

/// Takes the environments, until all of them are this execution's: always in the same order, so that two executions never wait for each other. For the same
/// reason who has one of them goes on, whoever is older: the older one waits for just that Environment.
fn take(world: &World, environments: &[&Environment]) -> Option<Verdict> {
    let (_, namespace, uid) = identity(world);
    let begun = has_begun(world, environments);
    for environment in environments {
        let name = name_of(environment);
        let status = |holder: &String| Some(format!("kubectl launchway status {holder} --namespace {namespace}"));
        match environment.status.as_ref().and_then(|status| status.lock.as_ref()) {
            Some(lock) if lock.uid == uid => {}
            Some(lock) => {
                let holder = &lock.execution;
                let why = format!("Environment {name} is taken by execution {holder}");
                return Some(queued(world, reasons::ENVIRONMENT_LOCKED, why, status(holder)));
            }
            None => match world.ahead.as_ref().filter(|_| !begun) {
                Some(older) => {
                    let why =
                        format!("execution {older} came first, and wants an Environment that this one wants, too");
                    return Some(queued(world, reasons::ENVIRONMENT_LOCKED, why, status(older)));
                }
                None => {
                    return Some(Verdict::acting(
                        format!("takes Environment {name}"),
                        vec![Action::Lock { environment: name.into() }],
                    ));
                }
            },
        }
    }
    None
}

/// Whether nothing of an execution begins, whoever else is there: its pipeline is suspended, and it has no Environment yet.
pub(super) fn is_suspended(world: &World) -> bool {
    let held = || own(world).iter().any(|(_, found)| found.is_some_and(|environment| holds(world, environment)));
    world.pipeline.as_ref().is_some_and(|pipeline| pipeline.spec.suspend) && !held()
}

/// Whether the execution has an Environment already.
fn has_begun(world: &World, environments: &[&Environment]) -> bool {
    environments.iter().any(|environment| holds(world, environment))
}

/// Waits for its turn, and looks for nothing by itself: the end of who is before it, its deletion, a lock that is free and an
/// edit of the pipeline are told (`controllers/execution.rs`).
fn queued(world: &World, reason: &'static str, why: String, command: Option<String>) -> Verdict {
    Verdict::Waiting {
        reason,
        waiting: Box::new(WaitingFor {
            step: StepName::Validate,
            why,
            since: Time(world.now),
            until: None,
            expiring_since: None,
            who: None,
            command,
        }),
        warn: None,
        wake: None,
        actions: vec![],
    }
}

/// Whether its environments are still this execution's.
pub(super) fn locked(world: &World) -> Result<(), Verdict> {
    for (field, environment) in own(world) {
        if !environment.is_some_and(|environment| holds(world, environment)) {
            return Err(Verdict::error(
                reasons::ENVIRONMENT_LOCKED,
                format!(
                    "this execution no longer holds its {field} Environment: it was deleted or its status was changed by hand, so run the pipeline again"
                ),
            ));
        }
    }
    Ok(())
}

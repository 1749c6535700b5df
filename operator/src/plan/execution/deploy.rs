//! Deployment: the release becomes the target of an Environment, whose own planner rolls it out.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment,
    common::Span,
    conditions::{self, reasons, types},
    deploy::{CacheFlush, DeployOptions},
    digest::ImageRef,
    environment::{EnvironmentStatus, EnvironmentType, RolloutState, Target},
    execution::{PipelineExecutionStatus, Trigger, WaitingFor},
    names::requests,
    step::{StepName, StepState},
};

use super::{
    Verdict,
    action::Action,
    calendar::{self, Closed},
    identity, name_of, pause, request,
    requested::Clock,
    route, source,
    validate::locked,
    web_tier,
    world::World,
};

/// How long an Environment may take to end a rollout that cannot go on.
const GIVES_UP: SignedDuration = SignedDuration::from_secs(60);

/// The release runs where it is tested.
pub(super) fn tested(world: &World, status: &PipelineExecutionStatus, step: StepName) -> Verdict {
    let spec = world.pipeline.as_ref().map(|pipeline| &pipeline.spec);
    let options = spec.and_then(|spec| match (&spec.stage, &spec.deployment) {
        (Some(place), _) => Some(place.deploy.clone()),
        (None, place) => place.as_ref().map(|place| place.deploy.clone()),
    });
    deploy(world, status, world.stage.as_ref(), step, options.unwrap_or_default())
}

/// The release runs on production: only after stage, its tests, and the approval passed.
pub(super) fn production(world: &World, status: &PipelineExecutionStatus) -> Verdict {
    // The proof is for the first write: what others do while the release rolls out takes nothing away from it.
    if !began(world, world.production.as_ref())
        && let Err(verdict) = proved(world, status)
    {
        return verdict;
    }
    let production = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.production.as_ref());
    let cache = production.map(|production| production.deploy.clone()).unwrap_or_default();
    let options = DeployOptions { cache, ..DeployOptions::default() };
    deploy(world, status, world.production.as_ref(), StepName::DeployProduction, options)
}

/// Every step before passed, and the approval that the pipeline requires names this very release: it was given to this
/// execution, or to the one whose deployment is done again or gone back to.
///
/// The loop over the steps comes here in no other way; a status that was restored from a backup or
/// edited by hand does.
fn proved(world: &World, status: &PipelineExecutionStatus) -> Result<(), Verdict> {
    let passed =
        status.steps.iter().filter(|step| step.name < StepName::DeployProduction).all(|step| step.state.lets_pass());
    let required = world
        .pipeline
        .as_ref()
        .and_then(|pipeline| pipeline.spec.production.as_ref())
        .is_none_or(|production| production.approval.required);
    let approved = status.release.as_ref().is_some_and(|release| {
        status
            .approvals
            .iter()
            .any(|approval| approval.step == StepName::ApprovalProduction && approval.release == release.digest())
    });
    let source = source::recorded(world, status);
    let kept = !source::takes(world) || source.is_some_and(|entry| entry.release == status.release);
    let inherited = matches!(route::trigger(&world.execution.spec), Trigger::ReExecute | Trigger::RollBack)
        && source.is_some_and(|entry| entry.approved);
    if passed && kept && (approved || !required || inherited) {
        return Ok(());
    }
    Err(Verdict::error(
        reasons::PROOF_INCOMPLETE,
        "the record of tests or approvals for this release is incomplete: production was not touched, run the pipeline again",
    ))
}

/// Whether the Environment has this execution's release as target or runs it.
pub(super) fn began(world: &World, environment: Option<&Environment>) -> bool {
    let (_, _, uid) = identity(world);
    environment.and_then(|environment| environment.status.as_ref()).is_some_and(|status| {
        status.target.as_ref().is_some_and(|target| target.uid == uid)
            || status.deployed.as_ref().is_some_and(|deployed| {
                deployed.uid == uid || deployed.web_tier.as_ref().is_some_and(|origin| origin.uid == uid)
            })
            || status.restore.as_ref().is_some_and(|restore| restore.uid.as_deref() == Some(uid))
    })
}

fn deploy(
    world: &World,
    status: &PipelineExecutionStatus,
    environment: Option<&Environment>,
    step: StepName,
    options: DeployOptions,
) -> Verdict {
    let (name, _, uid) = identity(world);
    if let Err(verdict) = locked(world) {
        return verdict;
    }
    let (Some(environment), Some(release), Some(images)) = (environment, &status.release, &status.images) else {
        return Verdict::error(
            reasons::RELEASE_NOT_FOUND,
            "this execution has no release to deploy: run the pipeline again",
        );
    };
    let known = environment.status.clone().unwrap_or_default();
    if let Some(deployed) = known.deployed.as_ref().filter(|deployed| deployed.is_of(uid, release)) {
        let late = request(world, requests::CANCEL).filter(|_| environment.spec.type_ == EnvironmentType::Production);
        let late = late.map_or(String::new(), |_| "; the cancellation came too late".into());
        let pods = if web_tier::is_own(world) { "every dispatcher" } else { "every pod" };
        let beside = web_tier::told(world, deployed);
        return Verdict::finished(format!(
            "{pods} of {} runs {}{beside}{late}",
            name_of(environment),
            release.digest()
        ));
    }
    if let Some(verdict) = went_back(environment, &known, uid) {
        return verdict;
    }
    if known.target.as_ref().is_none_or(|target| target.uid != uid) {
        if let Some(closed) = calendar::closed(&environment.spec, world.now) {
            return not_now(world, status, environment, step, &closed);
        }
        let Some(owners) = &world.web_tiers else { return Verdict::Unseen };
        let target = Target {
            execution: name.into(),
            uid: uid.into(),
            release: release.clone(),
            images: images.clone(),
            scope: web_tier::scope(world, owners, environment),
            detach: options.detach,
            cache: (!options.cache.is_empty()).then(|| CacheFlush { uid: uid.into(), paths: options.cache }),
            made_at: status.made_at.clone(),
            since: Time(world.now),
            pause_after: pause::after(world, &world.execution.spec, step),
        };
        return Verdict::acting(
            rolls_out(release),
            vec![Action::SetTarget { environment: name_of(environment).into(), target: Box::new(target) }],
        );
    }
    match &known.rollout {
        // It was stopped in its pause, and its Environment has not seen that yet: what ran before may come back.
        Some(rollout) if rollout.state == RolloutState::Failed && says(&known, reasons::PAUSED) => {
            Verdict::running(format!("{}: {}", name_of(environment), rollout.message))
        }
        Some(rollout) if rollout.state == RolloutState::Failed => Verdict::failed(
            reasons::DEPLOYMENT_FAILED,
            format!("{} stopped at {}: {}", name_of(environment), rollout.phase, rollout.message),
        ),
        Some(rollout) if rollout.state == RolloutState::Paused => pause::paused(world, environment, step, rollout),
        Some(_) | None => under_way(world, environment, &known, release),
    }
}

/// Whether this is why an Environment is not ready, as far as its planner has told.
fn says(known: &EnvironmentStatus, reason: &str) -> bool {
    conditions::get(&known.conditions, types::READY).is_some_and(|condition| condition.reason == reason)
}

/// In the same words from the first moment on: they are written once.
fn rolls_out(release: &ImageRef) -> String {
    format!("rolls out {}", release.digest())
}

/// The release of this execution failed, and the Environment goes back, went back, or cannot: never again forward.
fn went_back(environment: &Environment, known: &EnvironmentStatus, uid: &str) -> Option<Verdict> {
    let restore = known.restore.as_ref().filter(|restore| restore.uid.as_deref() == Some(uid))?;
    let (name, cause) = (name_of(environment), &restore.cause);
    // While the target stands and another revision rolls out, somebody corrected the Environment's spec.
    let rollout = known.rollout.as_ref().filter(|rollout| rollout.revision == restore.failed);
    match rollout.map(|rollout| rollout.state) {
        Some(RolloutState::RollingBack) => {
            Some(Verdict::RollingBack { message: format!("{name} goes back to what it ran before: {cause}") })
        }
        Some(RolloutState::Failed) => {
            let why = rollout.map_or("", |rollout| rollout.message.as_str());
            Some(Verdict::failed(reasons::DEPLOYMENT_FAILED, format!("{name} did not go back: {why}")))
        }
        _ if known.target.as_ref().is_some_and(|target| target.uid == uid) => None,
        Some(RolloutState::RolledBack | RolloutState::Progressing | RolloutState::Paused | RolloutState::Complete)
        | None => Some(Verdict::Ended {
            state: StepState::RolledBack,
            reason: reasons::DEPLOYMENT_FAILED.into(),
            message: format!("{name} runs again what it ran before: {cause}"),
            actions: vec![],
        }),
    }
}

/// The Environment is held, or no deployment may begin at this time.
///
/// The wait has an end of its own: who waits has other Environments locked.
fn not_now(
    world: &World,
    status: &PipelineExecutionStatus,
    environment: &Environment,
    step: StepName,
    closed: &Closed,
) -> Verdict {
    let (_, namespace, _) = identity(world);
    let name = name_of(environment);
    let timeout = world.pipeline.as_ref().map_or(Span::from_secs(0), |pipeline| pipeline.spec.closed_timeout);
    let clock = Clock::of(world, status, step, timeout);
    if let Some(verdict) = clock.over(world, &format!("Environment {name} did not open")) {
        return verdict;
    }
    let opens = closed.until.filter(|opens| *opens < clock.until);
    Verdict::Waiting {
        reason: closed.reason,
        waiting: Box::new(WaitingFor {
            step,
            why: format!("Environment {name}: {}", closed.why),
            since: clock.since.clone(),
            until: Some(Time(opens.unwrap_or(clock.until))),
            expiring_since: None,
            who: Some(format!("whoever may change Environment {name}")),
            command: Some(format!("kubectl edit environment {name} --namespace {namespace}")),
        }),
        // Time alone opens a window.
        warn: opens.is_none().then(|| clock.warn()),
        wake: opens,
        actions: vec![],
    }
}

/// A rollout that goes on, or one that cannot, for the Environment does not know what the images promise, has no value for a
/// variable, or is refused an object by the apiserver. It says why, and is waited for as long as for a pod. Its planner then
/// ends a rollout that had begun and lacks a value or a promise, or goes back; a moment later nothing is waited for.
fn under_way(world: &World, environment: &Environment, known: &EnvironmentStatus, release: &ImageRef) -> Verdict {
    let doubt = conditions::get(&known.conditions, types::READY).and_then(|condition| {
        let doubts = [reasons::REGISTRY_UNREACHABLE, reasons::CONFIGURATION_MISSING, reasons::CHANGE_REFUSED];
        let reason = doubts.into_iter().find(|reason| condition.reason == *reason)?;
        Some((reason, condition.message.clone()))
    });
    // How far it is stands in the Environment: it is not written down twice.
    let Some((reason, why)) = doubt else { return Verdict::running(rolls_out(release)) };
    let phase = known.rollout.as_ref().map(|rollout| &rollout.since);
    let since = phase.or(known.target.as_ref().map(|target| &target.since)).map_or(world.now, |since| since.0);
    let timeout = environment.spec.rollout.ready_timeout.signed();
    let timeout = if phase.is_some() { timeout.saturating_add(GIVES_UP) } else { timeout };
    let until = since.saturating_add(timeout).unwrap_or(since);
    if world.now < until {
        return Verdict::retrying(why, until);
    }
    if reason == reasons::CONFIGURATION_MISSING {
        return Verdict::failed(reason, why);
    }
    Verdict::error(reason, why)
}

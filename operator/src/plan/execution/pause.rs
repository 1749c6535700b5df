//! A deployment that pauses between two pairs until somebody resumes or stops it.

use launchway_crds::{
    Environment, common::Span, conditions::reasons, environment::RolloutStatus, execution::PipelineExecutionSpec,
    names::requests, pause::Pause, step::StepName,
};

use super::{
    Verdict,
    action::Action,
    identity, name_of, request,
    requested::{self, Clock, Doubt, Request},
    route,
    world::World,
};

const REQUEST: Request = Request { key: requests::RESUME, by: requests::RESUMED_BY };

/// What somebody, or the clock, has decided about a deployment that pauses.
enum Decision {
    Resume(String),
    Stop(String),
    Wait(Option<Doubt>),
}

fn asked_for(world: &World) -> Option<Pause> {
    world.pipeline.as_ref()?.spec.production.as_ref()?.pause
}

/// After how many pairs the deployment pauses. One that is done again, or undone, is not put off.
pub(super) fn after(world: &World, asked: &PipelineExecutionSpec, step: StepName) -> Option<i32> {
    let fresh = route::fresh(route::trigger(asked));
    asked_for(world).filter(|_| fresh && step == StepName::DeployProduction).map(|pause| pause.after_pairs)
}

/// Waits for somebody who has looked at the pairs that serve the new release.
pub(super) fn paused(world: &World, environment: &Environment, step: StepName, rollout: &RolloutStatus) -> Verdict {
    let (name, namespace, _) = identity(world);
    let place = name_of(environment);
    let target = environment.status.as_ref().and_then(|status| status.target.as_ref());
    if target.is_none_or(|target| target.pause_after.is_none()) {
        return Verdict::running(format!("{place} goes on with the next pair"));
    }
    let clock = Clock::since(rollout.since.clone(), asked_for(world).map_or(Span::from_secs(0), |pause| pause.timeout));
    let doubt = match decided(world, &clock) {
        Decision::Resume(by) => {
            let resume = Action::Resume { environment: place.into() };
            return Verdict::acting(format!("resumed by {by}"), vec![resume]);
        }
        Decision::Stop(why) => {
            let stop = Action::Stop { environment: place.into(), why: why.clone() };
            return Verdict::acting(why, vec![stop]);
        }
        Decision::Wait(doubt) => doubt,
    };
    let pipeline = &world.execution.spec.pipeline_ref.name;
    let told = doubt.unwrap_or_else(|| {
        let (updated, total) = (rollout.updated, rollout.total);
        (
            reasons::PAUSED,
            format!("somebody who has looked at {place}: {updated} of {total} pairs serve the new release"),
        )
    });
    let who = format!("whoever may `cancel` Pipeline {pipeline}");
    clock.waits(world, step, told, who, format!("kubectl launchway resume {name} --namespace {namespace}"))
}

fn decided(world: &World, clock: &Clock) -> Decision {
    // What is half-way is stopped by either word (`cloud-manager.md` §2.6).
    if let Some(reason) = request(world, requests::CANCEL) {
        let by = request(world, requests::CANCELLED_BY).unwrap_or("an unknown user");
        return Decision::Stop(format!("cancelled by {by}: {reason}"));
    }
    let doubt = match requested::read(world, &REQUEST) {
        Some(Ok(("true", by))) => return Decision::Resume(by),
        Some(Ok(("false", by))) => return Decision::Stop(format!("stopped by {by}")),
        Some(Ok(_)) => Some((
            reasons::REQUEST_MALFORMED,
            format!("annotation {} is neither true nor false: cancel the execution", REQUEST.key),
        )),
        Some(Err(doubt)) => Some(doubt),
        None => None,
    };
    if world.now >= clock.until {
        return Decision::Stop(format!("nobody resumed it within {}", clock.timeout));
    }
    Decision::Wait(doubt)
}

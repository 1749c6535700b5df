//! The metric guard of a Rolling rollout: a pair that serves the new release is watched before the next one is touched.
//!
//! Counters of dispatchers begin with their containers, so what each had counted when a watch began is kept in status: a
//! watch goes on after a crash of the operator from there. The last pair is not watched, for nothing is left to compare
//! it with.

mod judge;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::truncate,
    environment::{Rollout, RolloutState, RolloutStatus, Tier},
    guard::{Baseline, Counters, MetricGuard, Verdict, Watch, WatchResult, WithoutData},
};

use self::judge::{Judgement, Moment, judge};
use super::{
    MESSAGE_MAX, Move, Plan, rolling, rollout_to,
    world::{DesiredRelease, Pod, Silent, World},
};

/// What the phase of a watch begins with.
const WATCH: &str = "Watch ";
/// How long a dispatcher that does not answer is asked again after the end of a watch.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// Most dispatchers of which status has a baseline: rollouts that failed may have left more pairs than the schema lets in.
const BASELINES_MAX: usize = 51;

/// What the guard makes of a pair that serves.
#[derive(Debug)]
pub(super) enum Hold {
    /// It is watched, or has failed: the next pair is not touched.
    Goes(Move),
    /// The next pair may be touched; with what was seen, if anything was watched.
    Over(Option<Watch>),
}

/// Whether a plan depends on what dispatchers have counted. It may have changes, too: an object that somebody changes again
/// and again is no reason never to ask.
#[must_use]
pub fn is_on(plan: &Plan) -> bool {
    let goes_on = |rollout: &RolloutStatus| rollout.state == RolloutState::Progressing;
    let rollout = plan.status.rollout.as_ref().filter(|rollout| goes_on(rollout));
    rollout.is_some_and(|rollout| rollout.phase.starts_with(WATCH))
}

/// The watch that goes on at pairs of an ordinal and above, and its phase. What happens meanwhile does not begin it anew,
/// nor its time: an author that dies, a Service that is put back, pairs that are asked for.
fn going_on<'a>(world: &'a World, desired: &DesiredRelease, partition: i32) -> Option<(&'a str, &'a Watch)> {
    let rollout = rollout_to(world, desired.revision()).filter(|rollout| rollout.phase.starts_with(WATCH))?;
    let watch = rollout.watch.as_ref().filter(|watch| watch.ordinal == partition && watch.result.is_none())?;
    Some((&rollout.phase, watch))
}

/// The phase in which something is waited for or put back, when pairs of an ordinal and above are reached: that of their
/// watch if one goes on.
pub(super) fn phase_of(world: &World, desired: &DesiredRelease, partition: i32, otherwise: String) -> String {
    going_on(world, desired, partition).map_or(otherwise, |(phase, _)| phase.to_owned())
}

/// How long a pair that is away is waited for, from the beginning of a phase: half of the ready time-out; in a watch half
/// of what is left of it when that is over.
pub(super) fn half_way(spec: &Rollout, phase: &str) -> SignedDuration {
    let watched = spec.guard.as_ref().filter(|_| phase.starts_with(WATCH)).map(|guard| guard.watch.signed());
    spec.ready_timeout.signed().saturating_add(watched.unwrap_or_default()) / 2
}

/// The revision of the dispatchers that was rolled out whole, by which others are judged: what a release that failed has left
/// beside it serves visitors badly, and a measure with that in it lets everything pass. None: it began before that was
/// written down.
fn measure(world: &World) -> Option<&str> {
    let deployed = world.environment.status.as_ref()?.deployed.as_ref()?;
    deployed.revisions.as_ref().map(|revisions| revisions.dispatcher.as_str())
}

/// Whether there are dispatchers of both releases: not before the first pair is touched, nor when everything else is on
/// the release already. Nor is what is the measure itself watched, as it comes again after one that failed.
fn compares(world: &World, desired: &DesiredRelease, partition: i32) -> bool {
    let dispatchers = || world.pods.iter().filter(|pod| pod.tier == Tier::Dispatcher);
    measure(world) != Some(&desired.revisions.dispatcher)
        && dispatchers().any(|pod| pod.ordinal >= partition)
        && dispatchers().any(|pod| pod.ordinal < partition && pod.revision != desired.revisions.dispatcher)
}

/// What keeps a rollout at pairs of an ordinal and above, which serve.
pub(super) fn hold(world: &World, desired: &DesiredRelease, partition: i32) -> Hold {
    let guard = world.environment.spec.rollout.guard.as_ref().filter(|_| compares(world, desired, partition));
    let Some(guard) = guard else { return Hold::Over(None) };
    let begun = going_on(world, desired, partition).map(|(phase, watch)| (phase.to_owned(), watch.clone()));
    let (phase, watch) = begun.unwrap_or_else(|| {
        let pair = rolling::phase(world.environment.spec.publish.replicas, partition);
        let (since, baseline) = (Time(world.now), baseline(world));
        (format!("{WATCH}{pair}"), Watch { pair, ordinal: partition, since, baseline, result: None })
    });
    let at = |after: SignedDuration| watch.since.0.saturating_add(after).unwrap_or(watch.since.0);
    let (over, late) = (at(guard.watch.signed()), at(guard.watch.signed().saturating_add(PATIENCE)));
    let told = || format!("visitors of {} and of the previous release are watched until {over}", watch.pair);
    let Some(counters) = &world.counters else {
        // Whatever comes of it, the plan is made again with them.
        return Hold::Goes(Move { unasked: true, ..Move::wait(phase, told()) });
    };
    let stays = |until: Timestamp, message: String| {
        Hold::Goes(Move { watch: Some(watch.clone()), until: Some(until), ..Move::wait(phase.clone(), message) })
    };
    let is_over = world.now >= over;
    let moment = if is_over { Moment::End } else { Moment::Meanwhile };
    let ended = |verdict, both, why: &str| ended(&watch, world.now, verdict, both, why);
    match counted(world, desired, counters, &watch.baseline) {
        Ok(both) => match judge(guard, both, moment) {
            Judgement::Good if is_over => Hold::Over(Some(ended(Verdict::Good, both, ""))),
            Judgement::Worse(why) => fails(&phase, ended(Verdict::Worse, both, &why), why),
            Judgement::TooFew(why) if is_over => nothing(guard, &phase, ended(Verdict::NoData, both, &why), &why),
            Judgement::Good | Judgement::TooFew(_) => stays(over, told()),
        },
        Err(Missing::Never(why)) => nothing(guard, &phase, ended(Verdict::NoData, NONE, &why), &why),
        Err(Missing::Now(why)) if world.now >= late => nothing(guard, &phase, ended(Verdict::NoData, NONE, &why), &why),
        Err(Missing::Now(why)) if is_over => stays(late, format!("{why}: it is asked again until {late}")),
        Err(Missing::Now(_)) => stays(over, told()),
    }
}

/// A watch with what came of it.
fn ended(watch: &Watch, now: Timestamp, verdict: Verdict, both: (Counters, Counters), why: &str) -> Watch {
    let (new, previous) = (judge::figures(both.0), judge::figures(both.1));
    let message = truncate(why, MESSAGE_MAX);
    let result = Some(WatchResult { verdict, at: Time(now), new, previous, message });
    Watch { baseline: vec![], result, ..watch.clone() }
}

/// Nobody's counters.
const NONE: (Counters, Counters) = {
    let none = Counters { requests: 0, errors: 0, milliseconds: 0 };
    (none, none)
};

fn fails(phase: &str, watch: Watch, why: String) -> Hold {
    Hold::Goes(Move { watch: Some(watch), failure: Some(why.clone()), ..Move::wait(phase, why) })
}

/// What follows when there is nothing to judge.
fn nothing(guard: &MetricGuard, phase: &str, watch: Watch, why: &str) -> Hold {
    match guard.without_data {
        WithoutData::Continue => Hold::Over(Some(watch)),
        WithoutData::Fail => fails(
            phase,
            watch,
            format!("nothing to judge the release by, and spec.rollout.guard.withoutData is Fail: {why}"),
        ),
    }
}

/// What every dispatcher that answers has counted. The highest ordinals, which serve the new release, can do without.
fn baseline(world: &World) -> Vec<Baseline> {
    let known = world.counters.iter().flatten();
    known
        .filter_map(|(ordinal, counted)| Some(Baseline { ordinal: *ordinal, counters: *counted.as_ref().ok()? }))
        .take(BASELINES_MAX)
        .collect()
}

/// Why it is not known what visitors got.
enum Missing {
    /// It may be known later.
    Now(String),
    /// It never will be.
    Never(String),
}

/// What dispatchers of the new and of the previous release have counted since the watch began.
fn counted(
    world: &World,
    desired: &DesiredRelease,
    counters: &BTreeMap<i32, Result<Counters, Silent>>,
    baseline: &[Baseline],
) -> Result<(Counters, Counters), Missing> {
    let (mut new, mut previous) = NONE;
    let serves = |pod: &&Pod| pod.tier == Tier::Dispatcher && pod.ready && !pod.terminating;
    let counts = |pod: &&Pod| {
        pod.revision == desired.revisions.dispatcher || measure(world).is_none_or(|measure| pod.revision == measure)
    };
    for pod in world.pods.iter().filter(serves).filter(counts) {
        let is_new = pod.revision == desired.revisions.dispatcher;
        let name = format!("{}-dispatcher-{}", world.name(), pod.ordinal);
        let counters = match counters.get(&pod.ordinal) {
            Some(Ok(counters)) => counters,
            Some(Err(Silent::NoPort)) if is_new => {
                return Err(Missing::Never(format!(
                    "{name} counts nothing: its image has no dev.launchway.metrics-port"
                )));
            }
            // There is nothing to compare with, as if nobody had come to it.
            Some(Err(Silent::NoPort)) => continue,
            Some(Err(Silent::Away(why))) => {
                return Err(Missing::Now(format!("{name} does not say what it counted ({why})")));
            }
            None => return Err(Missing::Now(format!("{name} was not asked what it counted"))),
        };
        let before = baseline.iter().find(|before| before.ordinal == pod.ordinal).map(|before| before.counters);
        match (before, is_new) {
            (Some(before), true) => add(&mut new, since(*counters, before)),
            (Some(before), false) => add(&mut previous, since(*counters, before)),
            // It has served the new release all its life.
            (None, true) => add(&mut new, *counters),
            // What it counted is of hours or days.
            (None, false) => {}
        }
    }
    Ok((new, previous))
}

/// What was counted since. Fewer than before means that the container started again: then all of it was.
fn since(now: Counters, before: Counters) -> Counters {
    let restarted =
        now.requests < before.requests || now.errors < before.errors || now.milliseconds < before.milliseconds;
    let less = |now: i64, before: i64| if restarted { now } else { now.saturating_sub(before).max(0) };
    Counters {
        requests: less(now.requests, before.requests),
        errors: less(now.errors, before.errors),
        milliseconds: less(now.milliseconds, before.milliseconds),
    }
}

fn add(sum: &mut Counters, more: Counters) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.errors = sum.errors.saturating_add(more.errors);
    sum.milliseconds = sum.milliseconds.saturating_add(more.milliseconds);
}

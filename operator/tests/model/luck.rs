//! What happens when nothing goes wrong: from wherever faults have led, everything has to end.

use super::site::{Event, Planner, Site};

/// Longest way to an end without faults, in events. An execution of every step takes about forty.
const LONGEST: usize = 600;
/// Seconds: longer than any wait of a pipeline.
pub const ALL_WAITS: i64 = 15 * 24 * 3600;

/// Lets everything go well from here. The states on the way to where everything ended or to one that is known to end;
/// none when it never ends.
pub fn way_to_the_end(planner: Planner, from: &Site, known: impl Fn(&Site) -> bool) -> Option<Vec<Site>> {
    let mut site = from.clone();
    let mut way = vec![];
    while way.len() < LONGEST {
        if known(&site) || at_rest(&site) {
            return Some(way);
        }
        way.push(site.clone());
        let mut moves = || fortunate(&site).iter().any(|event| site.happen(planner, event));
        if !moves() {
            // Nothing is left but that time passes.
            site.happen(planner, &Event::Pass(ALL_WAITS));
            if !fortunate(&site).iter().any(|event| site.happen(planner, event)) {
                return None;
            }
        }
    }
    None
}

/// Nothing runs, nothing is locked.
fn at_rest(site: &Site) -> bool {
    site.executions.iter().all(|one| one.round.is_none() && (one.ended() || !one.exists))
        && site.environments.values().all(|status| status.get().lock.is_none())
}

/// What happens when nothing goes wrong, in the order in which it is tried.
pub fn fortunate(site: &Site) -> Vec<Event> {
    let mut events = vec![];
    if site.registry_away {
        events.push(Event::RegistryAway(false));
    }
    if site.jobs_refused {
        events.push(Event::JobsRefused(false));
    }
    if site.guard_missing {
        events.push(Event::GuardMissing(false));
    }
    for at in 0..site.executions.len() {
        events.extend([Event::Act(at), Event::Observe(at)]);
    }
    events.push(Event::Collect);
    events.extend(site.jobs.keys().map(|(name, step)| Event::JobEnds(name, *step, true)));
    for place in site.environments.keys() {
        events.extend([Event::WentBack(place), Event::RolloutEnds(place, true), Event::FreeLock(place)]);
    }
    events.extend((0..site.executions.len()).map(Event::Approve));
    events
}

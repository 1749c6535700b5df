//! The planner of executions in every order of events in small worlds, by `stateright`: `make model`.
//!
//! World, promises and mutants are those of the random histories in `operator/tests/model`.
#![allow(clippy::unwrap_used, missing_docs, dead_code, reason = "a check that panics has failed")]

#[path = "../../operator/tests/model/environments.rs"]
mod environments;
#[path = "../../operator/tests/model/facts.rs"]
mod facts;
#[path = "../../operator/tests/model/frozen.rs"]
mod frozen;
#[path = "../../operator/tests/model/luck.rs"]
mod luck;
#[path = "../../operator/tests/model/mutants.rs"]
mod mutants;
#[path = "../../operator/tests/model/promises.rs"]
mod promises;
#[path = "../../operator/tests/model/rounds.rs"]
mod rounds;
#[path = "../../operator/tests/model/shape.rs"]
mod shape;
#[path = "../../operator/tests/model/site.rs"]
mod site;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Instant;

use launchway_crds::step::StepName;
use launchway_operator::plan::execution::next;
use stateright::{Checker, HasDiscoveries, Model, Property};

use luck::ALL_WAITS;
use promises::Promise;
use site::{Event, Planner, Site};

/// The name of the property that is about the future: from every state a run without faults ends.
const ENDS: &str = "Ends";

/// What may happen in a world.
struct Bounds {
    planner: Planner,
    /// Executions at the beginning: name and pipeline.
    created: &'static [(&'static str, usize)],
    /// Executions that are there from the beginning, too, and are seen at any later time.
    late: &'static [(&'static str, usize)],
    /// How often the operator may die is not bounded; these are.
    deletions: usize,
    creations: usize,
    cancellations: usize,
    failures: bool,
    time_passes: bool,
    other_approvals: bool,
    /// Looks at one property alone: a mutant that never ends would be played to no end from every state.
    only: Option<&'static str>,
    /// States from which a run without faults is known to end.
    ends: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Bounds {
    fn new(planner: Planner, created: &'static [(&'static str, usize)]) -> Self {
        Self {
            planner,
            created,
            late: &[],
            deletions: 0,
            creations: 0,
            cancellations: 0,
            failures: false,
            time_passes: false,
            other_approvals: false,
            only: None,
            ends: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Whether everything ends when nothing goes wrong from here on. What was found once is not tried again.
    fn ends(&self, site: &Site) -> bool {
        let known = |here: &Site| self.ends.lock().unwrap().contains(&self.hasher.hash_one(here));
        let way = luck::way_to_the_end(self.planner, site, known);
        let Some(way) = way else { return false };
        let way: Vec<u64> = way.iter().map(|here| self.hasher.hash_one(here)).collect();
        self.ends.lock().unwrap().extend(way);
        true
    }
}

impl Model for Bounds {
    type State = Site;
    type Action = Event;

    fn init_states(&self) -> Vec<Site> {
        vec![Site::new(self.created)]
    }

    fn actions(&self, site: &Site, events: &mut Vec<Event>) {
        events.extend(luck::fortunate(site));
        events.push(Event::Crash);
        if self.failures {
            events.extend(site.jobs.keys().map(|(name, step)| Event::JobEnds(name, *step, false)));
            events.extend(site.environments.keys().map(|place| Event::RolloutEnds(place, false)));
            events.extend(site.environments.keys().map(|place| Event::GoesBack(place)));
        }
        let gone = site.executions.iter().filter(|one| !one.exists).count();
        let cancelled = site.executions.iter().filter(|one| one.asked.cancel || one.asked.reject).count();
        for at in 0..site.executions.len() {
            if gone < self.deletions {
                events.push(Event::Delete(at));
            }
            if cancelled < self.cancellations {
                events.extend([Event::Cancel(at), Event::Reject(at)]);
            }
            if self.other_approvals {
                events.push(Event::ApproveOther(at));
            }
        }
        let unseen = self.late.iter().filter(|(name, _)| site.executions.iter().all(|one| one.name != *name));
        events.extend(unseen.map(|(name, pipeline)| Event::Create(name, *pipeline)));
        if site.executions.len() < self.created.len() + self.late.len() + self.creations && self.creations > 0 {
            events.extend(self.created.iter().map(|(name, pipeline)| Event::Create(name, *pipeline)));
        }
        if self.time_passes
            && site.now == 0
            && site.executions.iter().any(|one| one.at() == Some(StepName::ApprovalProduction))
        {
            events.push(Event::Pass(ALL_WAITS));
            events.push(Event::Pass(3600));
        }
    }

    fn next_state(&self, site: &Site, event: Event) -> Option<Site> {
        let mut site = site.clone();
        let before = site.past.broken.len();
        let happened = site.happen(self.planner, &event);
        // To look and find nothing to do is no event, unless it breaks a promise.
        (happened || site.past.broken.len() > before).then_some(site)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! kept {
            ($($promise:ident),*) => {
                vec![$(Property::always(Promise::$promise.as_str(), |_: &Self, site: &Site| !site.broken(Promise::$promise)),)*
                    Property::always(ENDS, |bounds: &Self, site: &Site| bounds.ends(site))]
            };
        }
        let all = kept!(
            Proof, Exclusive, OneRelease, Forward, SamePlan, Deadline, Woken, Settled, JobOnce, NotAgain, Ledger, Parts
        );
        all.into_iter().filter(|property| self.only.is_none_or(|only| only == property.name)).collect()
    }
}

/// Visits every state, prints how many there are, and tells how a promise can be broken.
fn check(name: &str, bounds: Bounds) {
    let began = Instant::now();
    let checker = bounds.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{name}: {states} states, {} transitions, {:?}", checker.state_count(), began.elapsed());
    for (promise, path) in checker.discoveries() {
        let events: Vec<String> = path.into_actions().iter().map(|event| format!("{event:?}")).collect();
        panic!("{name}: {promise} is broken by {}", events.join(", "));
    }
    assert!(checker.is_done());
    assert!(states > 250, "a world of {states} states proves little");
}

/// What takes seconds to a minute each.
fn small() {
    let alone = || Bounds { failures: true, time_passes: true, ..Bounds::new(next, &[("a", 0)]) };
    check("failures, time, approvals of something else", Bounds { other_approvals: true, ..alone() });
    check("failures, time, cancellation or rejection", Bounds { cancellations: 1, ..alone() });
    check("deleted and created again", Bounds { deletions: 1, creations: 1, ..Bounds::new(next, &[("a", 0)]) });
    check("two of one pipeline", Bounds::new(next, &[("a", 0), ("b", 0)]));
    check(
        "two of one pipeline, the older one seen late",
        Bounds { late: &[("a", 0)], ..Bounds::new(next, &[("b", 0)]) },
    );
    check("two of one pipeline that replaces", Bounds::new(next, &[("a", 4), ("b", 4)]));
    check("two of one pipeline that refuses", Bounds::new(next, &[("a", 5), ("b", 5)]));
    check("two pipelines", Bounds::new(next, &[("a", 0), ("b", 1)]));
    check("stage-only and full stack", Bounds::new(next, &[("a", 2), ("b", 0)]));
    check("stage-only and production-only", Bounds::new(next, &[("a", 2), ("b", 3)]));
    check(
        "stage-only, created again, and production-only",
        Bounds { creations: 1, ..Bounds::new(next, &[("a", 2), ("b", 3)]) },
    );
}

/// What takes minutes each.
fn large() {
    let everything = |planner, created| Bounds {
        deletions: 1,
        creations: 1,
        cancellations: 1,
        failures: true,
        time_passes: true,
        other_approvals: true,
        ..Bounds::new(planner, created)
    };
    check("one execution and everything that can happen to it", everything(next, &[("a", 0)]));
    check("one of a pipeline that replaces, created again", everything(next, &[("a", 4)]));
    check(
        "two pipelines with failures and cancellations",
        Bounds { cancellations: 1, failures: true, ..Bounds::new(next, &[("a", 0), ("b", 1)]) },
    );
    check(
        "two of one pipeline with deletions",
        Bounds { deletions: 1, creations: 1, ..Bounds::new(next, &[("a", 0), ("b", 0)]) },
    );
    check(
        "two of one pipeline that replaces, with deletions",
        Bounds { deletions: 1, creations: 1, ..Bounds::new(next, &[("a", 4), ("b", 4)]) },
    );
    check("two stage-only and one production-only", Bounds::new(next, &[("a", 2), ("b", 2), ("c", 3)]));
    check("three executions", Bounds::new(next, &[("a", 0), ("b", 1), ("c", 0)]));
}

/// Planners with one defect each are found.
fn mutants() {
    for (name, promise, planner) in mutants::ALL {
        if promise == Some(Promise::SamePlan) {
            // What is no function has no model: one history is enough.
            let way = luck::way_to_the_end(planner, &Site::new(&[("a", 0)]), |site| site.broken(Promise::SamePlan));
            assert!(way.is_some_and(|way| way.len() < 10), "{name}: it was not found");
            continue;
        }
        let wanted = promise.map_or(ENDS, Promise::as_str);
        let created = mutants::world(name);
        let alone = created.len() == 1 && mutants::late(name).is_empty();
        let again = usize::from(promise == Some(Promise::NotAgain));
        let bounds = Bounds {
            only: Some(wanted),
            late: mutants::late(name),
            creations: again,
            deletions: again,
            cancellations: usize::from(promise == Some(Promise::Ledger)),
            failures: alone,
            time_passes: alone,
            other_approvals: alone,
            ..Bounds::new(planner, created)
        };
        let first = HasDiscoveries::AnyOf([wanted].into());
        let checker = bounds.checker().threads(2).finish_when(first).spawn_bfs().join();
        let found = checker.discovery(wanted);
        println!("{name}: {wanted} broken, {} states", checker.unique_state_count());
        assert!(found.is_some(), "{name}: {wanted} was not found to be broken");
    }
}

fn main() {
    let parts: [(&str, fn()); 3] = [("small", small), ("mutants", mutants), ("large", large)];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| parts.iter().all(|(name, _)| name != wanted)) {
        eprintln!("{unknown} is no part: name some of {}, or none for all", parts.map(|(name, _)| name).join(", "));
        std::process::exit(2);
    }
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}

//! Long random histories in a larger world, by `proptest-state-machine`: three executions, faults of the registry and of
//! the guard, clocks that jump, people who change their minds, objects that come and go.

use launchway_crds::step::StepName;
use launchway_operator::plan::execution::next;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::luck::{self, ALL_WAITS};
use super::site::{Event, Site};

/// Executions at the beginning: name, and index of the pipeline.
type World = &'static [(&'static str, usize)];

const WORLDS: [World; 5] = [
    &[("a", 0), ("b", 1), ("c", 0)],
    // What stage tested goes to production, while stage goes on.
    &[("a", 2), ("b", 3), ("c", 2)],
    &[("a", 4), ("b", 4), ("c", 2)],
    &[("a", 5), ("b", 0), ("c", 3)],
    // The dispatcher of production has a pipeline of its own.
    &[("a", 0), ("b", 6), ("c", 6)],
];
/// More objects than this are never created in one history.
const OBJECTS: usize = 6;

/// Any event at any time: what cannot happen is passed over.
struct Anything;

impl ReferenceStateMachine for Anything {
    type State = World;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<World> {
        prop::sample::select(WORLDS.to_vec()).boxed()
    }

    fn transitions(world: &World) -> BoxedStrategy<Event> {
        let at = 0..OBJECTS;
        let name = prop::sample::select(world.to_vec());
        let step = prop::sample::select(vec![StepName::CodeQuality, StepName::BuildImage, StepName::SmokeTest]);
        let place = prop::sample::select(vec!["stage", "stage2", "prod"]);
        prop_oneof![
            200 => (0..40_usize).prop_map(Event::Lucky),
            60 => at.clone().prop_map(Event::Observe),
            60 => at.clone().prop_map(Event::Act),
            10 => (name.clone(), step, prop::bool::weighted(0.9)).prop_map(|((name, _), step, well)| {
                Event::JobEnds(name, step, well)
            }),
            6 => (place.clone(), prop::bool::weighted(0.9)).prop_map(|(place, well)| Event::RolloutEnds(place, well)),
            2 => place.clone().prop_map(Event::GoesBack),
            8 => at.clone().prop_map(Event::Approve),
            4 => place.prop_map(Event::FreeLock),
            4 => Just(Event::Crash),
            2 => Just(Event::Collect),
            2 => name.prop_map(|(name, pipeline)| Event::Create(name, pipeline)),
            1 => at.clone().prop_map(Event::ApproveOther),
            1 => at.clone().prop_map(Event::Reject),
            1 => at.clone().prop_map(Event::Cancel),
            1 => at.prop_map(Event::Delete),
            4 => (0..Site::PIPELINES.len()).prop_map(Event::Tidy),
            1 => prop::sample::select(vec![-3600, -1, 1, 61, 400, 86_400, ALL_WAITS]).prop_map(Event::Pass),
            2 => (0..Site::PIPELINES.len()).prop_map(Event::Edit),
            1 => any::<bool>().prop_map(Event::RegistryAway),
            2 => any::<bool>().prop_map(Event::JobsRefused),
            1 => any::<bool>().prop_map(Event::GuardMissing),
        ]
        .boxed()
    }

    fn apply(world: World, _: &Event) -> World {
        world
    }
}

struct Histories;

impl StateMachineTest for Histories {
    type SystemUnderTest = Site;
    type Reference = Anything;

    fn init_test(world: &World) -> Site {
        Site::new(world)
    }

    fn apply(mut site: Site, _: &World, event: Event) -> Site {
        if !matches!(event, Event::Create(..)) || site.executions.len() < OBJECTS {
            site.happen(next, &event);
        }
        site
    }

    fn check_invariants(site: &Site, _: &World) {
        assert!(site.past.broken.is_empty(), "{:?} broken in {site:?}", site.past.broken);
    }

    fn teardown(site: Site, _: World) {
        assert!(luck::way_to_the_end(next, &site, |_| false).is_some(), "it never ends: {site:?}");
    }
}

/// Histories: few by default, as many as `PROPTEST_CASES` says otherwise.
pub fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(128);
    Config { cases, failure_persistence: None, ..Config::default() }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn no_history_breaks_a_promise_and_every_history_can_end(sequential 100..400 => Histories);
}

//! What others are told of an execution, and when.

use launchway_crds::notification::{Happening, Sink, UNTOLD_MAX, Untold};

use super::*;

impl Play {
    /// With sinks that want these events.
    fn tells(events: &[&[Happening]]) -> Self {
        let mut play = Self::new();
        let sink = |(number, events): (usize, &&[Happening])| -> Sink {
            serde_json::from_value(serde_json::json!({
                "url": format!("https://sink-{number}.example.com/"), "secretRef": { "name": "sink" }, "events": events,
            }))
            .unwrap()
        };
        play.world.pipeline.as_mut().unwrap().spec.notifications = events.iter().enumerate().map(sink).collect();
        play
    }

    /// What is untold, and takes it away as if everybody had been told.
    fn told(&mut self) -> Vec<(Happening, Option<StepName>)> {
        let status = self.world.execution.status.as_mut().unwrap();
        std::mem::take(&mut status.untold).into_iter().map(|untold| (untold.event, untold.step)).collect()
    }
}

const ALL: &[Happening] = &[Happening::Started, Happening::Waiting, Happening::Expiring, Happening::Ended];

#[test]
fn transitions_are_told_once_each_and_nothing_in_between() {
    let mut play = Play::tells(&[ALL]);
    play.run();
    assert_eq!(play.told(), [(Happening::Started, None)]);
    play.built().deployed("stage").job_ends(JobEnd::Passed { message: String::new() }).run();
    let production = Some(StepName::ApprovalProduction);
    assert_eq!(play.told(), [(Happening::Waiting, production)]);
    play.run();
    assert_eq!(play.told(), [], "taking away what was told is no news");
    play.world.now = play.world.now.checked_add(SignedDuration::from_hours(13 * 24)).unwrap();
    play.run();
    assert_eq!(play.told(), [(Happening::Expiring, production)]);
    play.approved("bob");
    assert_eq!(play.told(), []);
    play.deployed("prod");
    assert_eq!(play.told(), [(Happening::Ended, Some(StepName::DeployProduction))]);
    play.run();
    assert_eq!(play.told(), []);
}

/// The operator dies between the status and what it would have told.
#[test]
fn what_was_not_told_stays_until_it_was() {
    let mut play = Play::tells(&[ALL]);
    play.until_approval().approved("bob").deployed("prod");
    let events: Vec<Happening> = play.told().into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, [Happening::Started, Happening::Waiting, Happening::Ended], "in the order in which it happened");
}

/// Nobody takes what is told, and one step after another is waited for.
#[test]
fn what_is_too_much_to_tell_leaves_out_the_oldest_waits() {
    let mut play = Play::tells(&[ALL]);
    play.until_approval();
    let first: jiff::Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    let happened = |number: usize| Untold {
        event: if number.is_multiple_of(2) { Happening::Waiting } else { Happening::Expiring },
        step: Some(StepName::DeployStage),
        at: Time(first.checked_add(SignedDuration::from_mins(i64::try_from(number).unwrap())).unwrap()),
    };
    let status = play.world.execution.status.as_mut().unwrap();
    let waits = status.untold.pop().unwrap();
    status.untold.extend((0..UNTOLD_MAX - 2).map(happened));
    status.untold.push(waits);
    assert_eq!(status.untold.len(), UNTOLD_MAX);

    play.approved("bob").deployed("prod");
    let untold = &play.world.execution.status.as_ref().unwrap().untold;
    assert_eq!(untold.len(), UNTOLD_MAX);
    let [start, .., approval, end] = untold.as_slice() else { panic!("{untold:?}") };
    assert_eq!((start.event, end.event), (Happening::Started, Happening::Ended));
    assert_eq!((approval.event, approval.step), (Happening::Waiting, Some(StepName::ApprovalProduction)));
    assert_eq!(untold[1], happened(1), "the oldest wait went");
}

#[test]
fn only_what_somebody_wants_is_written_down() {
    let mut nobody = Play::new();
    nobody.until_approval();
    assert_eq!(nobody.told(), []);
    let mut play = Play::tells(&[&[Happening::Ended], &[Happening::Waiting]]);
    play.until_approval();
    assert_eq!(play.told(), [(Happening::Waiting, Some(StepName::ApprovalProduction))]);
}

#[test]
fn an_execution_that_waits_for_another_one_waits_for_nobody() {
    let mut play = Play::tells(&[&[Happening::Waiting]]);
    play.world.siblings.older = Some("wknd-0".into());
    play.run();
    assert_eq!((play.step(StepName::Validate).0, play.told()), (StepState::Waiting, vec![]));
}

#[test]
fn an_execution_that_ran_before_is_no_news() {
    let mut play = Play::tells(&[ALL]);
    play.until_approval().approved("bob").deployed("prod");
    let mut again = Play::tells(&[ALL]);
    again.world.pipeline = play.world.pipeline.clone();
    again.world.execution.metadata.uid = Some("uid-2".into());
    assert_eq!(again.run().result(), reasons::ALREADY_EXECUTED);
    assert_eq!(again.told(), []);
}

#[test]
fn a_sink_that_is_added_later_is_told_what_comes_then() {
    let mut play = Play::new();
    play.run();
    let sinks = Play::tells(&[ALL]).world.pipeline.unwrap().spec.notifications;
    play.world.pipeline.as_mut().unwrap().spec.notifications = sinks;
    play.run();
    assert_eq!(play.told(), []);
    let status = play.world.execution.status.as_ref().unwrap();
    assert!(conditions::get(&status.conditions, types::PIPELINE_CHANGED).is_none(), "it changes no run");
    play.built().deployed("stage").job_ends(JobEnd::Passed { message: String::new() }).run();
    assert_eq!(play.told().len(), 1);
}

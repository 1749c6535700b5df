//! What the apiserver refuses of an execution besides its Jobs.

use super::*;

const POLICY: &str =
    "environments.launchway.dev \"a\" is forbidden: ValidatingAdmissionPolicy 'frozen' denied request: not today";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// An execution whose action of this category is refused, at the step that wants it.
fn denied(category: &'static str) -> Play {
    let mut play = Play::new();
    play.denies = Some((category, POLICY));
    play.run();
    if category == "set_target" {
        play.built();
    }
    play
}

const DENIED: [(&str, StepName, &str); 3] = [
    ("keep_revision", StepName::Validate, "except ControllerRevision wknd-"),
    ("lock", StepName::Validate, "except the status of Environment "),
    ("set_target", StepName::DeployStage, "except the status of Environment stage "),
];

#[test]
fn what_is_refused_is_told_and_tried_again_until_it_is_taken() {
    for (category, step, what) in DENIED {
        let mut play = denied(category);
        assert_eq!(play.step(step), (StepState::Waiting, reasons::CHANGE_REFUSED), "{category}");
        let waiting = play.waiting();
        assert!(waiting.why.contains(POLICY) && waiting.why.contains(what), "{}", waiting.why);
        assert_eq!(waiting.until, Some(Time(play.world.now.checked_add(HOUR).unwrap())));
        let status = play.world.execution.status.as_ref().unwrap();
        for type_ in [types::WAITING, types::STALLED] {
            let condition = conditions::get(&status.conditions, type_).unwrap();
            assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", reasons::CHANGE_REFUSED));
        }
        let writes = play.writes;
        for seconds in [5, 60, 600] {
            play.later(SignedDuration::from_secs(seconds));
        }
        assert_eq!(play.writes, writes, "{category}: nothing is written while it says the same");
        play.denies = None;
        play.run();
        assert_ne!(play.step(step).0, StepState::Waiting, "{category}");
        let condition = play.world.execution.status.as_ref().unwrap().conditions.clone();
        assert_eq!(conditions::get(&condition, types::STALLED).unwrap().status, "False");
    }
}

#[test]
fn what_nobody_takes_ends_its_step_as_an_error() {
    for (category, step, _) in DENIED {
        let mut play = denied(category);
        play.later(HOUR - SignedDuration::from_secs(1));
        assert!(play.waiting().expiring_since.is_some(), "{category}: told before it is over");
        play.later(SignedDuration::from_secs(1));
        assert_eq!(play.step(step), (StepState::Error, reasons::CHANGE_REFUSED), "{category}");
        assert_eq!(play.result(), reasons::ERROR);
        assert!(play.status("stage").lock.is_none() && play.status("prod").lock.is_none(), "{category}");
    }
}

#[test]
fn who_waits_for_what_is_refused_can_be_cancelled() {
    for (category, step, _) in DENIED {
        let mut play = denied(category);
        play.annotate(requests::CANCEL, "later").run();
        assert_eq!(play.step(step).0, StepState::Cancelled, "{category}");
    }
}

/// It has not ended before its Pipeline remembers it: nobody could tell that it does not run again.
#[test]
fn an_end_that_nobody_may_remember_is_waited_for() {
    let mut play = Play::new();
    play.run();
    play.denies = Some(("remember", POLICY));
    play.annotate(requests::CANCEL, "later").run();
    assert_eq!(play.step(StepName::BuildImage), (StepState::Waiting, reasons::CHANGE_REFUSED));
    let waiting = play.waiting();
    assert!(waiting.why.contains("except the status of Pipeline wknd in the policy"), "{}", waiting.why);
    assert_eq!(waiting.until, None);
    let writes = play.writes;
    play.later(HOUR).later(HOUR);
    assert_eq!(play.writes, writes, "nothing is written while it says the same");
    assert!(play.status("stage").lock.is_some());
    play.denies = None;
    assert_eq!(play.run().step(StepName::BuildImage).0, StepState::Cancelled);
    assert!(play.status("stage").lock.is_none());
}

/// A Job that cannot be ended goes on: until it has ended, nothing says that the execution has.
#[test]
fn a_cancellation_waits_for_a_job_that_may_not_be_deleted() {
    let mut play = Play::new();
    play.run();
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
    play.denies = Some(("delete_job", "jobs.batch \"wknd-1-build-image\" is forbidden: keep them"));
    play.annotate(requests::CANCEL, "later").run();
    assert_eq!(play.step(StepName::BuildImage), (StepState::Waiting, reasons::CHANGE_REFUSED));
    assert!(play.waiting().why.contains("the deletion of Job wknd-1-build-image"));
    play.later(HOUR);
    assert_eq!((play.step(StepName::BuildImage).0, play.waiting().until), (StepState::Waiting, None));
    play.denies = None;
    assert_eq!(play.run().step(StepName::BuildImage).0, StepState::Cancelled);
}

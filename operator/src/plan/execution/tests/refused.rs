//! Jobs that the apiserver refuses.

use super::*;

const QUOTA: &str = "jobs.batch \"wknd-1-code-quality\" is forbidden: exceeded quota: no-jobs";
const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Play {
    fn begun_with(why: &'static str) -> Self {
        let mut play = Self::new();
        play.refuses = Some(why);
        play.run();
        play
    }

    fn tries(&self) -> usize {
        self.done.iter().filter(|done| **done == "create_job").count()
    }

    /// How long until the Job is tried again, as it is told with what was just refused.
    fn next_try(&self) -> i64 {
        next(&self.seen()).wake.unwrap().duration_since(self.world.now).as_secs()
    }

    fn told_by(&self, type_: &str) -> (String, String) {
        let status = self.world.execution.status.as_ref().unwrap();
        let condition = conditions::get(&status.conditions, type_).unwrap();
        (condition.status.clone(), condition.reason.clone())
    }
}

#[test]
fn a_refused_job_is_told_and_tried_again_until_it_is_taken() {
    let mut play = Play::begun_with(QUOTA);
    assert_eq!(play.step(StepName::CodeQuality), (StepState::Waiting, reasons::JOB_REFUSED));
    let waiting = play.waiting();
    for word in [QUOTA, "Job wknd-1-code-quality", "make room in the quota"] {
        assert!(waiting.why.contains(word), "{}", waiting.why);
    }
    assert_eq!(waiting.until, Some(Time(play.world.now.checked_add(HOUR).unwrap())));
    assert!(waiting.command.unwrap().contains("resourcequotas"));
    for type_ in [types::WAITING, types::STALLED] {
        assert_eq!(play.told_by(type_), ("True".into(), reasons::JOB_REFUSED.into()), "{type_}");
    }

    // Soon at first, then ever less often; nothing is written while it says the same.
    let writes = play.writes;
    for (waited, pause) in [(0, 5), (5, 5), (10, 10), (40, 40), (300, 60)] {
        play.world.now = waiting.since.0.checked_add(SignedDuration::from_secs(waited)).unwrap();
        let tries = play.tries();
        play.run();
        assert_eq!((play.next_try(), play.tries(), play.writes), (pause, tries + 1, writes), "after {waited} s");
    }

    // Other words are no other wait.
    play.refuses = Some("denied the request: no Jobs on Saturdays");
    play.run();
    assert_eq!((play.waiting().since, play.writes), (waiting.since, writes + 1));

    play.refuses = None;
    play.run();
    assert_eq!(play.step(StepName::CodeQuality).0, StepState::Finished);
    assert_eq!(play.told_by(types::STALLED).0, "False");
    assert_eq!(play.step(StepName::BuildImage), (StepState::Running, reasons::RUNNING));
}

/// A write of status wakes the execution, so that words which are new at every try would be a try at every write.
#[test]
fn what_differs_in_numbers_alone_is_not_written() {
    for (first, next) in [
        (
            "exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5",
            "exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=7, limited: count/jobs.batch=5",
        ),
        (
            "denied the request 6f0c2c1e-0001 at 10:00:01: no Jobs",
            "denied the request 7a1d9b2f-0002 at 10:00:06: no Jobs",
        ),
    ] {
        let mut play = Play::begun_with(first);
        let (writes, tries) = (play.writes, play.tries());
        play.refuses = Some(next);
        play.run();
        assert_eq!((play.writes, play.tries()), (writes, tries + 1), "{next}");
        assert!(play.waiting().why.contains(first));
        // At the end its last words count.
        play.later(HOUR);
        let steps = &play.world.execution.status.as_ref().unwrap().steps;
        assert!(steps.iter().any(|step| step.message.as_ref().is_some_and(|told| told.contains(next))), "{next}");
    }
}

#[test]
fn a_job_that_nobody_makes_room_for_ends_its_step_as_an_error() {
    let mut play = Play::begun_with(QUOTA);
    play.later(HOUR - SignedDuration::from_secs(1));
    assert!(play.waiting().expiring_since.is_some(), "told before it is over");
    play.later(SignedDuration::from_secs(1));
    assert_eq!(play.step(StepName::CodeQuality), (StepState::Error, reasons::JOB_REFUSED));
    assert_eq!(play.result(), reasons::ERROR);
    let steps = &play.world.execution.status.as_ref().unwrap().steps;
    let message =
        steps.iter().find_map(|step| step.message.clone().filter(|_| step.state == StepState::Error)).unwrap();
    assert!(message.contains(QUOTA) && message.contains("1h"), "{message}");
    assert!(play.status("stage").lock.is_none(), "its Environments are free");
}

#[test]
fn a_step_that_waits_for_its_job_can_be_cancelled() {
    let mut play = Play::begun_with(QUOTA);
    let tries = play.tries();
    play.annotate(requests::CANCEL, "later").run();
    assert_eq!(play.step(StepName::CodeQuality).0, StepState::Cancelled);
    assert_eq!(play.tries(), tries, "no Job is made for what was cancelled");
}

/// The step had worked before, or waited for something else: its clock begins with the refusal.
#[test]
fn an_earlier_wait_of_the_step_takes_nothing_from_this_one() {
    let mut play = Play::new();
    play.run();
    let began = play.world.now;
    play.refuses = Some(QUOTA);
    // The Job of the running step was deleted, a day later.
    play.world.jobs.remove(&StepName::BuildImage);
    play.later(SignedDuration::from_hours(24));
    assert_eq!(play.step(StepName::BuildImage), (StepState::Waiting, reasons::JOB_REFUSED));
    assert_eq!(play.waiting().since.0.duration_since(began), SignedDuration::from_hours(24));
}

#[test]
fn a_job_whose_pod_is_refused_says_so_after_a_moment() {
    let mut play = Play::new();
    play.run();
    let since = play.world.now;
    let waits = JobPod::Waits { problem: "0/3 nodes are available".into() };
    for (waited, pod, told, wakes) in [
        (0, JobPod::Missing { since }, false, Some(15)),
        (14, JobPod::Missing { since }, false, Some(1)),
        (15, JobPod::Missing { since }, true, None),
        (15, waits, false, None),
        (15, JobPod::Works, false, None),
    ] {
        play.world.now = since.checked_add(SignedDuration::from_secs(waited)).unwrap();
        let (name, uid) = ("wknd-1-build-image".into(), "build-image".into());
        play.world.jobs.insert(StepName::BuildImage, JobFacts::Active { name, uid, pod });
        let plan = next(&play.seen());
        let step = plan.status.steps.iter().find(|step| step.name == StepName::BuildImage).unwrap();
        let message = step.message.clone().unwrap();
        assert_eq!(message.contains("kubectl describe job wknd-1-build-image --namespace wknd"), told, "{message}");
        assert_eq!(plan.wake.map(|at| at.duration_since(play.world.now).as_secs()), wakes, "after {waited} s");
    }
}

//! A deployment that pauses between two pairs.

use launchway_crds::pause::Pause;

use super::{restore::goes_back, *};

fn pausing() -> Play {
    let mut play = Play::new();
    play.world.pipeline.as_mut().unwrap().spec.production.as_mut().unwrap().pause =
        Some(Pause { after_pairs: 1, timeout: "12h".parse().unwrap() });
    play
}

impl Play {
    /// The Environment's own planner has come to the pause.
    fn pauses(&mut self) -> &mut Self {
        let since = Time(self.world.now);
        self.status("prod").rollout = Some(RolloutStatus {
            state: RolloutState::Paused,
            phase: "Pair 2".into(),
            since,
            revision: "r".into(),
            updated: 1,
            total: 2,
            message: String::new(),
            message_at: None,
            watch: None,
        });
        self.run()
    }

    /// Somebody with the verb says so, and the apiserver records when.
    fn says(&mut self, value: &str) -> &mut Self {
        let wrote: ManagedFieldsEntry = serde_json::from_value(serde_json::json!({
            "manager": "kubectl", "operation": "Update", "time": "2026-11-21T10:30:00Z",
            "fieldsV1": { "f:metadata": { "f:annotations": { "f:launchway.dev/resume": {} } } },
        }))
        .unwrap();
        self.world.execution.metadata.managed_fields.as_mut().unwrap().push(wrote);
        self.annotate(requests::RESUME, value).annotate(requests::RESUMED_BY, "dan").run()
    }
}

#[test]
fn a_deployment_pauses_where_the_pipeline_says_and_goes_on_when_somebody_says_so() {
    let mut play = pausing();
    play.until_approval().approved("bob");
    assert_eq!(play.status("prod").target.as_ref().unwrap().pause_after, Some(1));
    assert_eq!(play.status("stage").target, None);
    play.pauses();
    assert_eq!(play.step(StepName::DeployProduction), (StepState::Waiting, reasons::PAUSED));
    let waiting = play.world.execution.status.as_ref().unwrap().waiting_for.clone().unwrap();
    assert!(waiting.why.contains("1 of 2 pairs"), "{}", waiting.why);
    assert_eq!(waiting.command.as_deref(), Some("kubectl launchway resume wknd-1 --namespace wknd"));
    assert_eq!(waiting.until.unwrap().0, play.world.now.checked_add(SignedDuration::from_hours(12)).unwrap());
    play.says("true");
    assert_eq!(play.done.last(), Some(&"resume"));
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::Running, "the Environment has not seen it yet");
    assert_eq!(play.done.iter().filter(|done| **done == "resume").count(), 1);
    play.deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
}

#[test]
fn every_way_to_start_pauses_and_no_repetition_or_way_back_does() {
    for (asked, pauses) in [
        (serde_json::json!({}), true),
        (serde_json::json!({ "change": "sha256:abc" }), true),
        (serde_json::json!({ "sourceExecution": "wknd-0" }), true),
        (serde_json::json!({ "reExecute": "wknd-0" }), false),
        (serde_json::json!({ "rollBackTo": "wknd-0" }), false),
    ] {
        let told = asked.to_string();
        let mut spec = asked;
        spec["pipelineRef"] = serde_json::json!({ "name": "wknd" });
        let spec = serde_json::from_value(spec).unwrap();
        let world = pausing().world;
        let after = |step| pause::after(&world, &spec, step);
        assert_eq!(after(StepName::DeployProduction), pauses.then_some(1), "{told}");
        assert_eq!((after(StepName::DeployStage), after(StepName::Deploy)), (None, None), "{told}");
    }
}

#[test]
fn a_deployment_that_pauses_is_stopped_by_a_word_a_cancellation_or_time() {
    let stopped = |stop: &dyn Fn(&mut Play), why: &str| {
        let mut play = pausing();
        play.until_approval().approved("bob").pauses();
        stop(&mut play);
        assert_eq!(play.run().result(), reasons::FAILED, "{why}");
        assert_eq!(play.step(StepName::DeployProduction), (StepState::Failed, reasons::DEPLOYMENT_FAILED));
        let message = &play.status("prod").rollout.as_ref().unwrap().message;
        assert!(message.contains(why), "{message}");
    };
    stopped(
        &|play| {
            play.says("false");
        },
        "stopped by dan",
    );
    stopped(
        &|play| {
            play.annotate(requests::CANCEL, "slow").annotate(requests::CANCELLED_BY, "ann");
        },
        "by ann: slow",
    );
    stopped(
        &|play| play.world.now = play.world.now.checked_add(SignedDuration::from_hours(12)).unwrap(),
        "nobody resumed it within 12h",
    );
}

#[test]
fn a_stop_is_over_when_the_environment_has_said_whether_it_goes_back() {
    let mut play = pausing();
    play.until_approval().approved("bob").pauses();
    let now = Time(play.world.now);
    conditions::set(&mut play.status("prod").conditions, &now, None, types::READY, false, reasons::PAUSED, "");
    play.says("false");
    assert_eq!(play.done.last(), Some(&"stop"));
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::Running, "the Environment has not seen it yet");
    assert!(play.status("prod").lock.is_some());
    goes_back(&mut play, "prod", RolloutState::RollingBack);
    conditions::set(&mut play.status("prod").conditions, &now, None, types::READY, false, reasons::ROLLING_BACK, "");
    play.run();
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::RollingBack);
    goes_back(&mut play, "prod", RolloutState::RolledBack);
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::RolledBack);
    assert_eq!(play.status("prod").lock, None);
}

#[test]
fn a_word_that_nobody_checked_resumes_nothing() {
    for (value, guard) in [("true", Guard::Missing("the binding".into())), ("yes", in_force())] {
        let mut play = pausing();
        play.until_approval().approved("bob").pauses();
        play.world.guard = guard;
        play.says(value);
        assert_eq!(play.step(StepName::DeployProduction).0, StepState::Waiting, "{value}");
        assert!(!play.done.contains(&"resume") && !play.done.contains(&"stop"));
    }
}

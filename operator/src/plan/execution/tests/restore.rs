//! A deployment whose release failed and was taken back, and releases that may not go back.

use super::*;
use launchway_crds::restore::{Restore, Revisions};

/// The Environment as its own planner leaves it: on the way back, or back.
pub(super) fn goes_back(play: &mut Play, environment: &str, state: RolloutState) {
    let since = Time(play.world.now);
    let status = play.status(environment);
    if let Some(target) = &status.target {
        status.restore = Some(Restore {
            execution: Some(target.execution.clone()),
            uid: Some(target.uid.clone()),
            release: Some(target.release.clone()),
            failed: "r2".into(),
            revisions: Revisions { aem: "r1".into(), dispatcher: "r1".into() },
            cause: "Pair 1: prod-publish-0: failed wknd: no node type".into(),
            since: since.clone(),
        });
    }
    status.rollout = Some(RolloutStatus {
        state,
        phase: "Pair 1".into(),
        since,
        revision: "r2".into(),
        updated: 0,
        total: 1,
        message: "prod-publish-0 starts".into(),
        message_at: None,
        watch: None,
    });
    if state == RolloutState::RolledBack {
        status.target = None;
    }
}

#[test]
fn a_release_that_went_back_ends_the_execution_as_rolled_back_and_is_not_deployed_again() {
    for (step, environment) in [(StepName::DeployStage, "stage"), (StepName::DeployProduction, "prod")] {
        let mut play = Play::new();
        if environment == "stage" {
            play.run().built();
        } else {
            play.until_approval().approved("bob");
        }
        goes_back(&mut play, environment, RolloutState::RollingBack);
        play.annotate(requests::CANCEL, "too late").run();
        assert_eq!(play.step(step), (StepState::RollingBack, reasons::ROLLING_BACK));
        goes_back(&mut play, environment, RolloutState::RolledBack);
        play.run();
        assert_eq!(
            (play.result(), play.step(step)),
            (reasons::FAILED, (StepState::RolledBack, reasons::DEPLOYMENT_FAILED))
        );
        assert_eq!(play.status(environment).target, None);
        assert_eq!(play.status(environment).lock, None);
        let steps = &play.world.execution.status.as_ref().unwrap().steps;
        let message = steps.iter().find(|it| it.name == step).unwrap().message.clone().unwrap();
        assert!(message.contains("runs again what it ran before: Pair 1: prod-publish-0: failed wknd"), "{message}");
    }
}

#[test]
fn a_way_back_that_fails_is_told_with_both_causes() {
    let mut play = Play::new();
    play.until_approval().approved("bob");
    goes_back(&mut play, "prod", RolloutState::RollingBack);
    goes_back(&mut play, "prod", RolloutState::Failed);
    play.status("prod").rollout.as_mut().unwrap().message = "what ran before does not come back: x; because y".into();
    play.run();
    assert_eq!(play.step(StepName::DeployProduction), (StepState::Failed, reasons::DEPLOYMENT_FAILED));
    assert!(play.status("prod").target.is_some(), "it is held");
}

#[test]
fn a_spec_that_is_corrected_on_the_way_lets_the_release_succeed() {
    let mut play = Play::new();
    play.until_approval().approved("bob");
    goes_back(&mut play, "prod", RolloutState::RollingBack);
    // Its way back failed, somebody corrected the Environment, and the release rolls out with another revision.
    let rollout = play.status("prod").rollout.as_mut().unwrap();
    (rollout.state, rollout.revision) = (RolloutState::Progressing, "r3".into());
    play.run();
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::Running);
    play.deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
}

#[test]
fn missing_variables_fail_a_deployment_that_cannot_begin() {
    let mut play = Play::new();
    play.run().built();
    let (now, why) = (Time(play.world.now), "variable API_KEY: Secret api does not exist");
    let all = &mut play.status("stage").conditions;
    conditions::set(all, &now, None, types::READY, false, reasons::CONFIGURATION_MISSING, why);
    play.run();
    assert_eq!(play.step(StepName::DeployStage).0, StepState::Running);
    play.world.now = play.world.now.checked_add(SignedDuration::from_mins(16)).unwrap();
    play.run();
    assert_eq!(play.step(StepName::DeployStage), (StepState::Failed, reasons::CONFIGURATION_MISSING));
}

#[test]
fn a_rollout_that_loses_what_it_needs_half_way_is_not_waited_for_without_end() {
    for (reason, state) in [
        (reasons::CONFIGURATION_MISSING, StepState::Failed),
        (reasons::REGISTRY_UNREACHABLE, StepState::Error),
        (reasons::CHANGE_REFUSED, StepState::Error),
    ] {
        let mut play = Play::new();
        play.run().built();
        // Hours after the deployment began its last phase does.
        play.world.now = play.world.now.checked_add(SignedDuration::from_hours(2)).unwrap();
        let now = Time(play.world.now);
        let status = play.status("stage");
        status.rollout = Some(RolloutStatus {
            state: RolloutState::Progressing,
            phase: "Pair 1".into(),
            since: now.clone(),
            revision: "r2".into(),
            updated: 0,
            total: 1,
            message: "stage-publish-0 starts".into(),
            message_at: None,
            watch: None,
        });
        conditions::set(&mut status.conditions, &now, None, types::READY, false, reason, "it is not there");
        play.run();
        assert_eq!(play.step(StepName::DeployStage).0, StepState::Running, "{reason}: the phase has its time");
        play.world.now = play.world.now.checked_add(SignedDuration::from_mins(16)).unwrap();
        play.run();
        assert_eq!(play.step(StepName::DeployStage), (state, reason));
        assert_eq!(play.status("stage").lock, None);
    }
}

#[test]
fn an_older_release_does_not_come_over_an_authors_volume_unless_somebody_answers_for_it() {
    for (policy, result) in [("Refuse", reasons::FAILED), ("Accept", reasons::FINISHED)] {
        let mut first = Play::new();
        first.until_approval().approved("bob").deployed("prod");
        let mut play = Play::new();
        play.world.pipeline = first.world.pipeline.clone();
        let asks = &mut play.world.execution;
        (asks.metadata.uid, asks.metadata.name) = (Some("uid-2".into()), Some("wknd-2".into()));
        asks.spec.roll_back_to = Some("wknd-1".into());
        let at = Time(play.world.now);
        let storage = serde_json::json!({ "size": "1Gi", "olderReleases": policy });
        play.world.production.as_mut().unwrap().spec.author.storage = Some(serde_json::from_value(storage).unwrap());
        let newer = Time(play.world.now.checked_add(SignedDuration::from_hours(1)).unwrap());
        play.status("prod").deployed = Some(Deployed {
            execution: "wknd-7".into(),
            uid: "uid-7".into(),
            release: image('7'),
            images: images(),
            made_at: Some(newer),
            at,
            web_tier: None,
            cache: None,
            revisions: None,
        });
        play.run();
        if policy == "Refuse" {
            assert_eq!(play.step(StepName::Build), (StepState::Failed, reasons::AUTHOR_KEEPS_REPOSITORY));
            assert!(play.status("prod").target.is_none(), "production was touched");
        } else {
            play.deployed("prod");
        }
        assert_eq!(play.result(), result, "{policy}");
    }
}

#[test]
fn an_environment_that_is_being_deleted_is_not_taken_and_who_has_it_ends() {
    let mut play = Play::new();
    let now = Time(play.world.now);
    play.world.production.as_mut().unwrap().metadata.deletion_timestamp = Some(now.clone());
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Failed, reasons::NOT_FOUND));

    let mut play = Play::new();
    play.run();
    play.world.production.as_mut().unwrap().metadata.deletion_timestamp = Some(now);
    play.built().deployed("stage").job_ends(JobEnd::Passed { message: "1 page".into() }).run().approved("bob");
    play.deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
}

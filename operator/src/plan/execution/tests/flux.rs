//! Pipelines whose source an object of Flux stands for.

use launchway_crds::git::RemoteRef;
use serde_json::json;

use super::*;
use crate::flux::{FaultKind, FluxArtifact, FluxCommit, FluxFault};

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const URL: &str = "ssh://git@git.example.com/wknd.git";

fn fetched(id: &str, reference: &str) -> FluxCommit {
    let remote = RemoteRef { url: URL.into(), reference: reference.into() };
    FluxCommit { remote, id: id.into(), verified: false }
}

/// A full-stack pipeline that builds what a GitRepository has.
fn of_git(found: Result<FluxCommit, FluxFault>) -> Play {
    let mut play = Play::new();
    play.world.pipeline.as_mut().unwrap().spec.source =
        serde_json::from_value(json!({ "git": { "fluxRef": { "name": "site" } } })).unwrap();
    play.world.git = GitFacts {
        builder: Some(image('b')),
        flux_commit: Some(found),
        earlier: Some(Err(Fault::Absent("no such tag".into()))),
        ..GitFacts::default()
    };
    play
}

/// A full-stack pipeline that is given what an OCIRepository has.
fn of_oci(found: Result<FluxArtifact, FluxFault>) -> Play {
    let mut play = Play::new();
    let source =
        json!({ "artifact": { "fluxRef": { "name": "site" }, "secretRef": { "name": "pull" }, "plainHTTP": true } });
    play.world.pipeline.as_mut().unwrap().spec.source = serde_json::from_value(source).unwrap();
    // Where Flux does not say what to ask for, the registry was not asked.
    if found.is_err() {
        play.world.artifact = None;
    }
    play.world.git = GitFacts { flux_artifact: Some(found), ..GitFacts::default() };
    play
}

fn pushed() -> FluxArtifact {
    FluxArtifact { repository: image('f').repository().into(), digest: image('f').digest(), verified: false }
}

fn fault(kind: FaultKind) -> FluxFault {
    FluxFault { kind, message: "why".into() }
}

#[test]
fn the_commit_that_flux_has_is_written_down_once_and_built() {
    let mut play = of_git(Ok(fetched(COMMIT, "refs/heads/main")));
    play.run();
    let commit = play.world.execution.status.clone().unwrap().commit.unwrap();
    assert_eq!((commit.url.as_str(), commit.reference.as_str(), commit.id.as_str()), (URL, "refs/heads/main", COMMIT));
    assert_eq!(play.step(StepName::Validate), (StepState::Finished, reasons::FINISHED));
    // No Job asks by SSH: Flux has.
    assert_eq!(play.done, ["keep_revision", "lock", "lock", "create_job"]);
    // Flux follows another repository by now, and is not asked again.
    play.world.git.flux_commit = Some(Err(fault(FaultKind::NotFound)));
    let packed = JobEnd::Packed { artifact: image('f').digest(), metrics: vec![], message: "built".into() };
    play.job_ends(packed).run();
    let status = play.world.execution.status.clone().unwrap();
    assert_eq!((status.commit.unwrap().id.as_str(), status.artifact.unwrap().reference), (COMMIT, image('f')));
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
}

#[test]
fn a_build_is_the_same_whoever_named_the_repository() {
    let key = |play: &mut Play| play.run().world.execution.status.clone().unwrap().build.unwrap().key;
    let mut by_url = of_git(Ok(fetched(COMMIT, "refs/heads/main")));
    by_url.world.pipeline.as_mut().unwrap().spec.source =
        serde_json::from_value(json!({ "git": { "url": URL, "branch": "main" } })).unwrap();
    by_url.world.execution.spec.commit = Some(COMMIT.into());
    assert_eq!(key(&mut of_git(Ok(fetched(COMMIT, "refs/heads/main")))), key(&mut by_url));
    assert_ne!(key(&mut of_git(Ok(fetched(COMMIT, "refs/heads/next")))), key(&mut by_url));
}

#[test]
fn another_commit_is_built_unless_flux_vouches_for_its_own() {
    for (change, end) in [
        ((|_| ()) as fn(&mut FluxCommit), None),
        (|found| found.verified = true, Some(reasons::NOT_POSSIBLE)),
        (|found| found.remote.reference = "refs/tags/v1".into(), Some(reasons::TAG_MOVED)),
    ] {
        let mut found = fetched(COMMIT, "refs/heads/main");
        change(&mut found);
        let mut play = of_git(Ok(found.clone()));
        play.world.execution.spec.commit = Some(OTHER.into());
        play.run();
        match end {
            None => assert_eq!(play.world.execution.status.clone().unwrap().commit.unwrap().id, OTHER),
            Some(reason) => assert_eq!(play.step(StepName::Validate), (StepState::Failed, reason)),
        }
        // The commit of Flux itself may be named.
        let mut play = of_git(Ok(found));
        play.world.execution.spec.commit = Some(COMMIT.into());
        assert_eq!(play.run().step(StepName::Validate).0, StepState::Finished);
    }
}

/// Every way in which an object of Flux says nothing: its reason, and how many seconds it is waited for.
const FAULTS: [(FaultKind, &str, i64); 9] = [
    (FaultKind::NotInstalled, reasons::FLUX_NOT_INSTALLED, 60),
    (FaultKind::NotFound, reasons::NOT_FOUND, 60),
    (FaultKind::Forbidden, reasons::FLUX_FORBIDDEN, 0),
    (FaultKind::Unreadable, reasons::FLUX_UNREADABLE, 300),
    (FaultKind::NotObserved, reasons::FLUX_NOT_OBSERVED, 300),
    (FaultKind::NotReady, reasons::FLUX_NOT_READY, 300),
    (FaultKind::Stalled, reasons::FLUX_STALLED, 0),
    (FaultKind::NoArtifact, reasons::FLUX_NO_ARTIFACT, 300),
    (FaultKind::Invalid, reasons::FLUX_INVALID, 0),
];

#[test]
fn each_fault_of_flux_has_its_own_reason_and_a_bounded_wait() {
    for (kind, reason, seconds) in FAULTS {
        for (step, mut play) in
            [(StepName::Validate, of_git(Err(fault(kind)))), (StepName::Build, of_oci(Err(fault(kind))))]
        {
            play.run();
            if seconds > 0 {
                assert_eq!(play.step(step).0, StepState::Running, "{kind:?}");
                play.world.now = play.world.now.saturating_add(SignedDuration::from_secs(seconds - 1)).unwrap();
                assert_eq!(play.run().step(step).0, StepState::Running, "{kind:?}");
                play.world.now = play.world.now.saturating_add(SignedDuration::from_secs(1)).unwrap();
                play.run();
            }
            assert_eq!(play.step(step), (StepState::Failed, reason), "{kind:?}");
            assert!(play.status("stage").lock.is_none(), "{kind:?}");
        }
    }
}

#[test]
fn what_cannot_be_read_keeps_nobody_from_a_cancellation() {
    let mut play = of_git(Err(fault(FaultKind::Unreadable)));
    assert_eq!(play.run().step(StepName::Validate).0, StepState::Running);
    assert!(needs(&play.seen()).commit);
    play.annotate(requests::CANCEL, "it takes too long");
    assert_eq!(needs(&play.seen()), Needs::default());
    assert_eq!(play.run().step(StepName::Validate).0, StepState::Cancelled);

    let mut play = Play::new();
    assert_eq!(play.run().step(StepName::BuildImage).0, StepState::Running);
    play.annotate(requests::CANCEL, "it takes too long");
    assert_eq!(needs(&play.seen()), Needs { job: Some(StepName::BuildImage), ..Needs::default() });
}

#[test]
fn the_wait_for_flux_begins_when_nothing_else_is_waited_for() {
    let mut play = of_git(Err(fault(FaultKind::NotReady)));
    play.run();
    // It waited an hour for the Environment of another execution.
    play.world.now = play.world.now.saturating_add(SignedDuration::from_hours(1)).unwrap();
    let now = Time(play.world.now);
    play.status("prod").lock.as_mut().unwrap().since = now;
    assert_eq!(play.run().step(StepName::Validate).0, StepState::Running);
    play.world.git.flux_commit = Some(Ok(fetched(COMMIT, "refs/heads/main")));
    assert_eq!(play.run().step(StepName::Validate).0, StepState::Finished);
}

#[test]
fn the_artifact_that_flux_has_is_taken_with_the_login_of_the_pipeline() {
    let mut play = of_oci(Ok(pushed()));
    play.run();
    let artifact = play.world.execution.status.clone().unwrap().artifact.unwrap();
    assert_eq!(artifact.reference, image('f'));
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
    let packages = super::super::jobs::packages(&play.world, Some(&artifact.reference)).unwrap();
    assert_eq!(packages.repository, image('f').repository());
    assert_eq!((packages.secret_ref.unwrap().name.as_str(), packages.plain_http), ("pull", true));
}

#[test]
fn an_artifact_that_flux_has_not_verified_is_not_taken_where_it_verifies() {
    for (verified, end) in [(false, StepState::Finished), (true, StepState::Failed)] {
        let mut play = of_oci(Ok(FluxArtifact { digest: image('a').digest(), verified, ..pushed() }));
        play.world.execution.spec.artifact = serde_json::from_value(json!({ "tag": "mine" })).unwrap();
        assert_eq!(play.run().step(StepName::Build).0, end, "verified: {verified}");
        if verified {
            assert_eq!(play.step(StepName::Build).1, reasons::NOT_POSSIBLE);
        }
    }
}

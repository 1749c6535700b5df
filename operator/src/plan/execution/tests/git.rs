//! Pipelines that build their packages from Git.

use launchway_crds::version::ArtifactsVersion;

use super::{super::world::FoundBuild, *};
use crate::git::{FaultKind, GitFault};

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A full-stack pipeline with a Git source.
fn sources(git: &serde_json::Value) -> Play {
    let mut play = Play::new();
    play.world.pipeline.as_mut().unwrap().spec.source =
        serde_json::from_value(serde_json::json!({ "git": git })).unwrap();
    play.world.git = GitFacts {
        builder: Some(image('b')),
        commit: Some(Ok(COMMIT.into())),
        earlier: Some(Err(Fault::Absent("no such tag".into()))),
        ..GitFacts::default()
    };
    play
}

fn branch() -> Play {
    sources(&serde_json::json!({ "url": "https://git.example.com/wknd.git", "branch": "main" }))
}

fn metric(name: &str, actual: &str) -> Metric {
    let (severity, comparator) = (Severity::Critical, Comparator::Eq);
    let passed = actual == "0";
    Metric { name: name.into(), severity, comparator, expected: "0".into(), actual: actual.into(), passed }
}

fn packed() -> JobEnd {
    JobEnd::Packed {
        artifact: image('f').digest(),
        metrics: vec![metric("test_failures", "0")],
        message: "built 5 packages; 12 tests".into(),
    }
}

fn earlier() -> Option<Result<FoundBuild, Fault>> {
    let artifact = FoundArtifact { reference: image('f'), files: vec![] };
    Some(Ok(FoundBuild { artifact, by: Some("wknd/wknd-0".into()), version: None }))
}

fn key(play: &Play) -> String {
    play.world.execution.status.as_ref().unwrap().build.as_ref().unwrap().key.to_string()
}

#[test]
fn a_commit_is_resolved_once_and_built() {
    let mut play = branch();
    play.run();
    let status = play.world.execution.status.clone().unwrap();
    let commit = status.commit.unwrap();
    assert_eq!((commit.reference.as_str(), commit.id.as_str()), ("refs/heads/main", COMMIT));
    assert_eq!(status.build.unwrap().builder, image('b'));
    assert_eq!(play.step(StepName::Validate), (StepState::Finished, reasons::FINISHED));
    assert_eq!(play.done, ["keep_revision", "lock", "lock", "create_job"]);
    // The branch has moved since: nobody asks again.
    play.world.git.commit = Some(Ok(OTHER.into()));
    play.job_ends(packed()).run();
    let status = play.world.execution.status.clone().unwrap();
    assert_eq!((status.commit.unwrap().id.as_str(), status.artifact.unwrap().reference), (COMMIT, image('f')));
    assert_eq!(play.step(StepName::CodeQuality).0, StepState::Finished);
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
    let build = status.steps.iter().find(|step| step.name == StepName::Build).unwrap();
    assert_eq!(*build.metrics, [metric("test_failures", "0")]);
}

#[test]
fn the_same_build_is_not_done_twice_unless_asked_for() {
    let mut play = branch();
    play.world.git.earlier = earlier();
    play.run();
    let status = play.world.execution.status.clone().unwrap();
    assert_eq!(status.build.unwrap().reused_from.as_deref(), Some("wknd/wknd-0"));
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
    for opt_out in [
        |play: &mut Play| play.world.execution.spec.rebuild = true,
        |play: &mut Play| play.world.pipeline.as_mut().unwrap().spec.source.git.as_mut().unwrap().reuse = false,
    ] {
        let mut play = branch();
        play.world.git.earlier = earlier();
        opt_out(&mut play);
        play.run();
        assert_eq!(play.step(StepName::Build).0, StepState::Running);
    }
}

#[test]
fn what_decides_what_a_build_makes_is_its_key() {
    let git = |more: serde_json::Value| {
        let mut git = serde_json::json!({ "url": "https://git.example.com/wknd.git", "branch": "main" });
        git.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut play = sources(&git);
        play.run();
        key(&play)
    };
    let plain = git(serde_json::json!({}));
    for same in [
        serde_json::json!({ "builder": { "timeout": "5m" } }),
        serde_json::json!({ "builder": { "image": image('b') } }),
        serde_json::json!({ "secretRef": { "name": "login" } }),
    ] {
        assert_eq!(git(same.clone()), plain, "{same}");
    }
    for other in [
        serde_json::json!({ "submodules": true }),
        serde_json::json!({ "builder": { "image": image('c') } }),
        serde_json::json!({ "builder": { "commands": ["true"] } }),
        serde_json::json!({ "builder": { "variables": [{ "name": "A", "value": "1" }] } }),
        serde_json::json!({ "builder": { "secrets": [{ "name": "A", "secretKeyRef": { "name": "s", "key": "k" } }] } }),
    ] {
        assert_ne!(git(other.clone()), plain, "{other}");
    }
}

#[test]
fn a_version_is_generated_once_and_is_that_of_the_packages() {
    let generate = || {
        sources(&serde_json::json!({
            "url": "https://git.example.com/wknd.git", "branch": "main", "builder": { "projectVersion": "Generate" },
        }))
    };
    let version = |play: &Play| play.world.execution.status.clone().unwrap().build.unwrap().artifacts_version;
    let mut play = generate();
    play.world.execution.metadata.uid = Some("0000500a-0000-4000-8000-000000000000".into());
    play.run();
    let began = play.world.now.strftime("%Y.%-m%d.%H%M%S");
    let first = version(&play);
    assert_eq!(first.as_ref().map(ToString::to_string), Some(format!("{began}.0000020490")));
    // The Job is made again after a restart, with the version that is written down.
    play.world.now = play.world.now.saturating_add(SignedDuration::from_mins(1)).unwrap();
    play.job_ends(packed()).run();
    assert_eq!(version(&play), first);

    // Packages of before carry the version of the execution that built them, under a key of their own.
    let mut play = generate();
    let of_before: ArtifactsVersion = "2019.926.121356.0000020490".parse().unwrap();
    let found = FoundArtifact { reference: image('f'), files: vec![] };
    play.world.git.earlier =
        Some(Ok(FoundBuild { artifact: found, by: Some("wknd/wknd-0".into()), version: Some(of_before.clone()) }));
    play.run();
    assert_eq!(version(&play), Some(of_before));
    let mut kept = branch();
    kept.run();
    assert_eq!(version(&kept), None);
    assert_ne!(key(&play), key(&kept));
}

#[test]
fn each_fault_of_a_git_server_has_its_own_end() {
    for (kind, reason) in [
        (FaultKind::RefNotFound, reasons::REF_NOT_FOUND),
        (FaultKind::RepositoryNotFound, reasons::REPOSITORY_NOT_FOUND),
        (FaultKind::Refused, reasons::GIT_REFUSED),
        (FaultKind::Invalid, reasons::GIT_INVALID),
    ] {
        let mut play = branch();
        play.world.git.commit = Some(Err(GitFault::new(kind, "why")));
        play.run();
        assert_eq!(play.step(StepName::Validate), (StepState::Failed, reason));
    }
    let mut play = branch();
    play.world.git.commit = Some(Err(GitFault::new(FaultKind::Unreachable, "no answer")));
    play.run();
    assert_eq!(play.step(StepName::Validate).0, StepState::Running);
    play.world.now = play.world.now.saturating_add(SignedDuration::from_mins(6)).unwrap();
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Error, reasons::GIT_UNREACHABLE));
}

#[test]
fn by_ssh_a_job_asks() {
    let mut play = sources(&serde_json::json!({ "url": "git@example.com:wknd.git", "branch": "main" }));
    play.world.git.commit = None;
    play.run();
    assert_eq!(play.step(StepName::Validate).0, StepState::Running);
    play.job_ends(JobEnd::Resolved { commit: OTHER.into() }).run();
    assert_eq!(play.world.execution.status.clone().unwrap().commit.unwrap().id, OTHER);
    assert_eq!(play.step(StepName::Build).0, StepState::Running);
    let mut play = sources(&serde_json::json!({ "url": "git@example.com:wknd.git", "branch": "main" }));
    let unknown = JobEnd::Failed { reason: reasons::HOST_KEY_UNKNOWN.into(), message: "key".into(), report: None };
    play.run().job_ends(unknown).run();
    assert_eq!(play.step(StepName::Validate), (StepState::Failed, reasons::HOST_KEY_UNKNOWN));
}

#[test]
fn a_commit_that_was_asked_for_is_taken_and_a_tag_has_to_agree() {
    let mut play = branch();
    play.world.git.commit = None;
    play.world.execution.spec.commit = Some(OTHER.into());
    play.run();
    assert_eq!(play.world.execution.status.clone().unwrap().commit.unwrap().id, OTHER);
    let mut play = sources(&serde_json::json!({ "url": "https://git.example.com/wknd.git", "tag": "v1" }));
    play.world.execution.spec.commit = Some(OTHER.into());
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Failed, reasons::TAG_MOVED));
}

#[test]
fn coverage_of_the_build_is_judged_with_the_packages() {
    let mut play = branch();
    let low = Metric {
        name: "coverage".into(),
        severity: Severity::Important,
        comparator: Comparator::Gte,
        expected: "50".into(),
        actual: "12.5".into(),
        passed: false,
    };
    let built = JobEnd::Packed { artifact: image('f').digest(), metrics: vec![low], message: "built".into() };
    play.run().job_ends(built).run();
    assert_eq!(play.step(StepName::Build).0, StepState::Finished);
    assert_eq!(play.step(StepName::CodeQuality), (StepState::Waiting, reasons::AWAITING_OVERRIDE));
}

#[test]
fn failing_unit_tests_are_counted() {
    let mut play = branch();
    let unfit = JobEnd::Unfit {
        metrics: vec![metric("test_failures", "2")],
        reason: reasons::UNIT_TESTS_FAILED.into(),
        message: "unit tests failed; 5 tests, 2 failed".into(),
    };
    play.run().job_ends(unfit).run();
    assert_eq!(play.step(StepName::Build), (StepState::Failed, reasons::UNIT_TESTS_FAILED));
    let steps = play.world.execution.status.clone().unwrap().steps;
    assert_eq!(*steps[1].metrics, [metric("test_failures", "2")]);
    assert!(play.status("stage").lock.is_none());
}

#[test]
fn what_does_not_fit_the_pipeline_is_refused() {
    let mut play = branch();
    play.world.execution.spec.artifact = serde_json::from_value(serde_json::json!({ "tag": "main" })).unwrap();
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Failed, reasons::NOT_POSSIBLE));
    let mut play = Play::new();
    play.world.execution.spec.commit = Some(COMMIT.into());
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Failed, reasons::NOT_POSSIBLE));
    let mut play = branch();
    play.world.git.builder = None;
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Failed, reasons::NO_BUILDER));
}

#[test]
fn a_cancelled_build_takes_its_job_along() {
    let mut play = branch();
    play.run();
    play.annotate(requests::CANCEL, "wrong branch").run();
    assert!(play.done.contains(&"delete_job"), "{:?}", play.done);
    assert_eq!(play.step(StepName::Build).0, StepState::Cancelled);
}

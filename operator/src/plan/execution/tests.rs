//! The way of an execution, played against a small model of everything outside.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    common::LocalName,
    conditions::{self, reasons, types},
    deploy::Origin,
    digest::ImageRef,
    environment::{Deployed, Lock, ReleaseImages, RolloutState, RolloutStatus, Runtime, Urls},
    execution::{ArtifactFile, Step, WaitingFor},
    names::requests,
    pipeline::Signing,
    step::{Comparator, Metric, Severity, StepName, StepState},
};

use super::{
    Plan,
    action::{Action, Work},
    after_record,
    ledger::remember,
    needs, next, pause, revision,
    world::{
        Denied, Fault, FoundArtifact, FoundRelease, GitFacts, Guard, JobEnd, JobFacts, JobPod, Needs, ReleaseDigests,
        RevisionFacts, Siblings, World,
    },
};

fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

fn images() -> ReleaseImages {
    ReleaseImages { aem: image('a'), dispatcher: image('d') }
}

fn environment(name: &str, type_: &str) -> Environment {
    let mut environment: Environment = serde_json::from_value(serde_json::json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": "wknd" }, "spec": { "type": type_ },
    }))
    .unwrap();
    environment.status.get_or_insert_default().urls = Some(Urls {
        author: format!("http://{name}-author"),
        dispatcher: format!("http://{name}-dispatcher"),
        ..Default::default()
    });
    environment
}

fn in_force() -> Guard {
    let since = "2026-11-01T00:00:00Z".parse().unwrap();
    Guard::InForce { since, creations_since: since }
}

/// The apiserver's record of who set the approval.
fn annotator(time: &str) -> ManagedFieldsEntry {
    serde_json::from_value(serde_json::json!({
        "manager": "kubectl", "operation": "Update", "time": time,
        "fieldsV1": { "f:metadata": { "f:annotations": { "f:launchway.dev/approve-production": {} } } },
    }))
    .unwrap()
}

/// A world in which nothing happened yet, and everything that the planner asks for is done at once.
struct Play {
    world: World,
    /// Versions of the pipeline that are kept, by the names of their objects.
    revisions: BTreeMap<String, serde_json::Value>,
    /// What the package checks measure.
    quality: Vec<Metric>,
    /// What the apiserver says to every Job.
    refuses: Option<&'static str>,
    /// Which action the apiserver refuses, and what it says.
    denies: Option<(&'static str, &'static str)>,
    /// Every action that was performed, in order.
    done: Vec<&'static str>,
    /// How often status was written.
    writes: usize,
}

impl Play {
    fn new() -> Self {
        let pipeline: Pipeline = serde_json::from_value(serde_json::json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
            "metadata": { "name": "wknd", "namespace": "wknd" },
            "spec": {
                "type": "FullStack",
                "source": { "artifact": { "repository": "registry.example.com/wknd/artifacts" } },
                "images": { "repository": "registry.example.com/wknd/images" },
                "stage": { "environment": "stage", "tests": { "smoke": [{ "path": "/" }] } },
                "production": { "environment": "prod" },
            },
        }))
        .unwrap();
        let execution: PipelineExecution = serde_json::from_value(serde_json::json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
            "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "uid-1", "creationTimestamp": "2026-11-21T09:59:00Z" },
            "spec": { "pipelineRef": { "name": "wknd" }, "requestedBy": "ann" },
        }))
        .unwrap();
        let mut execution = execution;
        execution.metadata.managed_fields = Some(vec![annotator("2026-11-21T09:00:00Z")]);
        let world = World {
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            execution,
            pipeline: Some(pipeline),
            revision: RevisionFacts::default(),
            stage: Some(environment("stage", "Stage")),
            production: Some(environment("prod", "Production")),
            source_pipeline: None,
            rival: None,
            ahead: None,
            siblings: Siblings::default(),
            artifact: Some(Ok(FoundArtifact {
                reference: image('f'),
                files: vec![ArtifactFile {
                    name: "all.zip".into(),
                    sha256: image('f').digest(),
                    size: 1,
                    kind: None,
                    id: None,
                    reason: None,
                }],
            })),
            git: GitFacts::default(),
            jobs: BTreeMap::new(),
            release: None,
            refused: vec![],
            denied: None,
            guard: in_force(),
            web_tiers: Some(BTreeMap::new()),
            default_runtime: Runtime { aem: Some(image('1')), dispatcher: Some(image('2')), ..Runtime::default() },
        };
        let revisions = BTreeMap::new();
        Self { world, revisions, quality: vec![], refuses: None, denies: None, done: vec![], writes: 0 }
    }

    /// Plays rounds until the planner asks for nothing more.
    fn run(&mut self) -> &mut Self {
        // What was refused is tried again.
        self.world.jobs.retain(|_, job| !matches!(job, JobFacts::Refused { .. }));
        for _ in 0..60 {
            // The observer reads only what is asked for.
            let mut seen = self.seen();
            let jobs = std::mem::take(&mut seen.jobs);
            let needed = needs(&seen);
            if needed.guard.is_none() {
                seen.guard = Guard::NotLookedAt;
            }
            let mut look = needed.job.or_else(|| next(&seen).look);
            while let Some(step) = look {
                seen.jobs.insert(step, jobs.get(&step).cloned().unwrap_or_default());
                look = next(&seen).look;
            }
            let mut plan = next(&seen);
            if let Some((denied, why)) = self.denies
                && let Some(action) = plan.actions.iter().find(|action| action.category() == denied)
            {
                seen.denied = Some(Denied { action: action.clone(), why: why.into() });
                plan = next(&seen);
            }
            let Plan { actions, status, again, .. } = plan;
            if !actions.is_empty() {
                for action in actions {
                    self.perform(action);
                }
                continue;
            }
            let changed = self.world.execution.status.as_ref() != Some(&status);
            self.writes += usize::from(changed);
            self.world.execution.status = Some(status);
            if !(again && changed) {
                return self;
            }
        }
        panic!("no rest after 60 rounds: {:?}", self.done);
    }

    /// The world with the pipeline as it was when the execution began.
    fn seen(&self) -> World {
        let mut seen = self.world.clone();
        if let Some(pipeline) = seen.pipeline.take() {
            let wanted = revision::wanted(&pipeline, seen.execution.status.as_ref());
            let found = wanted.as_ref().and_then(|wanted| self.revisions.get(&wanted.name)).cloned();
            let (pipeline, facts) = revision::apply(pipeline, wanted, found);
            (seen.pipeline, seen.revision) = (Some(pipeline), facts);
        }
        seen
    }

    fn perform(&mut self, action: Action) {
        self.done.push(action.category());
        let uid = self.world.execution.metadata.uid.clone().unwrap();
        match action {
            Action::KeepRevision { spec, revision, .. } => {
                self.revisions.insert(revision.name, revision::data(&spec));
            }
            Action::Lock { environment } => {
                let now = Time(self.world.now);
                self.status(&environment).lock = Some(Lock { execution: "wknd-1".into(), uid, since: now });
            }
            Action::Unlock { environment } => self.status(&environment).lock = None,
            Action::SetTarget { environment, target } => {
                let status = self.status(&environment);
                status.target = Some(*target);
                status.rollout = None;
                status.restore = None;
            }
            Action::Resume { environment } => self.status(&environment).target.as_mut().unwrap().pause_after = None,
            Action::Stop { environment, why } => {
                let rollout = self.status(&environment).rollout.as_mut().unwrap();
                (rollout.state, rollout.message) = (RolloutState::Failed, why);
            }
            Action::CreateJob { step, .. } if self.refuses.is_some() => {
                let why = self.refuses.unwrap_or_default().into();
                self.world.jobs.insert(step, JobFacts::Refused { why });
            }
            // The packages of the play are in order.
            Action::CreateJob { step: StepName::CodeQuality, .. } => {
                let end = JobEnd::Measured { metrics: self.quality.clone(), message: "checked".into(), report: None };
                let (name, uid) = ("wknd-1-code-quality".into(), "code-quality".into());
                self.world.jobs.insert(StepName::CodeQuality, JobFacts::Ended { name, uid, end });
            }
            Action::CreateJob { step, .. } => {
                let (name, uid) = (format!("wknd-1-{}", step.dashed()), step.dashed().into());
                self.world.jobs.insert(step, JobFacts::Active { name, uid, pod: JobPod::Works });
            }
            Action::DeleteJob { uid, .. } => {
                self.world.jobs.retain(|_, job| !matches!(job, JobFacts::Active { uid: active, .. } if *active == uid));
            }
            Action::Remember { entry, tests, .. } => {
                let status = self.world.pipeline.as_mut().unwrap().status.get_or_insert_default();
                assert!(remember(status, &entry, &tests), "an execution is remembered once");
            }
        }
    }

    fn status(&mut self, environment: &str) -> &mut launchway_crds::environment::EnvironmentStatus {
        let found = if environment == "stage" { &mut self.world.stage } else { &mut self.world.production };
        found.as_mut().unwrap().status.get_or_insert_default()
    }

    fn job_ends(&mut self, end: JobEnd) -> &mut Self {
        let active = self.world.jobs.values_mut().find_map(|job| match job {
            JobFacts::Active { name, uid, .. } => Some((name.clone(), uid.clone(), job)),
            _ => None,
        });
        let (name, uid, job) = active.expect("no job works");
        *job = JobFacts::Ended { name, uid, end };
        self
    }

    fn built(&mut self) -> &mut Self {
        let release = ReleaseDigests { release: image('e'), images: images(), report: image('9') };
        self.world.release = Some(Ok(FoundRelease { release: image('e'), images: images(), files: vec![] }));
        self.job_ends(JobEnd::Built { release }).run()
    }

    fn deployed(&mut self, environment: &str) -> &mut Self {
        let now = Time(self.world.now);
        let status = self.status(environment);
        let target = status.target.take().expect("no target");
        status.deployed = Some(target.reached(status.deployed.as_ref(), now));
        self.run()
    }

    fn annotate(&mut self, key: &str, value: &str) -> &mut Self {
        self.world.execution.metadata.annotations.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    fn approved(&mut self, by: &str) -> &mut Self {
        self.annotate(requests::APPROVE_PRODUCTION, &image('e').digest().to_string())
            .annotate(requests::APPROVED_BY, by)
            .run()
    }

    /// A pair of production does not become ready.
    fn fails_on_production(&mut self) -> &mut Self {
        let since = Time(self.world.now);
        self.status("prod").rollout = Some(RolloutStatus {
            state: RolloutState::Failed,
            phase: "Pair 1".into(),
            since,
            revision: "r".into(),
            updated: 1,
            total: 2,
            message: "publish-1: no node".into(),
            message_at: None,
            watch: None,
        });
        self.run()
    }

    /// To the moment in which an approval is awaited.
    fn until_approval(&mut self) -> &mut Self {
        self.run().built().deployed("stage").job_ends(JobEnd::Passed { message: "1 page".into() }).run()
    }

    fn step(&self, name: StepName) -> (StepState, &str) {
        let step = self.world.execution.status.as_ref().unwrap().steps.iter().find(|step| step.name == name).unwrap();
        (step.state, step.reason.as_deref().unwrap_or_default())
    }

    fn waiting(&self) -> WaitingFor {
        self.world.execution.status.as_ref().unwrap().waiting_for.clone().unwrap()
    }

    fn later(&mut self, span: SignedDuration) -> &mut Self {
        self.world.now = self.world.now.checked_add(span).unwrap();
        self.run()
    }

    fn result(&self) -> &str {
        let status = self.world.execution.status.as_ref().unwrap();
        assert!(status.completion_time.is_some(), "it still runs: {:?}", status.step);
        &status.state
    }
}

#[test]
fn a_release_goes_through_stage_tests_and_approval_to_production() {
    let mut play = Play::new();
    play.until_approval();
    assert_eq!(play.step(StepName::ApprovalProduction), (StepState::Waiting, reasons::AWAITING_APPROVAL));
    assert_eq!(play.step(StepName::FunctionalTest), (StepState::Incomplete, reasons::NO_TEST));
    let waiting = play.world.execution.status.as_ref().unwrap().waiting_for.clone().unwrap();
    assert_eq!(waiting.command.as_deref(), Some("kubectl launchway approve wknd-1 --namespace wknd"));
    assert!(play.status("prod").target.is_none(), "production is not touched before the approval");

    play.approved("bob");
    assert_eq!(play.status("prod").target.as_ref().unwrap().release, image('e'));
    play.deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
    assert_eq!(
        play.done,
        [
            "keep_revision",
            "lock",
            "lock",
            "create_job",
            "create_job",
            "set_target",
            "create_job",
            "set_target",
            "remember",
            "unlock",
            "unlock"
        ]
    );
    assert!(play.writes <= 16, "{} status writes", play.writes);
}

#[test]
fn planning_twice_gives_the_same_plan() {
    let mut play = Play::new();
    play.until_approval();
    assert_eq!(next(&play.seen()), next(&play.seen()));
    let writes = play.writes;
    play.run();
    assert_eq!(play.writes, writes, "nothing happened, so nothing is written");
}

#[test]
fn nobody_answers_somebody_rejects_somebody_cancels() {
    let mut play = Play::new();
    play.until_approval();
    play.world.now = play.world.now.checked_add(SignedDuration::from_hours(14 * 24)).unwrap();
    assert_eq!(play.run().result(), reasons::CANCELLED);
    assert_eq!(play.step(StepName::ApprovalProduction), (StepState::Cancelled, reasons::TIMED_OUT));

    let mut play = Play::new();
    play.until_approval().annotate(requests::REJECT, "typo on the page").annotate(requests::REJECTED_BY, "bob");
    assert_eq!(play.run().result(), reasons::CANCELLED);
    assert!(play.done.ends_with(&["remember", "unlock", "unlock"]));

    let mut play = Play::new();
    play.run().annotate(requests::CANCEL, "wrong branch");
    assert_eq!(play.run().result(), reasons::CANCELLED);
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Cancelled);
    assert!(play.done.contains(&"delete_job"));
}

#[test]
fn a_deployment_that_began_is_not_cut_by_a_cancellation() {
    let mut play = Play::new();
    play.run().built().annotate(requests::CANCEL, "stop").run();
    assert_eq!(play.step(StepName::DeployStage).0, StepState::Running);
    play.deployed("stage");
    assert_eq!(play.result(), reasons::CANCELLED);
    assert_eq!(play.step(StepName::SmokeTest).0, StepState::Cancelled);
}

#[test]
fn a_failed_job_or_rollout_ends_the_execution_and_production_stays_as_it_is() {
    let mut play = Play::new();
    play.run().job_ends(JobEnd::Failed { reason: "NoArtifacts".into(), message: "no zip".into(), report: None }).run();
    assert_eq!((play.result(), play.step(StepName::BuildImage)), (reasons::FAILED, (StepState::Failed, "NoArtifacts")));

    let mut play = Play::new();
    play.run().built();
    let since = Time(play.world.now);
    play.status("stage").rollout = Some(RolloutStatus {
        state: RolloutState::Failed,
        phase: "AllAtOnce".into(),
        since,
        revision: "r".into(),
        updated: 0,
        total: 1,
        message: "publish-0: failed wknd: no node type".into(),
        message_at: None,
        watch: None,
    });
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::DeployStage), (StepState::Failed, reasons::DEPLOYMENT_FAILED));
    assert!(play.status("prod").target.is_none());

    let mut play = Play::new();
    play.run()
        .built()
        .deployed("stage")
        .job_ends(JobEnd::Error { reason: reasons::JOB_FAILED.into(), message: String::new() })
        .run();
    assert_eq!(play.result(), reasons::ERROR);
}

#[test]
fn a_name_runs_once() {
    let mut play = Play::new();
    play.until_approval().approved("bob").deployed("prod");
    let ledger = play.world.pipeline.clone();
    for (spec, reason) in [("ann", reasons::ALREADY_EXECUTED), ("other", reasons::NAME_REUSED)] {
        let mut again = Play::new();
        again.world.pipeline = ledger.clone();
        again.world.execution.metadata.uid = Some("uid-2".into());
        if spec == "other" {
            again.world.execution.spec.artifact =
                serde_json::from_value(serde_json::json!({ "tag": "other" })).unwrap();
        }
        assert_eq!(again.run().result(), reason);
        assert!(again.done.is_empty(), "{:?}", again.done);
    }
}

#[test]
fn a_taken_environment_is_waited_for() {
    let mut play = Play::new();
    let lock = Lock { execution: "wknd-0".into(), uid: "uid-0".into(), since: Time(play.world.now) };
    play.status("prod").lock = Some(lock);
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Waiting, reasons::ENVIRONMENT_LOCKED));
    assert_eq!(play.done, ["keep_revision", "lock"], "stage is taken, production waited for");
    play.status("prod").lock = None;
    play.run();
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
}

#[test]
fn missing_objects_are_waited_for_a_minute() {
    let mut play = Play::new();
    let pipeline = play.world.pipeline.take();
    play.run();
    assert_eq!(play.step(StepName::Validate).0, StepState::Running);
    play.world.pipeline = pipeline;
    play.world.production = None;
    play.world.now = play.world.now.checked_add(SignedDuration::from_secs(61)).unwrap();
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::Validate).1, reasons::NOT_FOUND);
}

#[test]
fn a_registry_that_is_away_is_tried_again_for_a_while() {
    let mut play = Play::new();
    play.world.artifact = Some(Err(Fault::Unreachable("no answer".into())));
    play.run();
    assert_eq!(play.step(StepName::Build).0, StepState::Running);
    play.world.now = play.world.now.checked_add(SignedDuration::from_mins(6)).unwrap();
    assert_eq!(play.run().result(), reasons::ERROR);
    let mut play = Play::new();
    play.world.artifact = Some(Err(Fault::Refused("401".into())));
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::Build).1, reasons::REGISTRY_REFUSED);
}

#[test]
fn environments_of_the_wrong_type_or_with_other_bases_are_refused() {
    let mut play = Play::new();
    play.world.production = Some(environment("prod", "Stage"));
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::Validate).1, reasons::WRONG_ENVIRONMENT_TYPE);

    let mut play = Play::new();
    play.world.production.as_mut().unwrap().spec.runtime =
        Some(Runtime { aem: Some(image('7')), dispatcher: None, ..Runtime::default() });
    play.run();
    assert_eq!(play.step(StepName::Validate).1, reasons::RUNTIME_MISMATCH);

    let mut play = Play::new();
    play.world.default_runtime = Runtime::default();
    play.run();
    assert_eq!(play.step(StepName::Validate).1, reasons::NO_RUNTIME);
}

#[test]
fn a_record_without_approval_never_deploys_to_production() {
    let mut play = Play::new();
    play.until_approval().approved("bob");
    play.status("prod").target = None;
    let status = play.world.execution.status.as_mut().unwrap();
    status.approvals.clear();
    assert_eq!(play.run().result(), reasons::ERROR);
    assert!(play.status("prod").target.is_none());
}

#[test]
fn a_foreign_job_is_not_believed() {
    let mut play = Play::new();
    play.run();
    play.world.jobs.insert(StepName::BuildImage, JobFacts::Foreign { name: "wknd-1-build-image".into() });
    assert_eq!(play.run().result(), reasons::ERROR);
    assert_eq!(play.step(StepName::BuildImage).1, reasons::CHILD_CONFLICT);
}

#[test]
fn a_build_gets_its_bases_from_stage() {
    let mut play = Play::new();
    play.run();
    let mut absent = play.seen();
    absent.jobs.insert(StepName::BuildImage, JobFacts::Absent);
    let plan = next(&absent);
    let [Action::CreateJob { step: StepName::BuildImage, work }] = plan.actions.as_slice() else {
        panic!("{:?}", plan.actions)
    };
    let Work::BuildImage { aem, dispatcher, artifact, .. } = work.as_ref() else { panic!() };
    assert_eq!((aem, dispatcher, artifact), (&image('1'), &image('2'), &image('f')));
}

#[test]
fn a_build_signs_with_the_key_that_the_pipeline_names() {
    let key = || LocalName { name: "signer".into() };
    for named in [None, Some(key())] {
        let mut play = Play::new();
        play.run();
        let mut absent = play.seen();
        let images = absent.pipeline.as_mut().unwrap().spec.images.as_mut().unwrap();
        images.signing = named.clone().map(|secret_ref| Signing { secret_ref });
        absent.jobs.insert(StepName::BuildImage, JobFacts::Absent);
        let plan = next(&absent);
        let [Action::CreateJob { step: StepName::BuildImage, work }] = plan.actions.as_slice() else {
            panic!("{:?}", plan.actions)
        };
        let Work::BuildImage { signing, .. } = work.as_ref() else { panic!() };
        assert_eq!(*signing, named);
    }
}

mod approvals;
mod denied;
mod edits;
mod emergencies;
mod flux;
mod git;
mod kinds;
mod news;
mod pauses;
mod refused;
mod restore;
mod scans;
mod test_jobs;
mod turns;
mod waits;
mod web_tier;

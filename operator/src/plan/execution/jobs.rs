//! The steps that a Job does: package checks, building images, and tests.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Pipeline,
    common::LocalName,
    conditions::reasons,
    digest::{ImageRef, Sha256Digest},
    execution::{ArtifactFile, Child, FILES_MAX, PipelineExecutionStatus},
    git::PackageRepository,
    names::child_name,
    pipeline::{TestImage, Tests},
    shared::Shared,
    step::{METRICS_MAX, Metric, StepName, StepState},
};

use crate::{gate::thresholds, plan::bases};

use super::{
    Verdict,
    action::{Action, Registries, Site, Work},
    gate, git, identity,
    prepare::faulty,
    refusal,
    revision::gone,
    step_of,
    validate::locked,
    web_tier,
    world::{JobEnd, JobFacts, JobPod, World},
};

/// How long the pod of a Job whose time is over may take to end. It never does where its node is gone, and the execution has
/// Environments that others wait for.
const STOPS: SignedDuration = SignedDuration::from_secs(300);

/// The packages keep the rules, and what was measured of them reaches its thresholds.
pub(super) fn code_quality(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let (Some(pipeline), Some(artifact)) = (&world.pipeline, &status.artifact) else { return gone(world) };
    let Some(source) = packages(world, Some(&artifact.reference)) else { return gone(world) };
    let work = Work::CodeQuality {
        artifact: artifact.reference.clone(),
        provided: pipeline.spec.images.as_ref().map(|images| images.provided_packages.clone()).unwrap_or_default(),
        refuse: pipeline.spec.images.is_none(),
        registries: registries(pipeline, &source),
        timeout: pipeline.spec.build_timeout,
        scanners: pipeline.spec.gates.scanners.clone(),
    };
    measured(world, status, StepName::CodeQuality, work, "checks the packages")
}

/// Where the packages are read, and images and reports written.
fn registries(pipeline: &Pipeline, source: &PackageRepository) -> Registries {
    let target = pipeline.spec.reports();
    let plain = [
        Some((&source.repository, source.plain_http)),
        target.as_ref().map(|target| (&target.repository, target.plain_http)),
    ];
    let mut plain_http: Vec<String> = plain
        .into_iter()
        .flatten()
        .filter(|(_, plain)| *plain)
        .filter_map(|(repository, _)| repository.split('/').next().map(str::to_string))
        .collect();
    plain_http.dedup();
    Registries {
        plain_http,
        source_secret: source.secret_ref.clone(),
        target_secret: target.as_ref().and_then(|target| target.secret_ref.clone()),
        target: target.map(|target| target.repository),
    }
}

/// Where reports of tests go.
fn reports(world: &World) -> Registries {
    let Some(pipeline) = &world.pipeline else { return Registries::default() };
    let artifact = world.execution.status.as_ref().and_then(|status| status.artifact.as_ref());
    packages(world, artifact.map(|artifact| &artifact.reference))
        .map(|source| registries(pipeline, &source))
        .unwrap_or_default()
}

/// Where the packages are, or those that are built from sources go. `artifact`: what the execution uses, once that is known.
pub(super) fn packages(world: &World, artifact: Option<&ImageRef>) -> Option<PackageRepository> {
    world.pipeline.as_ref()?.spec.packages(artifact)
}

/// Packages become images, and a release that names both.
pub(super) fn build_image(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let web_tier = web_tier::is_own(world);
    let place = if web_tier { web_tier::place(world) } else { world.stage.as_ref() };
    let (Some(pipeline), Some(artifact), Some(place)) = (&world.pipeline, &status.artifact, place) else {
        return gone(world);
    };
    let Some(source) = packages(world, Some(&artifact.reference)) else { return gone(world) };
    let runtime = bases::of(&place.spec, &world.default_runtime);
    let aem = if web_tier { web_tier::aem_image(world) } else { runtime.aem };
    let (Some(aem), Some(dispatcher)) = (aem, runtime.dispatcher) else {
        return Verdict::failed(
            reasons::NO_RUNTIME,
            "the base images were taken out of the Environment while the execution ran: set spec.runtime, and run the pipeline again",
        );
    };
    let images = pipeline.spec.images.as_ref();
    let work = Work::BuildImage {
        artifact: artifact.reference.clone(),
        aem,
        dispatcher,
        web_tier,
        provided: images.map(|images| images.provided_packages.clone()).unwrap_or_default(),
        layer_encoding: images.map(|images| images.layer_encoding).unwrap_or_default(),
        signing: images.and_then(|images| Some(images.signing.as_ref()?.secret_ref.clone())),
        registries: registries(pipeline, &source),
        timeout: pipeline.spec.build_timeout,
    };
    let end = match job(world, StepName::BuildImage, work, "builds images") {
        Ok(end) => end,
        Err(verdict) => return verdict,
    };
    let JobEnd::Built { release } = end else {
        found(status, &world.refused);
        return verdict_of(world, status, StepName::BuildImage, end);
    };
    match &world.release {
        None => Verdict::running("verifies the images in the registry"),
        Some(Err(fault)) => faulty(world, status, StepName::BuildImage, fault, reasons::RELEASE_NOT_FOUND),
        Some(Ok(found)) => {
            self::found(status, &found.files);
            status.release = Some(release.release.clone());
            status.images = Some(release.images);
            status.made_at = Some(Time(world.now));
            keep_report(world, status, StepName::BuildImage, Some(release.report.digest()));
            // Nothing is deployed before the record of what was built is safe.
            Verdict::Passed {
                state: StepState::Finished,
                reason: reasons::FINISHED,
                message: format!("made release {}", release.release.digest()),
                persist: true,
            }
        }
    }
}

/// Writes down what each file of the artifact was found to be.
fn found(status: &mut PipelineExecutionStatus, files: &[ArtifactFile]) {
    if let (Some(artifact), false) = (&mut status.artifact, files.is_empty()) {
        artifact.files = files.iter().take(FILES_MAX).cloned().collect();
    }
}

fn tests(world: &World) -> Option<&Tests> {
    world.pipeline.as_ref()?.spec.tested_on().map(|(_, tests)| tests)
}

/// Pages answer as the pipeline says.
pub(super) fn smoke_test(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let checks = tests(world).map(|tests| tests.smoke.clone()).unwrap_or_default();
    if checks.is_empty() {
        return no_test("tests.smoke of the pipeline is empty");
    }
    let Some(site) = site(world) else { return no_address() };
    match job(world, StepName::SmokeTest, Work::SmokeTest { site, checks }, "requests pages") {
        Ok(end) => verdict_of(world, status, StepName::SmokeTest, end),
        Err(verdict) => verdict,
    }
}

/// Requests that must be refused are refused.
pub(super) fn security_test(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(test) = tests(world).and_then(|tests| tests.security.clone()) else { return gone(world) };
    let Some(site) = site(world) else { return no_address() };
    measured(
        world,
        status,
        StepName::SecurityTest,
        Work::SecurityTest { site, test, registries: reports(world) },
        "sends what must be refused",
    )
}

/// Pages are requested as many visitors would; the next step says what that means.
pub(super) fn load_test(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(test) = tests(world).and_then(|tests| tests.performance.clone()) else { return gone(world) };
    let Some(site) = site(world) else { return no_address() };
    match job(
        world,
        StepName::LoadTest,
        Work::LoadTest { site, test, registries: reports(world) },
        "requests pages as many visitors would",
    ) {
        Ok(JobEnd::Measured { metrics, message, report }) => {
            keep(status, StepName::LoadTest, metrics.into());
            keep_report(world, status, StepName::LoadTest, report);
            Verdict::finished(message)
        }
        Ok(end) => verdict_of(world, status, StepName::LoadTest, end),
        Err(verdict) => verdict,
    }
}

/// What the load test measured reaches its thresholds.
pub(super) fn report_performance_test(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let metrics = step_of(status, StepName::LoadTest).map(|step| step.metrics.clone()).unwrap_or_default();
    // Who is asked about them looks at the step that asks.
    keep(status, StepName::ReportPerformanceTest, metrics.clone());
    gate::judge(world, status, StepName::ReportPerformanceTest, &metrics, "every threshold is reached")
}

/// A test that is somebody's image.
pub(super) fn image_test(world: &World, status: &mut PipelineExecutionStatus, step: StepName) -> Verdict {
    let tests = tests(world);
    let Some(test) = tests.and_then(|tests| image_of(tests, step)).cloned() else {
        return no_test(&format!("the pipeline has no image for {}", step.as_str()));
    };
    let login = tests.and_then(|tests| tests.login_secret_ref.clone());
    let (Some((url, author)), Some(release)) = (urls(world), status.release.clone()) else { return no_address() };
    let work = Work::ImageTest { test, url, author, release, login, registries: reports(world) };
    match measured(world, status, step, work, "runs the test image") {
        // An audit rates and never blocks (`cloud-manager.md` §5.4): not even when it breaks.
        Verdict::Ended { state: StepState::Failed | StepState::Error, message, .. }
            if step == StepName::ContentAudit =>
        {
            Verdict::Passed { state: StepState::Incomplete, reason: reasons::TEST_FAILED, message, persist: false }
        }
        verdict => verdict,
    }
}

const fn image_of(tests: &Tests, step: StepName) -> Option<&TestImage> {
    match step {
        StepName::ProductTest => tests.product.as_ref(),
        StepName::FunctionalTest => tests.functional.as_ref(),
        StepName::UiTest => tests.ui.as_ref(),
        StepName::ContentAudit => tests.audit.as_ref(),
        _ => None,
    }
}

/// A step whose Job measures, and whose gate decides. Once it is written down what was measured, the Job may go.
fn measured(world: &World, status: &mut PipelineExecutionStatus, step: StepName, work: Work, doing: &str) -> Verdict {
    let known = step_of(status, step).filter(|step| !step.metrics.is_empty());
    let (metrics, told) = match known {
        Some(known) => (known.metrics.clone(), String::new()),
        None => match job(world, step, work, doing) {
            Ok(JobEnd::Measured { metrics, message, report }) => {
                keep_report(world, status, step, report);
                match judged(world, step, git::with_coverage(status, step, metrics)) {
                    Ok(metrics) => (metrics.into(), message),
                    Err(verdict) => return verdict,
                }
            }
            Ok(end) => return verdict_of(world, status, step, end),
            Err(verdict) => return verdict,
        },
    };
    keep(status, step, metrics.clone());
    gate::judge(world, status, step, &metrics, &told)
}

/// The thresholds of the pipeline are those of the code quality step; other tests have their own.
fn judged(world: &World, step: StepName, metrics: Vec<Metric>) -> Result<Vec<Metric>, Verdict> {
    let gates = world.pipeline.as_ref().map(|pipeline| &pipeline.spec.gates).filter(|_| step == StepName::CodeQuality);
    let Some(gates) = gates else { return Ok(metrics) };
    let judged =
        thresholds::apply(&gates.thresholds, metrics).map_err(|why| Verdict::failed(reasons::GATE_FAILED, why))?;
    if judged.len() > METRICS_MAX {
        return Err(Verdict::failed(
            reasons::GATE_FAILED,
            format!(
                "spec.gates.thresholds make {} metrics of what was measured, and a step keeps {METRICS_MAX}: name fewer",
                judged.len()
            ),
        ));
    }
    Ok(judged)
}

/// Where the report of a step is, if it was kept.
fn keep_report(world: &World, status: &mut PipelineExecutionStatus, step: StepName, report: Option<Sha256Digest>) {
    let place = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.reports());
    if let (Some(report), Some(place), Some(found)) =
        (report, place, status.steps.iter_mut().find(|found| found.name == step))
    {
        // A repository that makes no reference kept nothing.
        found.report = ImageRef::new(&place.repository, report).ok();
    }
}

pub(super) fn keep(status: &mut PipelineExecutionStatus, step: StepName, metrics: Shared<Metric>) {
    if let Some(found) = status.steps.iter_mut().find(|found| found.name == step) {
        found.metrics = metrics;
    }
}

fn urls(world: &World) -> Option<(String, String)> {
    let urls = world.stage.as_ref()?.status.as_ref()?.urls.clone()?;
    Some((urls.dispatcher, urls.author))
}

/// The dispatchers, and the first name of the route that is one: a wildcard stands for names that nobody here knows.
fn site(world: &World) -> Option<Site> {
    let (url, _) = urls(world)?;
    let route = world.stage.as_ref().and_then(|stage| stage.spec.route.as_ref());
    let host = route.and_then(|route| route.hosts.iter().find(|host| !host.starts_with("*.")).cloned());
    Some(Site { url, host })
}

fn no_test(message: &str) -> Verdict {
    Verdict::Passed { state: StepState::Incomplete, reason: reasons::NO_TEST, message: message.into(), persist: false }
}

fn no_address() -> Verdict {
    Verdict::error(
        reasons::ENVIRONMENT_LOCKED,
        "stage has no address: it was deleted while the execution ran, so run the pipeline again",
    )
}

/// The end of a step's Job, or what to do until it ends.
pub(super) fn job(world: &World, step: StepName, work: Work, doing: &str) -> Result<JobEnd, Verdict> {
    locked(world)?;
    let (execution, _, _) = identity(world);
    let child = |name: &String, uid: &String| Some(Child { kind: "Job".into(), name: name.clone(), uid: uid.clone() });
    let Some(facts) = world.jobs.get(&step) else { return Err(Verdict::Unseen) };
    match facts {
        JobFacts::Absent => {
            let name = child_name(execution, step.dashed());
            Err(Verdict::acting(format!("creates Job {name}"), vec![Action::CreateJob { step, work: Box::new(work) }]))
        }
        JobFacts::Refused { why } => Err(refusal::told(world, step, why)),
        JobFacts::Foreign { name } => Err(Verdict::error(
            reasons::CHILD_CONFLICT,
            format!("Job {name} exists and belongs to somebody else: delete it, or give the execution another name"),
        )),
        JobFacts::Active { name, uid, pod } => {
            let (problem, wake) = match pod {
                JobPod::Missing { since } => refusal::of_pod(world, name, *since),
                JobPod::Waits { problem } => (Some(format!("{problem}{}", without_login(&work, problem))), None),
                JobPod::Works => (None, None),
                JobPod::Stops { since } => match since.saturating_add(STOPS).ok().filter(|until| *until > world.now) {
                    Some(until) => (waited(world, step, doing).map(str::to_owned), Some(until)),
                    None => return Ok(with_last_words(world, step, doing, never_stops(name))),
                },
            };
            Err(Verdict::Running {
                message: problem.map_or_else(|| doing.to_string(), |problem| format!("{doing}: {problem}")),
                child: child(name, uid),
                deadline: None,
                wake,
                actions: vec![],
            })
        }
        JobFacts::Ended { end, .. } => Ok(with_last_words(world, step, doing, end.clone())),
    }
}

/// The end of a step whose Job cannot end.
fn never_stops(job: &str) -> JobEnd {
    let message = format!("Job {job} did not end in its time, and its pod does not end: its node may be gone");
    JobEnd::Failed { reason: reasons::TIMED_OUT.into(), message, report: None }
}

/// What to do about a test that does not start for want of its user, in addition to the kubelet's words.
fn without_login(work: &Work, problem: &str) -> String {
    // The kubelet gives this reason for a Secret, or a key of one, that is not there, and names it; and for other faults.
    let is_about = |login: &&LocalName| problem.contains("CreateContainerConfigError") && problem.contains(&login.name);
    match work.login().filter(is_about) {
        Some(LocalName { name }) => format!(
            ": create Secret {name} with the keys username and password, which the test waits for, or correct loginSecretRef \
             of the Pipeline's tests and run it again"
        ),
        None => String::new(),
    }
}

/// What the pod of a step's Job waited for when that was last told. Kubernetes ends the pod of a Job whose time is over, and
/// what it says from then on is about that end.
fn waited<'a>(world: &'a World, step: StepName, doing: &str) -> Option<&'a str> {
    let told = step_of(world.execution.status.as_ref()?, step)?.message.as_deref()?;
    told.strip_prefix(doing)?.strip_prefix(": ")
}

/// The end of a step's Job, with what its pod waited for until its time was over.
fn with_last_words(world: &World, step: StepName, doing: &str, end: JobEnd) -> JobEnd {
    match (end, waited(world, step, doing)) {
        (JobEnd::Failed { reason, message, report }, Some(waited))
            if reason == reasons::TIMED_OUT && !message.contains(waited) =>
        {
            JobEnd::Failed { reason, message: format!("{message}; it waited until the end: {waited}"), report }
        }
        (end, _) => end,
    }
}

pub(super) fn verdict_of(world: &World, status: &mut PipelineExecutionStatus, step: StepName, end: JobEnd) -> Verdict {
    match end {
        JobEnd::Passed { message } | JobEnd::Measured { message, .. } => Verdict::finished(message),
        JobEnd::Built { release } => Verdict::finished(format!("made release {}", release.release.digest())),
        JobEnd::Resolved { commit } => Verdict::finished(format!("takes {commit}")),
        JobEnd::Packed { message, .. } => Verdict::finished(message),
        JobEnd::Unfit { reason, message, .. } => Verdict::failed(reason, message),
        JobEnd::Failed { reason, message, report } => {
            keep_report(world, status, step, report);
            Verdict::failed(reason, message)
        }
        JobEnd::Error { reason, message } => Verdict::error(reason, message),
    }
}

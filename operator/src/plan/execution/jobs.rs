//! The steps that a Job does: building images, and tests on stage.

use launchway_crds::{
    conditions::reasons,
    execution::{ArtifactFile, Child, FILES_MAX, PipelineExecutionStatus},
    names::child_name,
    step::{StepName, StepState},
};

use super::{
    Verdict,
    action::{Action, Work},
    identity,
    prepare::{faulty, locked, runtime_of},
    world::{JobEnd, JobFacts, World},
};

/// Packages become images, and a release that names both.
pub(super) fn build_image(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let (Some(pipeline), Some(artifact), Some(stage)) = (&world.pipeline, &status.artifact, &world.stage) else {
        return Verdict::error(
            reasons::PIPELINE_CHANGED,
            "the pipeline or its stage was deleted while the execution ran",
        );
    };
    let runtime = runtime_of(world, stage);
    let (Some(aem), Some(dispatcher)) = (runtime.aem, runtime.dispatcher) else {
        return Verdict::failed(
            reasons::NO_RUNTIME,
            "the base images were taken out of the Environment while the execution ran",
        );
    };
    let (source, images) = (&pipeline.spec.source.artifact, &pipeline.spec.images);
    let plain = [(&source.repository, source.plain_http), (&images.repository, images.plain_http)];
    let mut plain_http: Vec<String> = plain
        .iter()
        .filter(|(_, plain)| *plain)
        .filter_map(|(repository, _)| repository.split('/').next().map(str::to_string))
        .collect();
    plain_http.dedup();
    let work = Work::BuildImage {
        artifact: artifact.reference.clone(),
        target: images.repository.clone(),
        aem,
        dispatcher,
        provided: images.provided_packages.clone(),
        plain_http,
        source_secret: source.secret_ref.clone(),
        target_secret: images.secret_ref.clone(),
        timeout: pipeline.spec.build_timeout,
    };
    let end = match job(world, StepName::BuildImage, work, "builds images") {
        Ok(end) => end,
        Err(verdict) => return verdict,
    };
    let JobEnd::Built { release } = end else {
        found(status, &world.refused);
        return verdict_of(end);
    };
    match &world.release {
        None => Verdict::running("verifies the images in the registry"),
        Some(Err(fault)) => faulty(world, status, StepName::BuildImage, fault, reasons::RELEASE_NOT_FOUND),
        Some(Ok(found)) => {
            self::found(status, &found.files);
            status.release = Some(release.release.clone());
            status.images = Some(release.images);
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

/// Pages of stage answer as the pipeline says.
pub(super) fn smoke_test(world: &World) -> Verdict {
    let checks = world.pipeline.as_ref().map(|pipeline| pipeline.spec.stage.tests.smoke.clone()).unwrap_or_default();
    if checks.is_empty() {
        return no_test("spec.stage.tests.smoke of the pipeline is empty");
    }
    let Some(urls) = urls(world) else { return no_address() };
    tested(world, StepName::SmokeTest, Work::SmokeTest { url: urls.0, checks }, "requests pages of stage")
}

/// The project's own test image passes against stage.
pub(super) fn functional_test(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(test) = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.stage.tests.functional.clone()) else {
        return no_test("the pipeline has no spec.stage.tests.functional");
    };
    let (Some((url, author)), Some(release)) = (urls(world), status.release.clone()) else { return no_address() };
    tested(world, StepName::FunctionalTest, Work::FunctionalTest { test, url, author, release }, "runs the test image")
}

fn urls(world: &World) -> Option<(String, String)> {
    let urls = world.stage.as_ref()?.status.as_ref()?.urls.clone()?;
    Some((urls.dispatcher, urls.author))
}

fn no_test(message: &str) -> Verdict {
    Verdict::Passed { state: StepState::Incomplete, reason: reasons::NO_TEST, message: message.into(), persist: false }
}

fn no_address() -> Verdict {
    Verdict::error(reasons::ENVIRONMENT_LOCKED, "stage has no address: it was deleted while the execution ran")
}

fn tested(world: &World, step: StepName, work: Work, doing: &str) -> Verdict {
    match job(world, step, work, doing) {
        Ok(end) => verdict_of(end),
        Err(verdict) => verdict,
    }
}

/// The end of a step's Job, or what to do until it ends.
fn job(world: &World, step: StepName, work: Work, doing: &str) -> Result<JobEnd, Verdict> {
    locked(world)?;
    let (execution, _, _) = identity(world);
    let child = |name: &String, uid: &String| Some(Child { kind: "Job".into(), name: name.clone(), uid: uid.clone() });
    match &world.job {
        JobFacts::Absent => {
            let name = child_name(execution, step.dashed());
            Err(Verdict::acting(format!("creates Job {name}"), vec![Action::CreateJob { step, work: Box::new(work) }]))
        }
        JobFacts::Foreign { name } => Err(Verdict::error(
            reasons::CHILD_CONFLICT,
            format!("Job {name} exists and belongs to somebody else: delete it, or give the execution another name"),
        )),
        JobFacts::Active { name, uid, problem } => Err(Verdict::Running {
            message: problem.as_ref().map_or_else(|| doing.to_string(), |problem| format!("{doing}: {problem}")),
            child: child(name, uid),
            deadline: None,
            wake: None,
            actions: vec![],
        }),
        JobFacts::Ended { end, .. } => Ok(end.clone()),
    }
}

fn verdict_of(end: JobEnd) -> Verdict {
    match end {
        JobEnd::Passed { message } => Verdict::finished(message),
        JobEnd::Built { release } => Verdict::finished(format!("made release {}", release.release.digest())),
        JobEnd::Failed { reason, message, report: _ } => Verdict::failed(reason, message),
        JobEnd::Error { reason, message } => Verdict::error(reason, message),
    }
}

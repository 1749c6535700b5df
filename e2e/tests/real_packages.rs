//! Packages that nobody here wrote: classified, ordered, built into images; what plain Sling can install is proved
//! installed, what it cannot is reported by name with the runtime's reason (`e2e/packages/README.md`).

use std::{path::Path, time::Duration};

use launchway_crds::{
    conditions::reasons,
    execution::{ArtifactFile, PipelineExecutionStatus},
    step::{StepName, StepState},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    executions::{seconds, step, succeeded, told},
    failure::ensure,
    program::{Options, Program},
    scenario::{self, Scenario, measured},
};

/// AC Tool's install hook alone keeps the installer busy for two minutes.
const LONG: Duration = Duration::from_secs(900);
const WKND: &str = "aem-guides-wknd.all-1.0.0.zip";
const CONFIG: &str = "aem-guides-wknd.ui.config-3.2.0.zip";
const CORE: &str = "core.wcm.components.all-2.30.2.zip";
const ACTOOL: &str = "accesscontroltool-package-4.2.2.zip";
const DISPATCHER: &str = "wknd.dispatcher.cloud-4.0.4.zip";
const OTHER_DISPATCHER: &str = "archetype.dispatcher.ams-51.zip";

#[test]
fn real_packages_are_built_and_reported_by_name() -> Outcome {
    scenario::run("real-packages", |scenario| async move {
        let options = Options { pairs: 1, ready_timeout: "10m", ..Options::default() };
        let program = scenario.program("", &options).await?;

        // As they come: what is meant to be embedded is not deployed by itself, as on the cloud service.
        let all = artifacts::real_packages(&[]).await?;
        // A release has one dispatcher configuration.
        let _ = std::fs::remove_file(all.path().join(OTHER_DISPATCHER));
        let status = run(&scenario, &program, "everything", all.path()).await?;
        built(&status, &[WKND, CONFIG, CORE, ACTOOL, DISPATCHER])?;
        never_a_success(&status, &["aem-guides-wknd", "accesscontroltool"])?;

        let core = embedded(CORE).await?;
        let status = run(&scenario, &program, "core", core.path()).await?;
        never_a_success(&status, &["core.wcm.components"])?;
        let actool = artifacts::real_packages(&[ACTOOL]).await?;
        let status = run(&scenario, &program, "actool", actool.path()).await?;
        built(&status, &[ACTOOL])?;
        never_a_success(&status, &["accesscontroltool"])?;

        // The one that installs, beside a site whose pages can be asked for.
        let good = embedded(CONFIG).await?;
        artifacts::build_site(1, None, good.path()).await?;
        let artifact = program.push(good.path()).await?;
        program.run("good", Some(artifact.digest())).await?;
        let execution = scenario.on_failure(&program, "good", program.awaits_approval("good", LONG)).await?;
        let status = execution.status.unwrap_or_default();
        ensure(step(&status, StepName::DeployStage)?.state == StepState::Finished, || told(&status))?;
        println!("  {CONFIG} is proved installed on stage: every pod is ready");
        Ok(())
    })
}

/// A container with one of the packages: the way in which projects deliver them.
async fn embedded(file: &str) -> Outcome<tempfile::TempDir> {
    let (package, folder) = (artifacts::real_packages(&[file]).await?, artifacts::folder()?);
    artifacts::container(folder.path(), "container", &[package.path().join(file)])?;
    Ok(folder)
}

async fn run(scenario: &Scenario, program: &Program, name: &str, folder: &Path) -> Outcome<PipelineExecutionStatus> {
    let artifact = program.push(folder).await?;
    program.run(name, Some(artifact.digest())).await?;
    scenario.on_failure(program, name, program.ended(name, LONG)).await
}

/// Every file was recognised, and the images were made.
fn built(status: &PipelineExecutionStatus, files: &[&str]) -> Outcome {
    let known = status.artifact.as_ref().map(|artifact| &*artifact.files).unwrap_or_default();
    for wanted in files {
        let Some(file) = known.iter().find(|file| file.name == *wanted) else {
            if *wanted == DISPATCHER {
                println!("  {DISPATCHER} was left out: ../shared/fixtures is not on this machine");
                continue;
            }
            return Err(Failure::new(format!("{wanted} is not in status.artifact.files: {known:?}")));
        };
        check(file)?;
    }
    let build = step(status, StepName::BuildImage)?;
    ensure(build.state == StepState::Finished && status.release.is_some(), || {
        format!("no images were made:\n{}", told(status))
    })?;
    measured("build of the images", format!("{} s", seconds(build).unwrap_or_default()));
    Ok(())
}

fn check(file: &ArtifactFile) -> Outcome {
    let (kind, reason) = (file.kind.as_deref().unwrap_or_default(), file.reason.as_deref().unwrap_or_default());
    let right = match file.name.as_str() {
        DISPATCHER => kind == "dispatcher",
        CONFIG | CORE => kind == "ignored" && file.id.is_some() && reason.contains("cloudManagerTarget=none"),
        _ => kind == "content-package" && file.id.is_some(),
    };
    ensure(right, || format!("{} was not recognised: {file:?}", file.name))?;
    println!("  {}: {kind} {} {reason}", file.name, file.id.as_deref().unwrap_or_default());
    Ok(())
}

/// Stage failed, and the status says which package and what the runtime said.
fn never_a_success(status: &PipelineExecutionStatus, culprits: &[&str]) -> Outcome {
    ensure(!succeeded(status), || format!("reported as success:\n{}", told(status)))?;
    let deploy = step(status, StepName::DeployStage)?;
    let message = deploy.message.clone().unwrap_or_default();
    ensure(deploy.reason.as_deref() == Some(reasons::DEPLOYMENT_FAILED), || told(status))?;
    ensure(culprits.iter().any(|culprit| message.contains(culprit)), || {
        format!("none of {culprits:?} is named: {message}")
    })?;
    ensure(message.contains("failed "), || format!("what the runtime said is missing: {message}"))?;
    println!("  stage: {message}");
    Ok(())
}

//! Bad input of every kind ends with its reason, production stays as it is, and the next good execution works.

mod servers;

use std::time::Duration;

use launchway_crds::{conditions::reasons, digest::ImageRef, execution::PipelineExecutionStatus, step::StepName};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    executions::{step, told},
    failure::ensure,
    program::{DEVELOPER, Options, PIPELINE, PRODUCTION, Program},
    scenario::{self, Scenario},
};
use serde_json::{Value, json};

/// One that needs no pods.
const SHORT: Duration = Duration::from_secs(120);
/// One that is deployed.
const LONG: Duration = Duration::from_secs(420);
/// A registry that is away gets five minutes.
const AWAY: Duration = Duration::from_secs(420);

#[test]
fn bad_input_ends_with_its_reason_and_the_next_release_works() -> Outcome {
    scenario::run("bad-input", |scenario| async move {
        // Nothing is ever deployed in these two: they need no pods, and run beside the other.
        let options = Options { ready_timeout: "1m", ..Options::stand_in(1) };
        let empty = scenario.program("packages", &options).await?;
        let away = scenario.program("registries", &options).await?;
        let site = scenario.program("site", &options).await?;
        let (packages, registries, sites) =
            tokio::join!(packages(&scenario, &empty), registries(&scenario, &away), sites(&scenario, &site));
        packages.and(registries).and(sites)
    })
}

/// How an execution has to end.
struct Bad<'a> {
    name: &'a str,
    step: StepName,
    reason: &'a str,
    /// Words that the message must have: the thing concerned.
    says: &'a [&'a str],
}

impl Bad<'_> {
    async fn ends(&self, scenario: &Scenario, program: &Program, limit: Duration) -> Outcome {
        let status = scenario.on_failure(program, self.name, program.ended(self.name, limit)).await?;
        self.check(&status).map_err(|failure| failure.seen(&told(&status)))
    }

    fn check(&self, status: &PipelineExecutionStatus) -> Outcome {
        let ended = step(status, self.step)?;
        let (reason, message) = (ended.reason.clone().unwrap_or_default(), ended.message.clone().unwrap_or_default());
        ensure(reason == self.reason, || format!("{} ended with {reason}, not {}: {message}", self.name, self.reason))?;
        for word in self.says {
            ensure(message.contains(word), || format!("{}: the message has no `{word}`: {message}", self.name))?;
        }
        ensure(status.state == reasons::FAILED || status.state == reasons::ERROR, || {
            format!("{} ended as {}", self.name, status.state)
        })?;
        println!("  {}: {} {reason}: {message}", self.name, self.step.as_str());
        Ok(())
    }
}

/// Artifacts that no image can be made of.
async fn packages(scenario: &Scenario, program: &Program) -> Outcome {
    let nothing = artifacts::folder()?;
    let refused = program.push(nothing.path()).await.err().map(|failure| failure.to_string()).unwrap_or_default();
    ensure(refused.contains("no *.zip"), || format!("an empty folder was pushed: {refused}"))?;

    run(program, "no-zip", &program.push_nothing().await?).await?;
    let bad = Bad { name: "no-zip", step: StepName::BuildImage, reason: "NoArtifacts", says: &[] };
    bad.ends(scenario, program, SHORT).await?;

    let neither = artifacts::folder()?;
    artifacts::zip(&neither.path().join("holiday.zip"), &[("photos/beach.txt", b"sand")])?;
    run(program, "neither-kind", &program.push(neither.path()).await?).await?;
    let bad = Bad { name: "neither-kind", step: StepName::BuildImage, reason: "NoArtifacts", says: &["holiday.zip"] };
    bad.ends(scenario, program, SHORT).await?;

    let broken = artifacts::folder()?;
    std::fs::write(broken.path().join("broken.zip"), "this is text").map_err(|error| error.to_string())?;
    run(program, "not-a-zip", &program.push(broken.path()).await?).await?;
    let bad = Bad { name: "not-a-zip", step: StepName::BuildImage, reason: "NotAZip", says: &["broken.zip"] };
    bad.ends(scenario, program, SHORT).await?;

    let unresolved = artifacts::site(2, Some("missing-dependency")).await?;
    run(program, "missing-dependency", &program.push(unresolved.path()).await?).await?;
    let bad = Bad {
        name: "missing-dependency",
        step: StepName::BuildImage,
        reason: "UnresolvedDependency",
        says: &["launchway-demo.absent"],
    };
    bad.ends(scenario, program, SHORT).await?;

    program.run_spec("no-tag", spec(&json!({"tag": "never-pushed"}))).await?;
    let bad =
        Bad { name: "no-tag", step: StepName::Build, reason: reasons::ARTIFACT_NOT_FOUND, says: &["never-pushed"] };
    bad.ends(scenario, program, SHORT).await?;

    pipeline(scenario, program, |spec| spec["stage"]["environment"] = json!("nowhere")).await?;
    program.run_spec("unknown-environment", spec(&json!({"tag": "main"}))).await?;
    let bad = Bad {
        name: "unknown-environment",
        step: StepName::Validate,
        reason: reasons::NOT_FOUND,
        says: &["Environment nowhere"],
    };
    bad.ends(scenario, program, SHORT).await?;
    pipeline(scenario, program, |_| ()).await?;
    untouched(program).await
}

/// Registries that refuse, or are not there.
async fn registries(scenario: &Scenario, program: &Program) -> Outcome {
    let refusing = servers::refusing(&scenario.cluster).await?;
    let of = |registry: &str| json!(format!("{registry}/somebody/artifacts"));
    pipeline(scenario, program, |spec| spec["source"]["artifact"]["repository"] = of(&refusing)).await?;
    program.run_spec("registry-refuses", spec(&json!({"tag": "main"}))).await?;
    let bad =
        Bad { name: "registry-refuses", step: StepName::Build, reason: reasons::REGISTRY_REFUSED, says: &[&refusing] };
    bad.ends(scenario, program, SHORT).await?;

    let nowhere = "registry.launchway-e2e.invalid:5000";
    pipeline(scenario, program, |spec| spec["source"]["artifact"]["repository"] = of(nowhere)).await?;
    program.run_spec("registry-unreachable", spec(&json!({"tag": "main"}))).await?;
    let bad = Bad {
        name: "registry-unreachable",
        step: StepName::Build,
        reason: reasons::REGISTRY_UNREACHABLE,
        says: &[nowhere],
    };
    bad.ends(scenario, program, AWAY).await?;
    pipeline(scenario, program, |_| ()).await?;
    untouched(program).await
}

/// Releases of the site that are wrong in a way that only a running stage shows.
async fn sites(scenario: &Scenario, program: &Program) -> Outcome {
    scenario.deploy(program, "good-1", 1).await?;
    let before = program.running(PRODUCTION).await?;
    let bads = [
        (
            "broken-page",
            Bad { name: "broken-page", step: StepName::SmokeTest, reason: reasons::TEST_FAILED, says: &["home.html"] },
        ),
        (
            "never-ready",
            Bad {
                name: "never-ready",
                step: StepName::DeployStage,
                reason: reasons::DEPLOYMENT_FAILED,
                says: &["launchway-demo.never-ready", "TypeThatNoRuntimeRegisters"],
            },
        ),
        (
            "bad-vhost",
            Bad {
                name: "bad-vhost",
                step: StepName::DeployStage,
                reason: reasons::DEPLOYMENT_FAILED,
                says: &["config-test"],
            },
        ),
    ];
    for (variant, bad) in bads {
        let artifact = program.push(artifacts::site(2, Some(variant)).await?.path()).await?;
        run(program, bad.name, &artifact).await?;
        bad.ends(scenario, program, LONG).await?;
        program.serves(PRODUCTION, "Release 1").await?;
        let after = program.running(PRODUCTION).await?;
        ensure(before == after, || format!("{variant} changed production: {before:?} became {after:?}"))?;
    }
    logins(scenario, program).await
}

/// A test whose user nobody has made yet does not start, says for what it waits, and gives up; with the user it passes.
async fn logins(scenario: &Scenario, program: &Program) -> Outcome {
    let tests = |timeout: &'static str| {
        move |spec: &mut Value| {
            let tests = &mut spec["stage"]["tests"];
            tests["loginSecretRef"] = json!({"name": "test-user"});
            tests["functional"]["timeout"] = json!(timeout);
        }
    };
    pipeline(scenario, program, tests("20s")).await?;
    let site = artifacts::site(2, None).await?;
    run(program, "no-login", &program.push(site.path()).await?).await?;
    let says = &["secret \"test-user\" not found", "create Secret test-user with the keys username and password"];
    let bad = Bad { name: "no-login", step: StepName::FunctionalTest, reason: reasons::TIMED_OUT, says };
    bad.ends(scenario, program, LONG).await?;

    pipeline(scenario, program, tests("3m")).await?;
    let user = json!({"username": "tess", "password": "a word"});
    program
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "test-user"}, "stringData": user}))
        .await?;
    scenario.deploy(program, "good-2", 2).await?;
    let status = program.execution("good-2").await?.status.unwrap_or_default();
    let said = step(&status, StepName::FunctionalTest)?.message.clone().unwrap_or_default();
    println!("  good-2: functionalTest: {said}");
    ensure(said.contains(" as tess answered 200"), || said.clone())
}

async fn run(program: &Program, name: &str, artifact: &ImageRef) -> Outcome {
    program.run(name, Some(artifact.digest())).await.map(drop)
}

fn spec(artifact: &Value) -> Value {
    json!({"pipelineRef": {"name": PIPELINE}, "artifact": artifact, "requestedBy": DEVELOPER})
}

/// The Pipeline as it usually is but for one thing, for the next execution.
async fn pipeline(scenario: &Scenario, program: &Program, change: impl FnOnce(&mut Value)) -> Outcome {
    let mut pipeline = program.pipeline(&scenario.images.tester);
    change(&mut pipeline["spec"]);
    program.apply(&pipeline).await
}

/// Nothing was deployed, and the Environment is free for the next execution.
async fn untouched(program: &Program) -> Outcome {
    let status = program.environment(PRODUCTION).await?.status.unwrap_or_default();
    ensure(status.deployed.is_none() && status.target.is_none() && status.lock.is_none(), || {
        format!("production of {} is not as it was: {status:?}", program.namespace)
    })?;
    let pods = program.members(PRODUCTION).await?;
    if pods.is_empty() { Ok(()) } else { Err(Failure::new(format!("production has pods: {pods:?}"))) }
}

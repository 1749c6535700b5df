//! From `git push` to production: a Git server in the cluster, builds in it, and the approval as the only command.

mod server;

use std::time::{Duration, Instant};

use launchway_crds::{execution::PipelineExecutionStatus, step::StepName};
use launchway_e2e::{
    Outcome,
    executions::{step, told},
    failure::ensure,
    program::{DEVELOPER, Options, PIPELINE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};
use server::{Checkout, GitServer, Images};

/// A build and everything after it.
const WHOLE: Duration = Duration::from_secs(900);
/// A build that fails.
const SHORT: Duration = Duration::from_secs(420);

#[test]
fn a_pushed_page_reaches_production_and_bad_sources_do_not() -> Outcome {
    scenario::run("git", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let images = Images::provide(&scenario.cluster).await?;
        let server = GitServer::start(&program, &images.git).await?;
        site(&scenario, &program, &server, &images).await?;
        bad(&scenario, &program, &server, &images).await
    })
}

/// The Pipeline of the program with a Git source.
async fn pipeline(program: &Program, git: Value) -> Outcome {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["spec"]["source"] = json!({ "git": git });
    // What was applied before may name another source: it is taken away with it.
    program.apply(&pipeline).await
}

async fn run(program: &Program, name: &str, more: Value) -> Outcome {
    let mut spec = json!({ "pipelineRef": { "name": PIPELINE }, "requestedBy": DEVELOPER });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    program.run_spec(name, spec).await.map(drop)
}

/// The real Maven build of the demo's site, pushed, built, approved, served; and the same commit again without a build.
async fn site(scenario: &Scenario, program: &Program, server: &GitServer, images: &Images) -> Outcome {
    let checkout = Checkout::of_site(server, "site.git", 1)?;
    let commit = checkout.push()?;
    let builder = json!({
        "image": images.builder, "commands": ["mvn --batch-mode -Drelease=1 package"],
        "resources": { "limits": { "memory": "1Gi" } },
    });
    pipeline(program, json!({ "url": server.url("site.git"), "branch": "main", "builder": builder })).await?;
    run(program, "pushed", json!({})).await?;
    scenario
        .on_failure(program, "pushed", async {
            program.awaits_approval("pushed", WHOLE).await?;
            program.approve("pushed", &scenario.launchway).await?;
            let status = program.succeeded("pushed", WHOLE).await?;
            let recorded = status.commit.as_ref().map(|commit| commit.id.clone());
            ensure(recorded.as_deref() == Some(commit.as_str()), || format!("built {recorded:?}, pushed {commit}"))?;
            program.serves(PRODUCTION, "Release 1").await
        })
        .await?;
    let begun = Instant::now();
    run(program, "again", json!({})).await?;
    let again = scenario.on_failure(program, "again", built(program, "again")).await?;
    let reused = again.build.and_then(|build| build.reused_from).unwrap_or_default();
    ensure(reused.ends_with("/pushed"), || format!("the same commit was built again: {reused:?}"))?;
    measured("the same commit again, to the end of the step build", format!("{} ms", begun.elapsed().as_millis()));
    scenario.types(program, DEVELOPER, &["cancel", "again", "--reason", "seen"]).await?;
    program.ended("again", SHORT).await.map(drop)
}

/// Waits until the packages are there.
async fn built(program: &Program, name: &str) -> Outcome<PipelineExecutionStatus> {
    let execution = program.wait(name, "has its packages", WHOLE, |status| status.artifact.is_some()).await?;
    execution.status.ok_or_else(|| "no status".into())
}

/// How an execution has to end.
struct Bad {
    name: &'static str,
    /// What the commit holds and the builder does.
    git: Value,
    step: StepName,
    reason: &'static str,
}

/// Sources that end with a reason of their own, and good ones after them.
async fn bad(scenario: &Scenario, program: &Program, server: &GitServer, images: &Images) -> Outcome {
    let checkout = Checkout::empty(server, "small.git")?;
    checkout.write("pom.xml", "<project/>")?;
    checkout.push()?;
    let with = |more: Value| {
        let mut git =
            json!({ "url": server.url("small.git"), "branch": "main", "builder": { "image": images.builder } });
        for (key, value) in more.as_object().into_iter().flatten() {
            git[key] = value.clone();
        }
        git
    };
    let built = |commands: &[&str]| {
        with(json!({ "builder": {
            "image": images.builder, "commands": commands, "timeout": "2m", "disk": "256Mi",
            "resources": { "limits": { "memory": "128Mi" } },
        } }))
    };
    let report = "mkdir -p target/surefire-reports; echo \"<testsuite><testcase name='a'><failure/></testcase></testsuite>\" >target/surefire-reports/TEST-a.xml";
    let cases = [
        Bad {
            name: "no-branch",
            git: with(json!({ "branch": "missing" })),
            step: StepName::Validate,
            reason: "RefNotFound",
        },
        Bad {
            name: "no-login",
            git: with(json!({ "url": server.url("private/small.git") })),
            step: StepName::Validate,
            reason: "GitRefused",
        },
        Bad { name: "fails", git: built(&["echo broken; exit 3"]), step: StepName::Build, reason: "BuildFailed" },
        Bad { name: "tests-fail", git: built(&[report]), step: StepName::Build, reason: "UnitTestsFailed" },
        Bad { name: "no-zip", git: built(&["mkdir target"]), step: StepName::Build, reason: "NoArtifacts" },
        Bad {
            name: "leaks",
            git: built(&["mkdir target; ln -s /var/run/launchway/credentials target/a.zip"]),
            step: StepName::Build,
            reason: "ArtifactInvalid",
        },
        Bad { name: "hungry", git: built(&["tail /dev/zero"]), step: StepName::Build, reason: "OutOfMemory" },
        Bad { name: "endless", git: built(&["sleep 600"]), step: StepName::Build, reason: "TimedOut" },
    ];
    for Bad { name, git, step: wanted, reason } in cases {
        pipeline(program, git).await?;
        run(program, name, json!({})).await?;
        let status = scenario.on_failure(program, name, program.ended(name, SHORT)).await?;
        let ended = step(&status, wanted)?;
        ensure(ended.reason.as_deref() == Some(reason), || format!("{name}: not {reason}: {}", told(&status)))?;
        println!("  {name}: {} {reason}: {}", wanted.as_str(), ended.message.clone().unwrap_or_default());
    }
    Ok(())
}

//! A source that an object of Flux stands for: without Flux, while Flux cannot fetch, and when the real source controller has.

use std::time::Duration;

use launchway_crds::{conditions::reasons, execution::PipelineExecutionStatus, step::StepName};
use launchway_e2e::{
    Failure, Outcome,
    executions::{step, told},
    failure::ensure,
    git_server::Checkout,
};
use serde_json::{Value, json};

use super::{Ground, SHORT, controller::Controller};

/// The pipeline, and the object of Flux.
const NAME: &str = "watched";
/// Two intervals of ten seconds, and what a fetch takes on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// Everything with Flux: it is removed whatever happens, or its finalizers would hold up who comes next.
const ALL: Duration = Duration::from_secs(1500);
/// A build that needs a file which Flux's archive does not have.
const COMMAND: &str = "test -s logo.png; mkdir target; cp logo.png target/site.zip";

pub async fn check(ground: &Ground) -> Outcome {
    let git = json!({ "fluxRef": { "name": NAME }, "builder": builder(ground) });
    let trigger = json!({ "trigger": "OnChange", "onChange": { "interval": "10s" } });
    ground.code_quality(NAME, git, trigger).await?;
    ground.program.watched(NAME, reasons::SOURCE_NOT_FOUND).await?;
    ends(ground, NAME, "not-installed", reasons::FLUX_NOT_INSTALLED).await?;

    let flux = Controller::start(&ground.scenario.cluster).await?;
    let result = match tokio::time::timeout(ALL, with_flux(ground)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(format!("it did not end within {} s", ALL.as_secs()))),
    };
    let result = result.map_err(|failure| flux.told(&failure));
    flux.remove().await?;
    result
}

async fn with_flux(ground: &Ground) -> Outcome {
    let Ground { program, server, .. } = ground;
    ends(ground, NAME, "no-object", reasons::NOT_FOUND).await?;
    let checkout = Checkout::empty(server, "small.git")?;
    checkout.write("README", "first")?;
    checkout.write("logo.png", "of some bytes")?;
    let first = checkout.push()?;

    program.apply(&repository(&server.by_address("missing.git"))).await?;
    ground.run(NAME, "mended", json!({})).await?;
    let waits = |status: &PipelineExecutionStatus| {
        let message = step(status, StepName::Validate).ok().and_then(|step| step.message.clone());
        message.is_some_and(|message| message.contains("is not ready"))
    };
    let seen = program.wait("mended", "waits for Flux", SOON, waits).await?.status.unwrap_or_default();
    println!("  while Flux cannot fetch: {}", told(&seen));
    let url = server.by_address("small.git");
    program.apply(&repository(&url)).await?;
    let status = ground.built("mended").await?;
    taken(&status, &url, &first)?;
    program.ended("mended", SHORT).await.map(drop)
}

fn repository(url: &str) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": { "name": NAME },
        "spec": { "url": url, "ref": { "branch": "main" }, "interval": "10s" },
    })
}

fn builder(ground: &Ground) -> Value {
    json!({
        "image": ground.images.builder, "commands": [COMMAND], "timeout": "4m", "disk": "256Mi",
        "resources": { "limits": { "memory": "128Mi" } },
    })
}

/// The commit is that of Flux, of the repository that it names.
fn taken(status: &PipelineExecutionStatus, url: &str, commit: &str) -> Outcome {
    let found = status.commit.as_ref().ok_or("no commit was written down")?;
    let expected = (url, "refs/heads/main", commit);
    ensure((found.url.as_str(), found.reference.as_str(), found.id.as_str()) == expected, || {
        format!("took {found:?}, Flux has {expected:?}")
    })
}

/// An execution ends in `validate` with this reason.
async fn ends(ground: &Ground, pipeline: &str, name: &str, reason: &str) -> Outcome {
    ground.run(pipeline, name, json!({})).await?;
    let status = ground.program.ended(name, SHORT).await?;
    let ended = step(&status, StepName::Validate)?;
    ensure(ended.reason.as_deref() == Some(reason), || format!("{name}: not {reason}: {}", told(&status)))?;
    println!("  {name}: {reason}: {}", ended.message.clone().unwrap_or_default());
    Ok(())
}

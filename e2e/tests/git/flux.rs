//! Sources that an object of Flux stands for: without Flux, while Flux cannot fetch, and with the real source controller.

use std::time::{Duration, Instant};

use launchway_crds::{conditions::reasons, execution::PipelineExecutionStatus, step::StepName};
use launchway_e2e::{
    Failure, Outcome,
    cluster::until,
    executions::{step, told},
    failure::ensure,
    git_ground::{Ground, SHORT},
    git_server::Checkout,
    scenario::measured,
};
use serde_json::{Value, json};

use super::controller::Controller;

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
    let result = match tokio::time::timeout(ALL, with_flux(ground, &flux)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(format!("it did not end within {} s", ALL.as_secs()))),
    };
    let result = result.map_err(|failure| flux.told(&failure));
    flux.remove().await?;
    result
}

async fn with_flux(ground: &Ground, flux: &Controller) -> Outcome {
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
    let archived = flux.archived(&program.namespace, NAME, &first).await?;
    ensure(archived.iter().any(|file| file.contains("README")), || format!("Flux has {archived:?}"))?;
    ensure(!archived.iter().any(|file| file.contains("logo.png")), || {
        "Flux's archive has pictures: docs/flux.md and decision 11 say otherwise".into()
    })?;
    program.ended("mended", SHORT).await?;

    pushed(ground, &checkout, &url, &first).await?;
    packages(ground, &status).await
}

/// A push is seen by Flux, then by the pipeline, and built.
async fn pushed(ground: &Ground, checkout: &Checkout, url: &str, first: &str) -> Outcome {
    let program = &ground.program;
    program.watched(NAME, reasons::WATCHED).await?;
    until("the pipeline has seen what Flux has", SOON, || async {
        let seen = program.pipeline_now(NAME).await?.status.and_then(|status| status.source);
        let revision = seen.and_then(|seen| seen.revision);
        Ok(if revision.as_deref() == Some(first) { Ok(()) } else { Err(format!("{revision:?}")) })
    })
    .await?;
    checkout.write("README", "second")?;
    let second = checkout.push()?;
    let begun = Instant::now();
    let name = program.started(NAME, &second).await?;
    measured(
        "from git push to execution, Flux and the pipeline look every 10 s",
        format!("{} ms", begun.elapsed().as_millis()),
    );
    taken(&ground.built(&name).await?, url, &second)?;
    program.ended(&name, SHORT).await.map(drop)
}

/// The packages that were built, as an OCIRepository has them.
async fn packages(ground: &Ground, built: &PipelineExecutionStatus) -> Outcome {
    let program = &ground.program;
    let artifact = built.artifact.as_ref().map(|artifact| artifact.reference.clone()).ok_or("nothing was built")?;
    let spec =
        json!({ "type": "CodeQuality", "source": { "artifact": { "fluxRef": { "name": NAME }, "plainHTTP": true } } });
    let pipeline = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": { "name": "packages" }, "spec": spec,
    });
    program.apply(&pipeline).await?;
    program
        .apply(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": { "name": NAME },
            "spec": {
                "url": format!("oci://{}", artifact.repository()), "ref": { "digest": artifact.digest().to_string() },
                "insecure": true, "interval": "10s", "layerSelector": { "mediaType": "application/zip", "operation": "copy" },
            },
        }))
        .await?;
    ground.run("packages", "by-oci", json!({})).await?;
    let found = ground.built("by-oci").await?.artifact.map(|artifact| artifact.reference);
    ensure(found.as_ref() == Some(&artifact), || format!("took {found:?}, Flux has {artifact}"))?;
    program.ended("by-oci", SHORT).await.map(drop)
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

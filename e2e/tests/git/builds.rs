//! What is built once, what is built again, and what a cache keeps, of a repository behind SSH.

use launchway_crds::{execution::PipelineExecutionStatus, names::child_name, step::StepName};
use launchway_e2e::{
    Outcome,
    executions::{step, told},
    failure::ensure,
    git_ground::{Ground, SHORT, with},
    git_server::{Checkout, LOGIN, OUTSIDER, STRANGER},
    process::Program as Process,
    volume::{self, Volume},
};
use serde_json::{Value, json};

const NAME: &str = "by-ssh";
/// A volume for the cache, where nobody provides one.
const VOLUME: &str = "launchway-e2e-build-cache";
/// Counts its runs in what the cache keeps, and names its package after the count.
const COUNT: &str =
    "n=$(($(cat ~/.cache/builds || echo 0) + 1)); echo $n >~/.cache/builds; mkdir target; echo $n >target/built-$n.zip";

pub async fn check(ground: &Ground) -> Outcome {
    let checkout = Checkout::empty(&ground.server, "small.git")?;
    checkout.write("README", "nothing to build")?;
    checkout.push()?;

    let claim = child_name(NAME, "build-cache");
    let volume = Volume { name: VOLUME, namespace: &ground.program.namespace, claim: &claim, size: "64Mi" };
    volume.provide(&ground.program.cluster).await?;
    apply(ground, json!({ "secretRef": { "name": STRANGER } })).await?;
    refused(ground, "strange-host", "HostKeyUnknown").await?;
    apply(ground, json!({ "secretRef": { "name": OUTSIDER } })).await?;
    refused(ground, "strange-user", "GitRefused").await?;
    apply(ground, json!({ "branch": "missing" })).await?;
    refused(ground, "no-branch", "RefNotFound").await?;
    apply(ground, json!({})).await?;
    package(ground, "first", json!({}), "built-1.zip", None).await?;
    package(ground, "same", json!({}), "built-1.zip", Some("first")).await?;
    let log = typed(ground, &["logs", "same", "build"]).await?;
    ensure(log.contains(&format!("built before by {}/first", ground.program.namespace)), || format!("says {log:?}"))?;
    let variables = json!([{ "name": "PROFILE", "value": "cloud" }]);
    apply(ground, json!({ "builder": { "variables": variables } })).await?;
    package(ground, "other-variable", json!({}), "built-2.zip", None).await?;
    package(ground, "rebuilt", json!({ "rebuild": true }), "built-3.zip", None).await?;
    apply(ground, json!({ "builder": { "variables": variables }, "reuse": false })).await?;
    package(ground, "no-reuse", json!({}), "built-4.zip", None).await?;
    typed(ground, &["cache", "invalidate", NAME]).await?;
    package(ground, "empty-cache", json!({}), "built-1.zip", None).await?;
    volume::remove(&ground.program.cluster, VOLUME).await
}

/// What a command of the plugin answers.
async fn typed(ground: &Ground, words: &[&str]) -> Outcome<String> {
    let left = Process::new(&ground.scenario.launchway)
        .args(words)
        .args(["--namespace", &ground.program.namespace])
        .env("KUBECONFIG", ground.program.cluster.kubeconfig.clone())
        .run()
        .await?;
    Ok(left.stdout)
}

async fn apply(ground: &Ground, git: Value) -> Outcome {
    let builder = json!({
        "image": ground.images.builder, "commands": [COUNT], "timeout": "4m", "disk": "256Mi", "cache": { "size": "64Mi" },
        "resources": { "limits": { "memory": "128Mi" } },
    });
    let builder = with(builder, git["builder"].clone());
    let source = json!({ "url": ground.server.ssh_url("small.git"), "branch": "main", "secretRef": { "name": LOGIN } });
    let source = with(with(source, git), json!({ "builder": builder }));
    ground.code_quality(NAME, source, json!({})).await
}

/// Runs the pipeline; its package has to be this one, built by this execution or by itself.
async fn package(ground: &Ground, name: &str, more: Value, wanted: &str, by: Option<&str>) -> Outcome {
    ground.run(NAME, name, more).await?;
    let status = ground.built(name).await?;
    let files: Vec<_> = status.artifact.iter().flat_map(|artifact| &artifact.files).map(|file| &file.name).collect();
    ensure(files == [wanted], || format!("{name} has {files:?}, not {wanted}"))?;
    let reused = status.build.and_then(|build| build.reused_from);
    let expected = by.map(|by| format!("{}/{by}", ground.program.namespace));
    ensure(reused == expected, || format!("{name} took packages of {reused:?}, not {expected:?}"))?;
    println!("  {name}: {wanted}, {}", reused.map_or("built".into(), |by| format!("of {by}")));
    ended(ground, name).await.map(drop)
}

async fn refused(ground: &Ground, name: &str, reason: &str) -> Outcome {
    ground.run(NAME, name, json!({})).await?;
    let status = ended(ground, name).await?;
    let ended = step(&status, StepName::Validate)?;
    ensure(ended.reason.as_deref() == Some(reason), || format!("{name}: not {reason}: {}", told(&status)))?;
    println!("  {name}: {reason}: {}", ended.message.clone().unwrap_or_default());
    Ok(())
}

async fn ended(ground: &Ground, name: &str) -> Outcome<PipelineExecutionStatus> {
    ground.scenario.on_failure(&ground.program, name, ground.program.ended(name, SHORT)).await
}

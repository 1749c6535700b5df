//! What is built once, what is built again, and what a cache keeps, of a repository behind SSH.

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use launchway_crds::{execution::PipelineExecutionStatus, names::child_name, step::StepName};
use launchway_e2e::{
    Failure, Outcome,
    cluster::{Cluster, call, until},
    executions::{step, told},
    failure::ensure,
    paths,
    process::Program as Process,
};
use serde_json::{Value, json};

use super::{
    Ground, SHORT,
    server::{Checkout, LOGIN, STRANGER},
    with,
};

const NAME: &str = "by-ssh";
/// A volume for the cache, where nobody provides one.
const VOLUME: &str = "launchway-e2e-build-cache";
/// The kubelet takes a volume out of use after its last pod.
const GONE: std::time::Duration = std::time::Duration::from_secs(60);
/// Counts its runs in what the cache keeps, and names its package after the count.
const COUNT: &str =
    "n=$(($(cat ~/.cache/builds || echo 0) + 1)); echo $n >~/.cache/builds; mkdir target; echo $n >target/built-$n.zip";

pub async fn check(ground: &Ground) -> Outcome {
    let checkout = Checkout::empty(&ground.server, "small.git")?;
    checkout.write("README", "nothing to build")?;
    checkout.push()?;

    if ground.program.cluster.local {
        volume(ground).await?;
    }
    apply(ground, json!({ "secretRef": { "name": STRANGER } })).await?;
    refused(ground, "strange-host", "HostKeyUnknown").await?;
    apply(ground, json!({})).await?;
    package(ground, "first", json!({}), "built-1.zip", None).await?;
    package(ground, "same", json!({}), "built-1.zip", Some("first")).await?;
    let variables = json!([{ "name": "PROFILE", "value": "cloud" }]);
    apply(ground, json!({ "builder": { "variables": variables } })).await?;
    package(ground, "other-variable", json!({}), "built-2.zip", None).await?;
    package(ground, "rebuilt", json!({ "rebuild": true }), "built-3.zip", None).await?;
    apply(ground, json!({ "builder": { "variables": variables }, "reuse": false })).await?;
    package(ground, "no-reuse", json!({}), "built-4.zip", None).await?;
    Process::new(&ground.scenario.launchway)
        .args(["cache", "invalidate", NAME, "--namespace", &ground.program.namespace])
        .env("KUBECONFIG", ground.program.cluster.kubeconfig.clone())
        .run()
        .await?;
    package(ground, "empty-cache", json!({}), "built-1.zip", None).await?;
    if ground.program.cluster.local { remove_volume(&ground.program.cluster).await } else { Ok(()) }
}

/// The local cluster provides no volumes: one for the pipeline's cache, empty.
async fn volume(ground: &Ground) -> Outcome {
    let cluster = &ground.program.cluster;
    remove_volume(cluster).await?;
    let folder = paths::cache_folder("e2e/build-cache")?;
    let emptied = std::fs::remove_dir_all(&folder).and_then(|()| std::fs::create_dir(&folder));
    emptied.map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = call(nodes.list(&ListParams::default())).await?.items.pop().ok_or("the cluster has no node")?.name_any();
    let here = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] });
    let wanted: PersistentVolume = serde_json::from_value(json!({
        "metadata": { "name": VOLUME },
        "spec": {
            "capacity": { "storage": "64Mi" }, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "local": { "path": folder },
            "claimRef": { "namespace": ground.program.namespace, "name": child_name(NAME, "build-cache") },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [here] }] } },
        },
    }))
    .map_err(|error| Failure::new(error.to_string()))?;
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    call(volumes.create(&PostParams::default(), &wanted)).await.map(drop)
}

/// Takes the volume away; one that is claimed goes with its claim.
async fn remove_volume(cluster: &Cluster) -> Outcome {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let Some(found) = call(volumes.get_opt(VOLUME)).await? else { return Ok(()) };
    call(volumes.delete(VOLUME, &DeleteParams::background())).await.map(drop)?;
    let claimed = found.status.and_then(|status| status.phase).is_some_and(|phase| phase == "Bound");
    if claimed {
        return Ok(());
    }
    until("the volume of an earlier run is gone", GONE, || async {
        Ok(call(volumes.get_opt(VOLUME)).await?.map_or(Ok(()), |left| Err(format!("{:?}", left.status))))
    })
    .await
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

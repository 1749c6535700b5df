//! The operator on the cluster: the chart with pinned references, and the wait until it and its policies act.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams, PostParams},
};
use launchway_crds::PipelineExecution;
use serde_json::json;

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call, until},
    images::{Images, split},
};

/// Namespace of the operator.
pub const NAMESPACE: &str = "launchway-system";
/// Name of the Helm release, and of the Deployment.
pub const RELEASE: &str = "launchway";
/// How the apiserver names the operator.
pub const ACCOUNT: &str = "system:serviceaccount:launchway-system:launchway";
/// Labels of the operator's pods.
pub const PODS: &str = "app.kubernetes.io/name=launchway,app.kubernetes.io/component=operator";

const HELM: Duration = Duration::from_secs(180);
const READY: Duration = Duration::from_secs(120);
const ACTIVE: Duration = Duration::from_secs(60);

/// Installs or upgrades, and waits until the operator leads and the policies refuse what they must.
///
/// # Errors
/// When Helm fails or the operator does not get ready, with the end of its log.
pub async fn install(cluster: &Cluster, images: &Images) -> Outcome {
    let (repository, digest) = split(&images.operator)?;
    let values = json!({
        "image": {"repository": repository, "digest": digest},
        "runtime": {"aem": images.sling, "dispatcher": images.httpd},
        "plainHTTP": [cluster.registry],
        "webhook": {"enabled": true},
        "networkPolicy": {"registries": {"ports": [port(&cluster.registry)]}},
    });
    let file = tempfile::Builder::new().suffix(".json").tempfile().map_err(|error| error.to_string())?;
    std::fs::write(file.path(), values.to_string()).map_err(|error| error.to_string())?;
    cluster
        .program("helm")
        .args(["upgrade", "--install", RELEASE, "charts/launchway", "--namespace", NAMESPACE, "--create-namespace"])
        .args(["--values"])
        .args([file.path()])
        .limit(HELM)
        .remedy(
            "helm says above what it could not do; `helm -n launchway-system history launchway` shows earlier tries",
        )
        .run()
        .await?;
    rolled_out(cluster).await?;
    policies_act(cluster).await
}

fn port(registry: &str) -> u16 {
    registry.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
}

/// Waits until the Deployment runs its newest template and one pod holds the Lease.
///
/// # Errors
/// When it does not, with the end of the operator's log.
pub async fn rolled_out(cluster: &Cluster) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let waited = until("the operator's Deployment is rolled out and one pod leads", READY, || async {
        let deployment = call(deployments.get(RELEASE)).await?;
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = deployment.status.clone().unwrap_or_default();
        let current = status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == Some(wanted)
            && status.available_replicas == Some(wanted)
            && status.replicas == Some(wanted);
        if !current {
            return Ok(Err(format!(
                "Deployment {RELEASE}: {} of {wanted} pods are available",
                status.available_replicas.unwrap_or_default()
            )));
        }
        let holder = call(leases.get(RELEASE)).await?.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods = pods(cluster).await?;
        let leads = pods.iter().any(|pod| holder.starts_with(&pod.name_any()));
        Ok(if leads { Ok(()) } else { Err(format!("the Lease is held by '{holder}'")) })
    })
    .await;
    match waited {
        Ok(()) => Ok(()),
        Err(failure) => Err(Failure::new(failure.to_string())
            .seen(&log(cluster).await)
            .remedy("kubectl -n launchway-system describe pods, and the operator's log above")),
    }
}

/// The operator's pods that are not being deleted.
///
/// # Errors
/// When the apiserver refuses.
pub async fn pods(cluster: &Cluster) -> Outcome<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let found = call(pods.list(&ListParams::default().labels(PODS))).await?.items;
    Ok(found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

/// The end of the operator's log.
pub async fn log(cluster: &Cluster) -> String {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let mut text = String::new();
    for pod in pods(cluster).await.unwrap_or_default() {
        let params = LogParams { tail_lines: Some(20), ..LogParams::default() };
        let lines = call(api.logs(&pod.name_any(), &params)).await.unwrap_or_else(|failure| failure.to_string());
        text.push_str(&format!("{}:\n{lines}\n", pod.name_any()));
    }
    text
}

/// Policies act some time after they are stored: they were seen to refuse and to stamp when this returns.
///
/// # Errors
/// When they do not.
pub async fn policies_act(cluster: &Cluster) -> Outcome {
    let probe: PipelineExecution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": {"name": "probe"},
        "spec": {"pipelineRef": {"name": "probe"}, "requestedBy": "nobody-of-this-name"},
    }))
    .map_err(|error| error.to_string())?;
    let mine: Api<PipelineExecution> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    until("the admission policies act", ACTIVE, || async {
        // A requester that is not the caller is refused by the policy alone: no role stands in its way here.
        Ok(match call(mine.create(&dry_run, &probe)).await {
            Err(failure) if failure.to_string().contains("requestedBy") => Ok(()),
            Err(failure) => Err(failure.to_string()),
            Ok(_) => Err("an execution with a forged spec.requestedBy was admitted".into()),
        })
    })
    .await
}

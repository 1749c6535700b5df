//! A server that a scenario needs in the cluster: a pod that the strictest level of Pod Security admits, and its Service.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    Outcome,
    cluster::{call, until},
    program::Program,
};

const READY: Duration = Duration::from_secs(120);

/// What differs from server to server.
pub struct Server {
    /// Name of the Deployment and of the Service.
    pub name: &'static str,
    /// The container: image, command, readiness probe, mounts.
    pub container: Value,
    /// Volumes of the pod.
    pub volumes: Value,
    /// Ports of the Service.
    pub ports: Value,
}

impl Server {
    /// Starts it in the program's namespace and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&self, program: &Program) -> Outcome {
        let Self { name, container, volumes, ports } = self;
        let labels = json!({ "app": name });
        let mut container = container.clone();
        container["name"] = json!(name);
        container["securityContext"] =
            json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": { "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "automountServiceAccountToken": false,
                    "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                    "containers": [container],
                    "volumes": volumes,
                },
            } },
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": labels, "ports": ports },
        });
        program.apply(&deployment).await?;
        program.apply(&service).await?;
        let deployments: Api<Deployment> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        until(&format!("server {name} is ready"), READY, || async {
            let ready = call(deployments.get(name)).await?.status.and_then(|status| status.ready_replicas);
            Ok(if ready == Some(1) { Ok(()) } else { Err(format!("{ready:?} pods are ready")) })
        })
        .await
    }
}

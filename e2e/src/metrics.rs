//! Memory of the operator, as the kubelet measures it.

use serde_json::Value;

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call},
    install,
};

/// Resident memory of the operator's container in bytes, the newest pod's.
///
/// # Errors
/// When no kubelet knows it.
pub async fn operator_memory(cluster: &Cluster) -> Outcome<u64> {
    for pod in install::pods(cluster).await? {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let uri = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let request = http::Request::get(uri).body(vec![]).map_err(|error| Failure::new(error.to_string()))?;
        let summary: Value = call(cluster.client.request(request)).await?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let mine = |entry: &&Value| entry["podRef"]["name"] == name;
        let found = summary["pods"].as_array().into_iter().flatten().find(mine);
        if let Some(bytes) = found.and_then(|entry| entry["containers"][0]["memory"]["rssBytes"].as_u64()) {
            return Ok(bytes);
        }
    }
    Err(Failure::new("no kubelet tells how much memory the operator takes"))
}

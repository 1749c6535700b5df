//! Volumes for claims, where nobody provides any: the local cluster has no provisioner.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call, until},
    paths,
};

/// The kubelet takes a volume out of use after its last pod.
const GONE: Duration = Duration::from_secs(60);

/// A folder of this machine that is to be the volume of one claim.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// The volume's name, and its folder's.
    pub name: &'a str,
    /// Namespace of the claim.
    pub namespace: &'a str,
    /// Name of the claim.
    pub claim: &'a str,
    /// As much as the claim asks for.
    pub size: &'a str,
}

impl Volume<'_> {
    /// Makes the volume on the local cluster, empty; on any other one its own provisioner does.
    ///
    /// # Errors
    /// When the folder or the volume cannot be made.
    pub async fn provide(&self, cluster: &Cluster) -> Outcome {
        if !cluster.local {
            return Ok(());
        }
        remove(cluster, self.name).await?;
        let folder = paths::cache_folder(&format!("e2e/{}", self.name))?;
        let emptied = std::fs::remove_dir_all(&folder).and_then(|()| std::fs::create_dir(&folder));
        emptied.map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        let node = call(nodes.list(&ListParams::default())).await?.items.pop();
        let node = node.ok_or("the cluster has no node")?.name_any();
        let here = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] });
        let wanted: PersistentVolume = serde_json::from_value(json!({
            "metadata": { "name": self.name },
            "spec": {
                "capacity": { "storage": self.size }, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "local": { "path": folder },
                "claimRef": { "namespace": self.namespace, "name": self.claim },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [here] }] } },
            },
        }))
        .map_err(|error| Failure::new(error.to_string()))?;
        let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
        call(volumes.create(&PostParams::default(), &wanted)).await.map(drop)
    }
}

/// Takes a volume of this name away; one that is claimed goes with its claim.
///
/// # Errors
/// When it stays.
pub async fn remove(cluster: &Cluster, name: &str) -> Outcome {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let Some(found) = call(volumes.get_opt(name)).await? else { return Ok(()) };
    call(volumes.delete(name, &DeleteParams::background())).await.map(drop)?;
    let claimed = found.status.and_then(|status| status.phase).is_some_and(|phase| phase == "Bound");
    if claimed {
        return Ok(());
    }
    until(&format!("volume {name} of an earlier run is gone"), GONE, || async {
        Ok(call(volumes.get_opt(name)).await?.map_or(Ok(()), |left| Err(format!("{:?}", left.status))))
    })
    .await
}

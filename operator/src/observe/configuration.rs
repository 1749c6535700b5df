//! Secrets that variables refer to, the objects that the operator made of them, and the templates that refer to those.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, VersionMatch},
};
use launchway_crds::{Environment, environment::Tier, names::labels};

use crate::{
    error::{Error, bounded},
    plan::environment::configuration_name,
    render::configuration::{Configuration, secrets},
};

/// The variables of an Environment with the values that they have now; or why they cannot be had.
pub(super) async fn resolve(
    client: &Client,
    namespace: &str,
    environment: &Environment,
) -> Result<Result<Configuration, String>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in secrets(environment) {
        if let Some(secret) = bounded("read a secret of a variable", api.get_opt(&name)).await? {
            found.insert(name, secret);
        }
    }
    Ok(Configuration::resolve(environment, &found))
}

/// What the apiserver has in its cache, at once. Nothing of these kinds is watched, so a list that is sure to be new waits for
/// etcd (`fresh`); one that is some milliseconds old does no harm. Objects that were just made are made again, which finds
/// them; templates and objects of what ran before are long there.
fn cached(environment: &str, also: &str) -> ListParams {
    ListParams::default()
        .labels(&format!("{}={environment}{also}", labels::ENVIRONMENT))
        .at("0")
        .matching(VersionMatch::NotOlderThan)
}

/// Names of the ConfigMaps with variables that are there.
pub(super) async fn present(client: &Client, namespace: &str, environment: &str) -> Result<BTreeSet<String>, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let own = cached(environment, &format!(",{}", labels::VARIABLES));
    let found = bounded("list configuration", maps.list_metadata(&own)).await?;
    Ok(found.iter().map(ResourceExt::name_any).collect())
}

/// The names of those that are whole: one that is wanted, and whose Secret is gone, is made again.
pub(super) async fn whole(
    client: &Client,
    namespace: &str,
    environment: &str,
    mut present: BTreeSet<String>,
    wanted: &BTreeMap<Tier, String>,
) -> Result<BTreeSet<String>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for (tier, hash) in wanted.iter().filter(|(tier, _)| **tier != Tier::Dispatcher) {
        let name = configuration_name(environment, *tier, hash);
        if present.contains(&name) && bounded("read a configuration", api.get_metadata_opt(&name)).await?.is_none() {
            present.remove(&name);
        }
    }
    Ok(present)
}

/// What the StatefulSet controller remembers of the workloads of an Environment.
pub(super) async fn revisions(
    client: &Client,
    namespace: &str,
    environment: &str,
) -> Result<Vec<ControllerRevision>, Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    Ok(bounded("list the revisions of workloads", revisions.list(&cached(environment, ""))).await?.items)
}

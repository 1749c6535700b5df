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

/// How new a list has to be of what nothing watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// What the apiserver has in its cache, at once: usually some milliseconds old, behind a cut line any age. What is found
    /// in it is true but for what was deleted since, and objects that were just made are made again, which finds them. That
    /// something is *not* in it says nothing.
    Any,
    /// As the store has it by now, which may wait for etcd (`fresh`).
    Newest,
}

fn of(environment: &str, also: &str, age: Age) -> ListParams {
    let own = ListParams::default().labels(&format!("{}={environment}{also}", labels::ENVIRONMENT));
    match age {
        Age::Any => own.at("0").matching(VersionMatch::NotOlderThan),
        Age::Newest => own,
    }
}

/// Names of the ConfigMaps with variables that are there.
pub(super) async fn present(
    client: &Client,
    namespace: &str,
    environment: &str,
    age: Age,
) -> Result<BTreeSet<String>, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let own = of(environment, &format!(",{}", labels::VARIABLES), age);
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
    age: Age,
) -> Result<Vec<ControllerRevision>, Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    Ok(bounded("list the revisions of workloads", revisions.list(&of(environment, "", age))).await?.items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effects::wire::{apiserver, lines};

    #[tokio::test]
    async fn what_is_gone_for_sure_is_asked_of_the_store_and_everything_else_of_the_cache() {
        let empty = |kind: &str| (200, json!({ "kind": kind, "apiVersion": "v1", "metadata": {}, "items": [] }));
        for (age, version) in [(Age::Any, "&resourceVersion=0&resourceVersionMatch=NotOlderThan"), (Age::Newest, "")] {
            let (context, script) = apiserver(vec![empty("ConfigMapList"), empty("ControllerRevisionList")]);
            present(&context.client, "wknd", "prod", age).await.unwrap();
            revisions(&context.client, "wknd", "prod", age).await.unwrap();
            let own = "labelSelector=launchway.dev%2Fenvironment%3Dprod";
            let asked = [
                format!("GET /api/v1/namespaces/wknd/configmaps?{own}%2Claunchway.dev%2Fvariables{version}"),
                format!("GET /apis/apps/v1/namespaces/wknd/controllerrevisions?{own}{version}"),
            ];
            assert_eq!(lines(&script.asked()), asked);
        }
    }
}

//! Secrets that variables refer to, the objects that the operator made of them, and the templates that refer to those.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PartialObjectMeta, VersionMatch},
};
use launchway_crds::{Environment, environment::Tier, names::labels};

use crate::{
    error::{Error, bounded},
    plan::environment::configuration_name,
    render::configuration::{Configuration, is_of, secrets},
};

/// Secrets of one Environment that are read at once: there may be as many as variables, and a round waits for all of them.
const AT_ONCE: usize = 8;

/// The variables of an Environment with the values that they have now; or why they cannot be had.
pub(super) async fn resolve(
    client: &Client,
    namespace: &str,
    environment: &Environment,
) -> Result<Result<Configuration, String>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let read = |name: String| {
        let api = &api;
        async move {
            let secret = bounded("read a secret of a variable", api.get_opt(&name)).await?;
            Ok::<_, Error>(secret.map(|secret| (name, secret)))
        }
    };
    let found: Vec<Option<(String, Secret)>> =
        stream::iter(secrets(environment)).map(read).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(Configuration::resolve(environment, &found.into_iter().flatten().collect()))
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

/// The ConfigMaps with variables that are there, whosever they are.
pub(super) async fn present(
    client: &Client,
    namespace: &str,
    environment: &str,
    age: Age,
) -> Result<Vec<PartialObjectMeta<ConfigMap>>, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let own = of(environment, &format!(",{}", labels::VARIABLES), age);
    Ok(bounded("list configuration", maps.list_metadata(&own)).await?.items)
}

/// The names of those of an Environment that are whole: one that is wanted, and whose Secret is gone, is made again. Whoever
/// writes a label may call an object the Environment's; it is neither used nor deleted.
pub(super) async fn whole(
    client: &Client,
    namespace: &str,
    environment: &Environment,
    present: &[PartialObjectMeta<ConfigMap>],
    wanted: &BTreeMap<Tier, String>,
) -> Result<BTreeSet<String>, Error> {
    let own = present.iter().filter(|map| is_of(map.meta(), environment));
    let mut present: BTreeSet<String> = own.map(ResourceExt::name_any).collect();
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let names = wanted.iter().filter(|(tier, _)| **tier != Tier::Dispatcher);
    let names = names.map(|(tier, hash)| configuration_name(&environment.name_any(), *tier, hash));
    let asked = names.filter(|name| present.contains(name)).map(|name| {
        let api = &api;
        async move {
            let found = bounded("read a configuration", api.get_metadata_opt(&name)).await?;
            Ok::<_, Error>(found.is_none().then_some(name))
        }
    });
    for gone in try_join_all(asked.collect::<Vec<_>>()).await?.into_iter().flatten() {
        present.remove(&gone);
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
    use std::{convert::Infallible, sync::Arc, time::Duration};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::Barrier;

    use super::*;
    use crate::effects::wire::{apiserver, lines};

    #[tokio::test]
    async fn secrets_are_read_together_and_each_is_found_under_its_own_name() {
        let variable = |number: usize| {
            json!({
                "name": format!("KEY_{number}"),
                "secretKeyRef": { "name": format!("secret-{number}"), "key": "value" },
            })
        };
        let all: Vec<_> = (0..AT_ONCE).map(variable).collect();
        let environment: Environment = serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment", "metadata": { "name": "prod" },
            "spec": { "type": "Production", "variables": all },
        }))
        .unwrap();
        // Nobody is answered before everybody has asked: one after the other, they would wait for ever.
        let asked = Arc::new(Barrier::new(AT_ONCE));
        let service = tower::service_fn(move |request: Request<Body>| {
            let asked = asked.clone();
            async move {
                asked.wait().await;
                let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
                let known = name != "secret-3";
                let answer = if known {
                    let value = ["dmFsdWU=", "b3RoZXI="][usize::from(name == "secret-5")];
                    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": { "value": value } })
                } else {
                    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 })
                };
                let status = if known { 200 } else { 404 };
                Ok::<_, Infallible>(
                    Response::builder().status(status).body(Body::from(answer.to_string().into_bytes())).unwrap(),
                )
            }
        });
        let client = Client::new(service, "wknd");
        let resolved = tokio::time::timeout(Duration::from_secs(10), resolve(&client, "wknd", &environment));
        let why = resolved.await.expect("they are read one after the other").unwrap().unwrap_err();
        assert!(why.contains("secret-3") && !why.contains("secret-5"), "{why}");
    }

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

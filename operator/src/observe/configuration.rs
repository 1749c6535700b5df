//! Secrets that variables refer to, the objects that the operator made of them, and the templates that refer to those.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{ConfigMap, Secret},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, ObjectList, PartialObjectMeta, VersionMatch},
};
use launchway_crds::{Environment, environment::Tier, names::labels};

use super::{
    batch::{self, InBatch},
    fresh::Listed,
};
use crate::{
    context::Context,
    error::{Error, bounded},
    plan::environment::{
        configuration_name,
        objects::{Cause, Deviation, Object},
    },
    render::configuration::{Configuration, holds, is_made_by_others, is_of, secrets},
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

impl Age {
    fn params(self, selector: &str) -> ListParams {
        let own = ListParams::default().labels(selector);
        match self {
            Self::Any => own.at("0").matching(VersionMatch::NotOlderThan),
            Self::Newest => own,
        }
    }
}

/// The ConfigMaps with variables that are there, whosever they are.
pub(super) async fn present(
    context: &Context,
    namespace: &str,
    environment: &str,
    age: Age,
) -> Result<Vec<PartialObjectMeta<ConfigMap>>, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let read = |own: String| {
        let maps = &maps;
        async move { bounded("list configuration", maps.list_metadata(&age.params(&own))).await }
    };
    of_environment(context, namespace, environment, age, &format!(",{}", labels::VARIABLES), read).await
}

/// What the StatefulSet controller remembers of the workloads of an Environment.
pub(super) async fn revisions(
    context: &Context,
    namespace: &str,
    environment: &str,
    age: Age,
) -> Result<Vec<ControllerRevision>, Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace);
    let read = |own: String| {
        let revisions = &revisions;
        async move { bounded("list the revisions of workloads", revisions.list(&age.params(&own))).await }
    };
    of_environment(context, namespace, environment, age, "", read).await
}

/// What an Environment's label is on, by `read`, which gets a selector that ends as `also` says: out of the list of a batch of
/// Environments, where it is in one and any age will do.
async fn of_environment<K, F>(
    context: &Context,
    namespace: &str,
    environment: &str,
    age: Age,
    also: &str,
    read: impl Fn(String) -> F,
) -> Result<Vec<K>, Error>
where
    K: InBatch + Clone,
    F: Future<Output = Result<ObjectList<K>, Error>>,
{
    let batch = context.batches.of(namespace, environment).filter(|_| age == Age::Any);
    if let Some(batch) = batch {
        let of_all = |own| async { Ok(Listed { items: read(own).await?.items, version: None }) };
        if let Some(own) = batch.take(environment, also, |_| true, of_all).await {
            return Ok(own);
        }
    }
    Ok(read(batch::selector(&[environment], also)).await?.items)
}

/// The configuration of an Environment, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    /// Names of those that are whole.
    pub present: BTreeSet<String>,
    /// Objects that are wanted and that somebody else made, with other content than their names say.
    pub replaced: Vec<Deviation>,
}

/// Which are whole: one that is wanted, and whose Secret is gone, is made again. Whoever writes a label may call an object the
/// Environment's; it is neither used nor deleted.
pub(super) async fn whole(
    client: &Client,
    namespace: &str,
    environment: &Environment,
    present: &[PartialObjectMeta<ConfigMap>],
    wanted: &BTreeMap<Tier, String>,
) -> Result<Whole, Error> {
    let own: BTreeMap<String, &ObjectMeta> =
        present.iter().filter(|map| is_of(map.meta(), environment)).map(|map| (map.name_any(), map.meta())).collect();
    let pair = |(tier, hash): (&Tier, &String)| {
        let name = configuration_name(&environment.name_any(), *tier, hash);
        let map = is_made_by_others(own.get(&name)?);
        Some(Pair { tier: *tier, hash: hash.clone(), name, map, secret: false })
    };
    let pairs = wanted.iter().filter_map(pair);
    let looked = pairs.map(|pair| pair.look(client, namespace, environment)).collect::<Vec<_>>();
    let mut whole = Whole { present: own.keys().cloned().collect(), replaced: vec![] };
    for seen in try_join_all(looked).await? {
        match seen {
            Seen::Halved(name) => {
                whole.present.remove(&name);
            }
            Seen::Whole(replaced) => whole.replaced.extend(replaced),
        }
    }
    Ok(whole)
}

/// The objects of a tier, of which the ConfigMap is there.
struct Pair {
    tier: Tier,
    hash: String,
    name: String,
    /// Whether somebody else made the ConfigMap.
    map: bool,
    /// Whether somebody else made the Secret.
    secret: bool,
}

enum Seen {
    /// The Secret of this name is gone.
    Halved(String),
    /// Both are there, and these are not what they were.
    Whole(Vec<Deviation>),
}

impl Pair {
    /// Looks whether the Secret is there, where the tier has one, and at the content of what the operator did not make itself:
    /// its own is never another, for it cannot be changed.
    async fn look(mut self, client: &Client, namespace: &str, environment: &Environment) -> Result<Seen, Error> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        if self.tier != Tier::Dispatcher {
            match bounded("read a configuration", secrets.get_metadata_opt(&self.name)).await? {
                Some(secret) => self.secret = is_made_by_others(secret.meta()),
                None => return Ok(Seen::Halved(self.name)),
            }
        }
        if !(self.map || self.secret) {
            return Ok(Seen::Whole(vec![]));
        }
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let map = bounded("read a configuration", maps.get_opt(&self.name)).await?;
        let secret = match self.tier {
            Tier::Author | Tier::Publish => bounded("read a configuration", secrets.get_opt(&self.name)).await?,
            Tier::Dispatcher => None,
        };
        // One that is gone by now is found gone by the next look.
        let Some(map) = map else { return Ok(Seen::Whole(vec![])) };
        if holds(environment, self.tier, &self.hash, &map, secret.as_ref()) {
            return Ok(Seen::Whole(vec![]));
        }
        let objects = [
            self.map.then(|| (Object::ConfigMap(self.name.clone()), map.meta())),
            secret.as_ref().filter(|_| self.secret).map(|secret| (Object::Secret(self.name.clone()), secret.meta())),
        ];
        Ok(Seen::Whole(objects.into_iter().flatten().map(|(object, meta)| replaced(object, meta)).collect()))
    }
}

fn replaced(object: Object, meta: &ObjectMeta) -> Deviation {
    let by = meta.managed_fields.iter().flatten().find_map(|entry| entry.manager.as_deref()).unwrap_or("somebody");
    let why = format!("was deleted and made anew by {by}, and what is in it is not what its name says");
    Deviation { object, cause: Cause::NotOurs(vec![why]) }
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

    /// A ConfigMap and a Secret of publish, and what the apiserver has of them: made by the operator, or by somebody else.
    struct Copies {
        environment: Environment,
        name: String,
        wanted: BTreeMap<Tier, String>,
        map: serde_json::Value,
        secret: serde_json::Value,
    }

    impl Copies {
        fn new() -> Self {
            let environment: Environment = serde_json::from_value(json!({
                "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
                "metadata": { "name": "prod", "namespace": "wknd", "uid": "env-uid" },
                "spec": { "type": "Production", "variables": [
                    { "name": "API_URL", "value": "https://api", "services": ["publish"] },
                ] },
            }))
            .unwrap();
            let configuration = Configuration::resolve(&environment, &BTreeMap::new()).unwrap();
            let wanted = configuration.hashes().clone();
            let name = configuration_name("prod", Tier::Publish, &wanted[&Tier::Publish]);
            let mut map = serde_json::to_value(configuration.config_map(&environment, Tier::Publish)).unwrap();
            let mut secret = serde_json::to_value(configuration.secret(&environment, Tier::Publish)).unwrap();
            for object in [&mut map, &mut secret] {
                object["metadata"]["managedFields"] = json!([{ "manager": "launchway", "operation": "Update" }]);
            }
            Self { environment, name, wanted, map, secret }
        }

        /// What is found of them, and what was asked for that.
        async fn whole(&self, reads_content: bool) -> (Whole, Vec<String>) {
            let mut answers = vec![(200, self.secret.clone())];
            if reads_content {
                answers.extend([(200, self.map.clone()), (200, self.secret.clone())]);
            }
            let (context, script) = apiserver(answers);
            let present: PartialObjectMeta<ConfigMap> = serde_json::from_value(self.map.clone()).unwrap();
            let found = whole(&context.client, "wknd", &self.environment, &[present], &self.wanted).await.unwrap();
            let asked = script.asked();
            (found, lines(&asked).into_iter().map(str::to_owned).collect())
        }
    }

    fn told(whole: &Whole) -> Vec<(&'static str, &Vec<String>)> {
        whole
            .replaced
            .iter()
            .map(|deviation| match &deviation.cause {
                Cause::NotOurs(why) => (deviation.object.kind(), why),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn what_the_operator_made_is_not_looked_into() {
        let copies = Copies::new();
        let (found, asked) = copies.whole(false).await;
        assert_eq!((found.present, found.replaced), ([copies.name.clone()].into(), vec![]));
        assert_eq!(asked, [format!("GET /api/v1/namespaces/wknd/secrets/{}", copies.name)]);
    }

    #[tokio::test]
    async fn what_somebody_made_in_its_place_is_told_unless_it_is_the_same() {
        let kubectl = json!([{ "manager": "kubectl-create", "operation": "Update" }]);
        let mut copies = Copies::new();
        copies.map["metadata"]["managedFields"] = kubectl.clone();
        assert_eq!(copies.whole(true).await.0.replaced, vec![], "a backup was restored");

        copies.map["data"]["API_URL"] = json!("https://evil");
        let (found, asked) = copies.whole(true).await;
        assert!(found.present.contains(&copies.name), "it is there: one that is missing is made, and this cannot be");
        let [("ConfigMap", why)] = told(&found)[..] else { panic!("{found:?}") };
        assert!(why[0].contains("made anew by kubectl-create"), "{why:?}");
        assert_eq!(asked.len(), 3);

        let mut copies = Copies::new();
        copies.secret["metadata"]["managedFields"] = kubectl;
        copies.secret["data"] = json!({ "API_KEY": "ZXZpbA==" });
        let found = copies.whole(true).await.0;
        assert!(matches!(told(&found)[..], [("Secret", _)]), "{found:?}");
    }

    #[tokio::test]
    async fn what_is_gone_for_sure_is_asked_of_the_store_and_everything_else_of_the_cache() {
        let empty = |kind: &str| (200, json!({ "kind": kind, "apiVersion": "v1", "metadata": {}, "items": [] }));
        for (age, version) in [(Age::Any, "&resourceVersion=0&resourceVersionMatch=NotOlderThan"), (Age::Newest, "")] {
            let (context, script) = apiserver(vec![empty("ConfigMapList"), empty("ControllerRevisionList")]);
            present(&context, "wknd", "prod", age).await.unwrap();
            revisions(&context, "wknd", "prod", age).await.unwrap();
            let own = "labelSelector=launchway.dev%2Fenvironment%3Dprod";
            let asked = [
                format!("GET /api/v1/namespaces/wknd/configmaps?{own}%2Claunchway.dev%2Fvariables{version}"),
                format!("GET /apis/apps/v1/namespaces/wknd/controllerrevisions?{own}{version}"),
            ];
            assert_eq!(lines(&script.asked()), asked);
        }
    }
}

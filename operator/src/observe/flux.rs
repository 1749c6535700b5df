//! What objects of Flux say, read one by one when it matters. Flux need not be installed: nothing of it is watched.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use launchway_crds::common::LocalName;
use serde_json::Value;

use crate::{
    error::{Error, bounded},
    flux::{self, FluxArtifact, FluxCommit, FluxFault, GROUP, Kind, Object},
};

/// Versions that are served, newest first: `OCIRepository` has the first one since Flux 2.6 only.
const VERSIONS: [&str; 2] = ["v1", "v1beta2"];

/// The commit that a `GitRepository` has fetched last.
///
/// # Errors
/// Why it has none, or cannot be read: with its conversion webhook away, a kind of others is not to be had for as long as that
/// lasts, and the apiserver is well.
pub async fn commit(client: &Client, namespace: &str, name: &LocalName) -> Result<FluxCommit, FluxFault> {
    let object = Object { kind: Kind::GitRepository, namespace, name: &name.name };
    flux::commit(object, &read(client, object).await?)
}

/// The artifact that an `OCIRepository` has fetched last.
///
/// # Errors
/// As [`commit`].
pub async fn artifact(client: &Client, namespace: &str, name: &LocalName) -> Result<FluxArtifact, FluxFault> {
    let object = Object { kind: Kind::OciRepository, namespace, name: &name.name };
    flux::artifact(object, &read(client, object).await?)
}

async fn read(client: &Client, object: Object<'_>) -> Result<Value, FluxFault> {
    for version in VERSIONS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, version, object.kind.as_str()));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), object.namespace, &resource);
        let error = match bounded("read an object of Flux", api.get(object.name)).await {
            Ok(found) => return Ok(serde_json::to_value(found).unwrap_or_default()),
            Err(error) => error,
        };
        let unreadable = || object.unreadable(&error.to_string());
        let Error::Kube { source, .. } = &error else { return Err(unreadable()) };
        let kube::Error::Api(status) = source.as_ref() else { return Err(unreadable()) };
        match status.code {
            // A kind that nobody serves has no object whose name the answer could repeat.
            404 if status.details.as_ref().is_some_and(|details| details.name == object.name) => {
                return Err(object.not_found());
            }
            404 => {}
            403 => return Err(object.forbidden(&status.message)),
            _ => return Err(unreadable()),
        }
    }
    Err(object.not_installed())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        effects::wire::{apiserver, lines},
        flux::FaultKind,
    };

    const V1: &str = "GET /apis/source.toolkit.fluxcd.io/v1/namespaces/wknd/gitrepositories/site";
    const V1BETA2: &str = "GET /apis/source.toolkit.fluxcd.io/v1beta2/namespaces/wknd/gitrepositories/site";

    async fn asked(answers: Vec<(u16, Value)>) -> (Result<FluxCommit, FluxFault>, Vec<String>) {
        let (context, script) = apiserver(answers);
        let found = commit(&context.client, "wknd", &LocalName { name: "site".into() }).await;
        (found, lines(&script.asked()).into_iter().map(str::to_string).collect())
    }

    fn status(code: u16, reason: &str, details: &Value) -> (u16, Value) {
        let said = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": "said", "details": details,
        });
        (code, said)
    }

    #[tokio::test]
    async fn an_object_is_one_request() {
        let id = "a".repeat(40);
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": { "name": "site", "namespace": "wknd", "generation": 2 },
            "spec": { "url": "https://git.example.com/wknd.git", "ref": { "branch": "main" } },
            "status": {
                "observedGeneration": 2,
                "conditions": [{ "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored" }],
                "artifact": { "revision": format!("main@sha1:{id}") },
            },
        });
        let (found, lines) = asked(vec![(200, object)]).await;
        assert_eq!(found.unwrap().id, id);
        assert_eq!(lines, [V1]);
    }

    #[tokio::test]
    async fn each_refusal_is_told_from_the_others() {
        let no_kind = || status(404, "NotFound", &json!({}));
        let no_object = || status(404, "NotFound", &json!({ "name": "site", "kind": "gitrepositories" }));
        for (answers, lines, kind) in [
            (vec![no_kind(), no_kind()], vec![V1, V1BETA2], FaultKind::NotInstalled),
            // What an apiserver says of a group that it does not have is no Status.
            (vec![(404, json!("404 page not found")), no_object()], vec![V1, V1BETA2], FaultKind::NotFound),
            (vec![no_object()], vec![V1], FaultKind::NotFound),
            (vec![status(403, "Forbidden", &json!({ "name": "site" }))], vec![V1], FaultKind::Forbidden),
            (vec![status(500, "InternalError", &json!({}))], vec![V1], FaultKind::Unreadable),
        ] {
            let (found, asked) = asked(answers).await;
            assert_eq!(found.unwrap_err().kind, kind);
            assert_eq!(asked, lines, "{kind:?}");
        }
    }
}

//! What a Git server says that a ref is, with the login of a pipeline's Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use launchway_crds::{common::LocalName, git::RemoteRef};
use reqwest::Certificate;

use crate::{
    error::bounded,
    git::{FaultKind, GitFault, Login, Server},
};

/// The user for servers that want a token alone.
const ANY_USER: &str = "git";

/// The commit that a ref names now, asked with the login of a Secret. For URLs of smart HTTP alone.
///
/// # Errors
/// Why it could not be had.
pub async fn commit(
    client: &Client,
    namespace: &str,
    remote: &RemoteRef,
    secret: Option<&LocalName>,
) -> Result<String, GitFault> {
    let (login, authorities) = match secret {
        Some(LocalName { name }) => credentials(client, namespace, name).await?,
        None => (None, vec![]),
    };
    Server::new(&remote.url, login, authorities)?.commit(&remote.reference).await
}

async fn credentials(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<(Option<Login>, Vec<Certificate>), GitFault> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let refused = |why: String| GitFault::new(FaultKind::Refused, why);
    let secret = bounded("read the secret of a Git server", api.get_opt(name))
        .await
        .map_err(|error| GitFault::new(FaultKind::Unreachable, error.to_string()))?
        .ok_or_else(|| {
            refused(format!(
                "spec.source.git.secretRef: Secret {name} does not exist in namespace {namespace}: create it"
            ))
        })?;
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        data.get(key)
            .map(|bytes| std::str::from_utf8(&bytes.0).map(str::trim).map(str::to_string))
            .transpose()
            .map_err(|_| refused(format!("Secret {name}, key {key}: it is no text")))
    };
    let login = text("password")?.map(|password| {
        let username = text("username").ok().flatten().filter(|user| !user.is_empty());
        Login { username: username.unwrap_or_else(|| ANY_USER.into()), password }
    });
    let authorities = match text("ca.crt")? {
        Some(pem) => Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| refused(format!("Secret {name}, key ca.crt: it cannot be read: {error}")))?,
        None => vec![],
    };
    Ok((login, authorities))
}

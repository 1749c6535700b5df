//! Other people than the administrator: roles in a namespace, and a kubeconfig of their own.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{Failure, Outcome, cluster::Cluster, paths, process::Program as Process};

/// Gives a person a ClusterRole in a namespace.
#[must_use]
pub fn binding(user: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": format!("{user}-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

/// A kubeconfig for a person: with a client certificate of their own on the local cluster, by impersonation elsewhere.
///
/// # Errors
/// When it cannot be made.
pub async fn kubeconfig(cluster: &Cluster, user: &str) -> Outcome<PathBuf> {
    if cluster.local {
        let made = Process::script("e2e/cluster/user.sh").args([user]).run().await?;
        return Ok(PathBuf::from(made.last_line()));
    }
    let left = cluster
        .program("kubectl")
        .args(["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])
        .run()
        .await?;
    let mut config: Value = serde_json::from_str(&left.stdout)
        .map_err(|error| Failure::new(format!("kubectl config view wrote no JSON: {error}")))?;
    config["users"][0]["user"]["as"] = json!(user);
    let file = paths::cache_folder("people")?.join(format!("{user}.kubeconfig"));
    write_private(&file, &config.to_string())?;
    Ok(file)
}

fn write_private(file: &PathBuf, text: &str) -> Outcome {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    // The copy holds the administrator's credentials: nobody else may read it.
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

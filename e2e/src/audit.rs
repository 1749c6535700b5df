//! The apiserver's audit log as witness: who wrote what, and when.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{Failure, Outcome, cluster::Cluster, install};

/// Resources whose objects are what an Environment runs.
const WORKLOADS: [&str; 5] = ["statefulsets", "services", "poddisruptionbudgets", "networkpolicies", "ingresses"];

/// Verbs that change nothing.
const READS: [&str; 3] = ["get", "list", "watch"];

/// The log, from a moment on.
pub struct Audit {
    file: PathBuf,
    offset: u64,
}

/// A write that the apiserver answered.
#[derive(Clone, Debug)]
pub struct Write {
    /// When the request came.
    pub at: Timestamp,
    /// When the answer went out.
    pub done: Timestamp,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who.
    pub user: String,
    /// `pods`, `statefulsets`, `pipelineexecutions/status` …
    pub resource: String,
    /// Namespace, if it has one.
    pub namespace: String,
    /// Name; empty where the apiserver made it.
    pub name: String,
    /// HTTP status.
    pub code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
    #[serde(rename = "requestURI")]
    uri: String,
}

impl Line {
    /// Whose rights counted.
    fn who(&self) -> &str {
        &self.impersonated_user.as_ref().unwrap_or(&self.user).username
    }
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Audit {
    /// The log of a cluster, from now on.
    ///
    /// # Errors
    /// When the cluster's log cannot be read.
    pub fn from_now_on(cluster: &Cluster) -> Outcome<Self> {
        let named = std::env::var_os("LAUNCHWAY_AUDIT_LOG").map(PathBuf::from);
        let local = cluster.kubeconfig.parent().map(|state| state.join("logs/audit.log"));
        let file = named.or(local.filter(|_| cluster.local)).ok_or_else(|| {
            Failure::new("the audit log of this cluster is not known").remedy(
                "set LAUNCHWAY_AUDIT_LOG to the apiserver's audit log (level Metadata, JSON), or unset KUBECONFIG to use the local cluster",
            )
        })?;
        let length =
            std::fs::metadata(&file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?.len();
        Ok(Self { file, offset: length })
    }

    /// Writes by a user since the log was opened, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn writes(&self, user: Option<&str>) -> Outcome<Vec<Write>> {
        // Most lines are reads: looking for their verb is much cheaper than parsing them.
        let is_read = |text: &str| READS.iter().any(|verb| text.contains(&format!("\"verb\":\"{verb}\"")));
        let lines = self.lines(|text| !is_read(text) && user.is_none_or(|user| text.contains(user)))?;
        let own = lines.into_iter().filter(|line| user.is_none_or(|user| line.who() == user));
        let mut found: Vec<Write> = own.filter(|line| !line.uri.contains("dryRun=")).filter_map(write).collect();
        found.sort_by_key(|write| write.at);
        Ok(found)
    }

    /// Every request by a user since the log was opened, reads and the ends of watches too: `VERB RESOURCE`, with when
    /// it was answered, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests(&self, user: &str) -> Outcome<Vec<(Timestamp, String)>> {
        let lines = self.lines(|text| text.contains(user))?.into_iter().filter(|line| line.who() == user);
        let told = |line: Line| {
            let object = line.object_ref.unwrap_or_default();
            let resource = if object.resource.is_empty() { line.uri } else { object.resource };
            (line.stage_timestamp, format!("{} {resource}", line.verb))
        };
        let mut found: Vec<(Timestamp, String)> = lines.map(told).collect();
        found.sort();
        Ok(found)
    }

    /// The lines whose text passes a first look.
    fn lines(&self, look: impl Fn(&str) -> bool) -> Outcome<Vec<Line>> {
        let broken = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", self.file.display()));
        let mut file = File::open(&self.file).map_err(|error| broken(&error))?;
        file.seek(SeekFrom::Start(self.offset)).map_err(|error| broken(&error))?;
        let mut found = vec![];
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|error| broken(&error))?;
            let text = String::from_utf8_lossy(&line);
            if look(&text) {
                // The last line may be half written.
                found.extend(serde_json::from_str::<Line>(&text));
            }
        }
        Ok(found)
    }

    /// Writes by the operator.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn of_operator(&self) -> Outcome<Vec<Write>> {
        self.writes(Some(install::ACCOUNT))
    }
}

fn write(line: Line) -> Option<Write> {
    let user = line.who().to_string();
    let object = line.object_ref.unwrap_or_default();
    // Reviews are questions in the form of a write: nothing is stored.
    let stored = !object.resource.ends_with("reviews");
    if !stored || !["create", "update", "patch", "delete", "deletecollection"].contains(&line.verb.as_str()) {
        return None;
    }
    let resource = if object.subresource.is_empty() {
        object.resource
    } else {
        format!("{}/{}", object.resource, object.subresource)
    };
    Some(Write {
        at: line.request_received_timestamp,
        done: line.stage_timestamp,
        verb: line.verb,
        user,
        resource,
        namespace: object.namespace,
        name: object.name,
        code: line.response_status.map(|status| status.code).unwrap_or_default(),
    })
}

impl Write {
    /// Whether it touches pods in any way.
    #[must_use]
    pub fn of_pods(&self) -> bool {
        self.resource == "pods" || self.resource.starts_with("pods/")
    }

    /// Whether it changes what an Environment runs. A write whose object has no name in the log may: it counts.
    #[must_use]
    pub fn of_workloads(&self, namespace: &str, environment: &str) -> bool {
        let here = self.name.is_empty() || self.name.starts_with(&format!("{environment}-"));
        self.namespace == namespace && WORKLOADS.contains(&self.resource.as_str()) && here
    }

    /// Whether it is housekeeping: Events and the Lease.
    #[must_use]
    pub fn housekeeping(&self) -> bool {
        self.resource == "events" || self.resource == "leases"
    }
}

/// How often each verb met each resource, Events and the Lease apart.
#[must_use]
pub fn counted<'a>(writes: impl IntoIterator<Item = &'a Write>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for write in writes.into_iter().filter(|write| !write.housekeeping()) {
        *counts.entry(format!("{} {}", write.verb, write.resource)).or_default() += 1;
    }
    counts
}

/// Fails when the operator touched a pod.
///
/// # Errors
/// With the writes.
pub fn never_pods(writes: &[Write]) -> Outcome {
    let pods: Vec<String> = writes.iter().filter(|write| write.of_pods()).map(|write| format!("{write:?}")).collect();
    crate::failure::ensure(pods.is_empty(), || format!("the operator wrote to pods:\n{}", pods.join("\n")))
}

/// Fails when the operator changed what an Environment runs before a moment.
///
/// # Errors
/// With the writes.
pub fn none_before(writes: &[Write], moment: Timestamp, namespace: &str, environment: &str) -> Outcome {
    let early: Vec<String> = writes
        .iter()
        .filter(|write| write.at < moment && write.of_workloads(namespace, environment))
        .map(|write| format!("{write:?}"))
        .collect();
    crate::failure::ensure(early.is_empty(), || {
        format!("the operator changed {environment} before the approval at {moment}:\n{}", early.join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_another_name_is_that_others() {
        let text = r#"{"requestURI":"/x","verb":"create","user":{"username":"admin"},"impersonatedUser":{"username":"dana"},
            "requestReceivedTimestamp":"2026-11-21T11:12:26Z","stageTimestamp":"2026-11-21T11:12:26Z"}"#;
        let write = serde_json::from_str::<Line>(text).ok().and_then(write);
        assert_eq!(write.map(|write| write.user).as_deref(), Some("dana"));
    }

    fn parsed(verb: &str, resource: &str, name: &str) -> Option<Write> {
        let text = format!(
            r#"{{"requestURI":"/x","verb":"{verb}","user":{{"username":"u"}},"objectRef":{{"resource":"{resource}","namespace":"n","name":"{name}"}},
            "responseStatus":{{"code":200}},"requestReceivedTimestamp":"2026-11-21T11:12:26.024964Z","stageTimestamp":"2026-11-21T11:12:26.03Z"}}"#
        );
        serde_json::from_str::<Line>(&text).ok().and_then(write)
    }

    #[test]
    fn reads_and_questions_are_no_writes() {
        assert!(parsed("get", "pods", "a").is_none());
        assert!(parsed("create", "selfsubjectreviews", "").is_none());
        assert!(parsed("patch", "pods", "a").is_some_and(|write| write.of_pods()));
    }

    #[test]
    fn a_write_before_the_approval_is_found_even_without_a_name() -> Outcome {
        let writes: Vec<Write> = [parsed("create", "services", ""), parsed("patch", "statefulsets", "stage-author")]
            .into_iter()
            .flatten()
            .collect();
        let later = "2026-11-21T11:13:00Z".parse().map_err(|error: jiff::Error| error.to_string())?;
        assert!(none_before(&writes, later, "n", "prod").is_err());
        assert!(none_before(&writes[1..], later, "n", "prod").is_ok());
        assert!(none_before(&writes[1..], later, "n", "stage").is_err());
        Ok(())
    }
}

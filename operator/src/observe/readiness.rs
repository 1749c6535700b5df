//! What a pod's readiness command says, in the words of the base-image contract (`docs/base-images.md`).
//!
//! The container's log is asked first: the kubelet records what a probe says as Events, and its spam filter stops that
//! after some 25 of one pod, which is before a large package has failed.

use futures::{AsyncBufRead, AsyncReadExt};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};
use launchway_crds::conditions::truncate;

use crate::error::{Error, bounded};

use super::pods::PROBLEM_MAX;

/// What begins a line of the log that says whether the pod is ready.
const MARK: &str = "launchway-ready:";
/// How far back the log is read: the command repeats itself every 30 s.
const WINDOW_SECONDS: i64 = 90;
/// How much of the log is read, in bytes and in lines.
const LOG_MAX: u64 = 1 << 20;
const LINES_MAX: i64 = 2000;

/// The lines that a readiness command printed when it last failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said(Vec<String>);

impl Said {
    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let lines: Vec<String> = lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(Self(lines))
    }

    /// What is wrong, and whether waiting cannot help because a package failed to install.
    pub(super) fn into_problem(self) -> (Option<String>, bool) {
        let failed: Vec<&str> = self.0.iter().map(String::as_str).filter(|line| line.starts_with("failed ")).collect();
        let hopeless = !failed.is_empty();
        let told = if hopeless { failed.join("; ") } else { self.0.join("; ") };
        (Some(truncate(&told, PROBLEM_MAX)), hopeless)
    }
}

/// What the readiness command of a running pod said last, if it said anything.
///
/// # Errors
/// When the apiserver does not answer. A log that cannot be read is as good as none.
pub(super) async fn said(client: &Client, namespace: &str, pod: &Pod) -> Result<Option<Said>, Error> {
    if let Some(said) = from_log(client, namespace, pod).await {
        return Ok(Some(said));
    }
    from_events(client, namespace, pod).await
}

async fn from_log(client: &Client, namespace: &str, pod: &Pod) -> Option<Said> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = LogParams {
        container: pod.spec.as_ref()?.containers.first().map(|container| container.name.clone()),
        since_seconds: Some(WINDOW_SECONDS),
        tail_lines: Some(LINES_MAX),
        ..LogParams::default()
    };
    let name = pod.name_any();
    let read = async {
        let log = pods.log_stream(&name, &params).await?;
        Ok(collect(log).await)
    };
    let log = bounded("read the log of a pod", read).await.ok()?;
    in_log(&String::from_utf8_lossy(&log))
}

/// At most [`LOG_MAX`] bytes; what came before an error is kept.
async fn collect(log: impl AsyncBufRead) -> Vec<u8> {
    let mut bytes = vec![];
    let mut log = std::pin::pin!(log.take(LOG_MAX));
    log.read_to_end(&mut bytes).await.ok();
    bytes
}

/// The last word of the readiness command in a log: none when it was "ready", or when there is none.
fn in_log(log: &str) -> Option<Said> {
    let last = log.lines().rev().find_map(|line| line.strip_prefix(MARK))?;
    if last.trim() == "ready" {
        return None;
    }
    Said::of(last.split('\t'))
}

async fn from_events(client: &Client, namespace: &str, pod: &Pod) -> Result<Option<Said>, Error> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let selector = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=Unhealthy"));
    let mut found = bounded("list the events of a pod", events.list(&selector)).await?.items;
    found.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    Ok(found.last().and_then(|event| event.message.as_deref()).and_then(in_event))
}

/// What a probe printed, from the words of the kubelet's Event.
fn in_event(message: &str) -> Option<Said> {
    let (_, output) = message.split_once("Readiness probe failed:")?;
    Said::of(output.lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_package_is_hopeless_and_a_pending_one_is_not() {
        let said = in_event("Readiness probe failed: pending a:b:1: starts\nfailed a:c:1: no node type cq:Page\n");
        let (problem, hopeless) = said.unwrap().into_problem();
        assert_eq!((problem.as_deref(), hopeless), (Some("failed a:c:1: no node type cq:Page"), true));
        let said = in_event("Readiness probe failed: pending a:b:1: waits for dependency x");
        let (problem, hopeless) = said.unwrap().into_problem();
        assert_eq!((problem.as_deref(), hopeless), (Some("pending a:b:1: waits for dependency x"), false));
        assert_eq!(in_event("Liveness probe failed: failed x"), None);
    }

    #[test]
    fn of_a_log_the_last_word_counts() {
        let log = "noise\nlaunchway-ready:\tpending a:b:1: starts\tfailed a:c:1: bad\nmore noise\n";
        assert_eq!(in_log(log).unwrap().into_problem(), (Some("failed a:c:1: bad".into()), true));
        assert_eq!(in_log(&format!("{log}launchway-ready:\tready\n")), None);
        assert_eq!(in_log("a log without the mark"), None);
    }

    #[tokio::test]
    async fn a_log_is_read_to_a_limit() {
        let endless = futures::io::BufReader::new(futures::io::repeat(b'x'));
        assert_eq!(collect(endless).await.len() as u64, LOG_MAX);
    }
}

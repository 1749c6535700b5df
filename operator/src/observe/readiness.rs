//! What a pod's readiness command says, in the words of the base-image contract (`docs/base-images.md`).
//!
//! The container's log is asked first: the kubelet records what a probe says as Events, and its spam filter stops that
//! after some 25 of one pod, which is before a large package has failed.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, api::ListParams};
use launchway_crds::conditions::truncate;

use crate::error::{Error, bounded};

use super::{log, pods::PROBLEM_MAX};

/// What begins a line of the log that says whether the pod is ready.
const MARK: &str = "launchway-ready:";

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

/// What a running pod that is not ready says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// What its readiness command said last, if it said anything.
    pub said: Option<Said>,
    /// How its log ends, without the words of that command.
    pub tail: Option<String>,
}

/// What a running pod that is not ready says of itself.
///
/// # Errors
/// When the apiserver does not answer. A log that cannot be read is as good as none.
pub(super) async fn heard(client: &Client, namespace: &str, pod: &Pod, container: &str) -> Result<Heard, Error> {
    let recent = log::recent(client, namespace, pod).await;
    let said = match recent.as_deref().and_then(in_log) {
        Some(said) => Some(said),
        None => from_events(client, namespace, pod).await?,
    };
    let tail = match recent.as_deref().and_then(without_words) {
        Some(tail) => Some(tail),
        // A runtime that hangs says nothing: what it said last may be why.
        None => log::last(client, namespace, pod, container, false).await.as_deref().and_then(without_words),
    };
    Ok(Heard { said, tail })
}

/// The end of a log without what the readiness command writes there.
fn without_words(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim_start().starts_with(MARK)).collect();
    log::tail(&lines.join("\n"), log::TAIL_MAX)
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

    #[test]
    fn the_end_of_a_log_is_the_runtimes_own() {
        let log =
            "starting\nlaunchway-ready:\tpending a:b:1: starts\nOutOfMemoryError\nlaunchway-ready:\tpending a:b:1: x\n";
        assert_eq!(without_words(log).as_deref(), Some("starting | OutOfMemoryError"));
        assert_eq!(without_words("launchway-ready:\tready\n"), None);
    }
}

//! What a pod says of its readiness, in the words of the base-image contract (`docs/base-images.md`).
//!
//! The container's log is asked first: the kubelet records what a command says as Events, and its spam filter stops that
//! after some 25 of one pod, which is before a large package has failed. Of a probe by HTTP it records the status only.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, api::ListParams};
use launchway_crds::conditions::truncate;

use crate::error::{Error, bounded};

use super::{
    log::{self, Line},
    pods::PROBLEM_MAX,
};

/// What begins a line of the log that says whether the pod is ready.
const MARK: &str = "launchway-ready:";

/// What a readiness probe printed when it last failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    lines: Vec<String>,
    /// Since when it prints just that, as far as is known.
    pub since: Option<Timestamp>,
}

impl Said {
    fn of<'a>(lines: impl Iterator<Item = &'a str>, since: Option<Timestamp>) -> Option<Self> {
        let lines: Vec<String> = lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(Self { lines, since })
    }

    /// What is wrong, and whether waiting cannot help because a package failed to install.
    pub(super) fn into_problem(self) -> (Option<String>, bool) {
        let lines = || self.lines.iter().map(String::as_str);
        let failed: Vec<&str> = lines().filter(|line| line.starts_with("failed ")).collect();
        let hopeless = !failed.is_empty();
        let told = if hopeless { failed.join("; ") } else { self.lines.join("; ") };
        (Some(truncate(&told, PROBLEM_MAX)), hopeless)
    }
}

/// What a running pod that is not ready says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// What its readiness probe said last, if it said anything.
    pub said: Option<Said>,
    /// How its log ends, without the words of that probe.
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
    let of_late = recent.iter().flatten().map(|line| line.text.as_str());
    let tail = match without_words(of_late) {
        Some(tail) => Some(tail),
        // A runtime that hangs says nothing: what it said last may be why.
        None => log::last(client, namespace, pod, container, false).await.and_then(|last| without_words(last.lines())),
    };
    Ok(Heard { said, tail })
}

/// The end of a log without what the readiness probe writes there.
fn without_words<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let lines: Vec<&str> = lines.filter(|line| !line.trim_start().starts_with(MARK)).collect();
    log::tail(&lines.join("\n"), log::TAIL_MAX)
}

/// The last word of the readiness probe in a log: none when it was "ready", or when there is none.
fn in_log(log: &[Line]) -> Option<Said> {
    let mut words = log.iter().rev().filter_map(|line| Some((line.text.strip_prefix(MARK)?, line.at)));
    let (last, at) = words.next()?;
    if last.trim() == "ready" {
        return None;
    }
    // It repeats itself: the first of these lines is when it began to say so.
    let since = words.take_while(|(earlier, _)| *earlier == last).last().and_then(|(_, first)| first).or(at);
    Said::of(last.split('\t'), since)
}

async fn from_events(client: &Client, namespace: &str, pod: &Pod) -> Result<Option<Said>, Error> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let selector = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=Unhealthy"));
    let mut found = bounded("list the events of a pod", events.list(&selector)).await?.items;
    found.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    Ok(found.last().and_then(in_event))
}

/// What a probe printed, from the words of the kubelet's Event: it counts those that say the same in one of them.
fn in_event(event: &Event) -> Option<Said> {
    let (_, output) = event.message.as_deref()?.split_once("Readiness probe failed:")?;
    Said::of(output.lines(), event.first_timestamp.as_ref().map(|first| first.0))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn event(message: &str) -> Option<Said> {
        let first_timestamp = Some(Time(at(7)));
        in_event(&Event { message: Some(message.into()), first_timestamp, ..Event::default() })
    }

    /// A log with a line a second.
    fn log(lines: &[&str]) -> Vec<Line> {
        (0..).zip(lines).map(|(second, text)| Line { at: Some(at(second)), text: (*text).into() }).collect()
    }

    #[test]
    fn a_failed_package_is_hopeless_and_a_pending_one_is_not() {
        let said = event("Readiness probe failed: pending a:b:1: starts\nfailed a:c:1: no node type cq:Page\n");
        let (problem, hopeless) = said.unwrap().into_problem();
        assert_eq!((problem.as_deref(), hopeless), (Some("failed a:c:1: no node type cq:Page"), true));
        let said = event("Readiness probe failed: pending a:b:1: waits for dependency x").unwrap();
        assert_eq!(said.since, Some(at(7)));
        let (problem, hopeless) = said.into_problem();
        assert_eq!((problem.as_deref(), hopeless), (Some("pending a:b:1: waits for dependency x"), false));
        assert_eq!(event("Liveness probe failed: failed x"), None);
    }

    #[test]
    fn of_a_probe_by_http_the_log_says_why_and_without_it_the_status_has_to_do() {
        let said = event("Readiness probe failed: HTTP probe failed with statuscode: 503").unwrap();
        assert_eq!(said.into_problem(), (Some("HTTP probe failed with statuscode: 503".into()), false));
        let said = in_log(&log(&["launchway-ready:\tfailed a:c:1: bad"])).unwrap();
        assert_eq!(said.into_problem(), (Some("failed a:c:1: bad".into()), true));
    }

    #[test]
    fn of_a_log_the_last_word_counts() {
        let mut lines = vec!["noise", "launchway-ready:\tpending a:b:1: starts\tfailed a:c:1: bad", "more noise"];
        assert_eq!(in_log(&log(&lines)).unwrap().into_problem(), (Some("failed a:c:1: bad".into()), true));
        lines.push("launchway-ready:\tready");
        assert_eq!(in_log(&log(&lines)), None);
        assert_eq!(in_log(&log(&["a log without the mark"])), None);
    }

    #[test]
    fn what_is_repeated_is_said_since_its_first_time() {
        let [starts, waits] = ["launchway-ready:\tpending a:b:1: starts", "launchway-ready:\tpending a:b:1: waits"];
        for (lines, since) in [
            (vec![starts, waits, "noise", waits, waits, "noise"], 1),
            (vec![waits, starts, waits], 2),
            (vec![waits, waits], 0),
        ] {
            assert_eq!(in_log(&log(&lines)).unwrap().since, Some(at(since)), "{lines:?}");
        }
    }

    #[test]
    fn the_end_of_a_log_is_the_runtimes_own() {
        let log =
            "starting\nlaunchway-ready:\tpending a:b:1: starts\nOutOfMemoryError\nlaunchway-ready:\tpending a:b:1: x\n";
        assert_eq!(without_words(log.lines()).as_deref(), Some("starting | OutOfMemoryError"));
        assert_eq!(without_words("launchway-ready:\tready\n".lines()), None);
    }
}

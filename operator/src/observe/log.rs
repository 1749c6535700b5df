//! The log of a pod, in bounds: what it says of its readiness there, and how it ends.

use futures::{AsyncBufRead, AsyncReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::LogParams};

use crate::{error::bounded, text::printable};

/// Longest end of a log that is told, in bytes.
pub(super) const TAIL_MAX: usize = 400;
/// How many lines are read for it.
const TAIL_LINES: i64 = 20;
/// How far back the log is read for what is said of readiness: it is repeated every 30 s.
const WINDOW_SECONDS: i64 = 90;
/// How much of the log is read, in bytes and in lines.
const LOG_MAX: u64 = 1 << 20;
const LINES_MAX: i64 = 2000;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// When it was written, by the clock of its node.
    pub at: Option<Timestamp>,
    /// The line.
    pub text: String,
}

impl Line {
    /// The kubelet puts the time before each line. The first one of a part of a log may be cut.
    fn of(line: &str) -> Self {
        let stamped = line.split_once(' ').and_then(|(at, text)| Some((at.parse().ok()?, text)));
        let (at, text) = stamped.map_or((None, line), |(at, text)| (Some(at), text));
        Self { at, text: text.to_owned() }
    }
}

/// What a container logged of late: none when the log cannot be read, which is as good as none.
pub(super) async fn recent(client: &Client, namespace: &str, pod: &Pod) -> Option<Vec<Line>> {
    let (since_seconds, tail_lines) = (Some(WINDOW_SECONDS), Some(LINES_MAX));
    let params = LogParams { since_seconds, tail_lines, timestamps: true, ..LogParams::default() };
    Some(read(client, namespace, pod, params).await?.lines().map(Line::of).collect())
}

/// The last lines of a container, however old: of one that ended and was started again those from before.
pub(super) async fn last(
    client: &Client,
    namespace: &str,
    pod: &Pod,
    container: &str,
    previous: bool,
) -> Option<String> {
    let params =
        LogParams { container: Some(container.into()), previous, tail_lines: Some(TAIL_LINES), ..LogParams::default() };
    read(client, namespace, pod, params).await.and_then(|log| tail(&log, TAIL_MAX))
}

async fn read(client: &Client, namespace: &str, pod: &Pod, mut params: LogParams) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    if params.container.is_none() {
        params.container = pod.spec.as_ref()?.containers.first().map(|container| container.name.clone());
    }
    let name = pod.name_any();
    let read = async {
        let log = pods.log_stream(&name, &params).await?;
        Ok(collect(log).await)
    };
    let log = bounded("read the log of a pod", read).await.ok()?;
    Some(String::from_utf8_lossy(&log).into_owned())
}

/// At most [`LOG_MAX`] bytes; what came before an error is kept.
async fn collect(log: impl AsyncBufRead) -> Vec<u8> {
    let mut bytes = vec![];
    let mut log = std::pin::pin!(log.take(LOG_MAX));
    log.read_to_end(&mut bytes).await.ok();
    bytes
}

/// The last lines of a text that say something, in at most `max` bytes, in one line. Causes stand at the end of a log.
pub(super) fn tail(text: &str, max: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let whole = printable(&lines.join(" | "));
    if whole.len() <= max {
        return (!whole.is_empty()).then_some(whole);
    }
    let from = whole.len() - max.saturating_sub('…'.len_utf8());
    let from = (from..whole.len()).find(|at| whole.is_char_boundary(*at))?;
    Some(format!("…{}", &whole[from..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_read_to_a_limit() {
        let endless = futures::io::BufReader::new(futures::io::repeat(b'x'));
        assert_eq!(collect(endless).await.len() as u64, LOG_MAX);
    }

    #[test]
    fn a_line_is_told_from_the_time_before_it() {
        let at: Timestamp = "2026-11-28T10:00:00.25Z".parse().unwrap();
        for (line, at, text) in [
            ("2026-11-28T10:00:00.250000000Z one two", Some(at), "one two"),
            ("2026-11-28T10:00:00.250000000Z ", Some(at), ""),
            ("2026-11-28T10:00:00.250000000Z 2026-11-28T09:00:00Z INFO", Some(at), "2026-11-28T09:00:00Z INFO"),
            ("28T10:00:00.250000000Z one", None, "28T10:00:00.250000000Z one"),
            ("", None, ""),
        ] {
            assert_eq!(Line::of(line), Line { at, text: text.into() });
        }
    }

    #[test]
    fn of_a_long_log_the_end_is_told() {
        assert_eq!(tail("one\n\n  two \n", 100).as_deref(), Some("one | two"));
        assert_eq!(tail(" \n", 100), None);
        let long = format!("{}\nüüü\u{1b}[31mthe cause\n", "noise\n".repeat(100));
        let told = tail(&long, 30).unwrap();
        assert!(told.starts_with('…') && told.ends_with("the cause") && told.len() <= 30, "{told}");
        assert!(!told.contains('\u{1b}'));
    }
}

//! The performance test: views of pages through stage's dispatcher, counted and timed (`cloud-manager.md §2.5`).
//!
//! [`mix`] says which page comes next, [`load`] asks, [`tally`] counts, [`report`] shows. The result is metrics; the
//! gate decides what follows from them.
//!
//! # Hazards
//! A test that asks as fast as it can competes with the environment for the machine: give `pagesPerMinute` where the
//! cluster is small. The request is one environment variable, and Linux allows 128 KiB for one.

mod links;
mod load;
mod mix;
mod report;
mod tally;

use std::{process::ExitCode, time::Duration};

use launchway_crds::{
    conditions::reasons,
    pipeline::{PageSet, Thresholds},
};
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{
    frame, http,
    measured::Measured,
    publish::{self, Content, Destination, Document},
    verdict::{Reason, Verdict},
};
use load::{Load, Target};
use mix::Mix;

/// Where the request is.
pub const REQUEST: &str = "LAUNCHWAY_PERFORMANCE";
/// Environment variables with a user's name and password, from a Secret, when pages ask for one.
pub const USERNAME: &str = "LAUNCHWAY_TEST_USERNAME";
/// See [`USERNAME`].
pub const PASSWORD: &str = "LAUNCHWAY_TEST_PASSWORD";

const FIELDS: &str = "url, sets, durationSeconds and concurrency";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Address of stage's dispatchers.
    pub url: String,
    /// `Host` header, where it is not the address's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which pages, and how often.
    pub sets: Vec<PageSet>,
    /// How long pages are asked, 1 to 7200.
    pub duration_seconds: u64,
    /// Visitors at once, 1 to 200.
    pub concurrency: u32,
    /// Page views that are begun each minute, at most 60000; without it each visitor asks again at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_per_minute: Option<u32>,
    /// How long one answer may take, 1 to 60.
    #[serde(default = "ten")]
    pub request_timeout_seconds: u64,
    /// Whether a view also asks for the scripts, style sheets and images of its page.
    #[serde(default = "yes")]
    pub assets: bool,
    /// What is good enough.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Where the report goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Destination>,
}

const fn ten() -> u64 {
    10
}

const fn yes() -> bool {
    true
}

/// Runs the test that the environment asks for.
pub async fn run() -> ExitCode {
    let user = std::env::var(USERNAME).ok().filter(|name| !name.is_empty());
    let login = user.map(|user| (user, std::env::var(PASSWORD).unwrap_or_default()));
    frame::run(async { from_text(&frame::text(REQUEST), login).await }).await
}

async fn from_text(text: &str, login: Option<(String, String)>) -> Verdict<Measured> {
    match measure(text, login).await {
        Ok(measured) => Verdict::Ok(measured),
        Err(reason) if reason.reason == reasons::TEST_FAILED => Verdict::Failed(reason),
        Err(reason) => Verdict::Error(reason),
    }
}

async fn measure(text: &str, login: Option<(String, String)>) -> Result<Measured, Reason> {
    let request: Request = frame::request(REQUEST, FIELDS, text)?;
    let wrong = |why: String| frame::invalid(REQUEST, &why);
    let mix = Mix::new(&request.sets).map_err(wrong)?;
    let target = target(&request, login, &mix).map_err(wrong)?;
    let load = Load {
        concurrency: request.concurrency,
        duration: Duration::from_secs(request.duration_seconds),
        pages_per_minute: request.pages_per_minute,
    };
    println!(
        "asking {} for {} pages first once, then for {} s by {} visitors",
        request.url,
        mix.paths().len(),
        request.duration_seconds,
        request.concurrency
    );
    let baseline = load::baseline(&target, request.assets).await;
    let reachable = baseline.iter().any(|page| page.problem.is_none());
    // When no page comes at all there is nothing to load, and the error rate says so.
    let tally = if reachable {
        load::run(&target, &mix, &load, &baseline).await
    } else {
        tally::Tally::unreachable(mix.paths().len(), &load, &target)
    };
    let metrics = tally.metrics(&request.thresholds);
    let page = report::Report::new(&request, &mix, &baseline, &tally, &metrics);
    let documents = vec![
        Document {
            title: "performance.json".into(),
            media_type: "application/json",
            content: Content::Bytes(page.to_json()),
        },
        Document { title: "performance.html".into(), media_type: "text/html", content: Content::Bytes(page.to_html()) },
    ];
    let (digest, lost) = publish::publish(request.report.as_ref(), documents).await;
    let mut message = tally.sentence();
    if let Some(problem) = baseline.iter().find_map(|page| Some(format!("{}: {}", page.path, page.problem.as_ref()?))) {
        message.push_str(&format!("; {problem}"));
    }
    message.extend(lost.map(|why| format!("; {why}")));
    println!("{message}");
    for metric in &metrics {
        let (name, actual, expected) = (&metric.name, &metric.actual, &metric.expected);
        let verdict = if metric.passed { "passed" } else { "failed" };
        println!(
            "{verdict}  {name} {actual} ({} {expected}, {})",
            metric.comparator.as_str(),
            metric.severity.as_str()
        );
    }
    Measured::new(metrics, &message, digest)
}

/// Checks the request's numbers and makes addresses of its paths.
fn target(request: &Request, login: Option<(String, String)>, mix: &Mix) -> Result<Target, String> {
    let within = |field: &str, value: u64, least: u64, most: u64| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(format!("{field}: {value} is not between {least} and {most}"))
    };
    within("durationSeconds", request.duration_seconds, 1, 7200)?;
    within("concurrency", request.concurrency.into(), 1, 200)?;
    within("requestTimeoutSeconds", request.request_timeout_seconds, 1, 60)?;
    within("pagesPerMinute", request.pages_per_minute.unwrap_or(1).into(), 1, 60_000)?;
    let host =
        request.host.as_deref().map(HeaderValue::from_str).transpose().map_err(|error| format!("host: {error}"))?;
    let each = Duration::from_secs(request.request_timeout_seconds);
    let client = http::client("launchway-performance-test", each)?;
    let pages = mix.paths().iter().map(|path| http::address(&request.url, path)).collect::<Result<_, _>>()?;
    Ok(Target { client, host, login, pages, paths: mix.paths().to_vec(), each })
}

#[cfg(test)]
mod tests;

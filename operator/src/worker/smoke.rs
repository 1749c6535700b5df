//! The smoke test: pages of stage answer as the pipeline says.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use launchway_crds::conditions::reasons;
use reqwest::{
    Client, Url,
    header::{HOST, HeaderValue},
};
use serde::{Deserialize, Serialize};

use super::{
    frame,
    http::{self, cause},
    verdict::{Reason, Verdict},
};

/// Where the request is.
const REQUEST: &str = "LAUNCHWAY_SMOKE";
/// What is read of a page.
const BODY_MAX: usize = 1 << 20;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Address of stage's dispatchers.
    pub url: String,
    /// `Host` header, where it is not the address's own.
    #[serde(default)]
    pub host: Option<String>,
    /// The pages.
    pub checks: Vec<Check>,
    /// Time for all of them together.
    pub timeout_seconds: u64,
}

/// One page and what it must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Path and query.
    pub path: String,
    /// Status of the answer.
    #[serde(default = "ok")]
    pub status: u16,
    /// Text in the answer.
    #[serde(default)]
    pub contains: Option<String>,
}

const fn ok() -> u16 {
    200
}

/// What passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Number of pages.
    pub checks: usize,
}

/// How patient the test is with one page.
#[derive(Clone, Copy, Debug)]
struct Pace {
    pause: Duration,
    each: Duration,
}

const PACE: Pace = Pace { pause: Duration::from_secs(2), each: Duration::from_secs(10) };

/// Runs the test that the environment asks for.
pub async fn run() -> ExitCode {
    frame::run(async { from_text(&frame::text(REQUEST), PACE).await }).await
}

async fn from_text(text: &str, pace: Pace) -> Verdict<Passed> {
    let invalid = |why: String| Verdict::Error(frame::invalid(REQUEST, &why));
    let request: Request = match frame::request(REQUEST, "url, checks and timeoutSeconds", text) {
        Ok(request) => request,
        Err(reason) => return Verdict::Error(reason),
    };
    let host = match request.host.as_deref().map(HeaderValue::from_str).transpose() {
        Ok(host) => host,
        Err(error) => return invalid(format!("host: {error}")),
    };
    let client = match http::client("launchway-smoke-test", pace.each) {
        Ok(client) => client,
        Err(error) => return invalid(error),
    };
    let mut urls = vec![];
    for check in &request.checks {
        match http::address(&request.url, &check.path) {
            Ok(url) => urls.push(url),
            Err(error) => return invalid(error),
        }
    }
    let end = Instant::now() + Duration::from_secs(request.timeout_seconds);
    println!("asking {} for {} pages, at most {} s in all", request.url, urls.len(), request.timeout_seconds);
    for (check, url) in request.checks.iter().zip(urls) {
        if let Err(why) = until(end, pace, &check.path, || ask(&client, url.clone(), host.clone(), check)).await {
            return Verdict::Failed(Reason::new(reasons::TEST_FAILED, &format!("{}: {why}", check.path)));
        }
    }
    Verdict::Ok(Passed { checks: request.checks.len() })
}

/// Tries until it works or the time is over; every page is tried at least once.
async fn until<F: Future<Output = Result<String, String>>>(
    end: Instant,
    pace: Pace,
    path: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut said = String::new();
    for tries in 1_u32.. {
        let why = match attempt().await {
            Ok(passed) => {
                println!("passed  {passed} ({:.1} s)", begun.elapsed().as_secs_f64());
                return Ok(());
            }
            Err(why) => why,
        };
        if Instant::now() + pace.pause >= end {
            let seconds = begun.elapsed().as_secs();
            return Err(format!("{why} (tried {tries} times in {seconds} s)"));
        }
        if why != said {
            println!("waiting {path}: {why}");
            said = why;
        }
        tokio::time::sleep(pace.pause).await;
    }
    Err(said)
}

/// Asks once: what passed, or what was expected and what came.
async fn ask(client: &Client, url: Url, host: Option<HeaderValue>, check: &Check) -> Result<String, String> {
    let mut request = client.get(url);
    if let Some(host) = host {
        request = request.header(HOST, host);
    }
    let mut answer = request.send().await.map_err(|error| format!("no answer: {}", cause(&error)))?;
    let status = answer.status();
    if status.as_u16() != check.status {
        let target =
            answer.headers().get("location").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let target = target.map(|target| format!(" to {target}")).unwrap_or_default();
        return Err(format!("expected status {}, got {}{target}", check.status, status));
    }
    let Some(wanted) = &check.contains else {
        return Ok(format!("{}: status {}", check.path, status.as_u16()));
    };
    let body =
        http::body(&mut answer, BODY_MAX).await.map_err(|error| format!("the answer broke off: {}", cause(&error)))?;
    if wanted.is_empty() || body.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
        return Ok(format!("{}: status {}, has `{wanted}`", check.path, status.as_u16()));
    }
    let read = if body.len() < BODY_MAX { format!("the {} bytes", body.len()) } else { "the first 1 MiB".into() };
    Err(format!("expected the text `{wanted}`, it is not in {read} of the answer"))
}

#[cfg(test)]
#[path = "smoke_tests.rs"]
mod tests;

//! The security test: what a stranger can do through stage's dispatcher that nobody should (`cloud-manager.md §2.5`).
//!
//! [`checks`] is the table of what is asked and which answer betrays what; [`probe`] asks. Every check is a metric: the
//! number of its probes that got through, which has to be 0.
//!
//! # Hazards
//! It sends what an attacker would. Nothing in the table changes the environment: writes are the POST servlet's
//! `nop`, log-ins are tried once for each default account.

mod checks;
mod probe;

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use futures::stream::{self, StreamExt};
use launchway_crds::{conditions::reasons, step::Metric};
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{
    frame, http,
    measured::Measured,
    publish::{self, Content, Destination, Document},
    verdict::{Reason, Verdict},
};
use crate::{gate::metric::none_of, text::html};
use checks::{CHECKS, Check};
use probe::{Answered, Site};

/// Where the request is.
pub const REQUEST: &str = "LAUNCHWAY_SECURITY";
const EACH: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 4;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Address of stage's dispatchers.
    pub url: String,
    /// `Host` header, where it is not the address's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A page that visitors see: its headers are looked at.
    #[serde(default = "root")]
    pub page: String,
    /// Names of checks that are left out; an unknown one is an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Where the report goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Destination>,
}

fn root() -> String {
    "/".into()
}

/// One check and what came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    metric: Metric,
    title: &'static str,
    remedy: &'static str,
    /// What was asked and got through.
    findings: Vec<String>,
    /// What was asked and had no answer.
    unanswered: Vec<String>,
    probes: usize,
}

/// Runs the test that the environment asks for.
pub async fn run() -> ExitCode {
    frame::run(async { from_text(&frame::text(REQUEST), EACH).await }).await
}

async fn from_text(text: &str, each: Duration) -> Verdict<Measured> {
    match measure(text, each).await {
        Ok(measured) => Verdict::Ok(measured),
        Err(reason) => Verdict::Error(reason),
    }
}

async fn measure(text: &str, each: Duration) -> Result<Measured, Reason> {
    let request: Request = frame::request(REQUEST, "url", text)?;
    let wrong = |why: String| frame::invalid(REQUEST, &why);
    if let Some(unknown) = request.skip.iter().find(|name| CHECKS.iter().all(|check| check.name != name.as_str())) {
        return Err(wrong(format!("skip: there is no check `{unknown}`")));
    }
    let host = request.host.as_deref().map(HeaderValue::from_str).transpose();
    let site = Site {
        client: http::client("launchway-security-test", each).map_err(wrong)?,
        base: http::address(&request.url, "/").map_err(wrong)?,
        host: host.map_err(|error| wrong(format!("host: {error}")))?,
        page: request.page.clone(),
    };
    let asked = CHECKS.iter().filter(|check| !request.skip.iter().any(|name| name == check.name));
    // Without an answer to the plainest of questions, silence would look like safety.
    site.reachable().await.map_err(|why| {
        Reason::new(reasons::JOB_FAILED, &format!("{}{}: {why}: nothing was tested", request.url, request.page))
    })?;
    let outcomes: Vec<Outcome> =
        stream::iter(asked).map(|check| outcome(&site, check)).buffered(AT_ONCE).collect().await;
    for outcome in &outcomes {
        say(outcome);
    }
    let (digest, lost) = publish::publish(request.report.as_ref(), documents(&request, &outcomes)).await;
    let silent: Vec<&str> = outcomes.iter().flat_map(|one| one.unanswered.iter().map(String::as_str)).collect();
    if !silent.is_empty() {
        let few = silent.iter().take(5).copied().collect::<Vec<_>>().join("; ");
        let more = silent.len().saturating_sub(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let why = format!("no answer, so nothing is known: {few}{more}. Run the test again when stage is not busy");
        return Err(Reason { report: digest, ..Reason::new(reasons::JOB_FAILED, &why) });
    }
    let message = [Some(sentence(&outcomes)), lost].into_iter().flatten().collect::<Vec<_>>().join("; ");
    println!("{message}");
    Measured::new(outcomes.into_iter().map(|outcome| outcome.metric).collect(), &message, digest)
}

async fn outcome(site: &Site, check: &'static Check) -> Outcome {
    let (mut findings, mut unanswered) = (vec![], vec![]);
    for probe in check.probes {
        match site.ask(probe).await {
            Answered::Safe => {}
            Answered::Betrayed(what) => findings.push(what),
            Answered::Silent(why) => unanswered.push(format!("{}: {why}", probe.name())),
        }
    }
    Outcome {
        metric: none_of(check.name, check.severity, findings.len() as u64),
        title: check.title,
        remedy: check.remedy,
        findings,
        unanswered,
        probes: check.probes.len(),
    }
}

fn say(outcome: &Outcome) {
    let name = &outcome.metric.name;
    if outcome.metric.passed && outcome.unanswered.is_empty() {
        println!("passed  {name}: {} ({} requests)", outcome.title, outcome.probes);
        return;
    }
    for finding in &outcome.findings {
        println!("failed  {name} ({}): {finding}", outcome.metric.severity.as_str());
    }
    for silent in &outcome.unanswered {
        println!("unknown {name}: {silent}");
    }
    if !outcome.findings.is_empty() {
        println!("        {}", outcome.remedy);
    }
}

fn sentence(outcomes: &[Outcome]) -> String {
    let found: Vec<&str> = outcomes.iter().filter_map(|one| one.findings.first().map(String::as_str)).collect();
    let probes: usize = outcomes.iter().map(|outcome| outcome.probes).sum();
    let all = format!("{} checks, {probes} requests", outcomes.len());
    if found.is_empty() {
        return format!("{all}, nothing found");
    }
    format!("{all}, {} failed: {}", found.len(), found.join("; "))
}

fn documents(request: &Request, outcomes: &[Outcome]) -> Vec<Document> {
    let json = serde_json::json!({
        "format": "launchway-security/1", "url": request.url, "host": request.host, "page": request.page,
        "skipped": request.skip, "checks": outcomes,
    });
    let content = Content::Bytes(serde_json::to_vec(&json).unwrap_or_default());
    vec![
        Document { title: "security.json".into(), media_type: "application/json", content },
        Document {
            title: "security.html".into(),
            media_type: "text/html",
            content: Content::Bytes(page(request, outcomes).into_bytes()),
        },
    ]
}

fn page(request: &Request, outcomes: &[Outcome]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Security test</title><style>\
         body{{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         td,th{{padding:.4em .6em;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}}\
         table{{border-collapse:collapse}}.bad{{color:#b00020}}.good{{color:#1b7a2f}}</style>\
         <h1>Security test</h1><p>{}: {}</p><table><tr><th>check<th>severity<th>result",
        html(&request.url),
        html(&sentence(outcomes))
    );
    for outcome in outcomes {
        let (class, word) = match (outcome.metric.passed, outcome.unanswered.is_empty()) {
            (false, _) => ("bad", "failed"),
            (true, false) => ("bad", "unknown"),
            (true, true) => ("good", "passed"),
        };
        let _ = write!(
            out,
            "<tr><td>{}<br><small>{}</small><td>{}<td><span class={class}>{word}</span>",
            html(&outcome.metric.name),
            html(outcome.title),
            outcome.metric.severity.as_str()
        );
        for line in outcome.findings.iter().chain(&outcome.unanswered) {
            let _ = write!(out, "<br>{}", html(line));
        }
        if !outcome.findings.is_empty() {
            let _ = write!(out, "<br><em>{}</em>", html(outcome.remedy));
        }
    }
    out.push_str("</table></html>");
    out
}

#[cfg(test)]
mod tests;

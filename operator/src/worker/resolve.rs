//! Asks a Git server which commit a ref is, where the operator itself cannot: by SSH.

use std::{path::PathBuf, process::ExitCode};

use launchway_crds::conditions::reasons;
use serde::{Deserialize, Serialize};

use super::{
    checkout::{Git, Problem},
    frame,
    verdict::{Reason, Verdict},
};

/// Where the request is.
pub const REQUEST: &str = "LAUNCHWAY_RESOLVE";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The repository.
    pub url: String,
    /// Whole name of the ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folder with the login.
    pub login: PathBuf,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Resolved {
    /// The commit, in whole.
    pub commit: String,
}

#[derive(Deserialize)]
struct Wire {
    commit: String,
}

impl TryFrom<Wire> for Resolved {
    type Error = String;

    fn try_from(Wire { commit }: Wire) -> Result<Self, String> {
        let hex = commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(commit.len(), 40 | 64) { Ok(Self { commit }) } else { Err("it names no commit".into()) }
    }
}

/// Asks, and leaves the commit as the outcome.
pub async fn run() -> ExitCode {
    frame::run(from_text(&frame::text(REQUEST))).await
}

async fn from_text(text: &str) -> Verdict<Resolved> {
    let request: Request = match frame::request(REQUEST, "url, ref and login", text) {
        Ok(request) => request,
        Err(reason) => return Verdict::Error(reason),
    };
    let asked = async {
        let git = Git::new(&request.url, &request.login).map_err(|error| Problem::Machine(error.to_string()))?;
        git.commit_of(&request.url, &request.reference).await
    };
    match asked.await {
        Ok(Some(commit)) => {
            println!("{} is {commit}", request.reference);
            Verdict::Ok(Resolved { commit })
        }
        Ok(None) => Verdict::Failed(Reason::new(
            reasons::REF_NOT_FOUND,
            &format!(
                "{} has no {}: push it, or correct spec.source.git.branch or spec.source.git.tag of the pipeline",
                request.url, request.reference
            ),
        )),
        Err(problem) => problem.verdict(),
    }
}

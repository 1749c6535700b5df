//! Who is told about executions, and what there is to tell.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{common::LocalName, step::StepName};

/// A web address that is told what becomes of executions, as CloudEvents 1.0 (structured JSON) by POST.
///
/// Each event is sent at least once and until the address answers with 2xx, for a day; twice the same id means the same
/// event. Requests are signed as Standard Webhooks says. No redirect is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.url.startsWith('https://') || self.plainHTTP").message("url must begin with https://, unless plainHTTP says that what is sent may cross the network unprotected"))]
pub struct Sink {
    /// Address, without user name and fragment.
    #[schemars(length(min = 10, max = 1024), regex(pattern = r"^https?://[^\s/@#]+(/[^\s#]*)?$"))]
    pub url: String,
    /// Secret whose key `secret` signs (16 bytes or more; a value that begins with `whsec_` is base64 behind that), and whose
    /// key `ca.crt`, if it is there, has certificates to trust.
    pub secret_ref: LocalName,
    /// What is told.
    #[serde(default = "all")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub events: Vec<Happening>,
    /// Speak plain HTTP to this address: what is sent can be read, though not changed, on the way.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
}

/// How many sinks a pipeline may have.
pub const SINKS_MAX: usize = 8;

fn all() -> Vec<Happening> {
    vec![Happening::Started, Happening::Waiting, Happening::Expiring, Happening::Ended]
}

/// What can happen to an execution that somebody is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Happening {
    /// The execution began.
    Started,
    /// It waits for somebody.
    Waiting,
    /// Nobody has come, and the time runs out.
    Expiring,
    /// It ended.
    Ended,
}

impl Happening {
    /// The last part of the type of the event: `dev.launchway.execution.ended`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Waiting => "waiting",
            Self::Expiring => "expiring",
            Self::Ended => "ended",
        }
    }
}

/// Something that happened and that has not been told to everybody yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Untold {
    /// What.
    pub event: Happening,
    /// The step that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// When.
    pub at: Time,
}

/// How much may be untold at once. An execution seldom has more to tell: where it has, and nobody takes what is told, the
/// oldest waits are left out, never its start or its end.
pub const UNTOLD_MAX: usize = 48;

//! What follows a rollout that failed, and the record of an Environment that went back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{digest::ImageRef, environment::Tier};

/// What follows a rollout that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// It stays where it stopped: pairs that it had not reached go on with the previous release.
    #[default]
    Hold,
    /// What ran before comes back, in the same order and with the same care; if that fails, too, it is held.
    Restore,
}

/// Whether an older release may come over the repository that a newer one has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OlderReleases {
    /// No: executions that would go back, and `onFailure: Restore`, are refused.
    #[default]
    Refuse,
    /// Yes: the base image installs older packages over newer ones, or whoever goes back restores the volume. That every
    /// package of the older release is unpacked is proved before the author counts as ready.
    Accept,
}

/// Hashes of the pod templates of an Environment: everything that reaches its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revisions {
    /// Of author and publish.
    #[schemars(length(max = 16))]
    pub aem: String,
    /// Of the dispatchers. Another one of author and publish is another one of these, too: so it names the whole.
    #[schemars(length(max = 16))]
    pub dispatcher: String,
}

impl Revisions {
    /// The revision of a tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> &str {
        match tier {
            Tier::Author | Tier::Publish => &self.aem,
            Tier::Dispatcher => &self.dispatcher,
        }
    }
}

/// A way back: from a rollout that failed to the templates that ran before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    /// Name of the PipelineExecution whose release failed; none if a change of the Environment's spec did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// Its UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The release that was rolled out; none of bare base images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ImageRef>,
    /// Hash of the dispatchers' template that failed, which names the whole.
    #[schemars(length(max = 16))]
    pub failed: String,
    /// The pod templates that come back.
    pub revisions: Revisions,
    /// Why: the pod, what it lacks, and the end of its log.
    #[schemars(length(max = 1024))]
    pub cause: String,
    /// When it began.
    pub since: Time,
}

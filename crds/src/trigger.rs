//! What starts executions of a pipeline besides people: changes of its source, and what is known of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::Span,
    pipeline::{PipelineSpec, PipelineType, Source},
};

/// What starts executions of a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PipelineTrigger {
    /// People and tools that create them.
    #[default]
    Manual,
    /// A change of the source, too. What is there when the pipeline first looks is remembered and starts nothing.
    OnChange,
}

/// How changes of the source are noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.interval) >= duration('10s') && duration(self.interval) <= duration('24h')").message("spec.onChange.interval must be between 10s and 24h"))]
pub struct OnChange {
    /// How often the source is asked, give or take a tenth: between `10s` and `24h`.
    #[serde(default = "five_minutes")]
    pub interval: Span,
    /// Lets the operator's webhook receiver ask at once: `/hooks/NAMESPACE/PIPELINE`. Without it the receiver knows
    /// nothing of this pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

impl Default for OnChange {
    fn default() -> Self {
        Self { interval: five_minutes(), webhook: None }
    }
}

/// Who may say that the source has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The secret that sender and receiver share, at least 16 bytes.
    pub secret_ref: WebhookSecret,
}

/// Where the secret of a webhook is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it.
    #[serde(default = "token")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What a pipeline that starts on changes knows of its source. Written when something changes, never because time passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceSeen {
    /// What was looked at, such as `registry.example.com/wknd/artifacts:main`. Of another source nothing is known.
    #[schemars(length(max = 2048))]
    pub of: String,
    /// The revision seen last: a digest, or a commit. None: there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub revision: Option<String>,
    /// When it was seen first.
    pub since: Time,
    /// The execution that is still to be started for this revision, once no other one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub due: Option<String>,
    /// The execution that a change started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub execution: Option<String>,
}

impl PipelineSpec {
    /// How changes of the source start executions; None when they do not. A production-only pipeline never starts by
    /// itself (`cloud-manager.md` §1.4).
    #[must_use]
    pub fn starts_on_change(&self) -> Option<OnChange> {
        match (self.trigger, self.type_) {
            (PipelineTrigger::Manual, _) | (_, PipelineType::ProductionOnly) => None,
            (
                PipelineTrigger::OnChange,
                PipelineType::FullStack
                | PipelineType::StageOnly
                | PipelineType::Deployment
                | PipelineType::CodeQuality
                | PipelineType::WebTier,
            ) => Some(self.on_change.clone().unwrap_or_default()),
        }
    }
}

impl Source {
    /// What two pipelines on the same source have in common; None when there is nothing to watch.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        let artifact = self.artifact.as_ref().and_then(|source| match (&source.repository, &source.flux_ref) {
            (Some(repository), _) => Some(format!("{repository}:{}", source.tag())),
            (None, Some(object)) => Some(format!("OCIRepository {}", object.name)),
            (None, None) => None,
        });
        let git = || {
            let source = self.git.as_ref()?;
            let own = source.remote().map(|remote| format!("{} {}", remote.url, remote.reference));
            own.or_else(|| Some(format!("GitRepository {}", source.flux_ref.as_ref()?.name)))
        };
        artifact.or_else(git)
    }
}

const fn five_minutes() -> Span {
    Span::from_secs(300)
}

fn token() -> String {
    "token".into()
}

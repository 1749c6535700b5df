//! What a pipeline asks of a deployment, and what an Environment records of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    digest::ImageRef,
    environment::{Deployed, ReleaseImages, Target},
};

/// Paths that every dispatcher drops from its cache when a release is deployed, after its publish runs the release and
/// before visitors reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CachePaths {
    /// Paths that are invalidated: what is cached of the path, and everything that its stat files cover. As an activation
    /// by an editor does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 512), regex(pattern = r"^/[^\s]*$")))]
    pub invalidate_paths: Vec<String>,
    /// Paths that are flushed: what is cached of the path, and nothing else (`CQ-Action-Scope: ResourceOnly`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 512), regex(pattern = r"^/[^\s]*$")))]
    pub flush_paths: Vec<String>,
}

impl CachePaths {
    /// Whether no path is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.invalidate_paths.is_empty() && self.flush_paths.is_empty()
    }
}

/// How a release is deployed where it is tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployOptions {
    /// Whether dispatchers leave the Service before publishes are replaced, and come back when all of them are ready. Without
    /// it they stay until they are replaced with everything else. A Rolling rollout always takes the dispatcher of a pair
    /// out before it replaces the publish.
    #[serde(default = "yes")]
    pub detach: bool,
    /// Paths that dispatchers drop from their caches.
    #[serde(flatten)]
    pub cache: CachePaths,
}

impl Default for DeployOptions {
    fn default() -> Self {
        Self { detach: yes(), cache: CachePaths::default() }
    }
}

const fn yes() -> bool {
    true
}

/// What one execution had dropped from the caches of an Environment's dispatchers. Part of their pods: a dispatcher that
/// dropped them for another execution is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheFlush {
    /// UID of the execution.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The paths.
    #[serde(flatten)]
    pub paths: CachePaths,
}

/// Which images of a release an execution brings to an Environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// Both.
    #[default]
    Release,
    /// That of author and publish: the dispatcher belongs to a pipeline of type WebTier.
    Aem,
    /// That of the dispatcher: author and publish stay as they are.
    Dispatcher,
}

/// The deployment that an image came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// Name of the PipelineExecution.
    pub execution: String,
    /// Its UID.
    pub uid: String,
    /// The release that names the image.
    pub release: ImageRef,
}

impl Deployed {
    /// The deployment that the image of author and publish came with.
    #[must_use]
    pub fn aem_origin(&self) -> Origin {
        Origin { execution: self.execution.clone(), uid: self.uid.clone(), release: self.release.clone() }
    }

    /// The deployment that the dispatcher image came with.
    #[must_use]
    pub fn dispatcher_origin(&self) -> Origin {
        self.web_tier.clone().unwrap_or_else(|| self.aem_origin())
    }

    /// Whether an execution deployed a release here, and no other came after it.
    #[must_use]
    pub fn is_of(&self, uid: &str, release: &ImageRef) -> bool {
        let web_tier = self.web_tier.as_ref().is_some_and(|origin| origin.uid == uid && &origin.release == release);
        web_tier || (self.uid == uid && &self.release == release)
    }
}

impl Target {
    /// What the Environment runs when the target is reached: what the target brings, and what it leaves as it was.
    #[must_use]
    pub fn reached(&self, before: Option<&Deployed>, at: Time) -> Deployed {
        let whole = Deployed {
            execution: self.execution.clone(),
            uid: self.uid.clone(),
            release: self.release.clone(),
            images: self.images.clone(),
            web_tier: None,
            cache: self.cache.clone(),
            made_at: self.made_at.clone(),
            at,
            revisions: None,
        };
        let Some(before) = before else { return whole };
        match self.scope {
            Scope::Release => whole,
            Scope::Aem => Deployed {
                images: ReleaseImages { aem: whole.images.aem, dispatcher: before.images.dispatcher.clone() },
                web_tier: Some(before.dispatcher_origin()),
                ..whole
            },
            Scope::Dispatcher => Deployed {
                images: ReleaseImages { aem: before.images.aem.clone(), dispatcher: whole.images.dispatcher },
                web_tier: Some(Origin { execution: whole.execution, uid: whole.uid, release: whole.release }),
                cache: whole.cache,
                revisions: None,
                ..before.clone()
            },
        }
    }
}

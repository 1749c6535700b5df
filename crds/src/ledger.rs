//! What a Pipeline remembers of the executions that ended, and what may be done with their releases: rules that the
//! operator enforces and that the command says beforehand.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    conditions::reasons,
    digest::ImageRef,
    environment::{Deployed, ReleaseImages},
    execution::Trigger,
    step::StepName,
};

/// A test that was skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Debt {
    /// The step that was skipped.
    pub step: StepName,
    /// The first execution that skipped it.
    pub execution: String,
    /// Since when.
    pub since: Time,
}

/// How many finished executions a pipeline remembers.
pub const LEDGER_MAX: usize = 100;

/// A finished execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Hash of its spec, the requester left out.
    pub spec_hash: String,
    /// Reason of its `Succeeded` condition.
    pub result: String,
    /// The release, when it made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ImageRef>,
    /// The two images of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ReleaseImages>,
    /// When the release was made: an older one does not replace a newer one by accident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Time>,
    /// Whether the deployment to production began: then it can be executed again.
    #[serde(default)]
    pub began_production: bool,
    /// Whether somebody approved the release for production.
    #[serde(default)]
    pub approved: bool,
    /// What started the execution.
    #[serde(default)]
    pub trigger: Trigger,
    /// Tests that its release never had because of an emergency: its own, or that of the execution whose release it took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"), length(max = 24))]
    pub skipped: Vec<StepName>,
    /// What became of its images since the history of its pipeline let go of them: nobody can take the release by this
    /// entry any more. None while they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_state: Option<ImagesState>,
    /// When it ended.
    pub at: Time,
}

/// What became of images that a history let go of (`spec.history.images: Delete`): nobody can take the release by this entry
/// of the ledger any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagesState {
    /// They are deleted from the registry once nobody else needs them.
    LetGo,
    /// Nothing is left to do: they are deleted, or another entry of the ledger answers for them.
    Deleted,
}

impl LedgerEntry {
    /// Whether it succeeded with a release that is known: one that can be promoted and gone back to.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.result == reasons::FINISHED && self.keeps_release()
    }

    /// Whether it has a release that its history did not let go of.
    #[must_use]
    pub const fn keeps_release(&self) -> bool {
        self.release.is_some() && self.images_state.is_none()
    }

    /// Why its deployment to production is not done again (`cloud-manager.md` §2.9); None when it can be.
    #[must_use]
    pub fn never_again(&self) -> Option<&'static str> {
        if self.trigger == Trigger::RollBack {
            Some("it went back to an earlier release")
        } else if !self.began_production || self.release.is_none() {
            Some("its deployment to production never began")
        } else if self.images_state.is_some() {
            Some("spec.history of the pipeline let go of its images")
        } else {
            None
        }
    }

    /// Whether it is older than what an Environment runs: another release, made before that one
    /// (`cloud-manager.md` §1.10). Times that are not known say nothing.
    #[must_use]
    pub fn is_older_than(&self, runs: &Deployed) -> bool {
        let (Some(then), Some(now)) = (&self.made_at, &runs.made_at) else { return false };
        let same = self.release.as_ref().is_some_and(|release| release.digest() == runs.release.digest());
        !same && then.0 < now.0
    }
}

//! What became of each file, for reports and for people.

use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::Input;
use crate::image::classify::Flavour;
use crate::image::failure::{Reason, Refusal};
use crate::image::package::ServiceTier;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A content package, built into the AEM image.
    ContentPackage,
    /// The dispatcher configuration.
    Dispatcher,
    /// Not part of a release.
    Ignored,
    /// Refused; the build fails.
    Rejected,
}

impl FileKind {
    /// The name in status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContentPackage => "content-package",
            Self::Dispatcher => "dispatcher",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
        }
    }
}

/// The record of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileReport {
    /// File name.
    pub name: String,
    /// Digest.
    pub sha256: Sha256Digest,
    /// Size.
    pub size: u64,
    /// What became of it.
    pub kind: FileKind,
    /// Stable code, for refused files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Text for people, for ignored and refused files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Package id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Declared type of a package, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_type: Option<String>,
    /// What a package needs, as FileVault writes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// Services on which a package is installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<ServiceTier>,
    /// Packages embedded in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedded: Vec<String>,
    /// Dialect of a dispatcher configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavour: Option<Flavour>,
}

impl FileReport {
    /// The record of a file of which nothing is known yet.
    #[must_use]
    pub fn new(input: &Input) -> Self {
        Self {
            name: input.name.clone(),
            // Whoever plans fills it in: it may take as long to compute as all checks.
            sha256: input.sha256.unwrap_or_else(|| Sha256Digest::from_bytes([0; 32])),
            size: input.blob.len(),
            kind: FileKind::Ignored,
            reason: None,
            message: None,
            id: None,
            package_type: None,
            dependencies: Vec::new(),
            tiers: Vec::new(),
            embedded: Vec::new(),
            flavour: None,
        }
    }

    /// Records that the file is refused.
    pub fn reject(&mut self, refusal: &Refusal) {
        self.kind = FileKind::Rejected;
        self.reason = Some(refusal.reason);
        self.message = Some(refusal.message());
    }

    /// What is worth saying in one line: why it is ignored or refused, else what it is.
    #[must_use]
    pub fn detail(&self) -> &str {
        let known = self.message.as_deref().or(self.id.as_deref());
        known.or(self.flavour.map(Flavour::as_str)).unwrap_or_default()
    }
}

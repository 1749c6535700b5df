//! Why an input is refused: a stable code, the file and entry concerned, the rule, and what to do about it.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Stable reason codes. They are part of the API: never renamed, never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* $name),+ }

        impl Reason {
            /// The code as written in status and reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// All codes, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

reasons! {
    /// The artifact has neither a content package nor a dispatcher configuration.
    NoArtifacts,
    /// The file has no bytes.
    EmptyFile,
    /// The end record or the central directory is missing or unreadable.
    NotAZip,
    /// Bytes before the first entry: readers disagree about such files.
    LeadingData,
    /// Bytes after the end record.
    TrailingData,
    /// Bytes between entries that the central directory does not name.
    HiddenData,
    /// The end record declares another number or size of entries than there are.
    DirectoryMismatch,
    /// A local header contradicts the central directory.
    HeaderMismatch,
    /// Two entries share bytes of the file.
    OverlappingEntries,
    /// Two entries have the same name.
    DuplicateEntry,
    /// A name is used as a file and as a folder, or differs only in a way that some readers ignore.
    ConflictingEntries,
    /// An entry is encrypted.
    EncryptedEntry,
    /// An entry is compressed with something else than deflate.
    UnsupportedMethod,
    /// A name is absolute, has `..`, a backslash, a drive letter, a control character or an empty part.
    UnsafePath,
    /// A name is not UTF-8.
    NameNotUtf8,
    /// A name is too long or too deep.
    NameTooLong,
    /// A name starts with `.wh.`, which means deletion in an image layer.
    WhiteoutName,
    /// A symbolic link in a content package.
    LinkInPackage,
    /// A device, pipe or socket.
    SpecialFile,
    /// More entries than the limit.
    TooManyEntries,
    /// Unpacked size over the limit.
    TooLarge,
    /// Unpacks to far more than it holds.
    CompressionBomb,
    /// Content does not match its checksum or declared size.
    CorruptEntry,
    /// Both a content package and a dispatcher configuration.
    AmbiguousArchive,
    /// No `META-INF/vault/filter.xml`.
    FilterMissing,
    /// `filter.xml` cannot be parsed.
    FilterInvalid,
    /// No `jcr_root` folder: the package manager does not accept such a package.
    JcrRootMissing,
    /// Package metadata outside of `META-INF/vault` that differ from those in it: FileVault goes by the base name.
    StrayMetadata,
    /// No `META-INF/vault/properties.xml`.
    PropertiesMissing,
    /// `properties.xml` cannot be parsed.
    PropertiesInvalid,
    /// Properties without a usable group or name.
    PackageIdMissing,
    /// Group, name or version has characters that a repository does not accept.
    PackageIdIllegal,
    /// A dependency or version range cannot be parsed.
    DependencyInvalid,
    /// Packages are nested too deeply.
    NestingTooDeep,
    /// More packages than the limit.
    TooManyPackages,
    /// A package or bundle in an install folder with a run mode that packages may not have.
    EmbeddedRunMode,
    /// One package id with different content.
    ConflictingPackages,
    /// Two versions of one package at top level.
    SeveralVersions,
    /// A dependency that no package of the artifact satisfies.
    UnresolvedDependency,
    /// Packages that depend on each other.
    DependencyCycle,
    /// `packageFormatVersion` above 2.
    PackageFormat,
    /// More than one dispatcher configuration.
    SeveralDispatchers,
    /// Dispatcher folders are below `etc/httpd` or another extra folder.
    DispatcherPrefix,
    /// A file or folder that the dispatcher needs is missing.
    DispatcherIncomplete,
    /// A changed file of the base image, where the build is asked to refuse those.
    ImmutableChanged,
    /// A link that leaves the configuration tree.
    LinkEscapes,
    /// A link whose target does not exist.
    LinkDangling,
    /// Links that lead to each other.
    LinkLoop,
    /// The base image's labels do not state a usable contract.
    BaseContract,
    /// The base image's manifest or configuration cannot be used.
    BaseImage,
    /// The image would have too many layers.
    TooManyLayers,
    /// The artifact's manifest is not one that `launchway push` writes.
    ArtifactInvalid,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal of the customer's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code.
    pub reason: Reason,
    /// The file, or `outer.zip!inner.zip` for a nested one.
    pub file: String,
    /// The entry inside the file.
    pub entry: Option<String>,
    /// What is wrong and which rule says so.
    pub rule: String,
    /// What to do.
    pub remedy: String,
}

pub(super) fn clipped(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.chars().take(limit) {
        match c {
            '\'' | '"' => out.push(c),
            other => out.extend(other.escape_debug()),
        }
    }
    if text.chars().count() > limit {
        out.push('…');
    }
    out
}

impl Refusal {
    /// A refusal of a whole file.
    pub fn new(reason: Reason, file: &str, rule: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason, file: file.to_owned(), entry: None, rule: rule.into(), remedy: remedy.into() }
    }

    /// Names the entry concerned.
    #[must_use]
    pub fn at(mut self, entry: &str) -> Self {
        self.entry = Some(entry.to_owned());
        self
    }

    /// The text for people: file, entry, rule, remedy. Bounded, without control characters.
    #[must_use]
    pub fn message(&self) -> String {
        let mut out = clipped(&self.file, 200);
        if let Some(entry) = &self.entry {
            out.push_str(", entry `");
            out.push_str(&clipped(entry, 200));
            out.push('`');
        }
        out.push_str(": ");
        out.extend(self.rule.chars().take(400));
        out.push_str(". ");
        out.extend(self.remedy.chars().take(300));
        out
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message())
    }
}

impl std::error::Error for Refusal {}

/// What can go wrong between zip and image: the input is refused, or the machine fails.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The customer's input.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The spool or the memory of this machine.
    #[error("reading or writing the spool failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Refusal> for ImageError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded_and_printable() {
        let refusal = Refusal::new(Reason::UnsafePath, "a\u{1b}[2J.zip", "rule", "remedy").at(&"x\n".repeat(500));
        let message = refusal.message();
        assert!(message.len() < 2048);
        assert!(!message.contains('\u{1b}') && !message.contains('\n'));
    }

    #[test]
    fn codes_are_camel_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let code = reason.as_str();
            assert!(
                code.chars().all(|c| c.is_ascii_alphanumeric()) && code.starts_with(|c: char| c.is_ascii_uppercase())
            );
            assert!(seen.insert(code));
        }
    }
}

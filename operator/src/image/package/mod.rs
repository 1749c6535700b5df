//! Content packages: identity, dependencies, filters, and what is embedded in them.

pub mod dependency;
pub mod filter;
pub mod id;
pub mod nested;
pub mod properties;
pub mod version;
pub mod xml;

use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

pub use dependency::{Dependency, VersionRange};
pub use filter::{Filter, WorkspaceFilter};
pub use id::PackageId;
pub use properties::Properties;
pub use version::Version;

use super::archive::{Archive, Entry};
use super::checks::{Facts, Remark, RuleId};
use super::failure::{ImageError, Reason, Refusal};
use super::limits::Limits;

/// A service that packages are installed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTier {
    /// Where content is made.
    Author,
    /// Where content is served.
    Publish,
}

impl ServiceTier {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::Author, Self::Publish];

    /// `author` or `publish`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Publish => "publish",
        }
    }
}

/// One content package with what its metadata says.
#[derive(Debug, Clone)]
pub struct Package {
    /// Identity.
    pub id: PackageId,
    /// Digest of the package file.
    pub sha256: Sha256Digest,
    /// Size of the package file.
    pub size: u64,
    /// File name, or `outer.zip!path/inner.zip` for a nested one.
    pub file: String,
    /// Where it is installed.
    pub tiers: Vec<ServiceTier>,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
    /// Declared type, as written.
    pub package_type: Option<String>,
    /// Roots and rules.
    pub filter: WorkspaceFilter,
    /// The package that carries this one.
    pub embedded_in: Option<PackageId>,
    /// `cloudManagerTarget=none`: built, but not deployed by itself.
    pub skipped: bool,
    /// What the checks of several packages together need to know.
    pub facts: Facts,
}

/// Metadata read from one archive.
#[derive(Debug)]
pub struct Metadata {
    /// Identity.
    pub id: PackageId,
    /// Properties.
    pub properties: Properties,
    /// Roots and rules.
    pub filter: WorkspaceFilter,
    /// Needs.
    pub dependencies: Vec<Dependency>,
    /// Remarks for people.
    pub remarks: Vec<Remark>,
}

/// Reads and checks the metadata of a content package.
///
/// # Errors
/// A refusal when metadata are missing or malformed.
pub fn metadata(archive: &Archive, limits: &Limits) -> Result<Metadata, ImageError> {
    let file = archive.file();
    let entry = archive.find("META-INF/vault/filter.xml").ok_or_else(|| {
        Refusal::new(
            Reason::FilterMissing,
            file,
            "a content package must have META-INF/vault/filter.xml",
            "Build it with the filevault-package-maven-plugin",
        )
    })?;
    let bad_filter = |rule: String| {
        Refusal::new(Reason::FilterInvalid, file, rule, "Correct the filter in the project")
            .at("META-INF/vault/filter.xml")
    };
    let filter = filter::parse(&archive.read(entry, limits.filter_bytes)?).map_err(bad_filter)?;
    let entry = archive.find("META-INF/vault/properties.xml").ok_or_else(|| {
        Refusal::new(
            Reason::PropertiesMissing,
            file,
            "a content package must have META-INF/vault/properties.xml, which states its group and name",
            "Build it with the filevault-package-maven-plugin",
        )
    })?;
    let bad_properties = |reason, rule: String| {
        Refusal::new(reason, file, rule, "Correct the package's properties in the project")
            .at("META-INF/vault/properties.xml")
    };
    let properties = properties::parse(&archive.read(entry, limits.properties_bytes)?)
        .map_err(|rule| bad_properties(Reason::PropertiesInvalid, rule))?;
    let id = PackageId::from_properties(&properties).map_err(|(reason, rule)| bad_properties(reason, rule))?;
    let mut remarks = check_stray(archive, limits)?;
    if let Some(format) = properties.get("packageFormatVersion")
        && format.trim().parse::<u32>().is_ok_and(|number| number > 2)
    {
        return Err(bad_properties(Reason::PackageFormat, format!("packageFormatVersion {format} is above 2")).into());
    }
    let dependencies = dependency::parse_list(properties.get("dependencies").unwrap_or_default())
        .map_err(|rule| bad_properties(Reason::DependencyInvalid, rule))?;
    if properties
        .get("dependencies")
        .is_some_and(|text| !text.trim().is_empty() && text.split(',').any(|part| part.trim().is_empty()))
    {
        remarks.push(Remark::new(RuleId::BlankDependency, "a blank entry in its dependencies is ignored"));
    }
    for (part, value) in [("group", id.group()), ("version", id.version())] {
        if value.is_empty() {
            remarks.push(Remark::new(RuleId::IdIncomplete, format!("it has no {part}")));
        }
    }
    Ok(Metadata { id, properties, filter, dependencies, remarks })
}

/// FileVault takes whatever is below `META-INF` for package metadata by its base name, the last one wins
/// (`aem-artifacts.md` §1.1). We read one place, so a second file must say the same.
fn check_stray(archive: &Archive, limits: &Limits) -> Result<Vec<Remark>, ImageError> {
    let file = archive.file();
    let mut remarks = Vec::new();
    for (name, limit) in [("properties.xml", limits.properties_bytes), ("filter.xml", limits.filter_bytes)] {
        let ours = format!("META-INF/vault/{name}");
        let stray = |entry: &&Entry| {
            let base = entry.name.rsplit('/').next();
            entry.name.starts_with("META-INF/") && *entry.name != *ours && base == Some(name)
        };
        let strays: Vec<&Entry> = archive.entries().iter().filter(stray).take(MAX_STRAY + 1).collect();
        let (Some(first), Some(known)) = (strays.first(), archive.find(&ours)) else { continue };
        let known = archive.read(known, limit)?;
        let mut same = strays.len() <= MAX_STRAY;
        for entry in &strays {
            same = same && archive.read(entry, limit)? == known;
        }
        if !same {
            let rule = format!("the package manager may read it for {ours}, and it says something else");
            return Err(Refusal::new(Reason::StrayMetadata, file, rule, "Remove the file").at(&first.name).into());
        }
        remarks.push(Remark::new(RuleId::StrayMetadata, format!("it has the content of {ours}")).at(&first.name));
    }
    Ok(remarks)
}

/// Copies of package metadata that are compared; nobody has more for a good reason.
const MAX_STRAY: usize = 4;

/// Rules about entries that hold for content packages alone.
///
/// # Errors
/// A refusal that names the entry.
pub fn check_entries(archive: &Archive) -> Result<(), ImageError> {
    use super::archive::EntryKind;
    if !archive.has_prefix("jcr_root") {
        let rule = "a content package must have a folder jcr_root, even an empty one";
        let remedy = "Build it with the filevault-package-maven-plugin";
        return Err(Refusal::new(Reason::JcrRootMissing, archive.file(), rule, remedy).into());
    }
    for entry in archive.entries() {
        if entry.kind == EntryKind::Link {
            return Err(Refusal::new(
                Reason::LinkInPackage,
                archive.file(),
                "a content package may not have symbolic links",
                "Replace the link by the file it points to",
            )
            .at(&entry.name)
            .into());
        }
        if entry.name.contains('\\') {
            return Err(Refusal::new(
                Reason::UnsafePath,
                archive.file(),
                "the name has a backslash",
                "Zip it with a tool that writes `/` between folders",
            )
            .at(&entry.name)
            .into());
        }
    }
    Ok(())
}

//! From a set of zips to what has to be built.

mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::archive::{Archive, Entry, EntryKind};
use super::blob::{Blob, Hasher, Spool};
use super::classify::{Flavour, Kind, classify};
use super::dispatcher::{self, BaseFiles, DispatcherTree};
use super::failure::{ImageError, Reason, Refusal};
use super::limits::Limits;
use super::order::{self, DEFAULT_PROVIDED};
use super::package::nested::{self, Handling, Place};
use super::package::{self, Metadata, Package, PackageId, ServiceTier};

pub use layers::{NamedLayer, file_name};

/// One file of the artifact.
#[derive(Debug, Clone)]
pub struct Input {
    /// File name.
    pub name: String,
    /// Content.
    pub blob: Blob,
    /// Digest of the content.
    pub sha256: Sha256Digest,
}

/// What a caller may choose.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Bounds.
    pub limits: Limits,
    /// Prefixes of `group:name` that the runtime brings along.
    pub provided: Vec<String>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), provided: DEFAULT_PROVIDED.map(str::to_owned).to_vec() }
    }
}

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

/// A remark that does not stop the build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// File concerned.
    pub file: String,
    /// Text for people.
    pub message: String,
}

/// What has to be built.
#[derive(Debug, Clone)]
pub struct BuildPlan {
    /// All packages in install order, embedded ones included.
    pub packages: Vec<Package>,
    /// Content of the packages at top level.
    pub content: BTreeMap<PackageId, Blob>,
    /// The dispatcher configuration, if there is one.
    pub dispatcher: Option<DispatcherTree>,
}

/// The result of planning: the record of every file, and the plan or why there is none.
#[derive(Debug)]
pub struct Planned {
    /// Every file, sorted by name.
    pub files: Vec<FileReport>,
    /// Remarks, sorted and bounded.
    pub findings: Vec<Finding>,
    /// The plan.
    pub plan: Result<BuildPlan, Box<Refusal>>,
}

/// Classifies and checks all files and orders the packages. The order of the inputs does not matter.
///
/// # Errors
/// Only when the spool fails; refusals of the input are part of the result.
pub fn plan(mut inputs: Vec<Input>, base: &BaseFiles, options: &PlanOptions, spool: &Spool) -> io::Result<Planned> {
    inputs.sort_by(|a, b| (&a.name, a.sha256).cmp(&(&b.name, b.sha256)));
    let mut work = Planner {
        base,
        options,
        spool,
        packages: Vec::new(),
        content: BTreeMap::new(),
        dispatchers: Vec::new(),
        remarks: Vec::new(),
    };
    let mut files = Vec::with_capacity(inputs.len());
    let mut first: Option<Refusal> = None;
    for input in &inputs {
        let mut report = FileReport {
            name: input.name.clone(),
            sha256: input.sha256,
            size: input.blob.len(),
            kind: FileKind::Ignored,
            reason: None,
            message: None,
            id: None,
            tiers: Vec::new(),
            embedded: Vec::new(),
            flavour: None,
        };
        match work.inspect(input, &mut report) {
            Ok(()) => {}
            Err(ImageError::Refused(refusal)) => {
                report.kind = FileKind::Rejected;
                report.reason = Some(refusal.reason);
                report.message = Some(refusal.message());
                first.get_or_insert(*refusal);
            }
            Err(ImageError::Io(error)) => return Err(error),
        }
        files.push(report);
    }
    let mut remarks = std::mem::take(&mut work.remarks);
    let plan = match first {
        Some(refusal) => Err(Box::new(refusal)),
        None => match work.finish(&files, &mut remarks) {
            Ok(plan) => Ok(plan),
            Err(ImageError::Refused(refusal)) => Err(refusal),
            Err(ImageError::Io(error)) => return Err(error),
        },
    };
    let sorted: BTreeSet<Finding> = remarks.into_iter().map(|(file, message)| Finding { file, message }).collect();
    let total = sorted.len();
    let mut findings: Vec<Finding> = sorted.into_iter().take(options.limits.findings).collect();
    if total > findings.len() {
        findings.push(Finding {
            file: String::new(),
            message: format!("{} more remarks are not listed", total - findings.len()),
        });
    }
    Ok(Planned { files, findings, plan })
}

struct Planner<'a> {
    base: &'a BaseFiles,
    options: &'a PlanOptions,
    spool: &'a Spool,
    packages: Vec<Package>,
    content: BTreeMap<PackageId, Blob>,
    dispatchers: Vec<(String, DispatcherTree)>,
    remarks: Vec<(String, String)>,
}

/// A package that contains the one being read.
struct Container<'a> {
    id: &'a PackageId,
    tiers: &'a [ServiceTier],
    depth: usize,
}

impl Planner<'_> {
    fn inspect(&mut self, input: &Input, report: &mut FileReport) -> Result<(), ImageError> {
        let archive = Archive::open(&input.blob, &input.name, &self.options.limits)?;
        match classify(&archive)? {
            Kind::Ignored(why) => report.message = Some(why),
            Kind::Dispatcher(flavour) => {
                report.flavour = Some(flavour);
                let tree = dispatcher::read(&archive, flavour, self.base, &self.options.limits)?;
                report.kind = FileKind::Dispatcher;
                self.remarks.extend(tree.remarks.iter().map(|remark| (input.name.clone(), remark.clone())));
                self.dispatchers.push((input.name.clone(), tree));
            }
            Kind::ContentPackage => {
                package::check_entries(&archive)?;
                let metadata = package::metadata(&archive, &self.options.limits)?;
                report.id = Some(metadata.id.to_string());
                if metadata.properties.get("cloudManagerTarget").map(str::trim) == Some("none") {
                    report.message =
                        Some("cloudManagerTarget=none: it is built, but not deployed by itself".to_owned());
                    return Ok(());
                }
                let id = metadata.id.clone();
                let start = self.packages.len();
                self.add(&archive, metadata, input.sha256, input.blob.len(), &ServiceTier::BOTH, None)?;
                report.kind = FileKind::ContentPackage;
                report.tiers = ServiceTier::BOTH.to_vec();
                report.embedded = self.packages[start + 1..].iter().map(|package| package.id.to_string()).collect();
                self.content.insert(id, input.blob.clone());
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        archive: &Archive,
        metadata: Metadata,
        sha256: Sha256Digest,
        size: u64,
        tiers: &[ServiceTier],
        container: Option<&Container<'_>>,
    ) -> Result<(), ImageError> {
        if self.packages.len() >= self.options.limits.packages {
            return Err(Refusal::new(
                Reason::TooManyPackages,
                archive.file(),
                format!("more than {} packages with the embedded ones", self.options.limits.packages),
                "Deliver fewer packages",
            )
            .into());
        }
        let Metadata { id, properties, filter, dependencies, remarks } = metadata;
        self.remarks.extend(remarks.into_iter().map(|remark| (archive.file().to_owned(), remark)));
        let package_type = properties.get("packageType").map(str::to_owned);
        if package_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("mixed")) {
            self.remark(archive, "its type is mixed: cloud services refuse such packages");
        }
        self.packages.push(Package {
            id: id.clone(),
            sha256,
            size,
            file: archive.file().to_owned(),
            tiers: tiers.to_vec(),
            dependencies,
            package_type,
            filter,
            embedded_in: container.map(|container| container.id.clone()),
            skipped: false,
        });
        let here = Container { id: &id, tiers, depth: container.map_or(0, |container| container.depth) + 1 };
        for entry in archive.entries() {
            if entry.kind != EntryKind::File {
                continue;
            }
            match nested::place(&entry.name) {
                None => archive.copy(entry, &mut io::sink())?,
                Some(Place::WrongRunMode(folder)) => {
                    return Err(Refusal::new(
                        Reason::EmbeddedRunMode,
                        archive.file(),
                        format!("packages and bundles may be in install, install.author and install.publish, not in {folder}"),
                        "Move it, and put what differs between environments into configurations (config.<mode>)",
                    )
                    .at(&entry.name)
                    .into());
                }
                Some(Place::SubPackage) => {
                    self.nested(archive, entry, &here, &ServiceTier::BOTH, Some(&properties))?;
                }
                Some(Place::Embedded(folder)) => {
                    self.nested(archive, entry, &here, &folder, None)?;
                }
            }
        }
        Ok(())
    }

    fn remark(&mut self, archive: &Archive, text: impl Into<String>) {
        self.remarks.push((archive.file().to_owned(), text.into()));
    }

    fn nested(
        &mut self,
        archive: &Archive,
        entry: &Entry,
        container: &Container<'_>,
        folder: &[ServiceTier],
        handled_by: Option<&package::Properties>,
    ) -> Result<(), ImageError> {
        let name = format!("{}!{}", archive.file(), entry.name);
        if container.depth >= self.options.limits.nesting {
            return Err(Refusal::new(
                Reason::NestingTooDeep,
                archive.file(),
                format!("packages are nested more than {} deep", self.options.limits.nesting),
                "Flatten the containers",
            )
            .at(&entry.name)
            .into());
        }
        let (blob, sha256) = self.unpack(archive, entry)?;
        let inner = Archive::open(&blob, &name, &self.options.limits)?;
        match classify(&inner)? {
            Kind::ContentPackage => {}
            Kind::Dispatcher(_) | Kind::Ignored(_) => {
                self.remark(
                    archive,
                    format!("{} is not a content package; the runtime will not install it", entry.name),
                );
                return Ok(());
            }
        }
        package::check_entries(&inner)?;
        let metadata = package::metadata(&inner, &self.options.limits)?;
        if let Some(properties) = handled_by {
            let option = match nested::handling(properties, metadata.id.group(), metadata.id.name()) {
                Handling::Install => None,
                Handling::Extract => Some("extracts its content without registering it"),
                Handling::Add => Some("adds it without installing it"),
                Handling::Ignore => Some("ignores it"),
            };
            if let Some(option) = option {
                self.remark(
                    archive,
                    format!("subPackageHandling {option}: {}; its installation is not proved", metadata.id),
                );
                return Ok(());
            }
        }
        let tiers: Vec<ServiceTier> = container.tiers.iter().filter(|tier| folder.contains(tier)).copied().collect();
        if tiers.is_empty() {
            self.remark(archive, format!("{} is for a service on which its container is never installed", metadata.id));
            return Ok(());
        }
        self.add(&inner, metadata, sha256, blob.len(), &tiers, Some(container))
    }

    /// Gives random access to a nested file: in place when it is stored, through the spool when it is compressed.
    fn unpack(&self, archive: &Archive, entry: &Entry) -> Result<(Blob, Sha256Digest), ImageError> {
        if let Some(blob) = archive.stored(entry) {
            let mut hasher = Hasher::new();
            archive.copy(entry, &mut hasher)?;
            return Ok((blob, hasher.finish()));
        }
        let mut tee = Tee { file: self.spool.file()?, hasher: Hasher::new() };
        archive.copy(entry, &mut tee)?;
        Ok((Blob::from_file(tee.file)?, tee.hasher.finish()))
    }

    fn finish(self, files: &[FileReport], remarks: &mut Vec<(String, String)>) -> Result<BuildPlan, ImageError> {
        if self.content.is_empty() && self.dispatchers.is_empty() {
            let rule = if files.is_empty() {
                "the artifact has no files".to_owned()
            } else {
                let mut why: Vec<String> = files
                    .iter()
                    .filter_map(|file| Some(format!("{} ({})", file.name, file.message.as_ref()?)))
                    .take(3)
                    .collect();
                if files.len() > why.len() {
                    why.push("…".to_owned());
                }
                format!("none of the {} files is deployed: {}", files.len(), why.join(", "))
            };
            let remedy = "Push the target folders of a project that builds content packages, or its dispatcher zip";
            return Err(Refusal::new(Reason::NoArtifacts, "artifact", rule, remedy).into());
        }
        let mut dispatchers = self.dispatchers.into_iter();
        let dispatcher = dispatchers.next();
        if let (Some((first, _)), Some((second, _))) = (&dispatcher, dispatchers.next()) {
            return Err(Refusal::new(
                Reason::SeveralDispatchers,
                &second,
                format!("{first} is a dispatcher configuration too, and a release has one"),
                "Push only one of them",
            )
            .into());
        }
        let packages = order::dedupe(self.packages, remarks)?;
        let packages = order::order(packages, &self.options.provided, remarks)?;
        let kept: BTreeSet<&PackageId> =
            packages.iter().filter(|package| package.embedded_in.is_none()).map(|package| &package.id).collect();
        let content = self.content.into_iter().filter(|(id, _)| kept.contains(id)).collect();
        Ok(BuildPlan { packages, content, dispatcher: dispatcher.map(|(_, tree)| tree) })
    }
}

struct Tee {
    file: std::fs::File,
    hasher: Hasher,
}

impl Write for Tee {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buf)?;
        self.hasher.update(&buf[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests;

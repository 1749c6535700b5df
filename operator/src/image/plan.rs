//! From a set of zips to what has to be built.

mod digests;
mod layers;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use launchway_crds::digest::Sha256Digest;

use super::archive::{Archive, Entry, EntryKind};
use super::blob::{Blob, Hasher, Spool};
use super::checks::{self, Facts, Findings, PackageCheck, Profile, RuleId, Tally};
use super::classify::{Kind, classify};
use super::dispatcher::{self, BaseFiles, DispatcherTree};
use super::failure::{ImageError, Reason, Refusal};
use super::limits::Limits;
use super::order::{self, DEFAULT_PROVIDED};
use super::package::nested::{self, Handling, Place};
use super::package::{self, Metadata, Package, PackageId, ServiceTier};

pub use super::checks::Finding;
use digests::Hashed;
pub use launchway_crds::step::Metric;
pub use layers::{NamedLayer, PACKAGE_DIGEST, file_name};
pub use report::{FileKind, FileReport};

/// One file of the artifact.
#[derive(Debug, Clone)]
pub struct Input {
    /// File name.
    pub name: String,
    /// Content.
    pub blob: Blob,
    /// Digest of the content; `None` to have it computed beside the checks, which read the same bytes.
    pub sha256: Option<Sha256Digest>,
}

/// What a caller may choose.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Bounds.
    pub limits: Limits,
    /// Prefixes of `group:name` that the runtime brings along.
    pub provided: Vec<String>,
    /// Whose rules decide how grave a finding is.
    pub profile: Profile,
    /// Whether a dispatcher configuration that changes files of the base image is refused. Else the base's are kept.
    pub refuse_changed: bool,
    /// Whether a dispatcher image is built alone: content packages are left out, and a dispatcher configuration has to be there.
    pub web_tier: bool,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self::with_provided(&[])
    }
}

impl PlanOptions {
    /// The defaults, with packages that the runtime brings along besides those of the product. Everybody who plans a
    /// build for a pipeline makes the options here, so that all of them decide alike.
    #[must_use]
    pub fn with_provided(provided: &[String]) -> Self {
        let own = provided.iter().filter(|prefix| !prefix.is_empty()).cloned();
        Self {
            limits: Limits::default(),
            provided: DEFAULT_PROVIDED.iter().map(|prefix| (*prefix).to_owned()).chain(own).collect(),
            profile: Profile::default(),
            refuse_changed: false,
            web_tier: false,
        }
    }
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
    /// Findings, gravest first, bounded.
    pub findings: Vec<Finding>,
    /// How often each rule was broken, findings that are not listed included.
    pub tally: Tally,
    /// What the code quality gate makes of the findings.
    pub metrics: Vec<Metric>,
    /// The plan.
    pub plan: Result<BuildPlan, Box<Refusal>>,
}

/// Classifies and checks all files and orders the packages. The order of the inputs does not matter.
///
/// # Errors
/// Only when a file cannot be read or the spool fails; refusals of the input are part of the result.
pub fn plan(mut inputs: Vec<Input>, base: &BaseFiles, options: &PlanOptions, spool: &Spool) -> io::Result<Planned> {
    inputs.sort_by(|a, b| (&a.name, a.sha256).cmp(&(&b.name, b.sha256)));
    digests::beside(&inputs, |digests| plan_sorted(digests, base, options, spool))?
}

fn plan_sorted(inputs: &[Hashed<'_>], base: &BaseFiles, options: &PlanOptions, spool: &Spool) -> io::Result<Planned> {
    let mut work = Planner {
        base,
        options,
        spool,
        packages: Vec::new(),
        content: BTreeMap::new(),
        dispatchers: Vec::new(),
        findings: Findings::new(options.profile),
        unpacked: 0,
        metadata: 0,
    };
    let mut files = Vec::with_capacity(inputs.len());
    let mut first: Option<Refusal> = None;
    for hashed in inputs {
        let mut report = FileReport::new(hashed.input);
        let inspected = work.inspect(hashed, &mut report);
        report.sha256 = hashed.digest()?;
        match inspected {
            Ok(()) => {}
            Err(ImageError::Refused(refusal)) => {
                report.reject(&refusal);
                first.get_or_insert(*refusal);
            }
            Err(ImageError::Io(error)) => return Err(error),
        }
        files.push(report);
    }
    let mut findings = std::mem::take(&mut work.findings);
    let plan = match first {
        Some(refusal) => Err(Box::new(refusal)),
        None => match work.finish(&files, &mut findings) {
            Ok(plan) => Ok(plan),
            Err(ImageError::Refused(refusal)) => Err(refusal),
            Err(ImageError::Io(error)) => return Err(error),
        },
    };
    let (findings, tally) = findings.finish(options.limits.findings);
    let metrics = checks::metrics(&tally, options.profile);
    Ok(Planned { files, findings, tally, metrics, plan })
}

struct Planner<'a> {
    base: &'a BaseFiles,
    options: &'a PlanOptions,
    spool: &'a Spool,
    packages: Vec<Package>,
    content: BTreeMap<PackageId, Blob>,
    dispatchers: Vec<(String, DispatcherTree)>,
    findings: Findings,
    unpacked: u64,
    metadata: u64,
}

/// A package that contains the one being read.
struct Container<'a> {
    id: &'a PackageId,
    tiers: &'a [ServiceTier],
    depth: usize,
}

impl Planner<'_> {
    fn inspect(&mut self, hashed: &Hashed<'_>, report: &mut FileReport) -> Result<(), ImageError> {
        let input = hashed.input;
        let archive = Archive::open(&input.blob, &input.name, &self.options.limits)?;
        self.findings.extend(&input.name, archive.remarks().iter().cloned());
        match classify(&archive)? {
            Kind::Ignored(why) => report.message = Some(why),
            Kind::Dispatcher(flavour) => {
                report.flavour = Some(flavour);
                let tree = dispatcher::read(&archive, flavour, self.base, &self.options.limits)?;
                if let Some(path) = tree.changed.first().filter(|_| self.options.refuse_changed) {
                    let rule = "it belongs to the base image and is changed";
                    let remedy = RuleId::ImmutableFileChanged.rule().remedy;
                    return Err(Refusal::new(Reason::ImmutableChanged, &input.name, rule, remedy).at(path).into());
                }
                report.kind = FileKind::Dispatcher;
                self.findings.extend(&input.name, tree.remarks.iter().cloned());
                self.dispatchers.push((input.name.clone(), tree));
            }
            Kind::ContentPackage if self.options.web_tier => {
                report.message = Some("a web-tier pipeline takes the dispatcher configuration alone".to_owned());
            }
            Kind::ContentPackage => {
                package::check_entries(&archive)?;
                let metadata = package::metadata(&archive, &self.options.limits)?;
                report.id = Some(metadata.id.to_string());
                report.package_type = metadata.properties.get("packageType").map(str::to_owned);
                report.dependencies = metadata.dependencies.iter().map(ToString::to_string).collect();
                if metadata.properties.get("cloudManagerTarget").map(str::trim) == Some("none") {
                    report.message =
                        Some("cloudManagerTarget=none: it is built, but not deployed by itself".to_owned());
                    return Ok(());
                }
                let id = metadata.id.clone();
                let start = self.packages.len();
                self.add(&archive, &metadata, (&|| hashed.digest(), input.blob.len()), &ServiceTier::BOTH, None)?;
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
        metadata: &Metadata,
        (digest, size): (&dyn Fn() -> io::Result<Sha256Digest>, u64),
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
        self.count(archive)?;
        let file = archive.file();
        self.findings.extend(file, metadata.remarks.iter().cloned());
        let facts = self.check(archive, metadata)?;
        let id = metadata.id.clone();
        self.packages.push(Package {
            id: id.clone(),
            sha256: digest()?,
            size,
            file: file.to_owned(),
            tiers: tiers.to_vec(),
            dependencies: metadata.dependencies.clone(),
            package_type: metadata.properties.get("packageType").map(str::to_owned),
            filter: metadata.filter.clone(),
            embedded_in: container.map(|container| container.id.clone()),
            skipped: false,
            facts,
        });
        let here = Container { id: &id, tiers, depth: container.map_or(0, |container| container.depth) + 1 };
        for entry in archive.entries() {
            if entry.kind != EntryKind::File {
                continue;
            }
            match nested::place(&entry.name) {
                None => {}
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
                    self.nested(archive, entry, &here, &ServiceTier::BOTH, Some(&metadata.properties))?;
                }
                Some(Place::Embedded(folder)) => {
                    self.nested(archive, entry, &here, &folder, None)?;
                }
            }
        }
        Ok(())
    }

    /// Unpacks everything of a package but the packages in it, and checks it on the way.
    fn check(&mut self, archive: &Archive, metadata: &Metadata) -> Result<Facts, ImageError> {
        let mut check = PackageCheck::new(archive.file(), &mut self.findings);
        for entry in archive.entries().iter().filter(|entry| entry.kind == EntryKind::File) {
            let mut content = None;
            if PackageCheck::wants(&entry.name, entry.size) {
                content = Some(archive.read(entry, entry.size)?);
            } else if nested::place(&entry.name).is_none() {
                archive.copy(entry, &mut io::sink())?;
            }
            check.entry(&entry.name, content.as_deref());
        }
        Ok(check.finish(metadata, archive.entries().iter().map(|entry| &*entry.name)))
    }

    /// Holds the whole build to its bounds: a package in a package in a package may unpack to any size.
    fn count(&mut self, archive: &Archive) -> Result<(), ImageError> {
        let limits = &self.options.limits;
        let size = |name: &str| archive.find(name).map_or(0, |entry| entry.size);
        self.unpacked = self.unpacked.saturating_add(archive.unpacked());
        self.metadata = self
            .metadata
            .saturating_add(size("META-INF/vault/filter.xml"))
            .saturating_add(size("META-INF/vault/properties.xml"));
        for (what, found, allowed) in [
            ("the packages", self.unpacked, limits.build_bytes),
            ("the filters and properties of the packages", self.metadata, limits.metadata_bytes),
        ] {
            if found > allowed {
                let rule = format!("{what} unpack to more than {allowed} bytes together");
                return Err(
                    Refusal::new(Reason::TooLarge, archive.file(), rule, "Deliver fewer or smaller packages").into()
                );
            }
        }
        Ok(())
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
        self.findings.extend(&name, inner.remarks().iter().cloned());
        match classify(&inner)? {
            Kind::ContentPackage => {}
            Kind::Dispatcher(_) | Kind::Ignored(_) => {
                let message = "it is not a content package; the runtime will not install it";
                self.findings.entry(RuleId::NotAPackage, archive.file(), &entry.name, message);
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
                let message = format!("subPackageHandling {option}: {}; its installation is not proved", metadata.id);
                self.findings.entry(RuleId::SubPackageHandling, archive.file(), &entry.name, message);
                return Ok(());
            }
        }
        let tiers: Vec<ServiceTier> = container.tiers.iter().filter(|tier| folder.contains(tier)).copied().collect();
        if tiers.is_empty() {
            let message = format!("{} is for a service on which its container is never installed", metadata.id);
            self.findings.entry(RuleId::NeverInstalled, archive.file(), &entry.name, message);
            return Ok(());
        }
        self.add(&inner, &metadata, (&|| Ok(sha256), blob.len()), &tiers, Some(container))
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

    fn finish(self, files: &[FileReport], findings: &mut Findings) -> Result<BuildPlan, ImageError> {
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
            let remedy = if self.options.web_tier {
                "Push the zip of the project's dispatcher module"
            } else {
                "Push the target folders of a project that builds content packages, or its dispatcher zip"
            };
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
        let packages = order::dedupe(self.packages, findings)?;
        let packages = order::order(packages, &self.options.provided, findings)?;
        checks::together::check(&packages, findings);
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

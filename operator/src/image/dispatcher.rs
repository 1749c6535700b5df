//! Dispatcher configurations: a checked tree of files and links that becomes one layer over the base image.

use std::collections::{BTreeMap, BTreeSet};

mod any;
mod baselines;
mod farm;
mod links;
mod vhost;

use super::archive::{Archive, EntryKind};
use super::blob::{Blob, Hasher};
use super::checks::{Remark, RuleId};
use super::classify::Flavour;
use super::contract::RuntimeContract;
use super::failure::{ImageError, Reason, Refusal};
use super::layer::{Content, EPOCH, LayerEntry};
use super::limits::Limits;
pub use any::parse as parse_any;

/// A file or link of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Content.
    File(Vec<u8>),
    /// Relative target inside the tree.
    Link(String),
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct DispatcherTree {
    /// Dialect.
    pub flavour: Flavour,
    /// Nodes by path relative to the configuration folder.
    pub nodes: BTreeMap<String, Node>,
    /// What was found besides.
    pub remarks: Vec<Remark>,
    /// Files of the base image that were changed, where their baselines are known.
    pub changed: Vec<String>,
}

const ROOTS: [&str; 5] = ["conf", "conf.d", "conf.dispatcher.d", "conf.modules.d", "opt-in"];

/// What the base image keeps: paths relative to the configuration folder.
#[derive(Debug, Clone, Default)]
pub struct BaseFiles {
    /// Absolute configuration folder, e.g. `/etc/httpd`.
    pub config_path: String,
    /// Files that a customer's configuration never replaces.
    pub immutable: BTreeSet<String>,
}

impl BaseFiles {
    /// What a base image's contract says.
    #[must_use]
    pub fn of(contract: &RuntimeContract) -> Self {
        Self {
            config_path: contract.config_path.clone().unwrap_or_default(),
            immutable: contract.immutable_files.iter().cloned().collect(),
        }
    }

    /// What is assumed where no base image is at hand: the usual folder, and nothing that is kept.
    #[must_use]
    pub fn unknown() -> Self {
        Self { config_path: "/etc/httpd".to_owned(), immutable: BTreeSet::new() }
    }
}

/// Reads and checks a configuration.
///
/// # Errors
/// A refusal that names the entry, or an I/O error.
pub fn read(
    archive: &Archive,
    flavour: Flavour,
    base: &BaseFiles,
    limits: &Limits,
) -> Result<DispatcherTree, ImageError> {
    let mut tree = DispatcherTree { flavour, nodes: BTreeMap::new(), remarks: Vec::new(), changed: Vec::new() };
    if flavour == Flavour::Legacy {
        let message = "deprecated configuration layout (no opt-in/USE_SOURCES_DIRECTLY): it is used as it is";
        tree.remarks.push(Remark::new(RuleId::LegacyDispatcher, message));
    }
    load(archive, base, limits, &mut tree)?;
    check_case(archive, &tree)?;
    links::rebuild_links(base, &mut tree);
    links::check_links(archive, base, &tree)?;
    check_complete(archive, base, &tree)?;
    let mut remarks = farm::check(&tree, base);
    remarks.extend(vhost::check(&tree, base));
    tree.remarks.extend(remarks);
    drop_immutable(base, &mut tree);
    Ok(tree)
}

/// Leaves out what belongs to the base image, and says what was changed of it.
fn drop_immutable(base: &BaseFiles, tree: &mut DispatcherTree) {
    let state = |path: &str, node: &Node| match node {
        Node::File(bytes) => baselines::state(tree.flavour, path, bytes),
        Node::Link(_) => baselines::State::Unknown,
    };
    let states: Vec<(String, baselines::State)> =
        tree.nodes.iter().map(|(path, node)| (path.clone(), state(path, node))).collect();
    for (path, state) in states {
        let kept = base.immutable.contains(&path);
        let (rule, message) = match state {
            baselines::State::Changed if kept => (RuleId::ImmutableFileChanged, "kept the base's file".to_owned()),
            baselines::State::Changed => (RuleId::ImmutableFileChanged, "differs from every known baseline".to_owned()),
            baselines::State::Baseline(name) if kept => {
                (RuleId::ImmutableFile, format!("kept the base's file; the package has that of {name}"))
            }
            baselines::State::Unknown if kept => (RuleId::ImmutableFile, "kept the base's file".to_owned()),
            baselines::State::Baseline(_) | baselines::State::Unknown => continue,
        };
        tree.remarks.push(Remark::new(rule, message).at(&path));
        if kept {
            tree.nodes.remove(&path);
        }
        if rule == RuleId::ImmutableFileChanged {
            tree.changed.push(path);
        }
    }
}

fn refuse(archive: &Archive, reason: Reason, entry: &str, rule: impl Into<String>, remedy: &str) -> ImageError {
    Refusal::new(reason, archive.file(), rule, remedy).at(entry).into()
}

fn load(archive: &Archive, base: &BaseFiles, limits: &Limits, tree: &mut DispatcherTree) -> Result<(), ImageError> {
    if archive.is_backslash_zip() {
        let message = "the zip separates folders by backslashes; they are read as /";
        tree.remarks.push(Remark::new(RuleId::BackslashNames, message));
    }
    let mut total = 0_u64;
    let mut outside = BTreeSet::new();
    for entry in archive.entries() {
        let path = match (archive.has_backslashes(), archive.is_backslash_zip()) {
            (true, false) if entry.name.contains('\\') => {
                return Err(refuse(
                    archive,
                    Reason::UnsafePath,
                    &entry.name,
                    "the name has a backslash",
                    "Zip it again with `/` between folders",
                ));
            }
            (true, true) => entry.name.replace('\\', "/"),
            _ => entry.name.to_string(),
        };
        if entry.kind == EntryKind::Folder {
            continue;
        }
        let top = path.split('/').next().unwrap_or_default();
        if !path.contains('/') || !ROOTS.contains(&top) {
            outside.insert(top.to_owned());
            continue;
        }
        total = total.saturating_add(entry.size);
        if tree.nodes.len() >= limits.dispatcher_files || total > limits.dispatcher_bytes {
            let rule = format!(
                "more than {} files or {} bytes of configuration",
                limits.dispatcher_files, limits.dispatcher_bytes
            );
            return Err(refuse(
                archive,
                Reason::TooLarge,
                &entry.name,
                rule,
                "Deliver only the configuration in this zip",
            ));
        }
        let bytes = archive.read(entry, limits.dispatcher_bytes)?;
        let node = if entry.kind == EntryKind::Link {
            let Ok(target) = String::from_utf8(bytes) else {
                return Err(refuse(
                    archive,
                    Reason::LinkEscapes,
                    &entry.name,
                    "the link's target is not UTF-8",
                    "Correct the link",
                ));
            };
            Node::Link(target)
        } else {
            Node::File(bytes)
        };
        let node = match node {
            Node::Link(target) => Node::Link(links::relative_target(archive, base, &path, &target, &mut tree.remarks)?),
            file @ Node::File(_) => file,
        };
        tree.nodes.insert(path, node);
    }
    if !outside.is_empty() {
        let names: Vec<String> = outside.into_iter().take(10).collect();
        let message = format!("not part of the configuration, left out: {}", names.join(", "));
        tree.remarks.push(Remark::new(RuleId::OutsideConfiguration, message));
    }
    Ok(())
}

fn check_case(archive: &Archive, tree: &DispatcherTree) -> Result<(), ImageError> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for path in tree.nodes.keys() {
        if let Some(other) = seen.insert(path.to_lowercase(), path) {
            return Err(refuse(
                archive,
                Reason::ConflictingEntries,
                path,
                format!("it differs from `{other}` only in upper and lower case"),
                "Rename one of them",
            ));
        }
    }
    Ok(())
}

fn check_complete(archive: &Archive, base: &BaseFiles, tree: &DispatcherTree) -> Result<(), ImageError> {
    let has =
        |prefix: &str, suffix: &str| tree.nodes.keys().any(|path| path.starts_with(prefix) && path.ends_with(suffix));
    let incomplete = |rule: String| {
        let remedy = "Missing files or folders would make the deployment fail: take them from the project archetype";
        Err(Refusal::new(Reason::DispatcherIncomplete, archive.file(), rule, remedy).into())
    };
    let folders: &[&str] = match tree.flavour {
        Flavour::Flexible | Flavour::Legacy => &["conf.d", "conf.dispatcher.d"],
        Flavour::Ams => &["conf", "conf.d", "conf.dispatcher.d", "conf.modules.d"],
    };
    for folder in folders {
        let prefix = format!("{folder}/");
        if !has(&prefix, "") && !base.immutable.iter().any(|path| path.starts_with(&prefix)) {
            return incomplete(format!("unable to locate a {folder} folder in the archive"));
        }
    }
    if tree.flavour == Flavour::Ams {
        for file in [
            "conf/httpd.conf",
            "conf.d/dispatcher_vhost.conf",
            "conf.dispatcher.d/dispatcher.any",
            "conf.modules.d/02-dispatcher.conf",
        ] {
            if !tree.nodes.contains_key(file) && !base.immutable.contains(file) {
                return incomplete(format!("{file} is missing"));
            }
        }
    }
    if !has("conf.d/enabled_vhosts/", ".vhost") {
        return incomplete("unable to find any virtual host in conf.d/enabled_vhosts (*.vhost)".to_owned());
    }
    let names = tree.nodes.keys().filter_map(|path| path.strip_prefix("conf.d/enabled_vhosts/"));
    let serves = |name: &str| !["author", "flush", "health", "_lc."].iter().any(|part| name.contains(part));
    if tree.flavour == Flavour::Ams && !names.filter(|name| name.ends_with(".vhost")).any(serves) {
        return incomplete("conf.d/enabled_vhosts has no virtual host for publish".to_owned());
    }
    let farm = match tree.flavour {
        Flavour::Ams => "_farm.any",
        Flavour::Flexible | Flavour::Legacy => ".farm",
    };
    if !has("conf.dispatcher.d/enabled_farms/", farm) {
        return incomplete(format!("unable to find any farm in conf.dispatcher.d/enabled_farms (*{farm})"));
    }
    Ok(())
}

impl DispatcherTree {
    /// The entries of the layer, below the base's configuration folder.
    #[must_use]
    pub fn layer_entries(&self, config_path: &str) -> Vec<LayerEntry> {
        let root = config_path.trim_matches('/');
        let mut folders = BTreeSet::new();
        let mut out = Vec::new();
        for (path, node) in &self.nodes {
            for (at, _) in path.match_indices('/') {
                folders.insert(path[..at].to_owned());
            }
            let content = match node {
                Node::File(bytes) => Content::File(Blob::from_bytes(bytes.clone()), 0o644),
                Node::Link(target) => Content::Link(target.clone()),
            };
            out.push(LayerEntry { path: format!("{root}/{path}"), content, mtime: EPOCH });
        }
        let folder =
            |path: String| LayerEntry { path: format!("{root}/{path}"), content: Content::Folder, mtime: EPOCH };
        out.extend(folders.into_iter().map(folder));
        out
    }

    /// A digest of the whole tree, for reports.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = Hasher::new();
        for (path, node) in &self.nodes {
            let (kind, bytes) = match node {
                Node::File(bytes) => ("file", bytes.as_slice()),
                Node::Link(target) => ("link", target.as_bytes()),
            };
            hasher.update(format!("{kind} {path} {}\n", bytes.len()).as_bytes());
            hasher.update(bytes);
        }
        hasher.finish().to_string()
    }
}

#[cfg(test)]
mod tests;

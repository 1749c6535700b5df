//! Dispatcher configurations: a checked tree of files and links that becomes one layer over the base image.

use std::collections::{BTreeMap, BTreeSet};

use super::archive::{Archive, EntryKind};
use super::blob::{Blob, Hasher};
use super::classify::Flavour;
use super::failure::{ImageError, Reason, Refusal};
use super::layer::{Content, EPOCH, LayerEntry};
use super::limits::Limits;

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
    /// Remarks for people.
    pub remarks: Vec<String>,
}

const ROOTS: [&str; 5] = ["conf", "conf.d", "conf.dispatcher.d", "conf.modules.d", "opt-in"];
const MAX_HOPS: usize = 40;

/// What the base image keeps: paths relative to the configuration folder.
#[derive(Debug, Clone, Default)]
pub struct BaseFiles {
    /// Absolute configuration folder, e.g. `/etc/httpd`.
    pub config_path: String,
    /// Files that a customer's configuration never replaces.
    pub immutable: BTreeSet<String>,
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
    let mut tree = DispatcherTree { flavour, nodes: BTreeMap::new(), remarks: Vec::new() };
    if flavour == Flavour::Legacy {
        tree.remarks
            .push("deprecated configuration layout (no opt-in/USE_SOURCES_DIRECTLY): it is used as it is".to_owned());
    }
    load(archive, base, limits, &mut tree)?;
    check_case(archive, &tree)?;
    rebuild_links(base, &mut tree);
    check_links(archive, base, &tree)?;
    check_complete(archive, base, &tree)?;
    let kept: Vec<String> = tree.nodes.keys().filter(|path| base.immutable.contains(*path)).cloned().collect();
    for path in kept {
        tree.nodes.remove(&path);
        tree.remarks.push(format!("{path}: kept the base's file"));
    }
    Ok(tree)
}

fn refuse(archive: &Archive, reason: Reason, entry: &str, rule: impl Into<String>, remedy: &str) -> ImageError {
    Refusal::new(reason, archive.file(), rule, remedy).at(entry).into()
}

fn load(archive: &Archive, base: &BaseFiles, limits: &Limits, tree: &mut DispatcherTree) -> Result<(), ImageError> {
    if archive.is_backslash_zip() {
        tree.remarks.push("the zip separates folders by backslashes; they are read as /".to_owned());
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
            Node::Link(target) => Node::Link(relative_target(archive, base, &path, &target, &mut tree.remarks)?),
            file @ Node::File(_) => file,
        };
        tree.nodes.insert(path, node);
    }
    if !outside.is_empty() {
        let names: Vec<String> = outside.into_iter().take(10).collect();
        tree.remarks.push(format!("not part of the configuration, left out: {}", names.join(", ")));
    }
    Ok(())
}

/// Absolute links below the configuration folder become relative; others are refused.
fn relative_target(
    archive: &Archive,
    base: &BaseFiles,
    path: &str,
    target: &str,
    remarks: &mut Vec<String>,
) -> Result<String, ImageError> {
    if target.is_empty() || target.len() > 1024 || target.chars().any(char::is_control) || target.contains('\\') {
        return Err(refuse(
            archive,
            Reason::LinkEscapes,
            path,
            format!("`{}` cannot be a link's target", target.escape_debug()),
            "Correct the link",
        ));
    }
    if !target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let folder = base.config_path.trim_end_matches('/');
    let inside = [folder, "/etc/httpd"]
        .iter()
        .filter(|folder| !folder.is_empty())
        .find_map(|folder| target.strip_prefix(folder)?.strip_prefix('/'));
    let Some(inside) = inside else {
        return Err(refuse(
            archive,
            Reason::LinkEscapes,
            path,
            format!("the link points to {target}, outside of the configuration"),
            "Make it a relative link inside the configuration",
        ));
    };
    let up = "../".repeat(path.matches('/').count());
    remarks.push(format!("{path}: the absolute link to {target} was made relative"));
    Ok(format!("{up}{inside}"))
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

/// Files in `enabled_*` folders that only hold `../available_…` are links that a Windows checkout wrote as text.
fn rebuild_links(base: &BaseFiles, tree: &mut DispatcherTree) {
    let mut links = Vec::new();
    for (path, node) in &tree.nodes {
        let Node::File(bytes) = node else { continue };
        if !path.split('/').any(|part| part.starts_with("enabled_")) || bytes.len() > 1024 {
            continue;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            continue;
        };
        let target = text.trim_end_matches(['\r', '\n']);
        if !target.starts_with("../available_") || target.contains(char::is_whitespace) {
            continue;
        }
        match join(path, target) {
            Some(resolved) if tree.nodes.contains_key(&resolved) || base.immutable.contains(&resolved) => {
                links.push((path.clone(), target.to_owned()));
            }
            _ => {
                tree.remarks
                    .push(format!("{path} looks like a link to {target}, which does not exist; kept as a file"));
            }
        }
    }
    for (path, target) in links {
        tree.remarks.push(format!("{path} was a file with a link's text and is a link again"));
        tree.nodes.insert(path, Node::Link(target));
    }
}

/// Resolves a relative target lexically. `None` when it leaves the tree.
fn join(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

enum Resolved {
    Exists,
    Escapes,
    Dangling(String),
    Loop,
}

/// Follows a link as the kernel does: part by part, and each link on the way before the `..` behind it. A lexical
/// reading would take `link/../x` for a neighbour of the link, where the kernel takes one of the link's target.
fn resolve(tree: &DispatcherTree, base: &BaseFiles, path: &str, target: &str) -> Resolved {
    let folder = |at: &str| {
        let prefix = format!("{at}/");
        tree.nodes.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
            || base.immutable.iter().any(|path| path.starts_with(&prefix))
    };
    let mut here: Vec<String> = path.split('/').map(str::to_owned).collect();
    here.pop();
    let mut ahead: Vec<String> = target.rsplit('/').map(str::to_owned).collect();
    let mut hops = 0;
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                if here.pop().is_none() {
                    return Resolved::Escapes;
                }
                continue;
            }
            _ => here.push(part),
        }
        let at = here.join("/");
        if let Some(Node::Link(next)) = tree.nodes.get(&at) {
            hops += 1;
            if hops > MAX_HOPS {
                return Resolved::Loop;
            }
            here.pop();
            ahead.extend(next.rsplit('/').map(str::to_owned));
        } else if !folder(&at) {
            let file = tree.nodes.contains_key(&at) || base.immutable.contains(&at);
            if !file || !ahead.is_empty() {
                return Resolved::Dangling(at);
            }
        }
    }
    if here.is_empty() { Resolved::Escapes } else { Resolved::Exists }
}

fn check_links(archive: &Archive, base: &BaseFiles, tree: &DispatcherTree) -> Result<(), ImageError> {
    for (path, node) in &tree.nodes {
        let Node::Link(target) = node else { continue };
        let (reason, rule, remedy) = match resolve(tree, base, path, target) {
            Resolved::Exists => continue,
            Resolved::Escapes => (
                Reason::LinkEscapes,
                format!("the link to {target} leaves the configuration (parent directory outside server root)"),
                "Point it to a file inside the configuration",
            ),
            Resolved::Dangling(resolved) => (
                Reason::LinkDangling,
                format!("the link to {target} has no target: {resolved} does not exist"),
                "Add the file or remove the link",
            ),
            Resolved::Loop => (Reason::LinkLoop, format!("the link to {target} leads to itself"), "Point it to a file"),
        };
        return Err(refuse(archive, reason, path, rule, remedy));
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

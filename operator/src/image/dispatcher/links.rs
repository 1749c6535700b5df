//! Links of a configuration: made relative, repaired, resolved, and refused where they lead out.

use super::{BaseFiles, DispatcherTree, Node, refuse};
use crate::image::archive::Archive;
use crate::image::checks::{Remark, RuleId};
use crate::image::failure::{ImageError, Reason};

const MAX_HOPS: usize = 40;

/// Absolute links below the configuration folder become relative; others are refused.
pub(super) fn relative_target(
    archive: &Archive,
    base: &BaseFiles,
    path: &str,
    target: &str,
    remarks: &mut Vec<Remark>,
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
    let message = format!("the absolute link to {target} was made relative");
    remarks.push(Remark::new(RuleId::AbsoluteLink, message).at(path));
    Ok(format!("{up}{inside}"))
}

/// Files in `enabled_*` folders that only hold `../available_…` are links that a Windows checkout wrote as text.
pub(super) fn rebuild_links(base: &BaseFiles, tree: &mut DispatcherTree) {
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
                let message = format!("it looks like a link to {target}, which does not exist; kept as a file");
                tree.remarks.push(Remark::new(RuleId::PseudoLinkDangling, message).at(path));
            }
        }
    }
    for (path, target) in links {
        let message = "it was a file with a link's text and is a link again";
        tree.remarks.push(Remark::new(RuleId::PseudoLink, message).at(&path));
        tree.nodes.insert(path, Node::Link(target));
    }
}

/// Resolves a relative target lexically. `None` when it leaves the tree.
pub(super) fn join(path: &str, target: &str) -> Option<String> {
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
    Exists(String),
    Escapes,
    Dangling(String),
    Loop,
}

/// Follows a target as the kernel does: `..` behind a link leaves the folder that the link leads to.
fn resolve(tree: &DispatcherTree, base: &BaseFiles, path: &str, target: &str) -> Resolved {
    let folder = |at: &str| {
        let prefix = format!("{at}/");
        tree.nodes.range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
            || base.immutable.iter().any(|path| path.starts_with(&prefix))
    };
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    let mut rest: Vec<&str> = target.rsplit('/').collect();
    let mut hops = 0;
    while let Some(part) = rest.pop() {
        match part {
            "" | "." => continue,
            ".." => {
                if at.pop().is_none() {
                    return Resolved::Escapes;
                }
                continue;
            }
            name => at.push(name),
        }
        let here = at.join("/");
        let last = rest.iter().all(|part| part.is_empty());
        match tree.nodes.get(&here) {
            Some(Node::Link(next)) => {
                hops += 1;
                if hops > MAX_HOPS {
                    return Resolved::Loop;
                }
                at.pop();
                rest.extend(next.rsplit('/'));
            }
            Some(Node::File(_)) if last => {}
            None if last && base.immutable.contains(&here) => {}
            None if folder(&here) => {}
            Some(Node::File(_)) | None => return Resolved::Dangling(here),
        }
    }
    if at.is_empty() { Resolved::Escapes } else { Resolved::Exists(at.join("/")) }
}

pub(super) fn check_links(archive: &Archive, base: &BaseFiles, tree: &DispatcherTree) -> Result<(), ImageError> {
    for (path, node) in &tree.nodes {
        let Node::Link(target) = node else { continue };
        let (reason, rule, remedy) = match resolve(tree, base, path, target) {
            Resolved::Exists(_) => continue,
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

/// The path and content of a file, links followed. `None`: it is a folder, or a file of the base image alone.
pub(super) fn content<'t>(tree: &'t DispatcherTree, base: &BaseFiles, path: &str) -> Option<(String, &'t [u8])> {
    let Resolved::Exists(resolved) = resolve(tree, base, "x", path) else { return None };
    match tree.nodes.get(&resolved)? {
        Node::File(bytes) => Some((resolved, bytes)),
        Node::Link(_) => None,
    }
}

//! Rules about what document views below /apps hold: components, templates, client libraries, agents.

use std::collections::BTreeSet;

use super::docview::Node;
use super::rules::RuleId;

/// What the views of one package told, as far as other entries matter for a verdict.
#[derive(Debug, Default)]
pub struct Seen {
    /// Folders of client libraries that are proxied, each with `/` at its end.
    pub proxied: BTreeSet<String>,
    /// Folders of components, each with `/` at its end.
    pub components: BTreeSet<String>,
}

/// Folder types that a `config` or `install` folder may have.
const FOLDERS: [&str; 4] = ["", "nt:folder", "sling:Folder", "sling:OrderedFolder"];

/// Checks one view. `path` is that of its node, without a slash at the start.
pub fn check(path: &str, node: &Node, seen: &mut Seen, problem: &mut dyn FnMut(RuleId, String, String)) {
    let code = path.starts_with("apps/") || path.starts_with("libs/");
    node.visit(&mut |below, node| {
        let whole = || format!("/{path}{below}");
        if node.is_true("reverseReplication") {
            problem(RuleId::ReverseReplication, whole(), "an agent for reverse replication".to_owned());
        }
        if !code {
            return;
        }
        match node.primary_type() {
            "cq:Template" => problem(RuleId::StaticTemplateUsage, whole(), "a static template".to_owned()),
            "cq:ClientLibraryFolder" if node.is_true("allowProxy") => {
                seen.proxied.insert(format!("{path}{below}/"));
            }
            "cq:Component" => {
                seen.components.insert(format!("{path}{below}/"));
                for (classic, touch) in [("dialog", "cq:dialog"), ("design_dialog", "cq:design_dialog")] {
                    if node.child(classic).is_some() && node.child(touch).is_none() {
                        // The twin may be a file of its own; then the entries tell.
                        seen.components.insert(format!("{path}{below}/{classic}!"));
                    }
                }
            }
            _ => {}
        }
        for property in ["sling:resourceType", "sling:resourceSuperType"] {
            let value = node.text(property).unwrap_or_default();
            if value.trim_start_matches("/libs/").starts_with("foundation/components/") {
                problem(RuleId::LegacyFoundationComponentUsage, whole(), format!("{property} is {value}"));
            }
        }
        for (name, child) in &node.children {
            if matches!(name.as_str(), "config" | "install")
                && (!FOLDERS.contains(&child.primary_type()) || child.properties.len() > 1)
            {
                let message = format!("a node named {name} of type {}", child.primary_type());
                problem(RuleId::ConfigAndInstallShouldOnlyContainOsgiNodes, format!("{}/{name}", whole()), message);
            }
        }
    });
}

/// Static files of proxied client libraries outside of `resources`, among the entries (below `jcr_root/`).
pub fn check_resources<'a>(
    entries: impl Iterator<Item = &'a str>,
    seen: &Seen,
    problem: &mut dyn FnMut(RuleId, String, String),
) {
    if seen.proxied.is_empty() {
        return;
    }
    for entry in entries {
        // The nearest library on the path is the one that the file belongs to.
        let library =
            entry.rmatch_indices('/').map(|(at, _)| &entry[..=at]).find(|folder| seen.proxied.contains(*folder));
        let Some(rest) = library.and_then(|library| entry.strip_prefix(library)) else { continue };
        let file = rest.rsplit('/').next().unwrap_or(rest);
        let extension = file.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
        let source = matches!(extension, "js" | "css" | "less" | "scss" | "txt" | "xml" | "map" | "md" | "json" | "");
        if !source && !rest.starts_with("resources/") {
            let message = "it cannot be reached through /etc.clientlibs on publish".to_owned();
            problem(RuleId::ClientlibProxyResource, format!("/{entry}"), message);
        }
    }
}

/// Components with a dialog for Classic UI alone, among the entries (below `jcr_root/`).
pub fn check_dialogs<'a>(
    entries: impl Iterator<Item = &'a str>,
    seen: &Seen,
    problem: &mut dyn FnMut(RuleId, String, String),
) {
    if seen.components.is_empty() {
        return;
    }
    let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
    for entry in entries {
        for (at, _) in entry.match_indices('/') {
            let folder = &entry[..=at];
            if seen.components.contains(folder) {
                let next = entry[at + 1..].split('/').next().unwrap_or_default();
                found.insert((folder, next.strip_suffix(".xml").unwrap_or(next)));
            }
        }
    }
    for component in seen.components.iter().filter(|path| path.ends_with('/')) {
        for (classic, touch) in [("dialog", "_cq_dialog"), ("design_dialog", "_cq_design_dialog")] {
            let inline = seen.components.contains(&format!("{component}{classic}!"));
            let has = |name| found.contains(&(component.as_str(), name));
            if (inline || has(classic)) && !has(touch) {
                let message = format!("it has {classic} and no {}", touch.replacen("_cq_", "cq:", 1));
                let path = format!("/{}", component.trim_end_matches('/'));
                problem(RuleId::ComponentWithOnlyClassicUIDialog, path, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::docview;
    use super::*;

    fn view(xml: &str) -> Node {
        docview::parse(format!(r#"<jcr:root xmlns:jcr="x" {xml}</jcr:root>"#).as_bytes()).unwrap()
    }

    fn run(path: &str, xml: &str, entries: &[&str]) -> Vec<(RuleId, String)> {
        let mut out = Vec::new();
        let mut seen = Seen::default();
        let mut problem = |rule, path: String, _: String| out.push((rule, path));
        check(path, &view(xml), &mut seen, &mut problem);
        check_resources(entries.iter().copied(), &seen, &mut problem);
        check_dialogs(entries.iter().copied(), &seen, &mut problem);
        out
    }

    #[test]
    fn nodes() {
        assert_eq!(
            run("apps/a/t", r#"jcr:primaryType="cq:Template">"#, &[]),
            [(RuleId::StaticTemplateUsage, "/apps/a/t".to_owned())]
        );
        assert_eq!(run("conf/a/t", r#"jcr:primaryType="cq:Template">"#, &[]), []);
        assert_eq!(
            run("apps/a/c", r#"sling:resourceSuperType="foundation/components/image">"#, &[])[0].0,
            RuleId::LegacyFoundationComponentUsage
        );
        assert_eq!(
            run("apps/a/c", r#"><x><config jcr:primaryType="nt:unstructured"/></x>"#, &[]),
            [(RuleId::ConfigAndInstallShouldOnlyContainOsgiNodes, "/apps/a/c/x/config".to_owned())]
        );
        assert_eq!(run("apps/a/c", r#"><config jcr:primaryType="sling:Folder"/>"#, &[]), []);
        assert_eq!(
            run("etc/replication/a", r#"><b reverseReplication="{Boolean}true"/>"#, &[])[0].0,
            RuleId::ReverseReplication
        );
    }

    #[test]
    fn resources_of_proxied_libraries() {
        let library = r#"jcr:primaryType="cq:ClientLibraryFolder" allowProxy="{Boolean}true">"#;
        let entries =
            ["apps/l/js.txt", "apps/l/a.js", "apps/l/resources/a.png", "apps/l/img/b.png", "apps/other/c.png"];
        assert_eq!(
            run("apps/l", library, &entries),
            [(RuleId::ClientlibProxyResource, "/apps/l/img/b.png".to_owned())]
        );
        assert_eq!(run("apps/l", r#"jcr:primaryType="cq:ClientLibraryFolder">"#, &entries), []);
    }

    #[test]
    fn dialogs_need_a_twin() {
        let component = r#"jcr:primaryType="cq:Component">"#;
        let rules = |entries: &[&str], xml: &str| run("apps/c", xml, entries).len();
        assert_eq!(rules(&["apps/c/dialog.xml"], component), 1);
        assert_eq!(rules(&["apps/c/dialog/.content.xml", "apps/c/_cq_dialog/.content.xml"], component), 0);
        assert_eq!(rules(&["apps/c/design_dialog.xml", "apps/c/_cq_dialog.xml"], component), 1);
        assert_eq!(rules(&[], r#"jcr:primaryType="cq:Component"><dialog/>"#), 1);
        assert_eq!(rules(&["apps/c/_cq_dialog.xml"], r#"jcr:primaryType="cq:Component"><dialog/>"#), 0);
        assert_eq!(rules(&["apps/other/dialog.xml"], component), 0);
    }
}

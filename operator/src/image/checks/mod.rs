//! Checks of the code quality step that need no product: what packages say and hold, each for itself and together.
//!
//! Findings never stop a build; refusals ([`super::failure`]) do. Rules are data ([`rules`]), findings are bounded
//! ([`findings`]), and together they make metrics for the gate ([`metrics`]).

pub mod content;
pub mod docview;
pub mod findings;
pub mod index;
pub mod metrics;
pub mod osgi;
pub mod rules;
pub mod together;
pub mod types;

use std::collections::BTreeSet;

pub use findings::{Finding, Findings, Tally};
pub use metrics::metrics;
pub use osgi::Config;
pub use rules::{Profile, RULES, RuleId};

use super::package::{Metadata, nested};
use docview::Node;
use types::Shape;

/// Largest document view or configuration that is looked into. Larger ones are data, not code.
const VIEW_BYTES: u64 = 1 << 20;
/// Bytes of index definitions of one package that are looked into.
const INDEX_BYTES: usize = 8 << 20;
/// Bytes of names of the configurations of one package that are compared with those of others.
const CONFIG_BYTES: usize = 256 << 10;
/// Folders with wrong run modes of one package that are told apart.
const FOLDERS: usize = 1_000;

/// Something to say about a file before it is known which collection it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The rule.
    pub rule: RuleId,
    /// Entry concerned.
    pub entry: Option<String>,
    /// Text for people.
    pub message: String,
}

impl Remark {
    /// About a whole file.
    pub fn new(rule: RuleId, message: impl Into<String>) -> Self {
        Self { rule, entry: None, message: message.into() }
    }

    /// Names the entry concerned.
    #[must_use]
    pub fn at(mut self, entry: &str) -> Self {
        self.entry = Some(entry.to_owned());
        self
    }
}

impl Findings {
    /// Takes over remarks about a file.
    pub fn extend(&mut self, file: &str, remarks: impl IntoIterator<Item = Remark>) {
        for Remark { rule, entry, message } in remarks {
            match entry {
                Some(entry) => self.entry(rule, file, &entry, message),
                None => self.file(rule, file, message),
            }
        }
    }
}

/// What a package has, as far as it matters when packages are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its configurations.
    pub configs: Vec<Config>,
    /// Tags of its index definitions, with the index's name.
    pub tags: Vec<(String, String)>,
    /// It has bundles, configurations or packages and nothing else.
    pub carrier: bool,
}

/// The check of one package: told of each entry as the package is read, so that nothing is unpacked twice.
pub struct PackageCheck<'a> {
    file: &'a str,
    findings: &'a mut Findings,
    shape: Shape,
    seen: content::Seen,
    indexes: Node,
    index_bytes: usize,
    configs: Vec<Config>,
    config_bytes: usize,
    carries: bool,
    folders: BTreeSet<String>,
}

impl<'a> PackageCheck<'a> {
    /// Begins with a package.
    pub fn new(file: &'a str, findings: &'a mut Findings) -> Self {
        Self {
            file,
            findings,
            shape: Shape::default(),
            seen: content::Seen::default(),
            indexes: Node::default(),
            index_bytes: 0,
            configs: Vec::new(),
            config_bytes: 0,
            carries: false,
            folders: BTreeSet::new(),
        }
    }

    /// Whether the content of an entry is of interest. It then has to be given to [`Self::entry`].
    #[must_use]
    pub fn wants(name: &str, size: u64) -> bool {
        let Some(path) = name.strip_prefix("jcr_root/") else { return false };
        if size > VIEW_BYTES {
            return false;
        }
        let file = path.rsplit('/').next().unwrap_or(path);
        if osgi::folder(path).is_some() && osgi::pid(file).is_some() {
            return true;
        }
        let code = path.starts_with("apps/") || path.starts_with("libs/") || path.starts_with("etc/replication/");
        let xml = std::path::Path::new(file).extension().is_some_and(|extension| extension == "xml");
        xml && (code || path.split('/').any(|part| part == "_oak_index" || part == "_oak_index.xml"))
    }

    fn found(&mut self, rule: RuleId, entry: &str, message: impl AsRef<str>) {
        self.findings.entry(rule, self.file, entry, message);
    }

    /// Tells of a file of the package, with its content where that was wanted.
    pub fn entry(&mut self, name: &str, content: Option<&[u8]>) {
        if name.starts_with("META-INF/vault/hooks/") && name.ends_with(".jar") {
            self.shape.hook.get_or_insert_with(|| name.to_owned());
        }
        let Some(path) = name.strip_prefix("jcr_root/") else { return };
        let file = path.rsplit('/').next().unwrap_or(path);
        if path.starts_with("libs/") {
            self.shape.libs.get_or_insert_with(|| name.to_owned());
        }
        if file == "_rep_policy.xml" {
            self.shape.access.get_or_insert_with(|| name.to_owned());
        }
        let view = content.filter(|bytes| docview::is_docview(bytes)).map(docview::parse);
        let is_config =
            self.installer_folder(name, path, file, content, view.as_ref().and_then(|view| view.as_ref().ok()));
        let package = nested::place(name).is_some();
        self.carries |= is_config || package || (osgi::folder(path).is_some() && file.ends_with(".jar"));
        match view {
            Some(Err(error)) if error.starts_with("it is not well-formed") => {
                self.found(RuleId::DocviewInvalid, name, error);
            }
            Some(Ok(node)) => self.view(name, path, node, is_config),
            _ => {
                let shallow = file == ".content.xml" && path.matches('/').count() < 2;
                if !is_config && !package && !shallow && osgi::folder(path).is_none() {
                    self.shape.content.get_or_insert_with(|| name.to_owned());
                }
                if content.is_some() && path.starts_with("_oak_index/") {
                    let parts: Vec<String> = path.split('/').skip(1).map(docview::node_name).collect();
                    self.indexes.at(&parts);
                }
            }
        }
    }

    /// Rules of `config` and `install` folders. Says whether the entry is a configuration.
    fn installer_folder(
        &mut self,
        name: &str,
        path: &str,
        file: &str,
        content: Option<&[u8]>,
        view: Option<&Node>,
    ) -> bool {
        let Some(folder) = osgi::folder(path) else { return false };
        let place = &path[..path.len() - folder.rest.len()];
        if folder.config
            && let Some(rule) = osgi::wrong_modes(folder.modes)
            && self.folders.len() < FOLDERS
            && self.folders.insert(place.to_owned())
        {
            self.found(RuleId::SupportedRunmode, place, rule);
        }
        let node = view.is_some_and(|node| node.primary_type() == "sling:OsgiConfig");
        let pid = match view {
            Some(_) if !node => None,
            Some(_) if file == ".content.xml" => {
                path.rsplit('/').nth(1).and_then(|name| osgi::pid(&format!("{name}.xml")))
            }
            _ if file.ends_with(".xml") && !node => None,
            _ => osgi::pid(file),
        };
        let Some(pid) = pid else {
            let plain_folder = file == ".content.xml" || file == ".dir";
            let installable = file.ends_with(".jar") || file.ends_with(".zip");
            if !plain_folder && (folder.config || !installable) {
                let kind = if folder.config { "config" } else { "install" };
                let message = format!("it is in a folder `{kind}` and not for the OSGi installer");
                self.found(RuleId::ConfigAndInstallShouldOnlyContainOsgiNodes, name, message);
            }
            return false;
        };
        self.configuration(name, file, &pid, content.unwrap_or_default());
        self.config_bytes += path.len() + pid.len() + folder.modes.len();
        if self.config_bytes <= CONFIG_BYTES {
            self.configs.push(Config { path: format!("/{path}"), pid, modes: folder.modes.to_owned() });
        }
        true
    }

    fn configuration(&mut self, name: &str, file: &str, pid: &str, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        for problem in osgi::wrong_variables(&text) {
            self.found(RuleId::EnvironmentVariableName, name, problem);
        }
        if file.ends_with(".cfg.json")
            && let Some(problem) = osgi::unreadable_json(&text)
        {
            self.found(RuleId::ConfigurationUnreadable, name, problem);
        }
        if pid == "com.day.cq.wcm.core.impl.AuthoringUIModeServiceImpl" && text.contains("CLASSIC") {
            self.found(RuleId::ClassicUIAuthoringMode, name, "the default way of authoring is Classic UI");
        }
        if pid == "org.apache.jackrabbit.oak.query.QueryEngineSettingsService" && text.contains("queryLimitReads") {
            self.found(RuleId::OverrideOfQueryLimitReads, name, "it sets queryLimitReads");
        }
    }

    fn view(&mut self, name: &str, path: &str, node: Node, is_config: bool) {
        let parts = docview::node_path(path);
        let plain =
            matches!(node.primary_type(), "" | "nt:folder" | "sling:Folder" | "sling:OrderedFolder" | "rep:root");
        if !is_config && osgi::folder(path).is_none() && (!plain || !node.children.is_empty()) {
            self.shape.content.get_or_insert_with(|| name.to_owned());
        }
        for place in index::misplaced(&parts, &node) {
            self.found(RuleId::OakIndexLocation, name, format!("an index definition at {place}"));
        }
        let (findings, file) = (&mut *self.findings, self.file);
        content::check(&parts.join("/"), &node, &mut self.seen, &mut |rule, entry, message| {
            findings.entry(rule, file, &entry, message);
        });
        if parts.first().is_some_and(|part| part == "oak:index") {
            self.index_bytes += node.weight();
            if self.index_bytes <= INDEX_BYTES {
                self.indexes.at(&parts[1..]).merge(node);
            }
        }
    }

    /// Ends with what the whole package says. `entries` are the names of all its entries again.
    pub fn finish<'n>(mut self, metadata: &Metadata, entries: impl Iterator<Item = &'n str> + Clone) -> Facts {
        let (findings, file) = (&mut *self.findings, self.file);
        let below = entries.filter_map(|name| name.strip_prefix("jcr_root/"));
        let mut problem = |rule, entry: String, message: String| findings.entry(rule, file, &entry, message);
        content::check_resources(below.clone(), &self.seen, &mut problem);
        content::check_dialogs(below, &self.seen, &mut problem);
        for found in index::check(&self.indexes) {
            problem(found.rule, found.path, found.message);
        }
        let definition =
            self.indexes.children.iter().find(|(_, node)| node.primary_type() == "oak:QueryIndexDefinition");
        self.shape.index = definition.map(|(name, _)| format!("/oak:index/{name}"));
        let needs = !metadata.dependencies.is_empty();
        types::check(
            &metadata.properties,
            &metadata.filter,
            needs,
            &self.shape,
            &mut |rule, entry, message| match entry {
                Some(entry) => findings.entry(rule, file, entry, message),
                None => findings.file(rule, file, message),
            },
        );
        Facts {
            configs: self.configs,
            tags: index::tags(&self.indexes),
            carrier: self.carries && self.shape.content.is_none(),
        }
    }
}

#[cfg(test)]
mod tests;

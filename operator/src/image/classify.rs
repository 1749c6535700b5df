//! What a zip is, decided by content and never by name.

use serde::{Deserialize, Serialize};

use super::archive::{Archive, EntryKind};
use super::failure::{ImageError, Reason, Refusal};

/// Dialects of dispatcher configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Flavour {
    /// Cloud service, `opt-in/USE_SOURCES_DIRECTLY`.
    Flexible,
    /// Cloud service, the older mode.
    Legacy,
    /// Managed services: the whole of `/etc/httpd`.
    Ams,
}

impl Flavour {
    /// As in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flexible => "flexible",
            Self::Legacy => "legacy",
            Self::Ams => "ams",
        }
    }
}

/// What a zip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A content package.
    ContentPackage,
    /// A dispatcher configuration.
    Dispatcher(Flavour),
    /// Neither; the text says why.
    Ignored(String),
}

/// Classifies an archive whose structure was checked.
///
/// # Errors
/// When the archive is ambiguous, or almost a dispatcher configuration.
pub fn classify(archive: &Archive) -> Result<Kind, ImageError> {
    let has = |folder: &str| archive.has_prefix(folder);
    let content = archive.find("META-INF/vault/filter.xml").is_some() || (has("jcr_root") && has("META-INF/vault"));
    let ams_folders = has("conf") || has("conf.modules.d");
    let dispatcher = has("conf.dispatcher.d") || (has("conf.d") && has("conf"));
    if content && dispatcher {
        return Err(Refusal::new(
            Reason::AmbiguousArchive,
            archive.file(),
            "it has jcr_root with META-INF/vault and also conf.dispatcher.d",
            "Build the content package and the dispatcher configuration as two zips",
        )
        .into());
    }
    if content {
        return Ok(Kind::ContentPackage);
    }
    if dispatcher {
        let farm = archive.entries().iter().any(|entry| entry.name.ends_with("_farm.any"));
        let flavour = if archive.find("opt-in/USE_SOURCES_DIRECTLY").is_some() {
            Flavour::Flexible
        } else if ams_folders || farm {
            Flavour::Ams
        } else {
            Flavour::Legacy
        };
        return Ok(Kind::Dispatcher(flavour));
    }
    let nested = archive.entries().iter().find_map(|entry| {
        let (before, _) = entry.name.split_once("/conf.dispatcher.d")?;
        (before == "etc/httpd" || !before.contains('/')).then(|| before.to_owned())
    });
    if let Some(prefix) = nested {
        return Err(Refusal::new(
            Reason::DispatcherPrefix,
            archive.file(),
            format!("unable to locate a conf.dispatcher.d folder at the top of the archive: it is below `{prefix}`"),
            "Zip the content of that folder, not the folder",
        )
        .into());
    }
    Ok(Kind::Ignored(why_ignored(archive)))
}

fn why_ignored(archive: &Archive) -> String {
    let has = |folder: &str| archive.has_prefix(folder);
    let top = |name: &str| archive.find(name).is_some();
    if archive.entries().iter().all(|entry| entry.kind == EntryKind::Folder) {
        return "it has no files".to_owned();
    }
    if top("META-INF/MANIFEST.MF") && archive.entries().iter().any(|entry| entry.name.ends_with(".class")) {
        return "it is a Java archive: bundles are delivered inside a content package".to_owned();
    }
    if top("pom.xml") || has("src") {
        return "it holds sources".to_owned();
    }
    if top("package.json") || has("dist") {
        return "it is a front-end build: deliver it inside a content package".to_owned();
    }
    if has("jcr_root") {
        return "it has jcr_root but no META-INF/vault, so it is not a content package".to_owned();
    }
    "it is neither a content package (META-INF/vault/filter.xml) nor a dispatcher configuration (conf.dispatcher.d)"
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testzip::{file, package, zip};
    use super::super::{Blob, Limits};
    use super::*;

    fn kind(bytes: Vec<u8>) -> Result<Kind, ImageError> {
        classify(&Archive::open(&Blob::from_bytes(bytes), "x.zip", &Limits::default())?)
    }

    #[test]
    fn kinds() {
        let names = |names: &[&str]| zip(&names.iter().map(|name| file(name, "x")).collect::<Vec<_>>());
        assert_eq!(kind(package("g:n:1", &[])).unwrap(), Kind::ContentPackage);
        assert_eq!(
            kind(names(&["conf.d/a", "conf.dispatcher.d/b", "opt-in/USE_SOURCES_DIRECTLY"])).unwrap(),
            Kind::Dispatcher(Flavour::Flexible)
        );
        assert_eq!(kind(names(&["conf.d/a", "conf.dispatcher.d/b"])).unwrap(), Kind::Dispatcher(Flavour::Legacy));
        assert_eq!(
            kind(names(&["conf.d/a", "conf.dispatcher.d/b", "conf/httpd.conf"])).unwrap(),
            Kind::Dispatcher(Flavour::Ams)
        );
        assert_eq!(kind(names(&["conf.d/a", "conf.dispatcher.d/x_farm.any"])).unwrap(), Kind::Dispatcher(Flavour::Ams));
        assert!(
            matches!(kind(names(&["dist/a.js", "package.json"])).unwrap(), Kind::Ignored(why) if why.contains("front-end"))
        );
        assert!(
            matches!(kind(names(&["a/B.class", "META-INF/MANIFEST.MF"])).unwrap(), Kind::Ignored(why) if why.contains("Java"))
        );
        assert!(matches!(kind(zip(&[])).unwrap(), Kind::Ignored(_)));
    }

    #[test]
    fn refused_kinds() {
        let names = |names: &[&str]| zip(&names.iter().map(|name| file(name, "x")).collect::<Vec<_>>());
        let reason = |bytes| match kind(bytes) {
            Err(ImageError::Refused(refusal)) => refusal.reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(names(&["META-INF/vault/filter.xml", "conf.dispatcher.d/a"])), Reason::AmbiguousArchive);
        assert_eq!(reason(names(&["etc/httpd/conf.d/a", "etc/httpd/conf.dispatcher.d/a"])), Reason::DispatcherPrefix);
        assert_eq!(reason(names(&["src/conf.dispatcher.d/a"])), Reason::DispatcherPrefix);
    }
}

//! Where packages sit inside packages, and on which services they are then installed.

use super::ServiceTier;
use super::properties::Properties;

/// How a nested package gets installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Below `/etc/packages`: installed with its container by the package manager.
    SubPackage,
    /// In an `install` folder below `/apps` or `/libs`: installed by the OSGi installer, on these services.
    Embedded(Vec<ServiceTier>),
    /// In an `install.*` folder with a run mode that packages may not have.
    WrongRunMode(String),
}

/// Says what an entry name means. `None`: an ordinary file.
#[must_use]
pub fn place(name: &str) -> Option<Place> {
    let path = name.strip_prefix("jcr_root/")?;
    let archive = path.ends_with(".zip");
    if path.starts_with("etc/packages/") {
        // FileVault goes by content and takes a package that is named .jar.
        return (archive || path.ends_with(".jar")).then_some(Place::SubPackage);
    }
    if !(path.starts_with("apps/") || path.starts_with("libs/")) || !(archive || path.ends_with(".jar")) {
        return None;
    }
    let folder = path.split('/').rev().skip(1).find(|part| *part == "install" || part.starts_with("install."))?;
    let tiers = match folder {
        "install" => ServiceTier::BOTH.to_vec(),
        "install.author" => vec![ServiceTier::Author],
        "install.publish" => vec![ServiceTier::Publish],
        other => return Some(Place::WrongRunMode(other.to_owned())),
    };
    archive.then_some(Place::Embedded(tiers))
}

/// What a container's `subPackageHandling` says about one sub package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Installed (also `force_install`).
    Install,
    /// Its content is extracted, but the package is not registered (also `force_extract`).
    Extract,
    /// Uploaded, not installed.
    Add,
    /// Left alone.
    Ignore,
}

/// Instructions of `subPackageHandling`: target and option in lower case.
fn instructions(properties: &Properties) -> impl Iterator<Item = (&str, String)> {
    properties
        .get("subPackageHandling")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|instruction| !instruction.is_empty())
        .map(|instruction| {
            let (target, option) = instruction.split_once(';').unwrap_or((instruction, "install"));
            (target.trim(), option.trim().to_ascii_lowercase())
        })
}

/// Options of `subPackageHandling` that do not exist; FileVault takes them for `install`.
#[must_use]
pub fn unknown_options(properties: &Properties) -> Vec<String> {
    const OPTIONS: [&str; 6] = ["install", "extract", "add", "ignore", "force_install", "force_extract"];
    instructions(properties).map(|(_, option)| option).filter(|option| !OPTIONS.contains(&option.as_str())).collect()
}

/// Evaluates `subPackageHandling` for a package: the last matching instruction wins, unknown options mean install.
#[must_use]
pub fn handling(properties: &Properties, group: &str, name: &str) -> Handling {
    let mut out = Handling::Install;
    for (target, option) in instructions(properties) {
        let (wanted_group, wanted_name) = target.rsplit_once(':').unwrap_or(("*", target));
        if (wanted_group == "*" || wanted_group == group) && (wanted_name == "*" || wanted_name == name) {
            out = match option.as_str() {
                "extract" | "force_extract" => Handling::Extract,
                "add" => Handling::Add,
                "ignore" => Handling::Ignore,
                _ => Handling::Install,
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::properties;
    use super::*;

    #[test]
    fn places() {
        let both = || Some(Place::Embedded(ServiceTier::BOTH.to_vec()));
        for (name, expected) in [
            ("jcr_root/etc/packages/g/a-1.zip", Some(Place::SubPackage)),
            ("jcr_root/etc/packages/g/a-1.jar", Some(Place::SubPackage)),
            ("jcr_root/etc/packages/g/a-1.txt", None),
            ("jcr_root/apps/x-packages/application/install/a.zip", both()),
            ("jcr_root/apps/acs-commons/install/a.zip", both()),
            ("jcr_root/apps/x/install/20/a.zip", both()),
            ("jcr_root/apps/x/install.author/a.zip", Some(Place::Embedded(vec![ServiceTier::Author]))),
            ("jcr_root/apps/x/install.publish/a.zip", Some(Place::Embedded(vec![ServiceTier::Publish]))),
            ("jcr_root/apps/x/install.dev/a.zip", Some(Place::WrongRunMode("install.dev".into()))),
            ("jcr_root/apps/x/install.author.prod/b.jar", Some(Place::WrongRunMode("install.author.prod".into()))),
            ("jcr_root/apps/x/install/b.jar", None),
            ("jcr_root/content/dam/install/a.zip", None),
            ("jcr_root/apps/x/clientlibs/a.zip", None),
            ("META-INF/vault/a.zip", None),
        ] {
            assert_eq!(place(name), expected, "{name}");
        }
    }

    #[test]
    fn last_instruction_wins() {
        let properties = |value: &str| {
            properties::parse(
                format!("<properties><entry key=\"subPackageHandling\">{value}</entry></properties>").as_bytes(),
            )
            .unwrap()
        };
        assert_eq!(handling(&properties(""), "g", "n"), Handling::Install);
        assert_eq!(handling(&properties("*;ignore"), "g", "n"), Handling::Ignore);
        assert_eq!(handling(&properties("*;ignore,g:n;install"), "g", "n"), Handling::Install);
        assert_eq!(handling(&properties("n;extract,g:*;add"), "g", "n"), Handling::Add);
        assert_eq!(handling(&properties("*;what"), "g", "n"), Handling::Install);
    }
}

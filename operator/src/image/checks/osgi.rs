//! OSGi configurations: where they are, for which run modes, and whether they can be read.

use crate::image::package::ServiceTier;

/// A configuration in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Repository path of its file.
    pub path: String,
    /// Persistent identity; `factory~name` for factories.
    pub pid: String,
    /// Run modes as written in the folder's name, e.g. `author.prod`; empty for all.
    pub modes: String,
}

/// A folder that the OSGi installer watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder<'a> {
    /// `config`, else `install`.
    pub config: bool,
    /// Run modes as written.
    pub modes: &'a str,
    /// What is below it.
    pub rest: &'a str,
}

/// Services that configurations may be for.
const SERVICES: [&str; 2] = ["author", "publish"];
/// Environments that configurations may be for. `sdk` and `rde` are those of developers.
const ENVIRONMENTS: [&str; 5] = ["dev", "stage", "prod", "sdk", "rde"];
/// How far the end of a variable's name is looked for.
const NAME_LOOK: usize = 120;
/// Wrong names of one configuration that are told.
const WRONG_NAMES: usize = 20;
const EXTENSIONS: [&str; 5] = [".cfg.json", ".config", ".cfg", ".properties", ".xml"];

/// The installer folder that an entry (below `jcr_root/`) is in, if any: the first one on its path.
#[must_use]
pub fn folder(path: &str) -> Option<Folder<'_>> {
    if !path.starts_with("apps/") && !path.starts_with("libs/") {
        return None;
    }
    let mut at = 0;
    while let Some(end) = path[at..].find('/').map(|length| at + length) {
        let part = &path[at..end];
        for (name, config) in [("config", true), ("install", false)] {
            if let Some(modes) = part.strip_prefix(name)
                && (modes.is_empty() || (modes.len() > 1 && modes.starts_with('.')))
            {
                return Some(Folder { config, modes: modes.trim_start_matches('.'), rest: &path[end + 1..] });
            }
        }
        at = end + 1;
    }
    None
}

/// The identity that a configuration's file name states. `None`: it is no configuration by its name.
#[must_use]
pub fn pid(file: &str) -> Option<String> {
    let name = EXTENSIONS.iter().find_map(|extension| file.strip_suffix(extension)).filter(|name| !name.is_empty())?;
    if name.starts_with('.') {
        return None;
    }
    Some(canonical(name))
}

/// `factory-name` is an older form of `factory~name`.
fn canonical(name: &str) -> String {
    match (name.contains('~'), name.split_once('-')) {
        (false, Some((factory, name))) => format!("{factory}~{name}"),
        _ => name.to_owned(),
    }
}

/// What is wrong with run modes, if anything (`aem-artifacts.md` §1.7).
#[must_use]
pub fn wrong_modes(modes: &str) -> Option<String> {
    let parts: Vec<&str> = if modes.is_empty() { Vec::new() } else { modes.split('.').collect() };
    let service = |part: &str| SERVICES.contains(&part);
    let environment = |part: &str| ENVIRONMENTS.contains(&part);
    match parts.as_slice() {
        [] => None,
        [one] if service(one) || environment(one) => None,
        [first, second] if service(first) && environment(second) => None,
        [first, second] if environment(first) && service(second) => {
            Some(format!("invalid run mode {modes}: use {second}.{first} instead"))
        }
        _ => Some(format!("the run mode {modes} is not supported: the configuration is never used")),
    }
}

/// The services on which run modes are active.
#[must_use]
pub fn services(modes: &str) -> &'static [ServiceTier] {
    match modes.split('.').find(|mode| SERVICES.contains(mode)) {
        Some("author") => &[ServiceTier::Author],
        Some(_) => &[ServiceTier::Publish],
        None => &ServiceTier::BOTH,
    }
}

/// Names of variables and secrets in a configuration that are not allowed, each with the rule that it breaks.
#[must_use]
pub fn wrong_variables(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for kind in ["$[env:", "$[secret:"] {
        for (at, _) in text.match_indices(kind) {
            let rest = &text[at + kind.len()..];
            // A name that is not closed soon is too long anyway.
            let rest = &rest[..rest.floor_char_boundary(NAME_LOOK)];
            let name = rest.find([']', ';']).map_or(rest, |end| &rest[..end]);
            let rule = if !(2..=100).contains(&name.len()) {
                "must have 2 to 100 characters"
            } else if name.starts_with("INTERNAL_") || name.starts_with("ADOBE_") {
                "must not start with INTERNAL_ or ADOBE_"
            } else if name.starts_with(|c: char| c.is_ascii_digit())
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                "must be of letters, digits and _ and not start with a digit"
            } else {
                continue;
            };
            out.push(format!("the name in {kind}{name}] {rule}"));
            if out.len() >= WRONG_NAMES {
                return out;
            }
        }
    }
    out
}

/// Why a `.cfg.json` is not applied, if it is not: it has to be a JSON object, comments allowed.
#[must_use]
pub fn unreadable_json(text: &str) -> Option<String> {
    match serde_json::from_str::<serde_json::Value>(&without_comments(text)) {
        Ok(serde_json::Value::Object(_)) => None,
        Ok(_) => Some("it is not a JSON object".to_owned()),
        Err(error) => Some(format!("it is not JSON ({error})")),
    }
}

/// Blanks out `//` and `/* */` outside of strings, so that positions stay.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some(first) = rest.chars().next() {
        let length = match (first, rest.get(..2)) {
            ('"', _) => string_length(rest),
            (_, Some("//")) => rest.find('\n').unwrap_or(rest.len()),
            (_, Some("/*")) => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => first.len_utf8(),
        };
        let piece = &rest[..length];
        if first == '/' && length > 1 {
            out.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' }));
        } else {
            out.push_str(piece);
        }
        rest = &rest[length..];
    }
    out
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_installer() {
        let found = |path| folder(path).map(|found| (found.config, found.modes.to_owned(), found.rest.to_owned()));
        let some = |config, modes: &str, rest: &str| Some((config, modes.to_owned(), rest.to_owned()));
        assert_eq!(found("apps/x/config/a.cfg.json"), some(true, "", "a.cfg.json"));
        assert_eq!(found("apps/x/osgiconfig/config.author.prod/b/a.config"), some(true, "author.prod", "b/a.config"));
        assert_eq!(found("apps/x/install.author/10/a.jar"), some(false, "author", "10/a.jar"));
        assert_eq!(found("apps/x/configuration/a.json"), None);
        assert_eq!(found("apps/x/config.js"), None);
        assert_eq!(found("content/x/config/a"), None);
    }

    #[test]
    fn identities() {
        for (file, expected) in [
            ("a.b.C.cfg.json", Some("a.b.C")),
            ("a.b.F-name.config", Some("a.b.F~name")),
            ("a.b.F~na-me.cfg", Some("a.b.F~na-me")),
            ("a.b.C.xml", Some("a.b.C")),
            (".content.xml", None),
            ("a.jar", None),
            ("readme.md", None),
        ] {
            assert_eq!(pid(file).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn run_modes_have_one_order() {
        for good in ["", "author", "prod", "publish.stage", "author.rde", "sdk"] {
            assert_eq!(wrong_modes(good), None, "{good}");
        }
        assert!(wrong_modes("prod.author").unwrap().contains("use author.prod instead"));
        for bad in ["qa", "author.qa", "author.prod.x", "author.publish", "author."] {
            assert!(wrong_modes(bad).unwrap().contains("not supported"), "{bad}");
        }
        assert_eq!(services("publish.dev"), [ServiceTier::Publish]);
        assert_eq!(services("dev"), ServiceTier::BOTH);
    }

    #[test]
    fn names_of_variables() {
        assert!(wrong_variables(r#"{"a":"$[env:GOOD_1;default=x]","b":"$[secret:_ok]"}"#).is_empty());
        for bad in
            ["$[env:A]", "$[env:1AB]", "$[env:A-B]", "$[secret:ADOBE_X]", "$[env:INTERNAL_X;default=]", "$[env:é"]
        {
            assert_eq!(wrong_variables(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn json_may_have_comments() {
        assert_eq!(unreadable_json("// c\n{ /* x\n */ \"a\": \"http://x\" }"), None);
        assert_eq!(unreadable_json("{\"a\": \"\\\"// no comment\"}"), None);
        for bad in ["", "[]", "{\"a\":}", "{\"a\": \"x", "/* open", "{} /"] {
            assert!(unreadable_json(bad).is_some(), "{bad}");
        }
    }
}

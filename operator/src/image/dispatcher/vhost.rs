//! Rules about virtual hosts of the cloud service (`aem-artifacts.md` §3.5).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::{BaseFiles, DispatcherTree, links};
use crate::image::checks::{Remark, RuleId};
use crate::image::classify::Flavour;

const VHOSTS: &str = "conf.d/enabled_vhosts/";
/// Folders whose files may be included in the flexible mode.
const FLEXIBLE: [&str; 4] = ["conf.d/includes/", "conf.d/modsec/", "conf.d/rewrites/", "conf.d/variables/"];
/// Files that may be included in the older mode.
const LEGACY: [&str; 4] = [
    "conf.d/rewrites/rewrite.rules",
    "conf.d/rewrites/default_rewrite.rules",
    "conf.d/variables/custom.vars",
    "conf.d/variables/global.vars",
];
/// Largest file that is read.
const FILE_BYTES: usize = 1 << 20;
/// Names under which probes, invalidation and the service itself come in.
const HOSTS: [&str; 4] = ["localhost", "flush.local", "x.adobeaemcloud.net", "x.adobeaemcloud.com"];

static DIRECTIVES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let lines = include_str!("../data/httpd-directives.txt").lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_once(':')).flat_map(|(_, names)| names.split_whitespace());
    names.map(str::to_ascii_lowercase).collect()
});

/// Checks every enabled virtual host. On managed services, customers own the whole server: no rule applies.
pub(super) fn check(tree: &DispatcherTree, base: &BaseFiles) -> Vec<Remark> {
    let mut out = Vec::new();
    if tree.flavour == Flavour::Ams {
        return out;
    }
    let mut hosts = BTreeSet::new();
    for path in tree.nodes.range(VHOSTS.to_owned()..).map(|(path, _)| path).take_while(|path| path.starts_with(VHOSTS))
    {
        let Some((_, bytes)) = links::content(tree, base, path).filter(|_| path.ends_with(".vhost")) else { continue };
        if bytes.len() > FILE_BYTES {
            let message = format!("it is larger than {FILE_BYTES} bytes and not checked");
            out.push(Remark::new(RuleId::VhostDirective, message).at(path));
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        for (line, words) in directives(&text) {
            let mut tell = |rule, message| out.push(Remark::new(rule, message).at(&format!("{path}:{line}")));
            let name = words[0].to_ascii_lowercase();
            if !DIRECTIVES.contains(&name) {
                tell(RuleId::VhostDirective, format!("non-allowlisted directive {}", words[0]));
            }
            let value = words.get(1).map(String::as_str).unwrap_or_default();
            match name.as_str() {
                "include" | "includeoptional" if !may_include(tree.flavour, value) => {
                    tell(RuleId::VhostInclude, format!("included file ({value}) does not match any known file"));
                }
                "servername" | "serveralias" => hosts.extend(words[1..].iter().map(|word| host(word))),
                "documentroot" if !value.starts_with("${DOCROOT}") && !value.starts_with("/mnt/var/www") => {
                    tell(RuleId::VhostDocumentRoot, format!("the DocumentRoot is {value}"));
                }
                _ => {}
            }
        }
    }
    let missing: Vec<&str> = HOSTS.into_iter().filter(|name| !hosts.iter().any(|host| covers(host, name))).collect();
    if !missing.is_empty() {
        out.push(Remark::new(RuleId::VhostHosts, format!("no virtual host answers for {}", missing.join(", "))));
    }
    out
}

/// Name without scheme and port, in lower case.
fn host(text: &str) -> String {
    let text = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
    text.split(':').next().unwrap_or_default().to_ascii_lowercase()
}

/// Whether a name with `*` and `?` or a variable stands for a host. What a variable holds is not known here.
fn covers(pattern: &str, name: &str) -> bool {
    if pattern.contains("${") {
        return true;
    }
    // More stars than anybody needs would take long to match.
    if pattern.matches('*').count() > 4 {
        return false;
    }
    let (mut pattern, mut name) = (pattern, name);
    loop {
        match (pattern.chars().next(), name.chars().next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                let rest = &pattern[1..];
                return rest.is_empty() || name.char_indices().any(|(at, _)| covers(rest, &name[at..]));
            }
            (Some(a), Some(b)) if a == '?' || a == b => {
                pattern = &pattern[a.len_utf8()..];
                name = &name[b.len_utf8()..];
            }
            _ => return false,
        }
    }
}

fn may_include(flavour: Flavour, file: &str) -> bool {
    if file.split('/').any(|part| part == "..") {
        return false;
    }
    match flavour {
        Flavour::Legacy => LEGACY.contains(&file),
        Flavour::Flexible | Flavour::Ams => FLEXIBLE.iter().any(|folder| file.starts_with(folder)),
    }
}

/// Directives with the line on which each begins: continued lines are one, `<Name …>` counts, `</Name>` does not.
fn directives(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut out = Vec::new();
    let mut whole = String::new();
    let mut start = 1;
    for (at, line) in text.lines().enumerate() {
        if whole.is_empty() {
            start = at + 1;
        }
        if let Some(part) = line.strip_suffix('\\') {
            whole.push_str(part);
            whole.push(' ');
            continue;
        }
        whole.push_str(line);
        let directive = whole.trim().trim_start_matches('<').trim_end_matches('>');
        if !directive.is_empty() && !directive.starts_with(['#', '/']) {
            out.push((start, words(directive)));
        }
        whole.clear();
    }
    out
}

/// Words as httpd splits them: quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (word, after) = if matches!(first, '"' | '\'') {
            rest[1..].split_once(first).unwrap_or((&rest[1..], ""))
        } else {
            rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
        };
        out.push(word.to_owned());
        rest = after.trim_start();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::dispatcher::Node;

    fn run(flavour: Flavour, vhost: &str) -> Vec<(RuleId, Option<String>)> {
        let nodes = [(format!("{VHOSTS}a.vhost"), Node::File(vhost.as_bytes().to_vec()))];
        let tree = DispatcherTree { flavour, nodes: nodes.into(), remarks: Vec::new(), changed: Vec::new() };
        check(&tree, &BaseFiles::unknown()).into_iter().map(|remark| (remark.rule, remark.entry)).collect()
    }

    #[test]
    fn directives_are_read_as_httpd_reads_them() {
        let found = directives("# c\n<VirtualHost *:80>\n Header set A \\\n  \"b c\"\n\n</VirtualHost>");
        let expected = [(2, vec!["VirtualHost", "*:80"]), (3, vec!["Header", "set", "A", "b c"])];
        let expected: Vec<(usize, Vec<String>)> =
            expected.into_iter().map(|(line, words)| (line, words.into_iter().map(str::to_owned).collect())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rules() {
        let good = "<VirtualHost *:80>\nServerAlias \"*\"\nDocumentRoot \"${DOCROOT}\"\n";
        let line = |rule, line: usize| (rule, Some(format!("{VHOSTS}a.vhost:{line}")));
        let with = |text: &str| run(Flavour::Flexible, &format!("{good}{text}"));
        assert_eq!(with("reWriteEngine On"), []);
        assert_eq!(with("ProxyPass / http://x/"), [line(RuleId::VhostDirective, 4)]);
        assert_eq!(with("Include conf.d/rewrites/mine.rules"), []);
        for bad in ["/etc/httpd/conf.d/rewrites/a", "conf.d/rewrites/../../x", "conf/x"] {
            assert_eq!(with(&format!("Include {bad}")), [line(RuleId::VhostInclude, 4)]);
        }
        assert_eq!(with("DocumentRoot /var/www"), [line(RuleId::VhostDocumentRoot, 4)]);
        let legacy = run(Flavour::Legacy, &format!("{good}Include conf.d/rewrites/mine.rules"));
        assert_eq!(legacy, [line(RuleId::VhostInclude, 4)]);
        assert_eq!(run(Flavour::Flexible, "ServerName www.example.com"), [(RuleId::VhostHosts, None)]);
        assert_eq!(run(Flavour::Flexible, "ServerAlias localhost:80 *.local ${HOST}"), []);
        assert_eq!(run(Flavour::Ams, "ProxyPass / http://x/"), []);
    }

    #[test]
    fn host_patterns() {
        for (pattern, name, matches) in [
            ("*", "a", true),
            ("*.local", "flush.local", true),
            ("*.local", "local", false),
            ("a?c", "abc", true),
            ("a", "ab", false),
        ] {
            assert_eq!(covers(pattern, name), matches, "{pattern} {name}");
        }
    }
}

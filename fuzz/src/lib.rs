//! Fuzz targets, as plain functions: the fuzzer calls them with whatever it finds, and `operator/tests/corpus.rs`
//! replays the committed corpus with the ordinary toolchain.
//!
//! A target panics when the code under test panics *or* breaks a promise that holds for any input; the promises are
//! written as assertions beside each target.

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use launchway_operator::gate::{jacoco, json, junit, sarif};
use launchway_operator::git::{Advertised, Ref, advertisement, listed};
use launchway_operator::image::archive::{Archive, EntryKind};
use launchway_operator::image::blob::{Hasher, Spool};
use launchway_operator::image::classify::{Flavour, Kind, classify};
use launchway_operator::image::contract::RuntimeContract;
use launchway_operator::image::dispatcher::{self as tier, BaseFiles, Node};
use launchway_operator::image::layer::{Layer, LayerEncoding};
use launchway_operator::image::manifest::Document;
use launchway_operator::image::package::{
    Properties, check_entries, dependency, filter as filters, id::PackageId, metadata, nested, properties as props,
};
use launchway_operator::image::plan::{Input, PlanOptions, plan};
use launchway_operator::image::{Blob, Limits};
use launchway_operator::registry::{
    Credentials, Repository,
    auth::{Challenge, challenge, is_internal, same_host},
};
use launchway_operator::webhook::verify::{Meaning, Verifier};
use ring::hmac;
use url::Url;

/// A target: its name, which is also its folder below `fuzz/corpus`, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 9] = [
    ("zip", zip),
    ("package", package),
    ("filter", filter),
    ("properties", properties),
    ("dispatcher", dispatcher),
    ("registry", registry),
    ("webhook", webhook),
    ("git", git),
    ("reports", reports),
];

/// Small enough that a fuzzer finds what lies behind them, and that no input needs much memory.
fn limits() -> Limits {
    Limits { entries: 500, entry_bytes: 1 << 20, archive_bytes: 4 << 20, packages: 50, ..Limits::default() }
}

fn base() -> BaseFiles {
    BaseFiles {
        config_path: "/etc/httpd".to_owned(),
        immutable: ["conf.d/dispatcher_vhost.conf", "conf.dispatcher.d/dispatcher.any"].map(str::to_owned).into(),
    }
}

/// Counts what is written and keeps nothing.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a path stays below the folder where it is put, on any system.
fn stays_below(path: &str) -> bool {
    !path.is_empty()
        && !path.chars().any(char::is_control)
        && path
            .split(['/', '\\'])
            .all(|part| !part.is_empty() && part != "." && part != ".." && !part.starts_with(".wh."))
}

/// The bytes of a zip. Promises: what is accepted has safe names, each once; an entry that is unpacked has the size
/// that was declared, within the limits.
pub fn zip(data: &[u8]) {
    let limits = limits();
    let Ok(archive) = Archive::open(&Blob::from_bytes(data.to_vec()), "fuzz.zip", &limits) else { return };
    let mut names = BTreeSet::new();
    let mut total = 0;
    for entry in archive.entries() {
        assert!(stays_below(&entry.name), "accepted {:?}", entry.name);
        assert!(names.insert(&entry.name), "accepted {:?} twice", entry.name);
        assert!(entry.size <= limits.entry_bytes);
        total += entry.size;
        let mut unpacked = Count(0);
        if entry.kind != EntryKind::Folder && archive.copy(entry, &mut unpacked).is_ok() {
            assert_eq!(unpacked.0, entry.size, "{:?}", entry.name);
        }
    }
    assert!(total <= limits.archive_bytes);
    match classify(&archive) {
        Ok(Kind::ContentPackage) => {
            let _ = metadata(&archive, &limits);
            let _ = check_entries(&archive);
        }
        Ok(Kind::Dispatcher(flavour)) => {
            let _ = tier::read(&archive, flavour, &base(), &limits);
        }
        Ok(Kind::Ignored(_)) | Err(_) => {}
    }
}

/// A folder of `target/`, in the form of [`tree`], zipped honestly and planned as one build. Promises: planning does
/// not depend on how often it is done, every file is told of, packages are ordered after what they depend on.
pub fn package(data: &[u8]) {
    let zips = tree::zips(data);
    let Ok(folder) = tempfile::tempdir() else { return };
    let spool = Spool::new(folder.path());
    let inputs: Vec<Input> = zips
        .iter()
        .map(|(name, bytes)| Input {
            name: name.clone(),
            sha256: Some(Hasher::of(bytes)),
            blob: Blob::from_bytes(bytes.clone()),
        })
        .collect();
    let options = PlanOptions { limits: limits(), ..PlanOptions::default() };
    let mut reversed = inputs.clone();
    reversed.reverse();
    let (Ok(one), Ok(other)) = (plan(inputs, &base(), &options, &spool), plan(reversed, &base(), &options, &spool))
    else {
        return;
    };
    assert_eq!(one.files.len(), zips.len(), "a file is not told of");
    assert_eq!(one.files, other.files, "the order of the files matters");
    assert_eq!(one.findings, other.findings, "the order of the files matters");
    let (Ok(one), Ok(other)) = (one.plan, other.plan) else { return };
    let ids: Vec<&PackageId> = one.packages.iter().map(|package| &package.id).collect();
    assert_eq!(ids, other.packages.iter().map(|package| &package.id).collect::<Vec<_>>());
    for (at, package) in one.packages.iter().enumerate() {
        for dependency in &package.dependencies {
            let late = ids[at..].iter().find(|id| dependency.matches(id));
            assert!(late.is_none(), "{} comes before {late:?}", package.id);
        }
    }
    if let Some(tree) = &one.dispatcher {
        assert_eq!(Some(tree.fingerprint()), other.dispatcher.as_ref().map(tier::DispatcherTree::fingerprint));
    }
}

/// `filter.xml`. Promises: roots are absolute, and end without a slash.
pub fn filter(data: &[u8]) {
    let Ok(parsed) = filters::parse(data) else { return };
    for filter in parsed.filters {
        assert!(filter.root.starts_with('/'), "{:?}", filter.root);
        assert!(filter.root == "/" || !filter.root.ends_with('/') || filter.root.trim_matches('/').is_empty());
    }
}

/// `properties.xml` and what is read out of it. Promises: an identity is one that a repository takes, and is read
/// back from its own parts; a dependency has a name.
pub fn properties(data: &[u8]) {
    let Ok(parsed) = props::parse(data) else { return };
    let handled = |parsed: &Properties| nested::handling(parsed, "group", "name");
    assert_eq!(handled(&parsed), handled(&parsed));
    if let Ok(id) = PackageId::from_properties(&parsed) {
        assert!(!id.name().is_empty() && !id.to_string().contains(['\n', '\0', '\\']), "{id}");
        assert_eq!(PackageId::new(id.group(), id.name(), id.version()).ok(), Some(id));
    }
    for wanted in dependency::parse_list(parsed.get("dependencies").unwrap_or_default()).unwrap_or_default() {
        assert!(!wanted.name.is_empty() && !wanted.to_string().starts_with(' '), "{wanted}");
    }
}

/// A dispatcher configuration, in the form of [`tree`], read in every flavour. Promises: no link leads out of the
/// configuration, and what is read becomes a layer below the configuration's folder.
pub fn dispatcher(data: &[u8]) {
    for (_, bytes) in tree::zips(data) {
        let Ok(archive) = Archive::open(&Blob::from_bytes(bytes), "dispatcher.zip", &limits()) else { continue };
        let _ = classify(&archive);
        for flavour in [Flavour::Flexible, Flavour::Legacy, Flavour::Ams] {
            let Ok(tree) = tier::read(&archive, flavour, &base(), &limits()) else { continue };
            for (path, node) in &tree.nodes {
                assert!(!base().immutable.contains(path), "{path} is the base's");
                if let Node::Link(target) = node {
                    assert!(!escapes(&tree.nodes, path, target), "{path} leads out: {target}");
                }
            }
            let entries = tree.layer_entries("/etc/httpd");
            for entry in &entries {
                assert!(stays_below(&entry.path) && entry.path.starts_with("etc/httpd/"), "{}", entry.path);
            }
            let layer = Layer::new(entries, LayerEncoding::Gzip);
            assert!(layer.is_ok(), "{layer:?}");
        }
    }
}

/// Whether following a link as a kernel does leads above the top: one part after the other, each link on the way
/// followed before the next `..` is taken.
fn escapes(nodes: &BTreeMap<String, Node>, path: &str, target: &str) -> bool {
    let mut here: Vec<String> = path.split('/').map(str::to_owned).collect();
    here.pop();
    let mut ahead: Vec<String> = target.rsplit('/').map(str::to_owned).collect();
    let mut hops = 0;
    if target.starts_with('/') {
        return true;
    }
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." => {
                if here.pop().is_none() {
                    return true;
                }
            }
            _ => {
                here.push(part);
                if let Some(Node::Link(next)) = nodes.get(&here.join("/")) {
                    hops += 1;
                    if hops > 60 {
                        return false;
                    }
                    if next.starts_with('/') {
                        return true;
                    }
                    here.pop();
                    ahead.extend(next.rsplit('/').map(str::to_owned));
                }
            }
        }
    }
    false
}

/// What registries answer. The first line is a header's value, the rest a body. Promises: credentials go to https or
/// to the registry itself, never to an address that only this machine means, never along with a user name.
pub fn registry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (header, body) = text.split_once('\n').unwrap_or((&text, ""));
    for (registry, plain) in [("reg.example.org", false), ("10.0.0.1:5000", true)] {
        if let Ok(Challenge::Bearer { realm, .. }) = challenge(header, registry, plain) {
            let own = same_host(&realm, registry, plain);
            assert!(realm.scheme() == "https" || (plain && own), "{realm}");
            assert!(own || !is_internal(&realm), "{realm}");
            assert!(realm.username().is_empty() && realm.password().is_none(), "{realm}");
        }
        let scheme = if plain { "http" } else { "https" };
        let address = Url::parse(&format!("{scheme}://{registry}/v2/a/b/blobs/uploads/"));
        if let Ok(target) = address.and_then(|address| address.join(header))
            && same_host(&target, registry, plain)
        {
            let port = target.port().map_or(String::new(), |port| format!(":{port}"));
            assert_eq!(format!("{}{port}", target.host_str().unwrap_or_default()), registry, "{target}");
            assert_eq!(target.scheme(), scheme);
        }
    }
    let bytes = body.as_bytes();
    if let Ok(document) = Document::parse(bytes) {
        let count = match document {
            Document::Manifest(manifest) => manifest.layers.len(),
            Document::Index { manifests, .. } => manifests.len(),
        };
        assert!(count <= bytes.len(), "{count} blobs out of {} bytes", bytes.len());
    }
    if let Ok(value) = serde_json::from_slice(bytes) {
        let _ = RuntimeContract::from_config(&value);
    }
    if let (Ok(credentials), Ok(repository)) = (Credentials::from_docker_config(body), Repository::parse(header)) {
        let _ = credentials.get(&repository);
    }
}

/// The secret of the webhook under test, and the time at which it is.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_700_000_000;

/// What somebody sends to the webhook receiver: header fields, one a line as `name: value`, an empty line, a payload.
/// `@HEX@`, `@BASE64@` and `@SECRET@` in a value become what only a sender who knows the secret can write. Promises: a
/// request in which none of them stands is never believed, and how the payload is cut into pieces does not matter.
pub fn webhook(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, payload) = text.split_once("\n\n").unwrap_or((&text, ""));
    let lines: Vec<(String, &str)> = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let stated = |wanted: &str| lines.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let stamp = format!("{}.{}.", stated("webhook-id"), stated("webhook-timestamp"));
    let hex: String = hmac::sign(&key, payload.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = STANDARD.encode(hmac::sign(&key, format!("{stamp}{payload}").as_bytes()).as_ref());
    let knows = ["@HEX@", "@BASE64@", "@SECRET@"].iter().any(|mark| head.contains(mark)) || head.contains(SECRET);
    let fields: Vec<(String, String)> = lines
        .iter()
        .map(|(name, value)| {
            let value = value.replace("@HEX@", &hex).replace("@BASE64@", &base64).replace("@SECRET@", SECRET);
            (name.clone(), value)
        })
        .collect();
    let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let judged = |pieces: usize| {
        let mut verifier = Verifier::new(&fields, SECRET.as_bytes(), NOW)?;
        payload.as_bytes().chunks(pieces).for_each(|piece| verifier.update(piece));
        verifier.finish()
    };
    let verdict = judged(usize::MAX);
    assert_eq!(verdict, judged(7), "the pieces of a payload matter");
    if let Ok(verified) = verdict {
        assert!(knows, "believed {head:?}");
        assert!(verified.meaning == Meaning::Changed || head.to_ascii_lowercase().contains("ping"));
    }
}

/// What a Git server answers, to the first question and to the second. Promises: what is taken for a commit is the whole hash
/// of one, and no more refs come out than fit into the answer.
pub fn git(data: &[u8]) {
    let named = |all: &[Ref]| {
        for one in all {
            let hex = one.commit().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            assert!(hex && [40, 64].contains(&one.commit().len()), "{one:?}");
        }
        assert!(all.len() <= data.len() / 40, "{} refs out of {} bytes", all.len(), data.len());
    };
    if let Ok(Advertised::Tells(all)) = advertisement(data) {
        named(&all);
    }
    match listed(data) {
        Ok(all) => named(&all),
        Err(why) => assert!(why.chars().all(|char| !char.is_control()), "{why:?}"),
    }
}

/// What a test, a scanner or a build leaves as its report: read as each of the kinds. Promises: nothing is counted that the
/// report has no room for, a share is one, and metrics have names and values that status takes.
pub fn reports(data: &[u8]) {
    let mut metrics = vec![];
    if let Ok(cases) = junit::read(data) {
        assert!(cases.first.iter().all(|name| name.len() < 1024), "{:?}", cases.first);
        let _ = cases.sentence();
        metrics.extend(cases.metrics());
    }
    if let Ok(coverage) = jacoco::read(data) {
        let own = coverage.metrics();
        let share = |actual: &str| actual.parse::<f64>().is_ok_and(|share| (0.0..=100.0).contains(&share));
        assert!(own.iter().all(|metric| share(&metric.actual)), "{own:?}");
        metrics.extend(own);
    }
    let problems = sarif::problems(data);
    if let Ok(levels) = sarif::read(data) {
        let count = levels.errors + levels.warnings + levels.notes;
        assert!(count <= data.len() as u64, "{count} findings out of {} bytes", data.len());
        metrics.extend(levels.metrics());
        assert!(problems.map_or(true, |all| all.len() as u64 == count), "what is counted is not what is told");
    }
    metrics.extend(json::read(data).unwrap_or_default());
    for metric in metrics {
        // As docs/metrics.md states them.
        assert!((1..=48).contains(&metric.name.len()), "{metric:?}");
        assert!(metric.actual.len() <= 24 && metric.expected.len() <= 24, "{metric:?}");
    }
}

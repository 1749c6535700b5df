//! Questions that FileVault and the Java zip readers have an answer to, and ours.
//!
//! A question is a line of fields separated by tabs. `make oracle` makes thousands of them ([`questions`]), asks Java
//! (`e2e/oracle`) and compares; `sample.tsv` keeps a few hundred with Java's answers, which `order_oracle.rs` replays.
//! A disagreement is a defect, unless [`argued`] says why it is not.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, reason = "shared by a test and an example")]

pub mod questions;
#[path = "../../src/image/testzip.rs"]
pub mod testzip;

use std::cmp::Ordering;
use std::io::Write;

use launchway_operator::image::archive::{Archive, Entry, EntryKind};
use launchway_operator::image::blob::Hasher;
use launchway_operator::image::checks::{Facts, Findings};
use launchway_operator::image::order::order;
use launchway_operator::image::package::{
    Dependency, Package, PackageId, ServiceTier, Version, VersionRange, WorkspaceFilter, dependency, filter,
    properties, xml,
};
use launchway_operator::image::{Blob, ImageError, Limits};

/// Our answer to a question.
pub fn ours(question: &[&str]) -> String {
    match *question {
        ["version", a, b] => match Version::new(a).cmp(&Version::new(b)) {
            Ordering::Less => "-1",
            Ordering::Equal => "0",
            Ordering::Greater => "1",
        }
        .to_owned(),
        ["range", range, version] => match VersionRange::parse(range) {
            Err(_) => "bad",
            Ok(range) if range.contains(&Version::new(version)) => "in",
            Ok(_) => "out",
        }
        .to_owned(),
        ["dependency", list] => match dependency::parse_list(list) {
            Err(_) => "bad".to_owned(),
            Ok(list) => join(list.iter().map(|wanted| format!("{}|{}", wanted.group, wanted.name)), " "),
        },
        ["match", wanted, group, name, version] => {
            match (Dependency::parse(wanted), PackageId::new(group, name, version)) {
                (Ok(wanted), Ok(id)) if wanted.matches(&id) => "yes",
                // A package whose id is not legal is never there.
                (Ok(_), _) => "no",
                (Err(_), _) => "bad",
            }
            .to_owned()
        }
        ["id", group, name, version] => PackageId::new(group, name, version)
            .map_or_else(|_| "illegal".to_owned(), |id| format!("{}|{}|{}", id.group(), id.name(), id.version())),
        ["order", ref fields @ ..] => ordered(fields),
        ["zip", hex, ..] => zip(&unhex(hex)),
        ["properties", bytes] => match properties::parse(&unhex(bytes)) {
            Err(_) => "bad".to_owned(),
            Ok(found) => pairs(&unhex(bytes), &found),
        },
        ["filter", bytes] => filter::parse(&unhex(bytes)).map_or_else(
            |_| "bad".to_owned(),
            |parsed| {
                join(
                    parsed.filters.iter().map(|filter| {
                        let cleanup = if filter.cleanup { "cleanup" } else { "" };
                        format!("{}|{}|{cleanup}", hex(filter.root.as_bytes()), filter.mode)
                    }),
                    " ",
                )
            },
        ),
        _ => panic!("no such question: {question:?}"),
    }
}

/// Whether two answers say the same.
pub fn agree(question: &[&str], ours: &str, theirs: &str) -> bool {
    match question[0] {
        // Who refuses sees nothing else.
        "zip" => ours.starts_with('!') || readers(theirs).all(|(_, seen)| seen == ours),
        "dependency" => ours == join(theirs.split(' ').filter(|piece| *piece != "blank").map(str::to_owned), " "),
        _ => ours == theirs,
    }
}

/// Why a disagreement is meant. None: it is a defect.
pub fn argued(question: &[&str], ours: &str, theirs: &str) -> Option<&'static str> {
    let strict = matches!(ours, "bad" | "illegal") && !matches!(theirs, "bad" | "illegal");
    match *question {
        ["dependency", text] if text.trim().is_empty() => Some("blanks alone are no dependency"),
        ["match", "", ..] => Some("no dependency is no question: lists pass over empty items"),
        ["dependency" | "match", text, ..] if strict => unfulfillable(text),
        ["id", group, name, version] if strict && [group, name, version].iter().any(|part| part.contains('\\')) => {
            Some("a backslash cannot be in a file name of an image for every tool that reads it")
        }
        ["properties", bytes] if strict && undeclared(&unhex(bytes)) => {
            Some("an entity that nobody declared: Java drops it without a word, we refuse")
        }
        ["filter", bytes] => filters(&String::from_utf8_lossy(&unhex(bytes)), strict, theirs),
        ["zip", ..] => zips(ours, theirs),
        _ => None,
    }
}

/// What we refuse of a list, and FileVault takes for something that no package will ever be.
fn unfulfillable(list: &str) -> Option<&'static str> {
    let mut inside = false;
    let mut previous = ' ';
    let items = list.split(|c: char| {
        inside = if "[(".contains(c) && previous == ':' { true } else { inside && !"])".contains(c) };
        previous = c;
        c == ',' && !inside
    });
    let why = items.filter(|item| !item.is_empty()).find_map(|item| Dependency::parse(item).err())?;
    [
        (
            "a blank at an end",
            "a blank at an end is part of a name that no package has: the runtime would wait for ever",
        ),
        ("no package name", "a dependency without a name: no package has none, the runtime would wait for ever"),
        (
            "a group that begins with a slash",
            "FileVault keeps the slash of a dependency's group and drops that of a package's: the runtime would wait for ever",
        ),
        ("more than three parts", "FileVault passes over what stands behind a third colon: nobody meant that"),
    ]
    .into_iter()
    .find_map(|(rule, reason)| why.contains(rule).then_some(reason))
}

fn undeclared(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("&nbsp;")
}

fn filters(text: &str, strict: bool, theirs: &str) -> Option<&'static str> {
    if strict && (text.contains("root=\"apps\"") || text.contains("root=\"\"")) {
        return Some(
            "a root that is not absolute covers nothing, an empty one everything: neither is what its author meant",
        );
    }
    (theirs == "bad" && text.contains("pattern=\"[\"")).then_some(
        "a pattern that is no regular expression of Java's: Java's are not ours to judge, the runtime tells of it",
    )
}

/// Who reads archives as a stream cannot know what stands at the end; the runtime reads the end first.
fn zips(ours: &str, theirs: &str) -> Option<&'static str> {
    let mut reasons = readers(theirs).filter(|(_, seen)| *seen != ours).map(|(reader, seen)| match (reader, seen) {
        ("jdkStream", "!only DEFLATED entries can have EXT descriptor") => {
            Some("the JDK's stream refuses a stored entry with a descriptor; nothing that installs packages uses it")
        }
        ("commonsStream", seen) if ours.contains("5c") && !seen.starts_with('!') => {
            Some("Commons' stream makes `/` of `\\`: content packages with such names are refused later, dispatcher's mean it")
        }
        _ => None,
    });
    let first = reasons.next()??;
    reasons.all(|reason| reason.is_some()).then_some(first)
}

/// Reader and what it saw, or `!` and why it did not.
pub fn readers(theirs: &str) -> impl Iterator<Item = (&str, &str)> {
    theirs.split('\t').filter_map(|field| field.split_once('='))
}

fn ordered(fields: &[&str]) -> String {
    let set = fields
        .iter()
        .map(|field| {
            let (id, needs) = field.split_once('>').unwrap();
            let parts: Vec<&str> = id.splitn(3, ':').collect();
            Package {
                id: PackageId::new(parts[0], parts[1], parts[2]).unwrap(),
                sha256: Hasher::of(id.as_bytes()),
                size: 1,
                file: id.to_owned(),
                tiers: ServiceTier::BOTH.to_vec(),
                dependencies: dependency::parse_list(needs).unwrap(),
                package_type: None,
                filter: WorkspaceFilter::default(),
                embedded_in: None,
                skipped: false,
                facts: Facts::default(),
            }
        })
        .collect();
    // FileVault passes over what is missing; so do we for what the runtime provides: here, everything.
    match order(set, &[String::new()], &mut Findings::default()) {
        Ok(packages) => join(packages.iter().map(|package| package.id.to_string()), " "),
        Err(_) => "cycle".to_owned(),
    }
}

fn zip(bytes: &[u8]) -> String {
    let refused = |error: ImageError| match error {
        ImageError::Refused(refusal) => format!("!{}", refusal.reason.as_str()),
        other => panic!("{other:?}"),
    };
    let archive = match Archive::open(&Blob::from_bytes(bytes.to_vec()), "oracle.zip", &Limits::default()) {
        Ok(archive) => archive,
        Err(error) => return refused(error),
    };
    let mut seen = Vec::new();
    for entry in archive.entries() {
        match content(&archive, entry) {
            Ok(bytes) => {
                let slash = if entry.kind == EntryKind::Folder { "/" } else { "" };
                let name = format!("{}{slash}", entry.name);
                seen.push(format!("{}:{}:{:x}", hex(name.as_bytes()), bytes.len(), crc32fast::hash(&bytes)));
            }
            Err(error) => return refused(error),
        }
    }
    seen.sort();
    seen.join(",")
}

fn content(archive: &Archive, entry: &Entry) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    archive.copy(entry, &mut out)?;
    out.flush()?;
    Ok(out)
}

/// Every key that occurs in a document, with the value that counts.
fn pairs(bytes: &[u8], found: &launchway_operator::image::package::Properties) -> String {
    let nodes = xml::parse(bytes, Some("http://java.sun.com/dtd/properties.dtd")).unwrap();
    let mut keys: Vec<String> = nodes
        .into_iter()
        .filter_map(|node| match node {
            xml::Node::Start(_, attributes) => {
                attributes.into_iter().find(|(name, _)| name == "key").map(|pair| pair.1)
            }
            _ => None,
        })
        .collect();
    keys.sort();
    keys.dedup();
    join(
        keys.iter()
            .filter_map(|key| found.get(key).map(|value| format!("{}={}", hex(key.as_bytes()), hex(value.as_bytes())))),
        " ",
    )
}

fn join(pieces: impl Iterator<Item = String>, between: &str) -> String {
    pieces.collect::<Vec<_>>().join(between)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

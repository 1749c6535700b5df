//! Goes through a folder that somebody else's image has written.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use launchway_crds::{conditions::truncate, step::Metric};

use super::Document;
use crate::{
    gate::{
        jacoco::{self, Coverage},
        json,
        junit::{self, Cases},
        sarif::{self, Levels},
    },
    image::package::xml::{Bounds, Doctype, Node, walk},
    text::one_line,
    worker::publish::{BYTES_MAX, Content, FILES_MAX, media_type},
};

const DEPTH_MAX: usize = 8;
/// Entries of the folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// A report that counts.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    JUnit(Cases),
    Jacoco(Coverage),
    Sarif(Levels),
    Metrics(Vec<Metric>),
}

/// What is in a folder.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Reports that count, each with its name, or why it cannot be read.
    pub(super) found: Vec<(String, Result<Found, String>)>,
    /// Everything that is kept.
    pub(super) documents: Vec<Document>,
    /// What is left out and why.
    pub(super) notes: Vec<String>,
}

/// How much of a report can still be kept.
#[derive(Debug)]
pub(super) struct Room {
    files: usize,
    bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { files: FILES_MAX, bytes: BYTES_MAX }
    }
}

impl Room {
    fn take(&mut self, size: u64) -> bool {
        let fits = self.files > 0 && size <= self.bytes;
        if fits {
            self.files -= 1;
            self.bytes -= size;
        }
        fits
    }
}

/// Reads a folder. Links are never followed: the test has written them, and this process can read other files. `within`
/// is the folder in the report that its files are kept in.
///
/// # Errors
/// When the folder itself cannot be read.
pub(super) fn read(folder: &Path, within: Option<&str>, room: &mut Room) -> Result<Reports, String> {
    let (mut files, mut odd) = (vec![], 0_usize);
    list(folder, 0, &mut files, &mut odd).map_err(|error| format!("{}: {error}", folder.display()))?;
    files.sort();
    let mut reports = Reports::default();
    let mut left_out = 0_usize;
    for (path, size) in files {
        let title = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let found = report(&path, size, &title);
        let title = within.map_or_else(|| title.clone(), |within| format!("{within}/{title}"));
        if let Some(found) = found {
            reports.found.push((truncate(&one_line(&title), 100), found));
        }
        if room.take(size) {
            let media_type = media_type(&title);
            reports.documents.push(Document { title, media_type, content: Content::File(path) });
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        reports.notes.push(format!(
            "{left_out} files are not kept: a report has at most {FILES_MAX} files and {} MiB",
            BYTES_MAX >> 20
        ));
    }
    if odd > 0 {
        reports.notes.push(format!(
            "{odd} entries are not looked at: links, special files, or below {DEPTH_MAX} folders or beyond {ENTRIES_MAX} entries"
        ));
    }
    Ok(reports)
}

fn list(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, u64)>, odd: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Of the entry itself, not of what a link points to.
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEPTH_MAX {
            list(&entry.path(), depth + 1, files, odd)?;
        } else if kind.is_file() && files.len() < ENTRIES_MAX {
            files.push((entry.path(), entry.metadata()?.len()));
        } else {
            *odd += 1;
        }
    }
    Ok(())
}

/// The report in a file, when its name says that it is one.
fn report(path: &Path, size: u64, title: &str) -> Option<Result<Found, String>> {
    let name = title.rsplit('/').next().unwrap_or(title).to_ascii_lowercase();
    let parse: fn(&[u8]) -> Option<Result<Found, String>> = if title == "metrics.json" {
        |bytes| Some(json::read(bytes).map(Found::Metrics))
    } else if name.ends_with(".sarif") || name.ends_with(".sarif.json") {
        |bytes| Some(sarif::read(bytes).map(Found::Sarif))
    } else if name.ends_with(".xml") {
        xml
    } else {
        return None;
    };
    if size > jacoco::MAX as u64 {
        return Some(Err(format!("it has {size} bytes, and at most {} MiB are read", jacoco::MAX >> 20)));
    }
    match content(path) {
        Ok(bytes) => parse(&bytes),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    // The file may still grow, whatever its size was.
    File::open(path)?.take(jacoco::MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// XML of another kind is kept and does not count; XML that cannot be read may be a torn report and does.
fn xml(bytes: &[u8]) -> Option<Result<Found, String>> {
    let mut root = None;
    // Only the root is wanted: the first element stops the walk.
    let _ = walk(bytes, Doctype::Public("-//"), Bounds::nodes(1000), |node| match node {
        Node::Start(name, _) => {
            root = Some(name);
            Err(String::new())
        }
        Node::Text(_) | Node::End(_) => Ok(()),
    });
    match root {
        Some(name) if jacoco::is_root(&name) => Some(jacoco::read(bytes).map(Found::Jacoco)),
        Some(name) if !junit::is_root(&name) => None,
        _ => Some(junit::read(bytes).map(Found::JUnit)),
    }
}

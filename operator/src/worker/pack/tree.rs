//! What a build left below its `target` folders: packages, tests, and reports (`cloud-manager.md §4.7`,
//! `aem-artifacts.md §4`).
//!
//! The tree was written by commands that nobody has to trust, and this process has the registry's credentials: no link is
//! followed, and every file is opened as what it is.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::image::{Blob, archive::Archive, limits::Limits};

/// As deep as projects are.
const DEPTH_MAX: usize = 12;
/// Entries that are looked at.
const ENTRIES_MAX: usize = 500_000;
/// `O_NOFOLLOW` of Linux.
const NO_FOLLOW: i32 = 0o400_000;
/// Largest manifest of a jar.
const MANIFEST_MAX: u64 = 1 << 20;
/// Says in a jar's manifest that it holds functional tests.
const TEST_TYPE: (&str, &str) = ("cloud-manager-testtype", "integration-test");
const UI_TESTS: &str = "-ui-test-docker-context.tar.gz";

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    /// `target/*.zip`.
    pub(super) packages: Vec<PathBuf>,
    /// Jars with functional tests.
    pub(super) functional_tests: Vec<PathBuf>,
    /// Archives with UI tests.
    pub(super) ui_tests: Vec<PathBuf>,
    /// What Surefire wrote.
    pub(super) junit: Vec<PathBuf>,
    /// What JaCoCo wrote for each module.
    pub(super) coverage: Vec<PathBuf>,
    /// What JaCoCo wrote for all modules together.
    pub(super) aggregates: Vec<PathBuf>,
    /// Why something that would be an artifact is none.
    pub(super) refused: Vec<String>,
}

/// Goes through the tree.
///
/// # Errors
/// When a folder cannot be read, or there is too much.
pub(super) fn walk(root: &Path) -> Result<Tree, String> {
    let mut tree = Tree::default();
    let mut waiting = vec![(root.to_path_buf(), 0_usize)];
    let mut seen = 0_usize;
    while let Some((folder, depth)) = waiting.pop() {
        for (path, kind) in entries(&folder, &mut seen)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // As `push` does: what tools keep for themselves is no target of a module.
            if !kind.is_dir() || name.starts_with('.') || name == "node_modules" || name == "src" {
                continue;
            }
            if name == "target" {
                target(root, &path, &mut tree, &mut seen)?;
            } else if depth < DEPTH_MAX {
                waiting.push((path, depth + 1));
            }
        }
    }
    let Tree { packages, functional_tests, ui_tests, junit, coverage, aggregates, refused } = &mut tree;
    for all in [packages, functional_tests, ui_tests, junit, coverage, aggregates] {
        all.sort();
    }
    refused.sort();
    Ok(tree)
}

fn entries(folder: &Path, seen: &mut usize) -> Result<Vec<(PathBuf, fs::FileType)>, String> {
    let bad = |error: io::Error| format!("{} cannot be read: {error}", folder.display());
    let mut all = vec![];
    for entry in fs::read_dir(folder).map_err(bad)? {
        let entry = entry.map_err(bad)?;
        *seen += 1;
        if *seen > ENTRIES_MAX {
            return Err(format!("the build left more than {ENTRIES_MAX} files"));
        }
        // Of the entry itself, not of what a link points to.
        all.push((entry.path(), entry.file_type().map_err(bad)?));
    }
    Ok(all)
}

/// One `target` folder.
fn target(root: &Path, folder: &Path, tree: &mut Tree, seen: &mut usize) -> Result<(), String> {
    for (path, kind) in entries(folder, seen)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let shown = shown(root, &path);
        let (zip, jar) = (name.ends_with(".zip"), name.ends_with(".jar"));
        if kind.is_dir() {
            match name.as_str() {
                "surefire-reports" => {
                    tree.junit.extend(files(&path, seen)?.into_iter().filter(|path| is_report(path)));
                }
                "site" => {
                    tree.coverage.extend(regular(path.join("jacoco/jacoco.xml")));
                    tree.aggregates.extend(regular(path.join("jacoco-aggregate/jacoco.xml")));
                }
                _ => {}
            }
        } else if !kind.is_file() {
            if zip || jar || name.ends_with(UI_TESTS) {
                tree.refused.push(format!("{shown} is a link or a special file: a build has to write files there"));
            }
        } else if zip {
            tree.packages.push(path);
        } else if name.ends_with(UI_TESTS) {
            tree.ui_tests.push(path);
        } else if jar && is_functional_test(&path) {
            tree.functional_tests.push(path);
        }
    }
    Ok(())
}

/// A path as people know it, on one line.
pub(super) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().escape_debug().to_string()
}

fn files(folder: &Path, seen: &mut usize) -> Result<Vec<PathBuf>, String> {
    Ok(entries(folder, seen)?.into_iter().filter(|(_, kind)| kind.is_file()).map(|(path, _)| path).collect())
}

fn is_report(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("TEST-") && name.ends_with(".xml")
}

/// A file, if it is one and no folder on its way is a link.
fn regular(path: PathBuf) -> Option<PathBuf> {
    let folder = path.parent()?;
    let real = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    (real && fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())).then_some(path)
}

/// Opens a file, and never what a link points to.
pub(super) fn open(path: &Path) -> io::Result<fs::File> {
    fs::File::options().read(true).custom_flags(NO_FOLLOW).open(path)
}

/// Whether a jar says of itself that it holds functional tests. What cannot be read as a jar holds none: Maven leaves
/// jars of every kind.
fn is_functional_test(path: &Path) -> bool {
    let manifest = || -> Option<Vec<u8>> {
        let blob = Blob::from_file(open(path).ok()?).ok()?;
        let archive = Archive::open(&blob, &path.to_string_lossy(), &Limits::default()).ok()?;
        archive.read(archive.find("META-INF/MANIFEST.MF")?, MANIFEST_MAX).ok()
    };
    manifest().is_some_and(|bytes| {
        String::from_utf8_lossy(&bytes).lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case(TEST_TYPE.0) && value.trim() == TEST_TYPE.1
            })
        })
    })
}

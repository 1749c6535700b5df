//! Gives a Maven project the version of its execution, as Cloud Manager does (`cloud-manager.md §4.8`).
//!
//! The `pom.xml` of the root and those of all modules that it leads to are read. Of their text only versions are replaced,
//! and a property is added to the root's; everything else, comments and blanks included, stays as it was committed. Every
//! module has to have the version of the project: one that has another would go out under that one, again and again.

mod pom;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Component, Path, PathBuf},
};

use launchway_crds::{conditions::reasons, version::ArtifactsVersion};

use super::{Problem, complaint::Complaint, open};
use pom::{BYTES_MAX, Coordinates, Edit, Module, Pom, Said};

const FILE: &str = "pom.xml";
/// No project has as many.
const MODULES_MAX: usize = 1000;
/// All of them together; they are in memory at once.
const PROJECT_MAX: usize = 32 << 20;
/// How a module names its own group.
const OWN_GROUP: [&str; 2] = ["${project.groupId}", "${pom.groupId}"];

/// A module: its file, from the root of the checkout, and what it says.
struct Found {
    path: PathBuf,
    pom: Pom,
}

/// Writes a version into all files of a project, or into none. Says what was done.
///
/// # Errors
/// The file, the rule that it breaks and the remedy; or why a file cannot be read or written.
pub(super) fn rewrite(root: &Path, version: &ArtifactsVersion) -> Result<String, Problem> {
    let project = project(root)?;
    let names: BTreeSet<(&str, &str)> = project.iter().filter_map(|found| name(&found.pom)).collect();
    let committed = committed(&project, &names)?;
    let wanted = version.in_place_of(&committed);
    let mut texts = vec![];
    for (number, found) in project.iter().enumerate() {
        let mut edits = edits(found, &names, &committed, &wanted).map_err(|why| invalid(&found.path, &why))?;
        if number == 0 {
            edits.push(found.pom.original(&committed));
        }
        texts.push(found.pom.with(edits));
    }
    for (Found { path, .. }, text) in project.iter().zip(texts) {
        fs::write(root.join(path), text).map_err(|error| machine(path, &error))?;
    }
    let files = if project.len() == 1 { "1 file".into() } else { format!("{} files", project.len()) };
    Ok(format!("the project's version {committed} becomes {wanted} in {files}"))
}

/// The version that the project has so far.
fn committed(project: &[Found], names: &BTreeSet<(&str, &str)>) -> Result<String, Problem> {
    let Some(Found { path, pom }) = project.first() else { return Err(no_pom()) };
    let inherited = pom.parent.as_ref().filter(|parent| names.contains(&named(parent, None)));
    let version = pom.own.version.as_ref().or_else(|| inherited?.version.as_ref());
    let text = version.map(|version| version.text.clone()).unwrap_or_default();
    if text.is_empty() {
        return Err(invalid(path, "it says no version of the project: write one below <project>"));
    }
    // It stands in other places after this, in XML.
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+${}".contains(&byte)) {
        let why = format!(
            "its version {} has more than letters, digits and .-_+: write one that Maven can name a file after",
            text.escape_debug()
        );
        return Err(invalid(path, &why));
    }
    Ok(text)
}

/// What has to be written into the file of a module.
fn edits(found: &Found, names: &BTreeSet<(&str, &str)>, committed: &str, wanted: &str) -> Result<Vec<Edit>, String> {
    let pom = &found.pom;
    let within = pom.parent.as_ref().filter(|parent| names.contains(&named(parent, None)));
    if pom.own.version.is_none() && within.is_none() {
        return Err(format!(
            "it has no version, and its parent is no module of this project: write {committed} below <project>, or let a module be its parent"
        ));
    }
    let mut edits = vec![];
    let own = pom.own.version.iter().map(|own| (own, "it has the version"));
    let parent =
        within.and_then(|parent| parent.version.as_ref()).map(|version| (version, "it names its parent's version"));
    for (said, what) in own.chain(parent) {
        if said.text != committed {
            return Err(format!(
                "{what} {}, and the project has {committed}: all modules have to have the project's version, so leave theirs out",
                said.text.escape_debug()
            ));
        }
        edits.push(Edit::version(said, wanted));
    }
    let of_modules = pom.named.iter().filter(|one| names.contains(&named(one, pom.group())));
    let versions = of_modules.filter_map(|one| one.version.as_ref()).filter(|said: &&Said| said.text == committed);
    edits.extend(versions.map(|said| Edit::version(said, wanted)));
    Ok(edits)
}

/// Group and name of a module.
fn name(pom: &Pom) -> Option<(&str, &str)> {
    Some((pom.group()?, pom.own.artifact.as_ref()?.text.as_str()))
}

/// Group and name of what a module of this group names.
fn named<'a>(coordinates: &'a Coordinates, own: Option<&'a str>) -> (&'a str, &'a str) {
    let text = |said: &'a Option<Said>| said.as_ref().map_or("", |said| said.text.as_str());
    let group = text(&coordinates.group);
    let group = own.filter(|_| OWN_GROUP.contains(&group)).unwrap_or(group);
    (group, text(&coordinates.artifact))
}

/// The root's `pom.xml` first, and those of all modules, each once.
fn project(root: &Path) -> Result<Vec<Found>, Problem> {
    let Some(first) = place(root, Path::new(FILE))? else { return Err(no_pom()) };
    let (mut waiting, mut seen, mut found, mut bytes) = (vec![first], BTreeSet::new(), vec![], 0);
    while let Some(path) = waiting.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if seen.len() > MODULES_MAX {
            let why = format!("it is one module more than the {MODULES_MAX} that a project may have");
            return Err(invalid(&path, &why));
        }
        let text = read(root, &path)?;
        bytes += text.len();
        if bytes > PROJECT_MAX {
            let most = crate::text::human(PROJECT_MAX as u64);
            return Err(invalid(&path, &format!("with it the files of the project have more than {most}")));
        }
        let pom = Pom::parse(text).map_err(|why| invalid(&path, &why))?;
        for module in pom.modules.iter().rev() {
            waiting.extend(file_of(root, &path, module)?);
        }
        found.push(Found { path, pom });
    }
    Ok(found)
}

/// The file of a module that another file names; none for one of a profile that is not there: it may be for other machines.
fn file_of(root: &Path, file: &Path, module: &Module) -> Result<Option<PathBuf>, Problem> {
    let wrong = |what: &str| invalid(file, &format!("its module {} {what}", module.path.escape_debug()));
    let named = beside(file, &module.path).ok_or_else(|| wrong("is outside of the checkout: move it inside"))?;
    match place(root, &named)? {
        None if !module.of_profile => Err(wrong("is not there: commit it, or leave it out")),
        found => Ok(found),
    }
}

/// The path that a file names, from the root of the checkout; none outside of it.
fn beside(file: &Path, named: &str) -> Option<PathBuf> {
    let mut path = file.parent()?.to_path_buf();
    // Maven takes both slashes.
    for part in Path::new(&named.replace('\\', "/")).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// The file that a path means: itself, or the `pom.xml` in it. None when there is no such file.
fn place(root: &Path, path: &Path) -> Result<Option<PathBuf>, Problem> {
    let mut path = path.to_path_buf();
    loop {
        let mut kind = None;
        let mut there = root.to_path_buf();
        for part in &path {
            there.push(part);
            let Ok(found) = fs::symlink_metadata(&there) else { return Ok(None) };
            // It could lead anywhere, and this writes.
            if found.is_symlink() {
                return Err(invalid(&path, "it is a link, or behind one: commit the file itself"));
            }
            kind = Some(found.file_type());
        }
        match kind {
            Some(kind) if kind.is_file() => return Ok(Some(path)),
            None => path.push(FILE),
            Some(kind) if kind.is_dir() && path.file_name().is_none_or(|name| name != FILE) => path.push(FILE),
            Some(_) => return Ok(None),
        }
    }
}

fn read(root: &Path, path: &Path) -> Result<String, Problem> {
    let mut bytes = vec![];
    let file = open(&root.join(path)).map_err(|error| machine(path, &error))?;
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| machine(path, &error))?;
    if bytes.len() > BYTES_MAX {
        return Err(invalid(path, &format!("it is larger than {}", crate::text::human(BYTES_MAX as u64))));
    }
    String::from_utf8(bytes).map_err(|_| invalid(path, "it is not in UTF-8: convert it"))
}

fn no_pom() -> Problem {
    let why = format!(
        "the root of the repository has no {FILE} to write a version into: add it, or set spec.source.git.builder.projectVersion to Keep"
    );
    Problem::Git(Complaint::failed(reasons::NO_POM, why))
}

fn invalid(path: &Path, why: &str) -> Problem {
    let why = format!("{}: {why}", path.display().to_string().escape_debug());
    Problem::Git(Complaint::failed(reasons::PROJECT_VERSION_INVALID, why))
}

fn machine(path: &Path, error: &std::io::Error) -> Problem {
    Problem::Machine(format!("{} cannot be read and written: {error}", path.display()))
}

#[cfg(test)]
mod tests;

//! Gets exactly one commit of a repository that nobody has to trust.
//!
//! `git` does it, with an environment of its own: no configuration but ours, no hooks, no filters, no prompt, only the
//! transport of the URL, no redirect, objects checked on their way in. Links are checked out as they are, because
//! dispatcher configurations consist of them; nothing that reads the tree afterwards follows one.

mod cache;
mod complaint;
mod git;
mod version;
mod weight;

use std::{
    fs,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use launchway_crds::{conditions::reasons, version::ArtifactsVersion};
use serde::{Deserialize, Serialize};

use super::{
    frame,
    verdict::{Reason, Verdict},
};
pub use cache::Cache;
use complaint::Complaint;
pub(super) use git::Git;

/// Where the request is.
pub const REQUEST: &str = "LAUNCHWAY_FETCH";
/// Settings of Maven that a project brings along (`cloud-manager.md §4.6`).
const SETTINGS: &str = ".cloudmanager/maven/settings.xml";
const SETTINGS_MAX: u64 = 1 << 20;
/// `O_NOFOLLOW` of Linux, on every architecture that the operator is built for.
const NO_FOLLOW: i32 = 0o400_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The repository.
    pub url: String,
    /// The ref that named the commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit.
    pub commit: String,
    /// Fetch submodules of the root too.
    #[serde(default)]
    pub submodules: bool,
    /// The folder with the login.
    pub login: PathBuf,
    /// Where the sources go.
    pub folder: PathBuf,
    /// Home of the build.
    pub home: PathBuf,
    /// The most that the checkout may have.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The cache, if there is one.
    #[serde(default)]
    pub cache: Option<Cache>,
    /// The version that the project gets, if not the committed one.
    #[serde(default)]
    pub version: Option<ArtifactsVersion>,
}

/// Gets the commit.
pub async fn run() -> ExitCode {
    frame::run(from_text(&frame::text(REQUEST))).await
}

async fn from_text(text: &str) -> Verdict<()> {
    let request: Request = match frame::request(REQUEST, "url, ref, commit, login, folder and home", text) {
        Ok(request) => request,
        Err(reason) => return Verdict::Error(reason),
    };
    match checkout(&request).await {
        Ok(()) => Verdict::Ok(()),
        Err(problem) => problem.verdict(),
    }
}

/// Why there is no checkout: what Git says, or this machine.
#[derive(Debug)]
pub(super) enum Problem {
    Git(Complaint),
    Machine(String),
}

impl Problem {
    pub(super) fn verdict<T>(self) -> Verdict<T> {
        match self {
            Self::Git(complaint) => complaint.verdict(),
            Self::Machine(why) => Verdict::Error(Reason::new(reasons::JOB_FAILED, &why)),
        }
    }
}

async fn checkout(request: &Request) -> Result<(), Problem> {
    let machine = |error: std::io::Error| Problem::Machine(format!("the checkout cannot be prepared: {error}"));
    if let Some(cache) = &request.cache {
        println!("cache: {}", cache.prepare().map_err(machine)?);
    }
    fs::create_dir_all(request.home.join(".m2")).map_err(machine)?;
    let git = Git::new(&request.url, &request.login).map_err(machine)?.within(&request.folder, request.bytes);
    if request.reference.starts_with("refs/tags/") {
        unmoved(&git, request).await?;
    }
    println!("fetching {} of {} from {}", request.commit, request.reference, request.url);
    let format = if request.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    git.run(&["init", "--quiet", "--initial-branch=launchway", format]).await?;
    // Relative URLs of submodules begin here.
    git.run(&["config", "remote.origin.url", &request.url]).await?;
    fetch(&git, request).await?;
    git.run(&["checkout", "--quiet", "--detach", &request.commit]).await?;
    if request.submodules {
        git.run(&["submodule", "update", "--init", "--depth=1", "--jobs=2"]).await.map(drop)?;
    }
    settings(request).map_err(machine)?;
    if let Some(version) = &request.version {
        println!("{}", version::rewrite(&request.folder, version)?);
    }
    println!("checked out {}", request.commit);
    Ok(())
}

/// A tag that is moved between two builds makes two things of one name.
async fn unmoved(git: &Git, request: &Request) -> Result<(), Problem> {
    let now = git.commit_of(&request.url, &request.reference).await?;
    if now.as_deref() == Some(request.commit.as_str()) {
        return Ok(());
    }
    let now = now.unwrap_or_else(|| "nothing".into());
    Err(Problem::Git(Complaint::failed(
        reasons::TAG_MOVED,
        format!(
            "{} of {} named {} when the execution began, and names {now} now: find out who moved it, and run again",
            request.reference, request.url, request.commit
        ),
    )))
}

/// Fetches the commit alone. A server that gives out only what its refs name is asked for the ref; then the commit has to
/// be that.
async fn fetch(git: &Git, request: &Request) -> Result<(), Problem> {
    let of = |what| ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--depth=1", "origin", what];
    match git.run(&of(&request.commit)).await {
        Err(Problem::Git(complaint)) if complaint.only_refs => {}
        other => return other.map(drop),
    }
    git.run(&of(&request.reference)).await?;
    let fetched = git.run(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"]).await?;
    if fetched.trim() == request.commit {
        return Ok(());
    }
    Err(Problem::Git(Complaint::failed(
        reasons::COMMIT_NOT_FOUND,
        format!(
            "{} gives out only what its refs name, and {} names {} now instead of {}: run again",
            request.url,
            request.reference,
            fetched.trim(),
            request.commit
        ),
    )))
}

/// Brings the project's settings of Maven to where Maven looks. A link is no settings: it could lead anywhere.
fn settings(request: &Request) -> std::io::Result<()> {
    let path = request.folder.join(SETTINGS);
    let inside = [".cloudmanager", ".cloudmanager/maven"]
        .iter()
        .all(|part| fs::symlink_metadata(request.folder.join(part)).is_ok_and(|found| found.is_dir()));
    if !inside || !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    let mut text = vec![];
    open(&path)?.take(SETTINGS_MAX).read_to_end(&mut text)?;
    println!("uses {SETTINGS}");
    fs::write(request.home.join(".m2/settings.xml"), text)
}

fn open(path: &Path) -> std::io::Result<fs::File> {
    fs::File::options().read(true).custom_flags(NO_FOLLOW).open(path)
}

#[cfg(test)]
mod tests;

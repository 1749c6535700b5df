//! Reads what the commands of a build left: how they ended, what tests and coverage say, and the packages, which go to
//! the registry as one artifact in the form of `launchway push`.

mod end;
mod tree;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use launchway_crds::{
    conditions::reasons,
    digest::{ImageRef, Sha256Digest},
    step::Metric,
    version::ArtifactsVersion,
};
use serde::{Deserialize, Serialize};

use super::{
    build, frame,
    measured::Measured,
    verdict::{Reason, Verdict},
};
use crate::{
    artifact::{self, LocalFile, PushError},
    build_record,
    gate::{
        jacoco::{self, Coverage},
        junit::{self, Cases},
    },
    image::failure::Reason as Code,
    plan::execution::git::tag,
    registry::{Location, Repository},
};
use tree::Tree;

/// Where the request is.
pub const REQUEST: &str = "LAUNCHWAY_PACK";
/// Annotations of the artifact, as the image specification names them.
const SOURCE: &str = "org.opencontainers.image.source";
const REVISION: &str = "org.opencontainers.image.revision";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The folder with the sources and what was built.
    pub folder: PathBuf,
    /// The folder in which the commands said how they ended.
    pub end: PathBuf,
    /// The commands.
    pub commands: Vec<String>,
    /// Where packages go: `REGISTRY/REPOSITORY`.
    pub target: String,
    /// Speak plain HTTP to it.
    #[serde(default)]
    pub plain_http: bool,
    /// The repository.
    pub url: String,
    /// The commit.
    pub commit: String,
    /// What decides what the build makes.
    pub key: Sha256Digest,
    /// `NAMESPACE/NAME` of the execution.
    pub execution: String,
    /// The version that was generated for the packages, if any was.
    #[serde(default)]
    pub version: Option<ArtifactsVersion>,
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Packages, or why there are none.
    pub end: End,
    /// What was measured, and a sentence.
    pub measured: Measured,
}

/// Packages, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// Digest of the artifact.
    Packages(Sha256Digest),
    /// One word; the sentence is the measured one.
    Unfit(String),
}

/// Why a build has no packages: a word and a sentence.
type Unfit = (String, String);

fn unfit(reason: &str, message: impl Into<String>) -> Unfit {
    (reason.to_string(), message.into())
}

/// Reads, counts and uploads.
pub async fn run() -> ExitCode {
    frame::run(from_text(&frame::text(REQUEST), &build::credentials())).await
}

async fn from_text(text: &str, credentials: &Path) -> Verdict<Packed> {
    let request: Request = match frame::request(REQUEST, "folder, end, commands, target and commit", text) {
        Ok(request) => request,
        Err(reason) => return Verdict::Error(reason),
    };
    let reading = request.clone();
    let read = match tokio::task::spawn_blocking(move || read(&reading)).await {
        Ok(read) => read,
        Err(error) => {
            let why = format!("reading what the build left failed: {error}");
            return Verdict::Error(Reason::new(reasons::JOB_FAILED, &why));
        }
    };
    let (metrics, counted) = (read.metrics, read.counted);
    let told = |sentence: String| {
        [sentence, counted.clone()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    };
    let (end, message) = match read.files {
        Err((reason, message)) => (End::Unfit(reason), told(message)),
        Ok(files) => match upload(&request, files, credentials).await {
            Ok((image, count)) => {
                let packages = if count == 1 { "package" } else { "packages" };
                (End::Packages(image.digest()), told(format!("built {count} {packages}")))
            }
            Err(PushError::Input(message)) => (End::Unfit(Code::ArtifactInvalid.as_str().into()), told(message)),
            Err(PushError::Registry(error)) => return Verdict::Error(Reason::new(error.code(), &error.message)),
        },
    };
    match Measured::new(metrics, &message, None) {
        Ok(measured) => {
            println!("{}", measured.message);
            Verdict::Ok(Packed { end, measured })
        }
        Err(reason) => Verdict::Failed(reason),
    }
}

/// What a build left: numbers, and files or why there are none.
struct Left {
    metrics: Vec<Metric>,
    /// What the tests came to, in a sentence; empty when there are none.
    counted: String,
    files: Result<Vec<LocalFile>, Unfit>,
}

fn read(request: &Request) -> Left {
    let none = |why: Unfit| Left { metrics: vec![], counted: String::new(), files: Err(why) };
    let ended = match end::read(&request.end, &request.commands) {
        Ok(ended) => ended,
        Err(why) => return none(unfit(reasons::BUILD_FAILED, why)),
    };
    let tree = match tree::walk(&request.folder) {
        Ok(tree) => tree,
        Err(why) => return none(unfit(reasons::BUILD_FAILED, why)),
    };
    let (cases, coverage, problems) = reports(&request.folder, &tree);
    let metrics: Vec<Metric> =
        cases.iter().flat_map(Cases::metrics).chain(coverage.iter().flat_map(Coverage::metrics)).collect();
    let counted = cases.as_ref().map(Cases::sentence).unwrap_or_default();
    let failing = cases.is_some_and(|cases| cases.failures + cases.errors > 0);
    let files = if let Some(problem) = problems.first() {
        Err(unfit(reasons::BUILD_FAILED, format!("a report cannot be read, so nothing is known: {problem}")))
    } else if failing {
        Err(unfit(reasons::UNIT_TESTS_FAILED, "unit tests failed"))
    } else if let Some(failed) = ended {
        Err(why_failed(request, &failed))
    } else {
        files(request, &tree)
    };
    Left { metrics, counted, files }
}

fn why_failed(request: &Request, failed: &end::Failed) -> Unfit {
    let name = request.execution.rsplit('/').next().unwrap_or_default();
    let maven = failed.command.split_whitespace().next() == Some("mvn");
    if maven && !request.folder.join("pom.xml").is_file() {
        return unfit(
            reasons::NO_POM,
            format!(
                "the root of {} has no pom.xml at commit {}: add it, or name other commands in spec.source.git.builder.commands",
                request.url, request.commit
            ),
        );
    }
    unfit(
        reasons::BUILD_FAILED,
        format!(
            "command {} of {}, `{}`, exited with {}: kubectl launchway logs {name} build shows why",
            failed.number,
            request.commands.len(),
            crate::text::brief(&failed.command),
            failed.code
        ),
    )
}

/// What tests and coverage came to, and what cannot be read.
fn reports(root: &Path, tree: &Tree) -> (Option<Cases>, Option<Coverage>, Vec<String>) {
    let (mut cases, mut coverage, mut problems) = (None::<Cases>, None::<Coverage>, vec![]);
    for path in &tree.junit {
        match content(path, junit::MAX).and_then(|bytes| junit::read(&bytes)) {
            Ok(more) => cases.get_or_insert_default().add(more),
            Err(why) => problems.push(format!("{}: {why}", tree::shown(root, path))),
        }
    }
    // A report of all modules together counts each of them once already.
    let of_modules = if tree.aggregates.is_empty() { &tree.coverage } else { &tree.aggregates };
    for path in of_modules {
        match content(path, jacoco::MAX).and_then(|bytes| jacoco::read(&bytes)) {
            Ok(more) => coverage = Some(coverage.unwrap_or_default().and(more)),
            Err(why) => problems.push(format!("{}: {why}", tree::shown(root, path))),
        }
    }
    (cases, coverage, problems)
}

fn content(path: &Path, max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    let file = tree::open(path).map_err(|error| error.to_string())?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The packages and tests that become the artifact.
fn files(request: &Request, tree: &Tree) -> Result<Vec<LocalFile>, Unfit> {
    let invalid = |message: String| unfit(Code::ArtifactInvalid.as_str(), message);
    let shown = |path: &PathBuf| tree::shown(&request.folder, path);
    if let Some(refused) = tree.refused.first() {
        return Err(invalid(refused.clone()));
    }
    for (what, all) in
        [("jars with functional tests", &tree.functional_tests), ("archives with UI tests", &tree.ui_tests)]
    {
        if let [one, two, ..] = all.as_slice() {
            return Err(invalid(format!("two {what}, {} and {}: keep one of them", shown(one), shown(two))));
        }
    }
    if tree.packages.is_empty() {
        return Err(unfit(
            Code::NoArtifacts.as_str(),
            format!(
                "the commands ended well and left no target/*.zip: let a module have the packaging content-package, or correct spec.source.git.builder.commands ({} of them)",
                request.commands.len()
            ),
        ));
    }
    let all = tree.packages.iter().chain(&tree.functional_tests).chain(&tree.ui_tests).cloned();
    artifact::read_local_files(all).map_err(|error| invalid(error.to_string()))
}

/// Uploads the files, and then writes down that this build was done. Gives the artifact and the number of packages.
async fn upload(request: &Request, files: Vec<LocalFile>, credentials: &Path) -> Result<(ImageRef, usize), PushError> {
    let repository = Repository::parse(&request.target)?;
    let plain: Vec<String> = request.plain_http.then(|| repository.registry().to_owned()).into_iter().collect();
    let client = build::client(&plain, credentials).map_err(|error| PushError::Input(error.to_string()))?;
    let version = request.version.as_ref();
    let mut annotations =
        BTreeMap::from([(SOURCE.to_string(), request.url.clone()), (REVISION.to_string(), request.commit.clone())]);
    annotations.extend(version.map(|version| (build_record::VERSION.to_string(), version.to_string())));
    let count = files.iter().filter(|file| artifact::is_package(&file.name)).count();
    let target = Location { repository: repository.clone(), tag: None, digest: None };
    let pushed = artifact::push_files(&client, &target, files, annotations, &build::Lines).await?;
    println!("pushed {}", pushed.image);
    let record = build_record::encode(pushed.image.digest(), pushed.manifest_size, &request.execution, version);
    client.put_manifest(&repository, &tag(request.key), record.media_type, &record.bytes).await?;
    Ok((pushed.image, count))
}

#[cfg(test)]
mod tests;

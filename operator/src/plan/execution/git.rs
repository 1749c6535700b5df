//! Packages from sources: which commit an execution is about, whether it was built before, and what its build came to.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    digest::{ImageRef, Sha256Digest},
    execution::{Artifact, FILES_MAX, PipelineExecutionStatus},
    git::{BuildRecord, Commit, GitSource, RemoteRef},
    names::requests,
    step::{METRICS_MAX, Metric, StepName, StepState},
    version::{ArtifactsVersion, ProjectVersion},
};
use serde_json::json;

use crate::{
    flux::FluxFault,
    git::{GitFault, Transport},
    image::Hasher,
};

use super::{
    Verdict,
    action::{Sources, Work},
    identity,
    jobs::{self, job, keep},
    prepare::{began, faulty},
    revision::gone,
    source, step_of,
    world::{Fault, FoundArtifact, JobEnd, JobFacts, Needs, World},
};

/// Bumped when the same commands on the same commit make something else than before.
const BUILD_FORMAT: u32 = 1;
/// How long a Git server may be away before an execution gives up.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// Pause between two tries.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// The repository that this execution builds from; none when it is given packages, or takes a release over.
pub(super) fn sources(world: &World) -> Option<&GitSource> {
    world.pipeline.as_ref().filter(|_| !source::takes(world))?.spec.source.git.as_ref()
}

/// Whether a Job finds out which commit a ref names: by SSH the operator itself asks nobody.
pub(super) fn asks_by_job(world: &World) -> bool {
    let by_ssh = |remote: RemoteRef| Transport::of(&remote.url) == Transport::Ssh;
    sources(world).is_some_and(|git| asked(world, git) && git.remote().is_some_and(by_ssh))
}

/// Whether somebody has to be asked what the source is now. A tag is asked for in any case: it must not have moved; and so
/// is an object of Flux: it says where the repository is.
fn asked(world: &World, git: &GitSource) -> bool {
    world.execution.spec.commit.is_none() || git.tag.is_some() || git.flux_ref.is_some()
}

/// Facts that are worth reading when every Environment is this execution's.
pub(super) fn needs_commit(world: &World, needs: &mut Needs) {
    let unknown = world.execution.status.as_ref().is_none_or(|status| status.commit.is_none());
    let Some(git) = sources(world).filter(|git| unknown && asked(world, git)) else { return };
    match git.remote().map(|remote| Transport::of(&remote.url)) {
        None | Some(Transport::Http) => needs.commit = true,
        Some(Transport::Ssh) => needs.job = Some(StepName::Validate),
    }
}

/// Facts that are worth reading for the build.
pub(super) fn needs_build(world: &World, needs: &mut Needs) {
    needs.job = Some(StepName::Build);
    needs.earlier = may_reuse(world).then(|| build_tag(world)).flatten();
}

fn may_reuse(world: &World) -> bool {
    sources(world).is_some_and(|git| git.reuse) && !world.execution.spec.rebuild
}

fn build_tag(world: &World) -> Option<String> {
    world.execution.status.as_ref()?.build.as_ref().map(|build| tag(build.key))
}

/// The tag under which the packages of a build are found again.
#[must_use]
pub fn tag(key: Sha256Digest) -> String {
    format!("build-{}", key.hex())
}

/// Everything that decides what a build makes. Of secrets only where they are: their values are nobody's to compare.
fn key(namespace: &str, git: &GitSource, remote: &RemoteRef, builder: &ImageRef, commit: &str) -> Sha256Digest {
    let named: Vec<_> = git.builder.variables.iter().map(|one| (&one.name, &one.value)).collect();
    let secrets: Vec<_> =
        git.builder.secrets.iter().map(|one| (&one.name, &one.secret_key_ref.name, &one.secret_key_ref.key)).collect();
    let parts = json!([
        BUILD_FORMAT,
        namespace,
        remote.url,
        commit,
        remote.branch_name(),
        git.submodules,
        builder,
        git.builder.commands,
        named,
        secrets,
    ]);
    // Which execution's version packages carry makes no difference, that they carry one does. Those of before that option
    // stay under their keys.
    let version = match git.builder.project_version {
        ProjectVersion::Keep => "",
        ProjectVersion::Generate => "generated",
    };
    Hasher::of(format!("{parts}{version}").as_bytes())
}

/// The version that the packages of this execution get, if they do not keep the committed one.
fn generated(world: &World, git: &GitSource) -> Option<ArtifactsVersion> {
    match git.builder.project_version {
        ProjectVersion::Keep => None,
        ProjectVersion::Generate => Some(ArtifactsVersion::new(world.now, number(identity(world).2))),
    }
}

/// A number for an execution, of as many digits as Cloud Manager's: the first 32 bits of its UID, which are random.
fn number(uid: &str) -> u32 {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    u32::from_str_radix(&digits, 16).unwrap_or_default()
}

fn builder_of(world: &World, git: &GitSource) -> Option<ImageRef> {
    git.builder.image.clone().or_else(|| world.git.builder.clone())
}

fn no_builder() -> Verdict {
    Verdict::failed(
        reasons::NO_BUILDER,
        "no image to build in: set spec.source.git.builder.image of the pipeline, or the chart's value builder.image",
    )
}

/// Resolves the branch or the tag to a commit, once, and writes down what will be built of it before anything else
/// happens.
pub(super) fn resolve(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(git) = sources(world) else { return Verdict::finished("the pipeline can run") };
    let Some(builder) = builder_of(world, git) else { return no_builder() };
    let found = match git.remote() {
        Some(remote) => of_server(world, status, git, &remote).map(|id| (remote, id)),
        None => of_flux(world, status),
    };
    let (remote, id) = match found {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    let (_, namespace, _) = identity(world);
    let message = format!("takes {} of {}", short(&id), remote.reference);
    let key = key(namespace, git, &remote, &builder, &id);
    let artifacts_version = generated(world, git);
    status.build = Some(BuildRecord { builder, key, artifacts_version, reused_from: None });
    let RemoteRef { url, reference } = remote;
    status.commit = Some(Commit { url, reference, id, resolved_at: Time(world.now) });
    Verdict::Passed { state: StepState::Finished, reason: reasons::FINISHED, message, persist: true }
}

/// The commit of a repository that the pipeline names: what was asked for, or what its ref names.
fn of_server(
    world: &World,
    status: &mut PipelineExecutionStatus,
    git: &GitSource,
    remote: &RemoteRef,
) -> Result<String, Verdict> {
    let wanted = world.execution.spec.commit.as_ref();
    if let Some(wanted) = wanted.filter(|_| !asked(world, git)) {
        return Ok(wanted.clone());
    }
    let found = named(world, status, git, remote)?;
    match wanted.filter(|wanted| **wanted != found) {
        None => Ok(found),
        Some(wanted) => Err(Verdict::failed(
            reasons::TAG_MOVED,
            format!("{} of {} names {found}, and spec.commit of the execution {wanted}", remote.reference, remote.url),
        )),
    }
}

/// The repository that a `GitRepository` of Flux names, and the commit: what was asked for, or what Flux has fetched.
fn of_flux(world: &World, status: &PipelineExecutionStatus) -> Result<(RemoteRef, String), Verdict> {
    let found = match &world.git.flux_commit {
        None => return Err(Verdict::running("asks Flux which commit it has")),
        Some(Err(fault)) => return Err(unready(world, fault, held_since(world, status))),
        Some(Ok(found)) => found,
    };
    match world.execution.spec.commit.as_ref().filter(|wanted| **wanted != found.id) {
        None => Ok((found.remote.clone(), found.id.clone())),
        Some(wanted) if found.verified => Err(Verdict::failed(
            reasons::NOT_POSSIBLE,
            format!(
                "spec.commit: Flux has verified {} and not {wanted}, and the GitRepository asks for verified commits \
                 (spec.verify): run without spec.commit",
                found.id
            ),
        )),
        Some(wanted) if found.remote.reference.starts_with("refs/tags/") => Err(Verdict::failed(
            reasons::TAG_MOVED,
            format!(
                "Flux has {} of {} by now, which is {}, and spec.commit of the execution is {wanted}",
                found.remote.reference, found.remote.url, found.id
            ),
        )),
        Some(wanted) => Ok((found.remote.clone(), wanted.clone())),
    }
}

/// What it means that an object of Flux does not say what the source is. `since`: when the wait for it began.
pub(super) fn unready(world: &World, fault: &FluxFault, since: Timestamp) -> Verdict {
    let waits = fault.patience().is_some_and(|patience| world.now.duration_since(since) < patience);
    if waits {
        return Verdict::retrying(
            format!("{}; looks again", fault.message),
            world.now.saturating_add(PAUSE).unwrap_or(world.now),
        );
    }
    Verdict::failed(fault.reason(), fault.message.clone())
}

/// Since when nothing else keeps the step `validate` from its end: it began, and its last Environment is its own.
fn held_since(world: &World, status: &PipelineExecutionStatus) -> Timestamp {
    let (_, _, uid) = identity(world);
    let own = [&world.stage, &world.production].into_iter().flatten();
    let locks = own.filter_map(|environment| environment.status.as_ref()?.lock.as_ref());
    let held = locks.filter(|lock| lock.uid == uid).map(|lock| lock.since.0).max();
    let began = began(world, status, StepName::Validate);
    held.map_or(began, |held| held.max(began))
}

/// The commit that the ref names, as the server says: asked by the operator or by a Job.
fn named(
    world: &World,
    status: &mut PipelineExecutionStatus,
    git: &GitSource,
    remote: &RemoteRef,
) -> Result<String, Verdict> {
    let asking = || format!("asks which commit {} of {} is", remote.reference, remote.url);
    if Transport::of(&remote.url) == Transport::Ssh {
        let work = Work::Resolve(Box::new(sources_of(world, git, remote.clone())?));
        return match job(world, StepName::Validate, work, &asking())? {
            JobEnd::Resolved { commit } => Ok(commit),
            end => Err(jobs::verdict_of(world, status, StepName::Validate, end)),
        };
    }
    match &world.git.commit {
        None => Err(Verdict::running(asking())),
        Some(Ok(commit)) => Ok(commit.clone()),
        Some(Err(fault)) => Err(away(world, status, fault)),
    }
}

/// What a fault of a Git server means.
fn away(world: &World, status: &PipelineExecutionStatus, fault: &GitFault) -> Verdict {
    if !fault.passes() {
        return Verdict::failed(fault.reason(), fault.message.clone());
    }
    if world.now.duration_since(held_since(world, status)) < PATIENCE {
        return Verdict::retrying(
            format!("{}; tries again", fault.message),
            world.now.saturating_add(PAUSE).unwrap_or(world.now),
        );
    }
    Verdict::error(fault.reason(), fault.message.clone())
}

/// What Jobs need to know of the sources.
fn sources_of(world: &World, git: &GitSource, remote: RemoteRef) -> Result<Sources, Verdict> {
    let pipeline = world.pipeline.as_ref().ok_or_else(|| gone(world))?;
    Ok(Sources {
        git: git.clone(),
        remote,
        builder: builder_of(world, git).ok_or_else(no_builder)?,
        pipeline: pipeline.metadata.name.clone().unwrap_or_default(),
        pipeline_uid: pipeline.metadata.uid.clone().unwrap_or_default(),
        cache_epoch: pipeline
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(requests::INVALIDATE_CACHE))
            .cloned()
            .unwrap_or_default(),
    })
}

/// The packages are there: those of the same build of before, or those that a Job makes now.
pub(super) fn build(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    if let Some(artifact) = &status.artifact {
        return Verdict::finished(format!("uses {}", artifact.reference));
    }
    let (Some(git), Some(commit), Some(record)) = (sources(world), status.commit.clone(), status.build.clone()) else {
        return gone(world);
    };
    let Some(facts) = world.jobs.get(&StepName::Build) else { return Verdict::Unseen };
    if *facts == JobFacts::Absent && may_reuse(world) {
        match &world.git.earlier {
            None => return Verdict::running("looks for the same build of before"),
            Some(Ok(earlier)) => {
                let by = earlier.by.clone().unwrap_or_else(|| "an earlier execution".into());
                let message = format!("built before by {by}: uses {}", earlier.artifact.reference);
                let artifacts_version = earlier.version.clone();
                status.build = Some(BuildRecord { reused_from: Some(by), artifacts_version, ..record });
                return taken(status, &earlier.artifact, message);
            }
            Some(Err(Fault::Absent(_))) => {}
            Some(Err(fault)) => return faulty(world, status, StepName::Build, fault, reasons::ARTIFACT_NOT_FOUND),
        }
    }
    let (_, namespace, _) = identity(world);
    // Of an object of Flux: as it was when the commit was written down.
    let remote = RemoteRef { url: commit.url.clone(), reference: commit.reference.clone() };
    let sources = match sources_of(world, git, remote.clone()) {
        Ok(sources) => sources,
        Err(verdict) => return verdict,
    };
    if *facts == JobFacts::Absent && key(namespace, git, &remote, &sources.builder, &commit.id) != record.key {
        // The execution's version of the pipeline is kept: only the operator's own image can be another one by now.
        return Verdict::error(
            reasons::NO_BUILDER,
            "the operator was given another image to build in (builder.image of the chart) while this execution ran: run the \
             pipeline again",
        );
    }
    let (Some(packages), timeout) = (jobs::packages(world, None), git.builder.timeout) else { return gone(world) };
    let doing = format!("builds {}", short(&commit.id));
    let version = record.artifacts_version;
    let work = Work::Build { sources: Box::new(sources), commit, key: record.key, version, packages, timeout };
    match job(world, StepName::Build, work, &doing) {
        Ok(JobEnd::Packed { artifact: _, metrics, message }) => match &world.artifact {
            None => Verdict::running("verifies the packages in the registry"),
            Some(Err(fault)) => faulty(world, status, StepName::Build, fault, reasons::ARTIFACT_NOT_FOUND),
            Some(Ok(found)) => {
                keep(status, StepName::Build, metrics.into());
                taken(status, found, message)
            }
        },
        Ok(JobEnd::Unfit { metrics, reason, message }) => {
            keep(status, StepName::Build, metrics.into());
            Verdict::failed(reason, message)
        }
        Ok(end) => jobs::verdict_of(world, status, StepName::Build, end),
        Err(verdict) => verdict,
    }
}

/// Writes the packages down before anything is made of them.
fn taken(status: &mut PipelineExecutionStatus, found: &FoundArtifact, message: String) -> Verdict {
    let files = found.files.iter().take(FILES_MAX).cloned().collect();
    status.artifact = Some(Artifact { reference: found.reference.clone(), files });
    Verdict::Passed { state: StepState::Finished, reason: reasons::FINISHED, message, persist: true }
}

/// Coverage is measured by the build and judged with the package checks, as Cloud Manager does (`cloud-manager.md §2.5`).
pub(super) fn with_coverage(status: &PipelineExecutionStatus, step: StepName, mut metrics: Vec<Metric>) -> Vec<Metric> {
    if step == StepName::CodeQuality {
        let built = step_of(status, StepName::Build).map(|built| &*built.metrics).unwrap_or_default();
        let coverage = built.iter().filter(|metric| metric.name.ends_with("coverage")).cloned();
        metrics.extend(coverage.take(METRICS_MAX.saturating_sub(metrics.len())));
    }
    metrics
}

/// The first digits of a commit, for people.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

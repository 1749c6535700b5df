//! Which images of a registry may go: those that the history of a pipeline let go of, and that nobody needs.
//!
//! An image is deleted in three acts. Its execution is no longer there (`history.rs`, or a person); its entry in the ledger
//! says that history let go of it (`let_go`), so that nobody takes the release by that entry any more; then, after a new look
//! at the whole cluster, what nobody names is deleted (`sweep`), and the entry says so. Only what an entry of a ledger names
//! is ever deleted, never "what nobody seems to need": what this cluster did not make, or does not know, stays.
//!
//! # Why nothing goes that somebody needs
//!
//! * *What runs, or is about to*: every digest that an Environment, one of its pods, or an execution that has not ended
//!   mentions anywhere is held, in every namespace, and so is what an entry of a ledger has that was not let go of.
//! * *Parts of it*: what a held release names in the registry is held, too, and what the tag of a person names.
//! * *Who takes a release that exists* (promotion, second deployment, way back) finds it in a ledger. The mark is written
//!   before the look: whoever reads the ledger afterwards does not take the release, and whoever read it before is an
//!   execution that the look shows. What such a one has named, or may take without naming it, is held.
//! * *Who makes the same bytes again*: builds are deterministic, and one that finds its images in the registry sends
//!   nothing. While a Job that builds images is there whose execution has not recorded its release, nothing is deleted;
//!   while something is deleted no such Job is created (`Context::builds`), and that takes a bounded time, which includes
//!   deletions that nobody answered. So a build sees the registry as it is before, or as it is after.
//! * *A crash*: each act is recorded in the ledger or can be repeated. What was let go of and is not recorded as deleted is
//!   decided anew, on new facts.
//! * *Two operators*: a leader ends five seconds before the next one begins (`lease/`), and with it whatever it deletes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    conditions::{self, reasons, types},
    digest::{ImageRef, Sha256Digest},
    pipeline::{HistoryImages, ImagesState, LedgerEntry, PipelineStatus, PipelineType},
};
use serde::Serialize;
use serde_json::Value;

use super::history::{Needed, ledger};
use crate::outline::ExecutionOutline;

/// How many manifests one sweep deletes before it leaves the rest to the next one.
const ROUND: usize = 40;
/// Most names in a message.
const NAMES: usize = 5;

/// Everything that decides which images go: of the whole cluster, read live.
#[derive(Clone, Debug)]
pub struct World {
    /// The pipeline whose history lets go of images.
    pub pipeline: Pipeline,
    /// Every Pipeline.
    pub pipelines: Vec<Pipeline>,
    /// Every Environment.
    pub environments: Vec<Environment>,
    /// Executions that have not ended.
    pub running: Vec<PipelineExecution>,
    /// Executions that are there, ended or not.
    pub there: There,
    /// UIDs of executions with a Job that builds images.
    pub builds: BTreeSet<String>,
    /// Digests of images that pods of Environments have.
    pub pods: BTreeSet<Sha256Digest>,
}

/// Executions that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct There {
    uids: BTreeSet<String>,
    names: BTreeSet<(String, String)>,
}

impl There {
    /// These: namespace, name and UID of each.
    pub fn of(all: impl Iterator<Item = (String, String, String)>) -> Self {
        let mut there = Self::default();
        for (namespace, name, uid) in all {
            there.uids.insert(uid);
            there.names.insert((namespace, name));
        }
        there
    }

    /// Whether an entry's execution is there, or one that a GitOps tool has created again under its name.
    fn has(&self, pipeline: &Pipeline, entry: &LedgerEntry) -> bool {
        let namespace = pipeline.metadata.namespace.clone().unwrap_or_default();
        self.uids.contains(&entry.uid) || self.names.contains(&(namespace, entry.name.clone()))
    }
}

/// What a registry says of a pipeline's repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What tags of people, and releases that are in use, name: themselves and their parts.
    pub named: BTreeSet<Sha256Digest>,
    /// By release: what a build attached to it, in the order in which it goes.
    pub documents: BTreeMap<Sha256Digest, Vec<Sha256Digest>>,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Executions whose images go, oldest first.
    pub removals: Vec<Removal>,
    /// Executions whose images stay for now.
    pub waits: Vec<String>,
    /// Whether there may be more at once: this sweep was full, or a build is in the way.
    pub soon: bool,
}

/// What goes of one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// UID of the execution.
    pub uid: String,
    /// Manifests, in their order: what refers to others goes before them.
    pub digests: Vec<Sha256Digest>,
    /// Whether nothing is left to do for it then.
    pub is_last: bool,
}

/// What became of the images that a history let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All are deleted.
    NothingLeft,
    /// Those of these executions are still needed, or a build runs.
    Waits(Vec<String>),
    /// The registry does not let go of them.
    Refused {
        /// One word.
        reason: &'static str,
        /// What it says, and the remedy.
        message: String,
    },
}

/// Whether there is anything to look at: an execution that is gone may be let go of, or was.
#[must_use]
pub fn has_work(pipeline: &Pipeline, there: &There) -> bool {
    gone(pipeline, there).next().is_some() || due(pipeline).next().is_some()
}

/// Entries with a release that is kept, and an execution that is not there any more.
fn gone<'a>(pipeline: &'a Pipeline, there: &'a There) -> impl Iterator<Item = &'a LedgerEntry> {
    let deletes = pipeline.spec.history.images == HistoryImages::Delete;
    ledger(pipeline).iter().filter(move |entry| deletes && entry.keeps_release() && !there.has(pipeline, entry))
}

/// Entries whose images are to be deleted, newest first: those in the repository that the pipeline writes to now. It has
/// credentials for no other.
fn due(pipeline: &Pipeline) -> impl Iterator<Item = &LedgerEntry> {
    let deletes = pipeline.spec.history.images == HistoryImages::Delete;
    let repository = pipeline.spec.images.as_ref().map(|images| images.repository.as_str());
    ledger(pipeline).iter().filter(move |entry| {
        let release = entry.release.as_ref().map(ImageRef::repository);
        deletes && entry.images_state == Some(ImagesState::LetGo) && release.is_some() && release == repository
    })
}

/// Releases of entries whose images are to be deleted.
#[must_use]
pub fn due_releases(world: &World) -> BTreeSet<Sha256Digest> {
    due(&world.pipeline).filter_map(|entry| entry.release.as_ref()).map(ImageRef::digest).collect()
}

/// UIDs of entries that history lets go of: their executions are gone, and nobody may come to take their releases.
#[must_use]
pub fn let_go(world: &World) -> BTreeSet<String> {
    let namespace = &world.pipeline.metadata.namespace;
    let here: Vec<&Pipeline> = world.pipelines.iter().filter(|one| &one.metadata.namespace == namespace).collect();
    let environments: Vec<&Environment> =
        world.environments.iter().filter(|one| &one.metadata.namespace == namespace).collect();
    let running: Vec<ExecutionOutline> =
        world.running.iter().filter(|one| &one.metadata.namespace == namespace).map(ExecutionOutline::of).collect();
    let needed = Needed::of(&environments, &running, &here);
    let takeable = takeable(&world.pipeline, &here, &running);
    gone(&world.pipeline, &world.there)
        .filter(|entry| !needed.has_entry(entry) && !takeable.contains(entry.uid.as_str()))
        .map(|entry| entry.uid.clone())
        .collect()
}

/// What executions may take that name nothing and have recorded nothing yet: one takes the last success that there was at
/// some moment since it was created.
fn takeable<'a>(pipeline: &'a Pipeline, here: &[&Pipeline], running: &[ExecutionOutline]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for one in running {
        let own = here.iter().find(|other| other.metadata.name.as_ref() == Some(&one.pipeline));
        let builds = own.is_some_and(|own| own.spec.type_ != PipelineType::ProductionOnly);
        let took = one.progress.as_ref().is_some_and(|progress| progress.takes.is_some());
        if builds || took || !one.names.is_empty() {
            continue;
        }
        let since = one.metadata.creation_timestamp.as_ref().map(|created| created.0);
        let mut before = false;
        for entry in ledger(pipeline).iter().filter(|entry| entry.has_passed()) {
            if before {
                break;
            }
            before = since.is_some_and(|since| entry.at.0 < since);
            found.insert(entry.uid.as_str());
        }
    }
    found
}

/// Releases that are in use somewhere: what they name in the registry is held.
#[must_use]
pub fn roots(world: &World) -> BTreeSet<Sha256Digest> {
    let entries = world.pipelines.iter().flat_map(ledger).filter(|entry| entry.keeps_release());
    let running = world.running.iter().filter_map(|one| one.status.as_ref()?.release.as_ref());
    let statuses = || world.environments.iter().filter_map(|one| one.status.as_ref());
    let deployed = statuses().filter_map(|status| status.deployed.as_ref());
    let origins = deployed.clone().filter_map(|deployed| deployed.web_tier.as_ref()).map(|origin| &origin.release);
    entries
        .filter_map(|entry| entry.release.as_ref())
        .chain(running)
        .chain(deployed.map(|deployed| &deployed.release))
        .chain(origins)
        .chain(statuses().filter_map(|status| status.target.as_ref()).map(|target| &target.release))
        .chain(statuses().filter_map(|status| status.restore.as_ref()?.release.as_ref()))
        .map(ImageRef::digest)
        .collect()
}

/// What goes now.
#[must_use]
pub fn sweep(world: &World, found: &Found) -> Sweep {
    let mut entries: Vec<&LedgerEntry> = due(&world.pipeline).collect();
    entries.reverse();
    let mut sweep = Sweep::default();
    let Some(mut held) = held(world).filter(|_| !is_building(world)) else {
        sweep.waits = entries.iter().map(|entry| entry.name.clone()).collect();
        sweep.soon = true;
        return sweep;
    };
    held.extend(&found.named);
    let (mut doomed, mut done) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let is_full = doomed.len() >= ROUND;
        sweep.soon |= is_full;
        let release = entry.release.as_ref().map(ImageRef::digest);
        let known = release.and_then(|release| Some((release, found.documents.get(&release)?)));
        // One that was let go of after the registry was asked: the next sweep knows of it.
        let Some((release, documents)) = known.filter(|_| !is_full) else {
            sweep.waits.push(entry.name.clone());
            continue;
        };
        // What is attached to a release goes with it, or stays with it.
        let documents = documents.iter().copied().filter(|_| !held.contains(&release));
        let own = own_digests(entry, &world.pipeline);
        let digests = documents.chain(own.iter().copied()).filter(|digest| !held.contains(digest));
        let digests = digests.filter(|digest| doomed.insert(*digest)).collect();
        let answered = |digest: &Sha256Digest| {
            let mut others = ledger(&world.pipeline).iter().filter(|other| {
                other.uid != entry.uid && other.images_state != Some(ImagesState::Deleted) && !done.contains(&other.uid)
            });
            !held.contains(digest) || others.any(|other| own_digests(other, &world.pipeline).contains(digest))
        };
        let is_last = own.iter().all(answered);
        if is_last {
            done.insert(entry.uid.clone());
        } else {
            sweep.waits.push(entry.name.clone());
        }
        sweep.removals.push(Removal { uid: entry.uid.clone(), digests, is_last });
    }
    sweep
}

/// A release and its images, in the order in which they go, as far as they are in the pipeline's repository.
fn own_digests(entry: &LedgerEntry, pipeline: &Pipeline) -> Vec<Sha256Digest> {
    let repository = pipeline.spec.images.as_ref().map(|images| images.repository.as_str());
    let images = entry.images.iter().flat_map(|images| [&images.aem, &images.dispatcher]);
    entry
        .release
        .iter()
        .chain(images)
        .filter(|image| Some(image.repository()) == repository)
        .map(ImageRef::digest)
        .collect()
}

/// Whether a build may be about to find in the registry what it would have sent.
fn is_building(world: &World) -> bool {
    world.running.iter().any(|one| {
        let recorded = one.status.as_ref().is_some_and(|status| status.release.is_some());
        !recorded && one.metadata.uid.as_ref().is_some_and(|uid| world.builds.contains(uid))
    })
}

/// Every digest that is mentioned by whatever needs images; None when that cannot be said.
fn held(world: &World) -> Option<BTreeSet<Sha256Digest>> {
    let mut held = world.pods.clone();
    for environment in &world.environments {
        mentioned(environment, &mut held)?;
    }
    for execution in &world.running {
        mentioned(execution, &mut held)?;
    }
    for pipeline in &world.pipelines {
        mentioned(&pipeline.spec, &mut held)?;
        for entry in ledger(pipeline).iter().filter(|entry| entry.images_state.is_none()) {
            mentioned(entry, &mut held)?;
        }
    }
    // A release without its images is none, whoever has it.
    let parts = world
        .pipelines
        .iter()
        .chain([&world.pipeline])
        .flat_map(ledger)
        .filter(|entry| entry.release.as_ref().is_some_and(|release| held.contains(&release.digest())));
    let parts: Vec<Sha256Digest> = parts
        .filter_map(|entry| entry.images.as_ref())
        .flat_map(|images| [images.aem.digest(), images.dispatcher.digest()])
        .collect();
    held.extend(parts);
    Some(held)
}

/// Adds every digest in an object, whichever field it is in: a field that comes to the API later is not forgotten here.
fn mentioned(object: &impl Serialize, found: &mut BTreeSet<Sha256Digest>) -> Option<()> {
    let mut left = vec![serde_json::to_value(object).ok()?];
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => digests_in(&text, found),
            Value::Array(all) => left.extend(all),
            Value::Object(all) => {
                for (key, value) in all {
                    digests_in(&key, found);
                    left.push(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Some(())
}

/// Adds every `sha256:` with 64 hex digits in a text.
pub fn digests_in(text: &str, found: &mut BTreeSet<Sha256Digest>) {
    const PREFIX: &str = "sha256:";
    let starts = text.match_indices(PREFIX).map(|(at, _)| at);
    found.extend(starts.filter_map(|at| text.get(at..at + PREFIX.len() + 64)?.parse::<Sha256Digest>().ok()));
}

/// Whether a tag is one that builds write: it follows from what it names, and keeps nothing.
#[must_use]
pub fn is_own_tag(tag: &str) -> bool {
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    match tag.split_once('-') {
        Some(("release" | "report" | "newest", rest)) => hex(rest, 12),
        // Packages of a build of sources, by the build's key.
        Some(("build", rest)) => hex(rest, 64),
        // The index of what refers to a manifest (distribution-spec, referrers tag schema).
        Some(("sha256", rest)) => hex(rest, 64),
        _ => false,
    }
}

/// Names of executions by their UIDs.
pub fn names<'a>(pipeline: &Pipeline, uids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let find = |uid: &str| ledger(pipeline).iter().find(|entry| entry.uid == uid).map(|entry| entry.name.clone());
    uids.filter_map(find).collect()
}

/// Marks entries of a ledger; says whether that changed anything.
pub fn mark(status: &mut PipelineStatus, uids: &BTreeSet<String>, state: ImagesState) -> bool {
    let mut changed = false;
    for entry in status.ledger.iter_mut().filter(|entry| uids.contains(&entry.uid)) {
        changed |= entry.images_state != Some(state);
        entry.images_state = Some(state);
    }
    changed
}

/// Says what became of the images; says whether that is news. While a registry refuses for the same reason the words stay:
/// one that words its errors differently each time would have status written each time.
pub fn tell(status: &mut PipelineStatus, now: &Time, generation: Option<i64>, outcome: &Outcome) -> bool {
    let (is_done, reason, message) = match outcome {
        Outcome::NothingLeft => (true, reasons::NOTHING_LEFT, "what spec.history let go of is deleted".to_owned()),
        Outcome::Waits(names) => {
            let more = names.len().saturating_sub(NAMES);
            let named = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
            let others = if more > 0 { format!(" and {more} more") } else { String::new() };
            let why = "an Environment, a ledger, a running execution or a tag names them, or images are being built";
            (false, reasons::STILL_NEEDED, format!("images of {named}{others} stay for now: {why}"))
        }
        Outcome::Refused { reason, message } => (false, *reason, message.clone()),
    };
    let same = conditions::get(&status.conditions, types::IMAGES_DELETED).is_some_and(|old| {
        let words = matches!(outcome, Outcome::Refused { .. }) || old.message == message;
        old.reason == reason && old.observed_generation == generation && words
    });
    if !same {
        conditions::set(&mut status.conditions, now, generation, types::IMAGES_DELETED, is_done, reason, &message);
    }
    !same
}

#[cfg(test)]
mod tests;

//! The release of another execution: for production-only pipelines, for a deployment that is done again, and for the
//! way back.
//!
//! Everything that decides is in the ledgers of pipelines, so that an execution object that was deleted is no obstacle.

use launchway_crds::{
    Pipeline,
    conditions::reasons,
    environment::EmergencyMode,
    execution::{PipelineExecutionStatus, SourceRecord, Trigger},
    pipeline::LedgerEntry,
    restore::OlderReleases,
    step::StepState,
};

use super::{
    Verdict, identity, name_of,
    route::{only_production, trigger},
    web_tier,
    world::World,
};

/// The record of the execution whose release this one takes, and the name of its pipeline.
pub(super) fn taken(world: &World) -> Option<Result<(String, LedgerEntry), Verdict>> {
    let pipeline = world.pipeline.as_ref()?;
    let asked = &world.execution.spec;
    if !takes(world) {
        return None;
    }
    Some(match trigger(asked) {
        Trigger::ReExecute => last(world, pipeline, asked.re_execute.as_deref().unwrap_or_default()),
        Trigger::RollBack => earlier(world, pipeline, asked.roll_back_to.as_deref().unwrap_or_default()),
        Trigger::Manual | Trigger::OnChange | Trigger::Promote => {
            tested(world, pipeline, asked.source_execution.as_deref())
        }
    })
}

/// Whether this execution takes a release over, and builds none.
pub(super) fn takes(world: &World) -> bool {
    let type_ = world.pipeline.as_ref().map(|pipeline| pipeline.spec.type_);
    type_.is_some_and(|type_| only_production(type_, trigger(&world.execution.spec)))
}

/// The record of the execution whose release this one took, if it is still there. Which one would be taken now is
/// another question: others have ended since.
pub(super) fn recorded<'a>(world: &'a World, status: &PipelineExecutionStatus) -> Option<&'a LedgerEntry> {
    let source = status.source.as_ref()?;
    let named = |entry: &&LedgerEntry| entry.uid == source.uid;
    match trigger(&world.execution.spec) {
        Trigger::ReExecute => ledger(world, world.pipeline.as_ref()?).find(named),
        Trigger::RollBack => passed(world, world.pipeline.as_ref()?).find(named),
        Trigger::Manual | Trigger::OnChange | Trigger::Promote => {
            passed(world, world.source_pipeline.as_ref()?).find(named)
        }
    }
}

/// What a pipeline remembers, this execution left out: it is remembered before its status says that it is over.
fn ledger<'a>(world: &'a World, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a LedgerEntry> {
    let (_, _, uid) = identity(world);
    pipeline.status.iter().flat_map(|status| &status.ledger).filter(move |entry| entry.uid != uid)
}

/// Executions that succeeded and whose release is known.
fn passed<'a>(world: &'a World, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a LedgerEntry> {
    ledger(world, pipeline).filter(|entry| entry.has_passed())
}

fn name(pipeline: &Pipeline) -> String {
    pipeline.metadata.name.clone().unwrap_or_default()
}

fn refused(message: String) -> Verdict {
    Verdict::failed(reasons::SOURCE_REFUSED, message)
}

/// Only the last execution, when its deployment to production began and it was no way back (`cloud-manager.md` §2.9).
fn last(world: &World, pipeline: &Pipeline, wanted: &str) -> Result<(String, LedgerEntry), Verdict> {
    let Some(last) = ledger(world, pipeline).next() else {
        return Err(refused(format!("pipeline {} has no execution to do again", name(pipeline))));
    };
    let because = if last.name != wanted {
        format!("it is not the last execution of the pipeline, which is {}", last.name)
    } else if let Some(because) = last.never_again() {
        because.into()
    } else {
        return Ok((name(pipeline), last.clone()));
    };
    Err(refused(format!("{wanted} cannot be executed again: {because}. Run the pipeline instead")))
}

/// An execution of this pipeline that succeeded.
fn earlier(world: &World, pipeline: &Pipeline, wanted: &str) -> Result<(String, LedgerEntry), Verdict> {
    passed(world, pipeline).find(|entry| entry.name == wanted).map(|entry| (name(pipeline), entry.clone())).ok_or_else(
        || {
            let known: Vec<&str> = passed(world, pipeline).take(10).map(|entry| entry.name.as_str()).collect();
            refused(format!(
                "{wanted} is no execution of pipeline {} that succeeded, as far as it remembers{}: choose one of {}",
                name(pipeline),
                let_go(world, pipeline, wanted),
                if known.is_empty() { "none".into() } else { known.join(", ") }
            ))
        },
    )
}

/// What is added where the wanted execution is remembered and its images are not kept.
fn let_go(world: &World, pipeline: &Pipeline, wanted: &str) -> &'static str {
    let gone = ledger(world, pipeline).any(|entry| entry.name == wanted && entry.images_state.is_some());
    if gone { " (spec.history of that pipeline let go of its images)" } else { "" }
}

/// A stage-only execution that passed: the last one, or the one that was chosen.
fn tested(world: &World, pipeline: &Pipeline, wanted: Option<&str>) -> Result<(String, LedgerEntry), Verdict> {
    let source = pipeline.spec.source.pipeline.as_deref().unwrap_or_default();
    let Some(found) = world.source_pipeline.as_ref() else {
        return Err(refused(format!(
            "spec.source.pipeline of pipeline {} names {source}, which does not exist: create it, or correct the name",
            name(pipeline)
        )));
    };
    let mut passed = passed(world, found);
    let chosen = match wanted {
        Some(wanted) => passed.find(|entry| entry.name == wanted),
        None => passed.next(),
    };
    let chosen = chosen.ok_or_else(|| {
        refused(match wanted {
            Some(wanted) => {
                format!(
                    "{wanted} is no execution of pipeline {source} that passed its tests{}: choose one of its ledger",
                    let_go(world, found, wanted)
                )
            }
            None => format!("no execution of pipeline {source} has passed its tests yet: run it first"),
        })
    })?;
    untested(world, source, chosen).map_or_else(|| Ok((source.to_owned(), chosen.clone())), Err)
}

/// What an emergency left out on the way to stage is missing on production, too: it has to be allowed there, whichever
/// pipeline left it out.
fn untested(world: &World, source: &str, entry: &LedgerEntry) -> Option<Verdict> {
    let production = world.production.as_ref()?;
    if entry.skipped.is_empty() || production.spec.emergency_mode == EmergencyMode::Enabled {
        return None;
    }
    let steps: Vec<&str> = entry.skipped.iter().map(|step| step.as_str()).collect();
    Some(Verdict::failed(
        reasons::EMERGENCY_NOT_ENABLED,
        format!(
            "execution {} of pipeline {source} left out {} in an emergency, and Environment {name} does not allow \
             emergencies: run {source} without spec.mode, name an execution that left nothing out in spec.sourceExecution, or \
             set spec.emergencyMode of {name} to Enabled",
            entry.name,
            steps.join(", "),
            name = name_of(production),
        ),
    ))
}

/// Takes the release over: the artifact preparation of `cloud-manager.md` §1.10. None when this execution builds.
pub(super) fn take(world: &World, status: &mut PipelineExecutionStatus) -> Option<Verdict> {
    if let Some(source) = &status.source {
        return Some(Verdict::finished(format!("takes the release of execution {}", source.execution)));
    }
    let (pipeline, entry) = match taken(world)? {
        Ok(found) => found,
        Err(verdict) => return Some(verdict),
    };
    if let Some(verdict) = too_old(world, &entry).or_else(|| over_a_volume(world, &entry)) {
        return Some(verdict);
    }
    let digest = entry.release.as_ref().map(|release| release.digest().to_string()).unwrap_or_default();
    let message = format!("takes {digest} of execution {} of pipeline {pipeline}", entry.name);
    status.source = Some(SourceRecord { pipeline, execution: entry.name, uid: entry.uid, skipped: entry.skipped });
    status.release = entry.release;
    status.images = entry.images;
    status.made_at = entry.made_at;
    // What is approved and deployed from here on is this release: it is written down first.
    Some(Verdict::Passed { state: StepState::Finished, reason: reasons::FINISHED, message, persist: true })
}

/// A release that was made before the one that production runs goes there only when somebody says so: elsewhere this
/// happens silently (`cloud-manager.md` §1.10).
fn too_old(world: &World, entry: &LedgerEntry) -> Option<Verdict> {
    let asked = &world.execution.spec;
    if asked.allow_older || matches!(trigger(asked), Trigger::RollBack | Trigger::ReExecute) {
        return None;
    }
    let environment = world.production.as_ref()?;
    let runs = environment.status.as_ref()?.deployed.as_ref()?;
    if !entry.is_older_than(runs) {
        return None;
    }
    let (now, then) = (runs.made_at.as_ref()?, entry.made_at.as_ref()?);
    Some(Verdict::failed(
        reasons::OLDER_RELEASE,
        format!(
            "the release of {} was made at {}, before the one that {} runs (of execution {}, made at {}): choose a newer \
             execution, or set spec.allowOlder to go back on purpose",
            entry.name,
            then.0,
            name_of(environment),
            runs.execution,
            now.0
        ),
    ))
}

/// An author that keeps its repository on a volume does not go back by itself: the runtime does not extract older packages
/// over newer ones (`maven-artifacts.md` §3). Refused before anything is touched, unless somebody answers for it.
fn over_a_volume(world: &World, entry: &LedgerEntry) -> Option<Verdict> {
    // Dispatchers alone: the author stays as it is.
    let environment = world.production.as_ref().filter(|_| !web_tier::is_own(world))?;
    let storage = environment.spec.author.storage.as_ref()?;
    match storage.older_releases {
        OlderReleases::Accept => return None,
        OlderReleases::Refuse => {}
    }
    let runs = environment.status.as_ref()?.deployed.as_ref()?;
    if !entry.is_older_than(runs) {
        return None;
    }
    Some(Verdict::failed(
        reasons::AUTHOR_KEEPS_REPOSITORY,
        format!(
            "the author of {name} keeps its repository on a volume, and the release of {} is older than the one that {name} \
             runs: its packages would not be extracted over the newer ones. Deploy a corrected release, or restore the \
             volume yourself and set spec.author.storage.olderReleases of the Environment to Accept",
            entry.name,
            name = name_of(environment),
        ),
    ))
}

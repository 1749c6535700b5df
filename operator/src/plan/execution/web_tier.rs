//! The dispatcher image of an Environment that a pipeline of type WebTier has to itself (`cloud-manager.md` §1.2).
//!
//! Once such a pipeline names an Environment, every other pipeline leaves the dispatcher there as it is, and it leaves author
//! and publish as they are. When it is deleted, the next full release brings its own dispatcher again.

use std::collections::BTreeMap;

use launchway_crds::{
    Environment, conditions::reasons, deploy::Scope, digest::ImageRef, environment::Deployed, pipeline::PipelineType,
};

use super::{Verdict, name_of, world::World};

/// Whether the execution's pipeline replaces dispatchers alone.
pub(super) fn is_own(world: &World) -> bool {
    world.pipeline.as_ref().is_some_and(|pipeline| pipeline.spec.type_ == PipelineType::WebTier)
}

/// Which images of its release this execution brings to an Environment.
pub(super) fn scope(world: &World, owners: &BTreeMap<String, String>, environment: &Environment) -> Scope {
    if is_own(world) {
        Scope::Dispatcher
    } else if owners.contains_key(name_of(environment)) {
        Scope::Aem
    } else {
        Scope::Release
    }
}

/// The Environment of a pipeline of type WebTier.
pub(super) fn place(world: &World) -> Option<&Environment> {
    let spec = &world.pipeline.as_ref()?.spec;
    if spec.production.is_some() { world.production.as_ref() } else { world.stage.as_ref() }
}

/// The image of author and publish that runs there, which a release of the dispatcher alone names beside its own.
pub(super) fn aem_image(world: &World) -> Option<ImageRef> {
    deployed(place(world)?).map(|deployed| deployed.images.aem.clone())
}

fn deployed(environment: &Environment) -> Option<&Deployed> {
    environment.status.as_ref()?.deployed.as_ref()
}

/// Why a pipeline of type WebTier cannot run.
pub(super) fn impossible(world: &World) -> Option<Verdict> {
    let own = world.pipeline.as_ref().filter(|_| is_own(world))?.metadata.name.as_deref().unwrap_or_default();
    let environment = place(world)?;
    let name = name_of(environment);
    if let Some(owner) = world.web_tiers.as_ref().and_then(|owners| owners.get(name)).filter(|owner| *owner != own) {
        return Some(Verdict::failed(reasons::WEB_TIER_TAKEN, taken(name, owner)));
    }
    deployed(environment).is_none().then(|| {
        Verdict::failed(
            reasons::NO_RELEASE,
            format!(
                "Environment {name} runs nothing yet, and a WebTier pipeline replaces only its dispatcher: run a pipeline \
                 that deploys everything there first"
            ),
        )
    })
}

/// Says that an Environment has a web-tier pipeline already.
#[must_use]
pub fn taken(environment: &str, owner: &str) -> String {
    format!(
        "Environment {environment} has Pipeline {owner} of type WebTier already, and an Environment has at most one: delete \
         one of them, or name another Environment"
    )
}

/// What a deployment that left the dispatcher alone says of it.
pub(super) fn told(world: &World, deployed: &Deployed) -> String {
    let origin = deployed.web_tier.as_ref().filter(|_| !is_own(world));
    origin.map_or_else(String::new, |origin| {
        format!("; dispatchers stay on the release of execution {}", origin.execution)
    })
}

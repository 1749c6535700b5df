//! Whether a pipeline can run: what it refers to is there and fits.

use launchway_crds::{
    Environment, Pipeline,
    conditions::reasons,
    environment::EnvironmentType,
    pipeline::{PipelineSpec, PipelineType},
};

use super::world::World;
use crate::plan::execution::web_tier::taken;

/// A reason and what it means here.
pub(super) type Doubt = (&'static str, String);

/// What keeps the pipeline from running.
pub(super) fn doubt(world: &World) -> Option<Doubt> {
    let spec = &world.pipeline.spec;
    let mut places = places(spec).into_iter();
    places
        .find_map(|(field, name, fits)| place(field, name, world.environments.get(name), fits))
        .or_else(|| source(spec.source.pipeline.as_deref()?, world.source_pipeline.as_ref()))
        .or_else(|| Some(older(&world.pipeline, world.older.as_ref()?)))
}

/// A field, the Environment that it names, and the types that fit there.
type Place<'a> = (&'static str, &'a str, &'static [EnvironmentType]);

fn places(spec: &PipelineSpec) -> Vec<Place<'_>> {
    use EnvironmentType::{Development, Production, Stage};
    let stage = spec.stage.as_ref().map(|stage| ("stage", stage.environment.as_str(), [Stage].as_slice()));
    let deployment = spec.deployment.as_ref();
    let deployment =
        deployment.map(|place| ("deployment", place.environment.as_str(), [Development, Stage].as_slice()));
    let production = spec.production.as_ref();
    let production = production.map(|place| ("production", place.environment.as_str(), [Production].as_slice()));
    [stage, deployment, production].into_iter().flatten().collect()
}

fn place(field: &str, name: &str, found: Option<&Environment>, fits: &[EnvironmentType]) -> Option<Doubt> {
    let Some(environment) = found else {
        return Some((reasons::NOT_FOUND, format!("spec.{field}.environment: Environment {name} does not exist")));
    };
    (!fits.contains(&environment.spec.type_)).then(|| {
        let is = environment.spec.type_;
        (
            reasons::WRONG_ENVIRONMENT_TYPE,
            format!("spec.{field}.environment: Environment {name} is of type {is:?}, not {fits:?}"),
        )
    })
}

fn older(pipeline: &Pipeline, (older, environment): &(String, String)) -> Doubt {
    let type_ = pipeline.spec.type_;
    if type_ == PipelineType::WebTier {
        return (reasons::WEB_TIER_TAKEN, taken(environment, older));
    }
    (
        reasons::PIPELINE_EXISTS,
        format!(
            "Pipeline {older} is of type {type_:?} for Environment {environment} and was there first: delete one of them; \
             until then executions of this one fail"
        ),
    )
}

fn source(name: &str, found: Option<&Pipeline>) -> Option<Doubt> {
    match found {
        None => Some((reasons::NOT_FOUND, format!("spec.source.pipeline: Pipeline {name} does not exist"))),
        Some(source) if source.spec.type_ != PipelineType::StageOnly => Some((
            reasons::INVALID,
            format!("spec.source.pipeline: Pipeline {name} is of type {:?}, not StageOnly", source.spec.type_),
        )),
        Some(_) => None,
    }
}

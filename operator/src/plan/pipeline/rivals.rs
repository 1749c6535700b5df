//! Pipelines that are in each other's way.
//!
//! Cloud Manager does not let a second one be made (`cloud-manager.md` §1.3). Objects come in any order here, so the
//! younger of two is told; the locks of Environments keep their executions apart in any case.

use jiff::Timestamp;
use launchway_crds::{Pipeline, pipeline::PipelineSpec};

/// The Environments that a pipeline deploys to.
pub fn environments(spec: &PipelineSpec) -> impl Iterator<Item = &str> {
    let stage = spec.stage.as_ref().map(|stage| stage.environment.as_str());
    let deployment = spec.deployment.as_ref().map(|place| place.environment.as_str());
    let production = spec.production.as_ref().map(|production| production.environment.as_str());
    [stage, deployment, production].into_iter().flatten()
}

/// Whether two pipelines are of one type and go to the same Environment.
#[must_use]
pub fn are_rivals(one: &PipelineSpec, other: &PipelineSpec) -> bool {
    one.type_ == other.type_ && environments(one).any(|name| environments(other).any(|wanted| wanted == name))
}

/// The oldest pipeline of the same type for the same Environment that was there before this one: its name, and the
/// Environment's.
#[must_use]
pub fn rival(pipeline: &Pipeline, all: &[Pipeline]) -> Option<(String, String)> {
    let mine = order(pipeline);
    let older = all
        .iter()
        .filter(|other| other.metadata.uid != pipeline.metadata.uid && order(other) < mine)
        .filter(|other| are_rivals(&pipeline.spec, &other.spec))
        .min_by_key(|other| order(other))?;
    let shared = environments(&pipeline.spec).find(|name| environments(&older.spec).any(|wanted| wanted == *name))?;
    Some((older.metadata.name.clone().unwrap_or_default(), shared.to_owned()))
}

fn order(pipeline: &Pipeline) -> (Option<Timestamp>, &str) {
    let created = pipeline.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created, pipeline.metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pipeline(name: &str, created: &str, spec: &Value) -> Pipeline {
        serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
            "metadata": { "name": name, "uid": name, "creationTimestamp": format!("2026-11-21T10:00:{created}Z") },
            "spec": spec,
        }))
        .unwrap()
    }

    fn full_stack(stage: &str, production: &str) -> Value {
        json!({
            "type": "FullStack", "source": { "artifact": { "repository": "r/a" } }, "images": { "repository": "r/i" },
            "stage": { "environment": stage }, "production": { "environment": production },
        })
    }

    fn stage_only(stage: &str) -> Value {
        json!({
            "type": "StageOnly", "source": { "artifact": { "repository": "r/a" } }, "images": { "repository": "r/i" },
            "stage": { "environment": stage },
        })
    }

    #[test]
    fn of_two_of_one_type_for_one_environment_the_younger_is_told() {
        let all = [
            pipeline("first", "01", &full_stack("stage", "prod")),
            pipeline("second", "02", &full_stack("stage2", "prod")),
            pipeline("third", "03", &full_stack("stage", "prod3")),
            pipeline("elsewhere", "04", &full_stack("stage4", "prod4")),
            pipeline("half", "05", &stage_only("stage")),
            pipeline(
                "checks",
                "06",
                &json!({ "type": "CodeQuality", "source": { "artifact": { "repository": "r/a" } } }),
            ),
            pipeline(
                "checks2",
                "07",
                &json!({ "type": "CodeQuality", "source": { "artifact": { "repository": "r/a" } } }),
            ),
        ];
        let told = |index: usize| rival(&all[index], &all);
        assert_eq!(told(0), None, "the oldest is told nothing");
        assert_eq!(told(1), Some(("first".into(), "prod".into())));
        assert_eq!(told(2), Some(("first".into(), "stage".into())));
        assert_eq!(told(3), None, "other Environments");
        assert_eq!(told(4), None, "another type");
        assert_eq!(told(6), None, "nothing is deployed");
    }

    #[test]
    fn names_order_what_was_made_in_one_second() {
        let all = [pipeline("b", "01", &stage_only("stage")), pipeline("a", "01", &stage_only("stage"))];
        assert_eq!(rival(&all[0], &all), Some(("a".into(), "stage".into())));
        assert_eq!(rival(&all[1], &all), None);
    }
}

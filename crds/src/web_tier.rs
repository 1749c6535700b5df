//! Pipelines of type WebTier: which of them has the dispatcher image of which Environment.

use std::collections::BTreeMap;

use crate::pipeline::{Pipeline, PipelineSpec, PipelineType};

impl PipelineSpec {
    /// The Environment whose dispatcher image this pipeline has to itself.
    #[must_use]
    pub fn web_tier_of(&self) -> Option<&str> {
        let place = self.deployment.as_ref().map(|place| place.environment.as_str());
        let place = place.or_else(|| self.production.as_ref().map(|place| place.environment.as_str()));
        place.filter(|_| self.type_ == PipelineType::WebTier)
    }
}

/// Names of the pipelines that have a dispatcher image to themselves, by Environment. An Environment has at most one: the
/// one that was there first, as the apiserver tells it, and of several that came in one second the first by name.
#[must_use]
pub fn owners<'a>(pipelines: impl IntoIterator<Item = &'a Pipeline>) -> BTreeMap<String, String> {
    let mut found: Vec<_> = pipelines
        .into_iter()
        .filter(|pipeline| pipeline.metadata.deletion_timestamp.is_none())
        .filter_map(|pipeline| {
            let name = pipeline.metadata.name.clone()?;
            let created = pipeline.metadata.creation_timestamp.as_ref().map(|at| at.0);
            Some((created, name, pipeline.spec.web_tier_of()?))
        })
        .collect();
    // What is kept for an Environment is what comes last: the oldest.
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, name, environment)| (environment.to_owned(), name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, type_: &str, environment: &str, created: &str) -> Pipeline {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
            "metadata": { "name": name, "creationTimestamp": created },
            "spec": { "type": type_, "source": {}, "deployment": { "environment": environment } },
        }))
        .unwrap()
    }

    #[test]
    fn the_first_pipeline_of_type_web_tier_has_the_dispatcher_of_its_environment() {
        let all = [
            pipeline("late", "WebTier", "dev", "2026-11-21T10:00:02Z"),
            pipeline("b", "WebTier", "dev", "2026-11-21T10:00:01Z"),
            pipeline("a", "WebTier", "dev", "2026-11-21T10:00:01Z"),
            pipeline("other", "WebTier", "stage", "2026-11-21T10:00:05Z"),
            pipeline("full", "Deployment", "dev", "2026-11-21T09:00:00Z"),
        ];
        let owners = owners(&all);
        assert_eq!(owners.get("dev").map(String::as_str), Some("a"));
        assert_eq!(owners.get("stage").map(String::as_str), Some("other"));
        assert_eq!(owners.len(), 2);
    }
}

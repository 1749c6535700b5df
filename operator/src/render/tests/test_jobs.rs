//! What Jobs of tests are given: who they are.

use launchway_crds::{common::LocalName, step::StepName};
use serde_json::{Value, json};

use super::{image, rendered_job};
use crate::plan::execution::action::{Registries, Work};

fn login() -> Option<LocalName> {
    Some(LocalName { name: "test-user".into() })
}

fn load_test(login: Option<LocalName>) -> Value {
    let pages = json!([{ "name": "popular", "weight": 100, "paths": ["/"] }]);
    let test = json!({ "pages": pages, "loginSecretRef": login });
    let (url, registries) = ("http://stage".into(), Registries::default());
    rendered_job(
        StepName::LoadTest,
        &Work::LoadTest { url, test: serde_json::from_value(test).unwrap(), registries },
    )
}

fn image_test(step: StepName, login: Option<LocalName>) -> Value {
    let test = serde_json::from_value(json!({ "image": image('7') })).unwrap();
    let (url, author) = ("http://stage".into(), "http://author".into());
    let registries = Registries::default();
    rendered_job(step, &Work::ImageTest { test, url, author, release: image('e'), login, registries })
}

/// The variables of the test's own container that come from Secrets: name, Secret, key.
fn from_secrets(job: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let all = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().iter();
    all.filter_map(|variable| {
        let secret = variable["valueFrom"].get("secretKeyRef")?;
        Some((text(&variable["name"]), text(&secret["name"]), text(&secret["key"])))
    })
    .collect()
}

fn expected(names: &[(&str, &str)]) -> Vec<(String, String, String)> {
    names.iter().map(|(name, key)| ((*name).into(), "test-user".into(), (*key).into())).collect()
}

#[test]
fn a_login_is_named_in_the_job_and_only_where_the_pipeline_has_one() {
    let aem = expected(&[
        ("AEM_AUTHOR_USERNAME", "username"),
        ("AEM_AUTHOR_PASSWORD", "password"),
        ("AEM_PUBLISH_USERNAME", "username"),
        ("AEM_PUBLISH_PASSWORD", "password"),
    ]);
    for step in [StepName::ProductTest, StepName::FunctionalTest, StepName::UiTest, StepName::ContentAudit] {
        assert_eq!(from_secrets(&image_test(step, login())), aem, "{}", step.as_str());
        assert_eq!(from_secrets(&image_test(step, None)), [], "{}", step.as_str());
    }
    let visitors = [("LAUNCHWAY_TEST_USERNAME", "username"), ("LAUNCHWAY_TEST_PASSWORD", "password")];
    assert_eq!(from_secrets(&load_test(login())), expected(&visitors));
    assert_eq!(from_secrets(&load_test(None)), []);
}

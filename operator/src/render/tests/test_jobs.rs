//! What Jobs of tests are given: the site that they ask, and who they are.

use launchway_crds::{common::LocalName, pipeline::SecurityTest, step::StepName};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{image, rendered_job};
use crate::{
    plan::execution::action::{Registries, Site, Work},
    worker::{performance, security, smoke},
};

fn login() -> Option<LocalName> {
    Some(LocalName { name: "test-user".into() })
}

fn site(host: Option<&str>) -> Site {
    Site { url: "http://stage".into(), host: host.map(str::to_string) }
}

fn load_test(host: Option<&str>, login: Option<&LocalName>) -> Value {
    let pages = json!([{ "name": "popular", "weight": 100, "paths": ["/"] }]);
    let test = serde_json::from_value(json!({ "pages": pages, "loginSecretRef": login })).unwrap();
    rendered_job(StepName::LoadTest, &Work::LoadTest { site: site(host), test, registries: Registries::default() })
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
    assert_eq!(from_secrets(&load_test(None, login().as_ref())), expected(&visitors));
    assert_eq!(from_secrets(&load_test(None, None)), []);
}

/// The request that the worker of a Job reads.
fn request<T: DeserializeOwned>(job: &Value, variable: &str) -> T {
    let all = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let found = all.iter().find(|one| one["name"] == variable).unwrap();
    serde_json::from_str(found["value"].as_str().unwrap()).unwrap()
}

#[test]
fn built_in_tests_ask_for_the_site_by_the_name_that_visitors_use() {
    for host in [Some("www.example.com"), None] {
        let named = (String::from("http://stage"), host.map(str::to_string));

        let work = Work::SmokeTest { site: site(host), checks: vec![] };
        let smoke: smoke::Request = request(&rendered_job(StepName::SmokeTest, &work), "LAUNCHWAY_SMOKE");
        assert_eq!((smoke.url, smoke.host), named);

        let (test, registries) = (SecurityTest::default(), Registries::default());
        let work = Work::SecurityTest { site: site(host), test, registries };
        let security: security::Request = request(&rendered_job(StepName::SecurityTest, &work), security::REQUEST);
        assert_eq!((security.url, security.host), named);

        let load: performance::Request = request(&load_test(host, None), performance::REQUEST);
        assert_eq!((load.url, load.host), named);
    }
}

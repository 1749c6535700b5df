//! What the apiserver does not take: a fact, as long as the execution can tell of it.

use launchway_crds::step::StepName;
use serde_json::json;

use super::{
    Answer, apiserver,
    executions::{
        JOBS, create_job, delete_job, environment, keep_revision, lock, pipeline, remember, set_target, unlock, world,
    },
    lines, refusal,
};
use crate::{
    effects::execution::perform_all,
    plan::execution::world::{Denied, JobFacts},
};

const QUOTA: &str = "jobs.batch \"wknd-1-code-quality\" is forbidden: exceeded quota: no-jobs";

fn forbidden(code: u16) -> Answer {
    let (_, mut status) = refusal(code, "Forbidden");
    status["message"] = json!(QUOTA);
    (code, status)
}

#[tokio::test]
async fn a_refused_job_is_a_fact_and_what_comes_after_it_is_not_done() {
    for code in [400, 403, 413, 422] {
        let (context, script) = apiserver(vec![forbidden(code)]);
        let told = perform_all(&context, world(None), &[create_job(), delete_job()]).await.unwrap().unwrap();
        assert_eq!(lines(&script.asked()), [format!("POST {JOBS}")], "{code}");
        assert_eq!(told.jobs[&StepName::CodeQuality], JobFacts::Refused { why: QUOTA.into() });
    }
}

#[tokio::test]
async fn a_job_that_may_be_taken_later_is_an_error() {
    for code in [429, 500, 503, 504] {
        let (context, _) = apiserver(vec![forbidden(code)]);
        assert!(perform_all(&context, world(None), &[create_job()]).await.is_err(), "{code}");
    }
}

#[tokio::test]
async fn what_is_taken_adds_no_fact() {
    let (context, script) = apiserver(vec![(201, json!({ "metadata": { "name": "a" } }))]);
    assert!(perform_all(&context, world(None), &[create_job()]).await.unwrap().is_none());
    assert_eq!(lines(&script.asked()), [format!("POST {JOBS}")]);
}

#[tokio::test]
async fn what_else_is_refused_is_a_fact_until_the_end() {
    let found = || environment("7", Some("uid-1"));
    for (action, answers) in [
        (keep_revision(), vec![forbidden(403)]),
        (lock(), vec![environment("7", None), forbidden(403)]),
        (set_target(), vec![found(), forbidden(422)]),
        (delete_job(), vec![forbidden(403)]),
        (remember(), vec![pipeline(&[]), forbidden(403)]),
    ] {
        let (context, _) = apiserver(answers);
        let told = perform_all(&context, world(None), &[action.clone(), create_job()]).await.unwrap().unwrap();
        assert_eq!(told.denied, Some(Denied { action, why: QUOTA.into() }));
        assert!(told.jobs.is_empty(), "what comes after it is not done");
    }
    // Nothing is left that could wait.
    let (context, _) = apiserver(vec![found(), forbidden(403)]);
    assert!(perform_all(&context, world(None), &[unlock()]).await.is_err());
}

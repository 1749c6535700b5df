//! What the apiserver does not take: of a Job that is a fact, of anything else an error.

use launchway_crds::step::StepName;
use serde_json::json;

use super::{
    Answer, apiserver,
    executions::{JOBS, create_job, delete_job, environment, lock, world},
    lines, refusal,
};
use crate::{effects::execution::perform_all, plan::execution::world::JobFacts};

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
async fn what_is_taken_or_refused_of_other_objects_adds_no_fact() {
    let (context, script) = apiserver(vec![(201, json!({ "metadata": { "name": "a" } }))]);
    assert!(perform_all(&context, world(None), &[create_job()]).await.unwrap().is_none());
    assert_eq!(lines(&script.asked()), [format!("POST {JOBS}")]);
    let (context, _) = apiserver(vec![environment("7", None), forbidden(403)]);
    assert!(perform_all(&context, world(None), &[lock()]).await.is_err());
}

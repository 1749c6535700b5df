//! What a ledger allows.

use launchway_crds::{execution::Trigger, step::StepName};

use super::*;
use crate::cli::samples;

fn promoted(pipelines: &[Pipeline], wanted: Option<&str>) -> Result<(String, String), String> {
    let found = promotion(pipelines, wanted).map(|(pipeline, entry)| (pipeline.name_any(), entry.name.clone()));
    found.map_err(|error| error.to_string())
}

#[test]
fn the_latest_success_is_promoted_however_it_is_named() {
    let all = [samples::full_stack(), samples::stage_only(), samples::production_only()];
    for wanted in [None, Some("wknd-prod"), Some("wknd-stage"), Some("wknd-stage-7")] {
        let expected = ("wknd-prod".to_string(), "wknd-stage-7".to_string());
        assert_eq!(promoted(&all, wanted), Ok(expected), "{wanted:?}");
    }
}

#[test]
fn what_cannot_be_promoted_says_why_and_what_to_do() {
    let all = [samples::full_stack(), samples::stage_only(), samples::production_only()];
    for (wanted, part) in [
        ("wknd-stage-6", "run wknd-prod --source wknd-stage-6`"),
        ("wknd-stage-8", "wknd-stage-8 ended as Failed"),
        ("wknd", "Pipeline wknd is of type FullStack"),
        ("wknd-41", "wknd-41 is no Pipeline, and no ended execution"),
    ] {
        let error = promoted(&all, Some(wanted)).unwrap_err();
        assert!(error.contains(part), "{wanted}: {error}");
    }
    assert!(promoted(&all[..2], None).unwrap_err().contains("no Pipeline of type ProductionOnly"));
    assert!(promoted(&all[..2], Some("wknd-stage")).unwrap_err().contains("spec.source.pipeline: wknd-stage"));
    assert!(promoted(&all[2..], None).unwrap_err().contains("wknd-stage, which does not exist"));
    let mut new = samples::stage_only();
    new.status = None;
    let error = promoted(&[new, samples::production_only()], None).unwrap_err();
    assert!(error.contains("no execution of Pipeline wknd-stage has succeeded yet"), "{error}");
}

#[test]
fn two_ways_to_production_have_to_be_told_apart() {
    let mut second = samples::production_only();
    second.metadata.name = Some("wknd-other".into());
    let all = [samples::stage_only(), samples::production_only(), second];
    for wanted in [None, Some("wknd-stage")] {
        assert!(promoted(&all, wanted).unwrap_err().ends_with("name one of wknd-prod, wknd-other"), "{wanted:?}");
    }
    assert_eq!(promoted(&all, Some("wknd-other")).unwrap().0, "wknd-other");
}

#[test]
fn the_last_deployment_can_be_done_again_even_after_it_failed() {
    let mut pipeline = samples::full_stack();
    assert_eq!(again(&pipeline).unwrap().name, "wknd-41");
    pipeline.status.as_mut().unwrap().ledger.remove(0);
    assert_eq!(again(&pipeline).unwrap().name, "wknd-40", "it failed");
}

#[test]
fn each_reason_against_executing_again_is_told() {
    type Change = fn(&mut LedgerEntry);
    let changes: [(Change, &str); 3] = [
        (|entry| entry.trigger = Trigger::RollBack, "it went back to an earlier release"),
        (|entry| entry.began_production = false, "never began"),
        (|entry| entry.release = None, "never began"),
    ];
    for (change, part) in changes {
        let mut pipeline = samples::full_stack();
        change(&mut pipeline.status.as_mut().unwrap().ledger[0]);
        let error = again(&pipeline).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("wknd-41"), "{error}");
    }
    let mut pipeline = samples::full_stack();
    pipeline.status = None;
    assert!(again(&pipeline).unwrap_err().to_string().contains("no execution that ended"));
    assert!(again(&samples::stage_only()).unwrap_err().to_string().contains("deploys nothing to production"));
}

#[test]
fn what_production_becomes_is_told_with_both_digests() {
    let pipeline = samples::full_stack();
    let entry = &ledger(&pipeline)[2];
    let lines = change("prod", &samples::runs('3', "2026-11-21T09:00:00Z"), entry, samples::NOW.parse().unwrap());
    assert_eq!(
        lines,
        [
            format!("prod runs now      sha256:{} of wknd-1, made 1h35m ago", "3".repeat(64)),
            format!("prod would become  sha256:{} of wknd-39, made 3d0h ago", "1".repeat(64)),
        ]
    );
}

#[test]
fn what_an_emergency_left_out_is_told_before_its_release_is_taken() {
    let pipeline = samples::full_stack();
    let mut entry = ledger(&pipeline)[2].clone();
    entry.skipped = vec![StepName::SecurityTest];
    let lines = change("prod", &Runs::Nothing, &entry, samples::NOW.parse().unwrap());
    assert_eq!(lines.last().map(String::as_str), Some("securityTest left out in an emergency"));
}

#[test]
fn whose_word_a_promotion_needs_is_told() {
    assert_eq!(waits(&samples::production_only()), "an approval by somebody else, then a time");
}

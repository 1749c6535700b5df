//! What a ledger forgets when it is full.

#![allow(clippy::unwrap_used)]

use super::*;

fn entry(number: usize, result: &str, release: Option<char>) -> LedgerEntry {
    let digest = |letter: char| format!("registry.example.com/a@sha256:{}", letter.to_string().repeat(64));
    serde_json::from_value(serde_json::json!({
        "name": format!("wknd-{number}"), "uid": format!("uid-{number}"), "specHash": "0", "result": result,
        "release": release.map(digest), "at": "2026-11-21T10:00:00Z",
    }))
    .unwrap()
}

fn all_of(entries: impl IntoIterator<Item = LedgerEntry>) -> Vec<LedgerEntry> {
    let mut pipeline = PipelineStatus::default();
    for entry in entries {
        assert!(remember(&mut pipeline, &entry, &TestedSteps::default()), "an execution is remembered once");
        assert!(pipeline.ledger.len() <= LEDGER_MAX);
        assert_eq!(pipeline.ledger[0], entry, "the last one can be done again");
    }
    pipeline.ledger
}

fn names(ledger: &[LedgerEntry]) -> Vec<&str> {
    ledger.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn failures_push_out_neither_the_last_release_that_passed_nor_the_way_back() {
    let passed = [(1, 'a'), (2, 'b'), (3, 'b'), (4, 'c'), (5, 'c')];
    let passed = passed.map(|(number, release)| entry(number, reasons::FINISHED, Some(release)));
    let failed = (6..=300).map(|number| entry(number, reasons::FAILED, None));
    let ledger = all_of(passed.into_iter().chain(failed));
    assert_eq!(ledger.len(), LEDGER_MAX);
    assert_eq!(names(&ledger[LEDGER_MAX - 2..]), ["wknd-5", "wknd-3"]);
    let newest: Vec<String> = (203..=300).rev().map(|number| format!("wknd-{number}")).collect();
    assert_eq!(names(&ledger[..LEDGER_MAX - 2]), newest);
}

#[test]
fn images_that_are_still_to_be_deleted_stay_known_as_long_as_anything_else_can_go() {
    let mark = |number: usize, state: Option<ImagesState>| LedgerEntry {
        images_state: state,
        ..entry(number, reasons::FINISHED, Some('a'))
    };
    let (due, gone) = (mark(1, Some(ImagesState::LetGo)), mark(2, Some(ImagesState::Deleted)));
    let failed = |range: std::ops::RangeInclusive<usize>| range.map(|number| entry(number, reasons::FAILED, None));
    let ledger = all_of([due, gone].into_iter().chain(failed(3..=300)));
    assert_eq!(names(&ledger).last(), Some(&"wknd-1"));
    assert!(!names(&ledger).contains(&"wknd-2"));

    // Where nothing is ever deleted, what is let go of fills no more than half: the newest executions stay known.
    let mut pipeline = PipelineStatus::default();
    for number in 1..=300 {
        remember(&mut pipeline, &mark(number, None), &TestedSteps::default());
        // Its object goes with a history of ten.
        if let Some(old) = pipeline.ledger.get_mut(10) {
            old.images_state = Some(ImagesState::LetGo);
        }
        let known = names(&pipeline.ledger);
        let newest: Vec<String> = (1..=number).rev().take(10).map(|number| format!("wknd-{number}")).collect();
        assert_eq!(known[..newest.len()], newest);
    }

    // A registry that deletes nothing: the oldest are forgotten all the same.
    let stuck = (1..=150).map(|number| mark(number, Some(ImagesState::LetGo)));
    let ledger = all_of(stuck);
    assert_eq!((ledger.len(), names(&ledger)[LEDGER_MAX - 1]), (LEDGER_MAX, "wknd-51"));
}

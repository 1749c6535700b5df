//! What FileVault and the Java zip readers answered once (`make oracle`), asked of us every time.

#![allow(clippy::unwrap_used)]

mod oracle;

use std::collections::BTreeMap;

#[test]
fn our_answers_are_those_of_filevault_and_of_the_java_zip_readers() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in include_str!("oracle/sample.tsv").lines() {
        let (question, theirs) = line.split_once("\t=>\t").unwrap();
        let question: Vec<&str> = question.split('\t').collect();
        let ours = oracle::ours(&question);
        if !oracle::agree(&question, &ours, theirs) && oracle::argued(&question, &ours, theirs).is_none() {
            wrong.push(format!("{question:?}: ours {ours}, theirs {theirs}"));
        }
        *counts.entry(question[0]).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    for kind in ["version", "range", "dependency", "match", "id", "order", "zip", "properties", "filter"] {
        assert!(counts.get(kind).is_some_and(|count| *count >= 10), "too few questions of kind {kind}: {counts:?}");
    }
}

//! A row that names a test names one that exists.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::rows;
use super::row::{Document, Stance};

/// Names of the tests in a source file.
fn tests(text: &str) -> Vec<&str> {
    let mut found = vec![];
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if marked && let Some((_, rest)) = line.split_once("fn ") {
            found.push(rest.split(['(', '<']).next().unwrap_or_default());
            marked = false;
        }
    }
    found
}

#[test]
fn every_test_that_a_row_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut missing = vec![];
    for row in rows() {
        for (file, name) in row.stance.proof() {
            let text =
                files.entry(file).or_insert_with(|| std::fs::read_to_string(root.join(file)).unwrap_or_default());
            if !tests(text).contains(name) {
                missing.push(format!("{}: {file} has no test {name}", row.id));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn what_is_claimed_is_shown() {
    for row in rows() {
        let claimed = matches!(row.stance, Stance::Same(..) | Stance::Otherwise(..));
        assert!(!claimed || !row.stance.proof().is_empty(), "{}: no test shows it", row.id);
    }
}

/// Rows of the matrix that are about pipelines and executions.
const MATRIX: [&str; 33] = [
    "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P11", "P12", "P13", "P14", "P18", "E1", "E2", "E3", "E6", "E7",
    "E8", "E9", "E10", "E11", "E12", "E13", "E14", "E15", "E16", "E17", "E18", "E19", "E20", "E21", "E22",
];
const MATRIX_END: [&str; 3] = ["E25", "E26", "E27"];

#[test]
fn no_row_of_the_matrix_and_no_document_is_forgotten() {
    let there: Vec<&str> = rows().map(|row| row.id).collect();
    for id in MATRIX.iter().chain(&MATRIX_END) {
        assert!(there.contains(id), "{id} is not in the table");
    }
    for document in Document::ALL {
        let count = rows().filter(|row| row.documents.contains(&document)).count();
        assert!(count >= 5, "only {count} rows are about {}", document.title());
    }
}

#[test]
fn tests_are_found_in_sources() {
    let text = "#[test]\nfn one() {}\nfn helper() {}\n    #[tokio::test(flavor = \"x\")]\n    #[ignore]\n    async fn two() {}\n";
    assert_eq!(tests(text), ["one", "two"]);
}

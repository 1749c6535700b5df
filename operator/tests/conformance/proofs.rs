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

/// How many rows the matrix has of each letter: pipelines, executions, environments, clients of the API.
const MATRIX: [(char, usize); 4] = [('P', 18), ('E', 28), ('V', 5), ('A', 3)];

#[test]
fn no_row_of_the_matrix_and_no_document_is_forgotten() {
    let there: Vec<&str> = rows().map(|row| row.id).collect();
    for id in MATRIX.into_iter().flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}{number}"))) {
        assert!(there.contains(&id.as_str()), "{id} is not in the table");
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

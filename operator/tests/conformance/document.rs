//! `docs/conformance.md`, out of the rows.

use std::fmt::Write as _;
use std::path::Path;

use super::row::{Document, Row};
use super::{around, deploying, matrix, split};

const INTRODUCTION: &str = "# Conformance

What Cloud Manager's documents say, what Launchway does about it, and the test that proves it. Generated from the table in
`operator/tests/conformance`; a test fails when this page is not current or when a test that it names does not exist.

*same*: as the documents say. *otherwise*: another means to the same end, on purpose, and the row says why. *left out*: not
part of this product, and why.
";

/// The parts of the page: heading, and rows.
pub const PARTS: [(&str, &[Row]); 4] = [
    ("From code to production", deploying::ROWS),
    ("Stage and production apart", split::ROWS),
    ("Feature by feature", matrix::ROWS),
    ("Around pipelines and executions", around::ROWS),
];

pub fn rows() -> impl Iterator<Item = &'static Row> {
    PARTS.iter().flat_map(|(_, rows)| rows.iter())
}

fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n| | document |\n| --- | --- |\n");
    for document in Document::ALL {
        let _ = writeln!(page, "| {} | {} |", document.letter(), document.title());
    }
    for (heading, rows) in PARTS {
        let _ = write!(page, "\n## {heading}\n\n| row | in | what is said | | what Launchway does | shown by |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for row in rows {
            page.push_str(&line(row));
        }
    }
    page
}

fn line(row: &Row) -> String {
    let letters: Vec<&str> = row.documents.iter().map(|document| document.letter()).collect();
    let proof: Vec<String> = row.stance.proof().iter().map(|(file, name)| format!("`{file}::{name}`")).collect();
    format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        row.id,
        letters.join(" "),
        row.says,
        row.stance.word(),
        row.stance.text(),
        proof.join("<br>")
    )
}

/// With `LAUNCHWAY_WRITE_DOCS` set, the page is written instead of compared.
#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let expected = page();
    if std::env::var_os("LAUNCHWAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == expected,
        "run LAUNCHWAY_WRITE_DOCS=1 cargo test -p launchway-operator --test conformance, and commit docs/conformance.md"
    );
}

#[test]
fn every_row_has_its_own_name_and_fits_a_table() {
    let mut seen = std::collections::BTreeSet::new();
    for row in rows() {
        assert!(seen.insert(row.id), "{} is there twice", row.id);
        assert!(!row.documents.is_empty(), "{}: in which document?", row.id);
        for text in [row.says, row.stance.text()] {
            assert!(!text.trim().is_empty() && !text.contains(['|', '\n']), "{}: {text}", row.id);
        }
    }
}

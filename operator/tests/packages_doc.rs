//! `docs/packages.md` lists the rules as they are in the code.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use launchway_operator::image::Reason;
use launchway_operator::image::checks::rules;

const BEGIN: &str = "<!-- rules: generated, see operator/tests/packages_doc.rs -->\n";
const END: &str = "<!-- end of rules -->\n";

/// With `LAUNCHWAY_WRITE_DOCS` set, the table is written instead of compared.
#[test]
fn the_table_of_rules_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/packages.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = rules::markdown();
    if std::env::var_os("LAUNCHWAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        found, expected,
        "run LAUNCHWAY_WRITE_DOCS=1 cargo test -p launchway-operator --test packages_doc, and commit docs/packages.md"
    );
}

#[test]
fn every_code_of_a_refusal_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let missing: Vec<&str> =
        Reason::ALL.iter().map(|reason| reason.as_str()).filter(|code| !text.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {}", missing.join(", "));
}

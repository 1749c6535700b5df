//! Every real package of `../shared/fixtures` gets the verdict that the tests of its origin expect.
//!
//! The packages stay outside of the repository, under their own licences. `LAUNCHWAY_FIXTURES` names another folder, which
//! then has to be there; without both the test says on the terminal, captured output or not, that it looked at nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use launchway_operator::image::Blob;
use launchway_operator::image::blob::Spool;
use launchway_operator::image::dispatcher::BaseFiles;
use launchway_operator::image::plan::{Input, PlanOptions, Planned, plan};

const TABLE: &str = include_str!("data/fixtures.tsv");

/// Says it to whoever runs the test: what goes through `println!` is shown of failed tests alone.
fn say(line: &str) {
    std::io::stderr().write_all(format!("fixtures: {line}\n").as_bytes()).unwrap();
}

fn folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("LAUNCHWAY_FIXTURES") {
        let folder = PathBuf::from(folder);
        assert!(folder.is_dir(), "LAUNCHWAY_FIXTURES: {} is no folder", folder.display());
        return Some(folder);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    if folder.is_dir() {
        return Some(folder);
    }
    let count = TABLE.lines().filter(|line| !line.starts_with('#')).count();
    say(&format!(
        "NOT TESTED: none of the {count} real packages: ../shared/fixtures is not there and LAUNCHWAY_FIXTURES names no folder"
    ));
    None
}

fn planned(path: &Path) -> Planned {
    let blob = Blob::from_file(std::fs::File::open(path).unwrap()).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let input = Input { name, sha256: None, blob };
    let spool = tempfile::tempdir().unwrap();
    plan(vec![input], &BaseFiles::unknown(), &PlanOptions::default(), &Spool::new(spool.path())).unwrap()
}

/// What was found, as the table writes it: the code of a refusal, or the kind and what there was to say.
fn verdict(planned: &Planned) -> String {
    let file = &planned.files[0];
    let mut rules: Vec<&str> = planned.findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let what = match &planned.plan {
        Err(refusal) => refusal.reason.as_str().to_owned(),
        Ok(plan) => match file.flavour {
            Some(flavour) => format!("dispatcher {}", flavour.as_str()),
            None => format!("{} packages", plan.packages.len()),
        },
    };
    format!("{what}\t{}", if rules.is_empty() { "-".to_owned() } else { rules.join(" ") })
}

#[test]
fn every_fixture_has_the_verdict_of_the_table() {
    let Some(folder) = folder() else { return };
    let mut table: BTreeMap<&str, (String, &str)> = BTreeMap::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, what, rules, why] = fields.as_slice() else { panic!("four fields: {line}") };
        assert!(!why.is_empty());
        assert!(table.insert(file, (format!("{what}\t{rules}"), why)).is_none(), "{file} is there twice");
    }
    let mut surprises = Vec::new();
    let count = table.len();
    for group in ["filevault", "cpconverter", "dispatcher"] {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder.join(group)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "zip")) {
            let name = format!("{group}/{}", path.file_name().unwrap().to_str().unwrap());
            let planned = planned(path);
            let found = verdict(&planned);
            let expected = table.remove(name.as_str()).map(|(verdict, _)| verdict).unwrap_or_default();
            if found != expected {
                let said = planned.plan.err().map(|refusal| refusal.message()).unwrap_or_default();
                surprises.push(format!("{name}\t{found}\t{said}"));
            }
        }
    }
    assert!(surprises.is_empty(), "other than in the table:\n{}", surprises.join("\n"));
    assert!(table.is_empty(), "in the table and not in the folder: {:?}", table.keys());
    say(&format!("all {count} real packages of {} have the verdict of the table", folder.display()));
}

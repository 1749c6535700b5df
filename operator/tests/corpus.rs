//! The committed corpus of every fuzz target, replayed with the ordinary toolchain.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use launchway_operator::artifact;
use launchway_operator::image::manifest::Document;
use launchway_operator::registry::Location;
use launchway_operator::worker::smoke::Passed;
use launchway_operator::worker::verdict::Verdict;

/// Longest time that one input may take: far above what any needs, far below what a hang takes.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn every_input_that_the_fuzzer_ever_found_interesting_keeps_the_promises() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut bytes = 0;
    for (name, target) in targets::TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            bytes += data.len();
            let began = Instant::now();
            target(&data);
            beyond_the_parsers(&String::from_utf8_lossy(&data));
            assert!(began.elapsed() < PATIENCE, "{} took {:?}", path.display(), began.elapsed());
            // What a transport may do to it: nothing may depend on a file being whole.
            target(&data[..data.len() / 2]);
            count += 1;
        }
        assert!(count >= 3, "the corpus of {name} is not where this test looks: {count} files");
    }
    assert!(bytes < 200 << 10, "the corpus has {bytes} bytes: keep what covers new code (make fuzz-shrink)");
}

/// What reads answers and is not part of the fuzzer's small crate.
fn beyond_the_parsers(text: &str) {
    let (header, body) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(location) = Location::parse(header) {
        let shown = location.repository.to_string();
        assert!(!shown.contains(['\n', ' ', '@']) && !shown.contains(".."), "{shown:?}");
    }
    let files = artifact::decode(body.as_bytes());
    if let (Ok(Document::Index { .. }), Ok(files)) = (Document::parse(body.as_bytes()), &files) {
        panic!("an index is no artifact: {files:?}");
    }
    for file in files.unwrap_or_default() {
        assert!(!file.name.contains(['/', '\\']) && file.name != "..", "{:?}", file.name);
    }
    if let Ok(Verdict::Failed(reason) | Verdict::Error(reason)) = Verdict::<Passed>::parse(body) {
        assert!(reason.reason.len() <= 64 && reason.message.len() <= 1024 && !reason.message.contains('\u{1b}'));
    }
}

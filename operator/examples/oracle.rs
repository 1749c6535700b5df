//! `make oracle`: asks FileVault and the Java zip readers thousands of questions and compares their answers with ours.
//!
//! `oracle COMMAND FOLDER [SEED [SCALE]]`: the command answers (`e2e/oracle/run.sh`); the folder (`operator/tests/oracle`)
//! gets `sample.tsv` and `readers.md`. Ends with 1 when there is a disagreement that nobody argued.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool for developers: it may panic")]

#[path = "../tests/oracle/mod.rs"]
mod oracle;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Questions of a kind that the sample keeps, besides those that are argued.
const SAMPLE: usize = 40;
/// Longest line of the sample.
const LONGEST: usize = 2500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(command), Some(folder)) = (arguments.first(), arguments.get(1)) else {
        eprintln!("usage: oracle COMMAND FOLDER [SEED [SCALE]]");
        return ExitCode::from(2);
    };
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    let questions = oracle::questions::questions(u8::try_from(number(2, 1)).unwrap(), number(3, 400));
    let answers = ask(command, &questions);
    assert_eq!(answers.len(), questions.len(), "the oracle did not answer every question");

    let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut argued: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (at, (question, theirs)) in questions.iter().zip(&answers).enumerate() {
        let fields: Vec<&str> = question.iter().map(String::as_str).collect();
        let ours = oracle::ours(&fields);
        kinds.entry(&question[0]).or_default().push(at);
        if oracle::agree(&fields, &ours, theirs) {
            continue;
        }
        if let Some(why) = oracle::argued(&fields, &ours, theirs) {
            argued.entry(why).or_default().push(at);
        } else {
            let told = format!("{fields:?}\n    ours   {ours}\n    theirs {theirs}");
            wrong.entry(&question[0]).or_default().push(told);
        }
    }
    for (kind, all) in &kinds {
        let wrong = wrong.get(kind).map_or(0, Vec::len);
        println!("{kind}: {} questions, {wrong} disagreements", all.len());
    }
    for (why, all) in &argued {
        println!("argued {} times: {why}", all.len());
    }
    for (kind, all) in &wrong {
        for told in all.iter().take(15) {
            println!("{kind}: {told}");
        }
    }
    write(Path::new(folder), &questions, &answers, &kinds, &argued);
    ExitCode::from(u8::from(!wrong.is_empty()))
}

fn ask(command: &str, questions: &[Vec<String>]) -> Vec<String> {
    let mut child = Command::new(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("no oracle");
    let mut input = BufWriter::new(child.stdin.take().unwrap());
    let answers = std::thread::scope(|scope| {
        scope.spawn(move || {
            for question in questions {
                writeln!(input, "{}", question.join("\t")).expect("the oracle ended early");
            }
        });
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect()
    });
    assert!(child.wait().unwrap().success(), "the oracle failed");
    answers
}

fn write(
    folder: &Path,
    questions: &[Vec<String>],
    answers: &[String],
    kinds: &BTreeMap<&str, Vec<usize>>,
    argued: &BTreeMap<&str, Vec<usize>>,
) {
    let named = |at: &usize| questions[*at][0] == "zip" && !questions[*at][2].contains(", byte ");
    let mut chosen: Vec<usize> = argued.values().flat_map(|all| all.iter().take(3).copied()).collect();
    for all in kinds.values() {
        chosen.extend(all.iter().step_by(all.len().div_ceil(SAMPLE).max(1)));
        chosen.extend(all.iter().filter(|at| named(at)));
        // Changed archives that we still accept say more than those that everybody refuses.
        chosen.extend(
            all.iter()
                .filter(|at| questions[**at][0] == "zip" && !answer(&questions[**at]).starts_with('!'))
                .step_by(25),
        );
    }
    chosen.sort_unstable();
    chosen.dedup();
    let line = |at: &usize| format!("{}\t=>\t{}\n", questions[*at].join("\t"), answers[*at]);
    let sample: String = chosen.iter().map(line).filter(|line| line.len() < LONGEST).collect();
    std::fs::write(folder.join("sample.tsv"), sample).unwrap();

    let mut table = String::from(
        "# What readers make of strange archives\n\nWritten by `make oracle`. *same*: the reader sees what we see. The JDK's `ZipFile` is what FileVault reads packages\nwith; the streams are what other tools read them with. Where two readers see different things, or one refuses what another\ntakes, whoever checks a package may see something else than who installs it: we refuse.\n\n| archive | we | JDK file | JDK stream | Commons file | Commons stream |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for at in kinds.get("zip").into_iter().flatten().filter(|at| named(at)) {
        let ours = answer(&questions[*at]);
        let shown = |seen: &str| match seen.strip_prefix('!') {
            Some(why) => why.replace('|', "\\|").chars().take(60).collect(),
            None if seen == ours => "same".to_owned(),
            None => format!("{} entries", seen.split(',').filter(|entry| !entry.is_empty()).count()),
        };
        let theirs: Vec<String> = oracle::readers(&answers[*at]).map(|(_, seen)| shown(seen)).collect();
        let we = ours.strip_prefix('!').map_or("accept".to_owned(), |why| format!("`{why}`"));
        table.push_str(&format!("| {} | {we} | {} |\n", questions[*at][2].replace('|', "\\|"), theirs.join(" | ")));
    }
    std::fs::write(folder.join("readers.md"), table).unwrap();
}

fn answer(question: &[String]) -> String {
    oracle::ours(&question.iter().map(String::as_str).collect::<Vec<_>>())
}

//! Every archive of the generator is refused or harmless, in bounded time and memory, and nothing of it is pushed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod hostile;
#[path = "../src/image/testzip.rs"]
#[allow(dead_code)]
mod testzip;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hostile::{Case, Expect};
use launchway_operator::image::Blob;
use launchway_operator::image::blob::{Hasher, Spool};
use launchway_operator::image::dispatcher::BaseFiles;
use launchway_operator::image::plan::{FileKind, Input, PlanOptions, Planned, plan};

/// A loaded machine without optimisation; what is meant to take seconds takes minutes in a broken reader.
const TIME: Duration = Duration::from_secs(20);
/// Of the whole process, for all archives together.
const MEMORY_KIB: u64 = 256 << 10;

fn input(name: &str, bytes: &[u8]) -> Input {
    Input { name: name.to_owned(), sha256: Some(Hasher::of(bytes)), blob: Blob::from_bytes(bytes.to_vec()) }
}

fn planned(case: &Case, beside: &[Input]) -> Planned {
    let mut options = PlanOptions::default();
    options.limits = case.limits.unwrap_or(options.limits);
    let folder = tempfile::tempdir().unwrap();
    let inputs = [vec![input("case.zip", &case.bytes)], beside.to_vec()].concat();
    let out = plan(inputs, &BaseFiles::unknown(), &options, &Spool::new(folder.path())).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{}: files are left", case.name);
    out
}

#[test]
fn every_hostile_archive_is_refused_or_proven_harmless() {
    let cases = hostile::all();
    let mut wrong = Vec::new();
    let mut refused = 0;
    for case in &cases {
        let start = Instant::now();
        let planned = planned(case, &[]);
        let took = start.elapsed();
        if took > TIME {
            wrong.push(format!("{}: took {took:?}", case.name));
        }
        match (&case.expect, planned.plan) {
            (Expect::Refused(reasons), Err(refusal)) if reasons.contains(&refusal.reason) => {
                refused += 1;
                let message = refusal.message();
                assert!(message.len() < 4096 && !message.contains(char::is_control), "{message:?}");
                assert!(!refusal.remedy.is_empty() && refusal.file.starts_with("case.zip"), "{}", case.name);
            }
            (Expect::Harmless(why), Ok(_)) => assert!(!why.is_empty()),
            (_, result) => wrong.push(format!("{}: {:?}", case.name, result.map(|_| "accepted"))),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(refused >= 60, "{refused} kinds");
    println!("{refused} kinds refused, {} proven harmless", cases.len() - refused);
}

#[test]
fn a_hostile_archive_stops_nothing_but_the_build() {
    let good = input("good.zip", &testzip::package("good:good:1", &[]));
    for case in hostile::all().iter().filter(|case| matches!(case.expect, Expect::Refused(_)) && case.limits.is_none())
    {
        let planned = planned(case, std::slice::from_ref(&good));
        assert!(planned.plan.is_err(), "{}", case.name);
        let kind = planned.files.iter().find(|file| file.name == "good.zip").unwrap().kind;
        assert_eq!(kind, FileKind::ContentPackage, "{}", case.name);
    }
}

/// Peak resident memory of a process so far, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

fn inspect(folder: &Path) -> (Option<i32>, u64, Duration) {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_launchway"))
        .args(["inspect", "-o", "json"])
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut memory = 0;
    loop {
        memory = memory.max(peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), memory, start.elapsed());
        }
        if start.elapsed() > TIME * 10 {
            child.kill().unwrap();
            panic!("inspect did not end in {:?}", start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Also a way to have the archives as files: with `LAUNCHWAY_HOSTILE_OUT` they are written there.
#[test]
fn the_command_refuses_all_of_them_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let out = std::env::var_os("LAUNCHWAY_HOSTILE_OUT").map_or(folder.path().to_owned(), Into::into);
    std::fs::create_dir_all(&out).unwrap();
    for (at, case) in hostile::all().iter().enumerate() {
        let name: String = case.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        std::fs::write(out.join(format!("{at:03}-{name}.zip")), &case.bytes).unwrap();
    }
    let (code, memory, took) = inspect(&out);
    println!("exit {code:?}, peak {} MiB, {took:?}", memory >> 10);
    assert_eq!(code, Some(2));
    assert!(memory > 0 && memory < MEMORY_KIB, "{memory} KiB");
}

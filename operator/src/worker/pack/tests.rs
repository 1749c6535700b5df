//! Trees as builds leave them. Nothing is uploaded here: what is read decides before.

use std::{fs, os::unix::fs::symlink};

use super::*;

struct Built {
    folder: tempfile::TempDir,
    end: tempfile::TempDir,
}

const PASSED: &str = "<testsuite><testcase name='a'/></testsuite>";
const FAILED: &str = "<testsuite><testcase classname='A' name='b'><failure/></testcase></testsuite>";
const COVERED: &str = r#"<?xml version="1.0"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report name="x"><counter type="LINE" missed="1" covered="3"/></report>"#;

impl Built {
    fn new(end: &str) -> Self {
        let built = Self { folder: tempfile::tempdir().unwrap(), end: tempfile::tempdir().unwrap() };
        fs::write(built.end.path().join("commands"), end).unwrap();
        built
    }

    fn with(self, path: &str, content: &[u8]) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn linked(self, path: &str, to: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
        self
    }

    fn read(&self) -> Left {
        read(&Request {
            folder: self.folder.path().into(),
            end: self.end.path().into(),
            commands: vec!["mvn --batch-mode clean package".into()],
            target: "registry.example.com/wknd/artifacts".into(),
            plain_http: false,
            url: "https://git.example.com/wknd.git".into(),
            commit: "a".repeat(40),
            key: Sha256Digest::from_bytes([1; 32]),
            execution: "wknd/wknd-1".into(),
            version: None,
        })
    }

    fn names(&self) -> Vec<String> {
        self.read().files.unwrap().into_iter().map(|file| file.name).collect()
    }

    fn reason(&self) -> (String, String) {
        self.read().files.unwrap_err()
    }
}

fn jar(manifest: &str) -> Vec<u8> {
    crate::image::testzip::zip(&[crate::image::testzip::file("META-INF/MANIFEST.MF", manifest)])
}

#[test]
fn every_zip_of_every_target_is_a_package() {
    let built = Built::new("0 0")
        .with("pom.xml", b"x")
        .with("all/target/all.zip", b"zip")
        .with("dispatcher/target/dispatcher.zip", b"zip2")
        .with("ui/src/target/no.zip", b"x")
        .with("ui/node_modules/x/target/no.zip", b"x")
        .with("all/target/classes/inner.zip", b"x")
        .with("it/target/it.jar", &jar("Manifest-Version: 1.0\r\nCloud-Manager-TestType: integration-test\r\n"))
        .with("core/target/core.jar", &jar("Manifest-Version: 1.0\n"))
        .with("ui.tests/target/x-ui-test-docker-context.tar.gz", b"gz");
    assert_eq!(built.names(), ["all.zip", "dispatcher.zip", "it.jar", "x-ui-test-docker-context.tar.gz"]);
}

#[test]
fn tests_and_coverage_are_counted_whatever_became_of_the_build() {
    let built = Built::new("1 1")
        .with("pom.xml", b"x")
        .with("core/target/surefire-reports/TEST-a.xml", PASSED.as_bytes())
        .with("core/target/surefire-reports/TEST-b.xml", FAILED.as_bytes())
        .with("core/target/site/jacoco/jacoco.xml", COVERED.as_bytes());
    let left = built.read();
    let actual =
        |name: &str| left.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.actual.clone());
    assert_eq!((actual("tests"), actual("test_failures")), (Some("2".into()), Some("1".into())));
    assert_eq!(actual("coverage"), Some("75.0".into()));
    assert!(left.counted.contains("A.b"), "{}", left.counted);
    assert_eq!(built.reason().0, reasons::UNIT_TESTS_FAILED);
}

#[test]
fn failing_tests_fail_a_build_that_ignores_them() {
    let built = Built::new("0 0")
        .with("all/target/all.zip", b"zip")
        .with("core/target/surefire-reports/TEST-b.xml", FAILED.as_bytes());
    assert_eq!(built.reason().0, reasons::UNIT_TESTS_FAILED);
}

#[test]
fn each_bad_end_has_its_own_reason() {
    assert_eq!(Built::new("1 1").reason().0, reasons::NO_POM);
    assert_eq!(Built::new("1 1").with("pom.xml", b"x").reason().0, reasons::BUILD_FAILED);
    assert_eq!(Built::new("garbage").reason().0, reasons::BUILD_FAILED);
    assert_eq!(Built::new("0 0").with("pom.xml", b"x").reason().0, "NoArtifacts");
    let torn = Built::new("0 0").with("a/target/a.zip", b"z").with("a/target/surefire-reports/TEST-a.xml", b"<testsu");
    assert_eq!(torn.reason().0, reasons::BUILD_FAILED);
}

#[test]
fn a_hostile_tree_gives_nothing_away() {
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("config.json"), "secret").unwrap();
    let there = secret.path().join("config.json");
    let linked = Built::new("0 0").linked("a/target/a.zip", there.to_str().unwrap());
    let (reason, message) = linked.reason();
    assert!(reason == "ArtifactInvalid" && message.contains("a/target/a.zip is a link"), "{message}");
    // A folder that is a link is not gone into: the build has made nothing.
    fs::create_dir(secret.path().join("target")).unwrap();
    fs::write(secret.path().join("target/x.zip"), "secret").unwrap();
    assert_eq!(Built::new("0 0").linked("a", secret.path().to_str().unwrap()).reason().0, "NoArtifacts");
    let there = secret.path().join("target");
    assert_eq!(Built::new("0 0").linked("target", there.to_str().unwrap()).reason().0, "NoArtifacts");
    let named = Built::new("0 0").with("a/target/a\u{1b}[2J.zip", b"zip");
    let (reason, message) = named.reason();
    assert!(reason == "ArtifactInvalid" && !message.contains('\u{1b}'), "{message:?}");
    let twice = Built::new("0 0").with("a/target/a.zip", b"one").with("b/target/a.zip", b"two");
    assert!(twice.reason().1.contains("two different files are named a.zip"));
}

#[test]
fn two_test_jars_are_one_too_many() {
    let jar = jar("Cloud-Manager-TestType: integration-test\n");
    let built =
        Built::new("0 0").with("a/target/a.zip", b"z").with("a/target/one.jar", &jar).with("b/target/two.jar", &jar);
    let (reason, message) = built.reason();
    assert!(reason == "ArtifactInvalid" && message.contains("a/target/one.jar and b/target/two.jar"), "{message}");
}

//! Sources to packages, with a real Git server, a real shell and a real registry; only the pod is missing.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod server;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use launchway_operator::{
    artifact, build_record,
    git::{FaultKind, Login, Server as Remote},
    worker::{
        pack::{End, Packed},
        verdict::Verdict,
    },
};
use reqwest::Certificate;
use serde_json::{Value, json};
use server::{Repository, Server};
use support::Registry;

fn login() -> Option<Login> {
    Some(Login { username: "ann".into(), password: "secret".into() })
}

async fn commit_of(url: &str, login: Option<Login>, reference: &str) -> Result<String, FaultKind> {
    Remote::new(url, login, vec![]).unwrap().commit(reference).await.map_err(|fault| fault.kind)
}

#[tokio::test]
async fn the_operator_asks_what_a_ref_is() {
    let server = Server::start(true);
    let repository = server.repository("site.git");
    let first = repository.push();
    repository.git(&["tag", "--annotate", "--message=x", "v1"]);
    repository.git(&["push", "--quiet", "origin", "v1"]);
    let second = repository.push();
    let url = repository.url.as_str();
    assert_eq!(commit_of(url, login(), "refs/heads/main").await, Ok(second));
    assert_eq!(commit_of(url, login(), "refs/tags/v1").await, Ok(first), "the commit behind the tag, not the tag");
    assert_eq!(commit_of(url, login(), "refs/heads/mai").await, Err(FaultKind::RefNotFound));
    assert_eq!(commit_of(url, None, "refs/heads/main").await, Err(FaultKind::Refused));
    let wrong = Some(Login { username: "ann".into(), password: "wrong".into() });
    assert_eq!(commit_of(url, wrong, "refs/heads/main").await, Err(FaultKind::Refused));
    let other = format!("{}/other.git", server.address);
    assert_eq!(commit_of(&other, login(), "refs/heads/main").await, Err(FaultKind::RepositoryNotFound));
    assert_eq!(commit_of("http://127.0.0.1:9", None, "refs/heads/main").await, Err(FaultKind::Unreachable));
}

/// The operator and the checkout trust an authority of the Secret's, and none other.
#[tokio::test]
async fn a_private_authority_is_trusted_where_the_secret_names_it() {
    let (server, authority) = Server::start_tls();
    let repository = server.repository("site.git");
    repository.write("a.txt", "text");
    let commit = repository.push();
    let url = repository.url.as_str();
    assert_eq!(commit_of(url, None, "refs/heads/main").await, Err(FaultKind::Unreachable));
    let trusted = Certificate::from_pem_bundle(authority.as_bytes()).unwrap();
    let found = Remote::new(url, None, trusted).unwrap().commit("refs/heads/main").await;
    assert_eq!(found.map_err(|fault| fault.message), Ok(commit.clone()));
    let checkout = Checkout::of(&repository, &commit);
    assert_eq!(checkout.run(), Err("GitUnreachable".into()));
    fs::write(checkout.login.path().join("ca.crt"), authority).unwrap();
    assert_eq!(checkout.run(), Ok(()));
    assert_eq!(checkout.read("a.txt"), "text");
}

/// Runs a worker and gives its verdict.
fn worker(name: &str, request: (&str, &Value), credentials: &Path) -> (Output, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_launchway"))
        .args(["worker", name])
        .env(request.0, request.1.to_string())
        .env("LAUNCHWAY_TERMINATION_LOG", log.path())
        .env("LAUNCHWAY_CREDENTIALS", credentials)
        .output()
        .unwrap();
    (output, fs::read_to_string(log.path()).unwrap())
}

/// A checkout like that of the Job.
struct Checkout {
    folder: tempfile::TempDir,
    home: tempfile::TempDir,
    login: tempfile::TempDir,
    request: Value,
}

impl Checkout {
    fn of(repository: &Repository, commit: &str) -> Self {
        let [folder, home, login] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let request = json!({
            "url": repository.url, "ref": "refs/heads/main", "commit": commit, "submodules": false,
            "login": login.path(), "folder": folder.path(), "home": home.path(), "bytes": 1 << 30,
        });
        Self { folder, home, login, request }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.request[key] = value;
        self
    }

    fn run(&self) -> Result<(), String> {
        let (output, text) = worker("fetch", ("LAUNCHWAY_FETCH", &self.request), self.home.path());
        match Verdict::<()>::parse(&text) {
            Ok(Verdict::Ok(())) => Ok(()),
            Ok(Verdict::Failed(reason) | Verdict::Error(reason)) => Err(reason.reason),
            Err(why) => panic!("{why}: {}", String::from_utf8_lossy(&output.stdout)),
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

#[test]
fn exactly_the_commit_is_checked_out_and_nothing_before_it() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    repository.write("a.txt", "one");
    let first = repository.push();
    repository.write("a.txt", "two");
    repository.push();
    let checkout = Checkout::of(&repository, &first);
    assert_eq!(checkout.run(), Ok(()));
    assert_eq!(checkout.read("a.txt"), "one");
    let known = Command::new("git").current_dir(checkout.folder.path()).args(["rev-list", "--all", "HEAD"]).output();
    assert_eq!(String::from_utf8_lossy(&known.unwrap().stdout).lines().count(), 1);
}

#[test]
fn a_commit_that_a_force_push_took_away_is_told_as_such() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    let gone = repository.push();
    repository.git(&["commit", "--quiet", "--amend", "--allow-empty", "--message=y"]);
    repository.push();
    let prune = "git reflog expire --expire=now --all; git gc --quiet --prune=now";
    assert!(Command::new("sh").args(["-c", prune]).current_dir(&repository.bare).status().unwrap().success());
    assert_eq!(Checkout::of(&repository, &gone).run(), Err("CommitNotFound".into()));
}

#[test]
fn a_tag_that_moved_is_told_as_such() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    let first = repository.push();
    repository.git(&["tag", "v1"]);
    repository.git(&["push", "--quiet", "origin", "v1"]);
    let of_tag = || Checkout::of(&repository, &first).with("ref", json!("refs/tags/v1"));
    assert_eq!(of_tag().run(), Ok(()));
    repository.push();
    repository.git(&["tag", "--force", "v1"]);
    repository.git(&["push", "--quiet", "--force", "origin", "v1"]);
    assert_eq!(of_tag().run(), Err("TagMoved".into()));
}

#[test]
fn a_login_is_given_to_its_server_and_a_missing_one_is_told() {
    let server = Server::start(true);
    let repository = server.repository("site.git");
    let commit = repository.push();
    let checkout = Checkout::of(&repository, &commit);
    assert_eq!(checkout.run(), Err("GitRefused".into()));
    fs::write(checkout.login.path().join("username"), "ann").unwrap();
    fs::write(checkout.login.path().join("password"), "secret").unwrap();
    assert_eq!(checkout.run(), Ok(()));
    assert!(!checkout.read(".git/config").contains("secret"));
}

#[test]
fn submodules_come_along_and_never_from_this_machine() {
    let server = Server::start(false);
    let library = server.repository("library.git");
    library.write("lib.txt", "library");
    library.push();
    let repository = server.repository("site.git");
    repository.git(&["submodule", "add", "--quiet", &library.url, "lib"]);
    let commit = repository.push();
    let checkout = Checkout::of(&repository, &commit);
    assert_eq!(checkout.run(), Ok(()));
    assert!(!checkout.folder.path().join("lib/lib.txt").exists());
    let checkout = Checkout::of(&repository, &commit).with("submodules", json!(true));
    assert_eq!(checkout.run(), Ok(()));
    assert_eq!(checkout.read("lib/lib.txt"), "library");
    // A submodule of the file system would give a build what only this machine has.
    let local = library.path().to_str().unwrap();
    repository.git(&["config", "--file", ".gitmodules", "submodule.lib.url", local]);
    let commit = repository.push();
    let checkout = Checkout::of(&repository, &commit).with("submodules", json!(true));
    assert_eq!(checkout.run(), Err("GitInvalid".into()));
}

/// Bytes that no compression makes less of: a linear congruential generator's.
fn noise(size: usize) -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(7_u64), next).map(|state| state.to_be_bytes()[0]).take(size).collect()
}

#[test]
fn a_repository_may_have_any_history_but_no_more_than_its_disk_at_once() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    fs::write(repository.path().join("large"), noise(24 << 20)).unwrap();
    let large = repository.push();
    repository.git(&["rm", "--quiet", "large"]);
    let small = repository.push();
    let within = |commit: &str| Checkout::of(&repository, commit).with("bytes", json!(8 << 20)).run();
    assert_eq!(within(&large), Err("TooLarge".into()));
    assert_eq!(within(&small), Ok(()), "what was there before costs nothing");
}

#[test]
fn a_hostile_repository_runs_nothing() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    let mark = repository.path().parent().unwrap().join(format!("mark-{}", std::process::id()));
    repository.write(".gitattributes", "*.txt filter=evil\n");
    repository.write("a.txt", "text");
    repository.write("hooks/post-checkout", &format!("#!/bin/sh\ntouch {}\n", mark.display()));
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("link")).unwrap();
    let commit = repository.push();
    let checkout = Checkout::of(&repository, &commit);
    assert_eq!(checkout.run(), Ok(()));
    assert_eq!(checkout.read("a.txt"), "text");
    assert!(!mark.exists());
    let link = checkout.folder.path().join("link");
    assert!(fs::symlink_metadata(link).unwrap().is_symlink(), "dispatcher configurations consist of links");
}

/// No client of Git writes such a tree; a server may have one all the same.
#[test]
fn a_tree_that_brings_its_own_git_folder_is_refused() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    repository.push();
    repository.write("hook", "#!/bin/sh\ntouch /tmp/never\n");
    let hook = repository.git(&["hash-object", "-w", "hook"]);
    let tree = |mode: &str, kind: &str, id: &str, name: &str| {
        let script = format!("printf '{mode} {kind} {id}\\t{name}\\n' | git mktree");
        let made = Command::new("sh").args(["-c", &script]).current_dir(repository.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8_lossy(&made.stdout).trim().to_string()
    };
    let hooks = tree("100755", "blob", &hook, "post-checkout");
    let inner = tree("040000", "tree", &hooks, "hooks");
    let root = tree("040000", "tree", &inner, ".git");
    let commit = repository.git(&["commit-tree", &root, "-m", "hostile"]);
    repository.git(&["push", "--quiet", "--force", "origin", &format!("{commit}:refs/heads/main")]);
    let checkout = Checkout::of(&repository, &commit);
    assert_eq!(checkout.run(), Err("GitInvalid".into()));
    assert!(!checkout.folder.path().join(".git/hooks/post-checkout").exists());
}

#[test]
fn a_generated_version_is_written_before_anything_is_built() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    let pom = |version: &str| {
        format!("<project><groupId>g</groupId><artifactId>a</artifactId><version>{version}</version></project>")
    };
    repository.write("pom.xml", &pom("1.0-SNAPSHOT"));
    let commit = repository.push();
    let version = json!("2019.926.121356.0000020490");
    let checkout = Checkout::of(&repository, &commit).with("version", version.clone());
    assert_eq!(checkout.run(), Ok(()));
    assert!(checkout.read("pom.xml").contains("<version>2019.926.121356.0000020490</version>"));
    repository.write("pom.xml", &pom("two words"));
    let commit = repository.push();
    assert_eq!(
        Checkout::of(&repository, &commit).with("version", version.clone()).run(),
        Err("ProjectVersionInvalid".into())
    );
    repository.git(&["rm", "--quiet", "--force", "pom.xml"]);
    let commit = repository.push();
    assert_eq!(Checkout::of(&repository, &commit).with("version", version).run(), Err("NoPom".into()));
}

#[tokio::test]
async fn a_build_becomes_an_artifact_with_a_record() {
    let server = Server::start(false);
    let repository = server.repository("site.git");
    repository.write("pom.xml", "<project/>");
    let commit = repository.push();
    let checkout = Checkout::of(&repository, &commit);
    assert_eq!(checkout.run(), Ok(()));
    let target = checkout.folder.path().join("all/target");
    fs::create_dir_all(target.join("surefire-reports")).unwrap();
    fs::write(target.join("all.zip"), "zip").unwrap();
    fs::write(target.join("x-ui-test-docker-context.tar.gz"), "gz").unwrap();
    let report = "<testsuite><testcase name='a'/></testsuite>";
    fs::write(target.join("surefire-reports/TEST-a.xml"), report).unwrap();
    let end = tempfile::tempdir().unwrap();
    fs::write(end.path().join("commands"), "0 0").unwrap();
    let registry = Registry::start(false);
    let key = format!("sha256:{}", "5".repeat(64));
    let request = json!({
        "folder": checkout.folder.path(), "end": end.path(), "commands": ["mvn package"],
        "target": format!("{}/wknd/artifacts", registry.host), "plainHttp": true, "url": repository.url,
        "commit": commit, "key": key, "execution": "wknd/wknd-1", "version": "2019.926.121356.0000020490",
    });
    let (output, text) = worker("pack", ("LAUNCHWAY_PACK", &request), checkout.home.path());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let Ok(Verdict::Ok(Packed { end: End::Packages(digest), measured })) = Verdict::<Packed>::parse(&text) else {
        panic!("{text}: {said}")
    };
    assert!(measured.message.starts_with("built 1 package; 1 tests"), "{}", measured.message);
    let (client, packages) = (registry.client(), registry.repository("wknd/artifacts"));
    let manifest = client.need_manifest(&packages, &digest.to_string()).await.unwrap();
    let names: Vec<String> = artifact::decode(&manifest.bytes).unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["all.zip"], "tests are kept, and are no packages");
    let manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    let annotation = |name: &str| manifest["annotations"][format!("org.opencontainers.image.{name}")].as_str();
    assert_eq!(annotation("revision"), Some(commit.as_str()));
    assert_eq!(annotation("version"), Some("2019.926.121356.0000020490"));
    let record = client.need_manifest(&packages, &format!("build-{}", "5".repeat(64))).await.unwrap();
    let record = build_record::decode(&record.bytes).unwrap();
    assert_eq!((record.artifact, record.by.as_deref()), (digest, Some("wknd/wknd-1")));
    assert_eq!(record.version.map(|version| version.to_string()).as_deref(), annotation("version"));
}

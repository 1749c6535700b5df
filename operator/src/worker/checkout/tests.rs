//! Checkouts of repositories on this machine, over the file transport, which only these tests allow.

use std::process::Command;

use super::*;

/// A repository with one commit.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        made.git(&["init", "--quiet", "--initial-branch=main"]);
        made
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.folder.path())
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=x"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

#[test]
fn settings_of_maven_are_brought_along_unless_they_are_a_link() {
    let (source, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = Request {
        url: "https://git/x".into(),
        reference: "refs/heads/main".into(),
        commit: "a".repeat(40),
        submodules: false,
        login: "/none".into(),
        folder: source.path().to_path_buf(),
        home: home.path().to_path_buf(),
        bytes: None,
        cache: None,
        version: None,
    };
    fs::create_dir_all(home.path().join(".m2")).unwrap();
    let there = home.path().join(".m2/settings.xml");
    settings(&request).unwrap();
    assert!(!there.exists());
    fs::create_dir_all(source.path().join(".cloudmanager/maven")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", source.path().join(SETTINGS)).unwrap();
    settings(&request).unwrap();
    assert!(!there.exists());
    fs::remove_file(source.path().join(SETTINGS)).unwrap();
    fs::write(source.path().join(SETTINGS), "<settings/>").unwrap();
    settings(&request).unwrap();
    assert_eq!(fs::read_to_string(there).unwrap(), "<settings/>");
}

/// No hook of the template runs, and a file of this machine is no transport.
#[tokio::test]
async fn a_file_is_no_transport() {
    let repository = Repository::new();
    repository.write("pom.xml", "<project/>");
    let commit = repository.commit();
    let target = tempfile::tempdir().unwrap();
    let text = serde_json::json!({
        "url": repository.folder.path(), "ref": "refs/heads/main", "commit": commit,
        "login": "/none", "folder": target.path(), "home": target.path().join("home"),
    });
    match from_text(&text.to_string()).await {
        Verdict::Failed(reason) => assert_eq!(reason.reason, reasons::GIT_INVALID, "{}", reason.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_checkout_that_outgrows_its_disk_is_stopped() {
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("large"), "0123456789").unwrap();
    let git = Git::new("https://git.example.com/x", Path::new("/none")).unwrap().within(target.path(), Some(5));
    match git.run(&["-c", "alias.wait=!sleep 20", "wait"]).await {
        Err(Problem::Git(complaint)) => match complaint.verdict::<()>() {
            Verdict::Failed(reason) => assert_eq!(reason.reason, reasons::TOO_LARGE),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

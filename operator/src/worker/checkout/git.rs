//! Runs `git` with nothing around it but what is said here.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use launchway_crds::conditions::reasons;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Problem, complaint::Complaint, weight};
use crate::git::Transport;

/// How often it is looked whether the checkout became too large.
const LOOK: Duration = Duration::from_secs(2);
/// The most that is kept of what Git says.
const SAID_MAX: usize = 64 << 10;

/// What every call of Git is told. Objects are checked on their way in; what old versions of Git wrote and is harmless
/// is let through.
const CONFIGURATION: &[&str] = &[
    "core.hooksPath=/dev/null",
    // The kubelet makes the folder of the checkout, so it is not this user's; nobody else writes there.
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.symlinks=true",
    "fetch.fsckObjects=true",
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.missingSpaceBeforeEmail=ignore",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "credential.helper=",
    "advice.detachedHead=false",
    // What Git keeps in memory of a repository is ours to say, not the repository's: larger files are streamed, and
    // deltas are resolved by two threads with a small cache, however many CPUs the node has.
    "core.bigFileThreshold=16m",
    "core.deltaBaseCacheLimit=32m",
    "pack.threads=2",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
];

/// Files of a login, as a Secret has them.
struct Login<'a>(&'a Path);

impl Login<'_> {
    fn has(&self, key: &str) -> bool {
        self.0.join(key).is_file()
    }
}

/// Git for one repository.
#[derive(Debug)]
pub(crate) struct Git {
    url: String,
    options: Vec<String>,
    ssh: String,
    /// Home, credential helper and key; gone with this.
    scratch: TempDir,
    folder: Option<PathBuf>,
    bytes: Option<u64>,
}

impl Git {
    /// For a repository, with the login in a folder, which may be empty or absent.
    pub(crate) fn new(url: &str, login: &Path) -> io::Result<Self> {
        let scratch = TempDir::new()?;
        let mut options: Vec<String> = CONFIGURATION.iter().map(|one| (*one).to_string()).collect();
        let login = Login(login);
        let server = server(url);
        if login.has("password") {
            let helper = scratch.path().join("login");
            fs::write(&helper, helper_script(&login))?;
            fs::set_permissions(&helper, fs::Permissions::from_mode(0o700))?;
            // Only this server is told: a submodule may be anywhere.
            options.push(format!("credential.{server}.helper={}", helper.display()));
        }
        if login.has("ca.crt") {
            options.push(format!("http.{server}.sslCAInfo={}", login.0.join("ca.crt").display()));
        }
        let ssh = ssh(&login, scratch.path())?;
        Ok(Self { url: url.to_string(), options, ssh, scratch, folder: None, bytes: None })
    }

    /// In a folder that may have so many bytes.
    pub(super) fn within(mut self, folder: &Path, bytes: Option<u64>) -> Self {
        self.folder = Some(folder.to_path_buf());
        self.bytes = bytes;
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        for name in ["PATH", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // The URL of a pipeline decides how it is spoken to; a submodule cannot step down from TLS or leave the network.
        let transports = match Transport::of(&self.url) {
            Transport::Ssh => "ssh:https",
            Transport::Http if self.url.starts_with("https:") => "https",
            Transport::Http => "http:https",
        };
        command
            .env("HOME", self.scratch.path())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_ALLOW_PROTOCOL", transports)
            .env("GIT_SSH_COMMAND", &self.ssh)
            .env("GIT_SSH_VARIANT", "ssh");
        if let Some(folder) = &self.folder {
            command.arg("-C").arg(folder);
        }
        for option in &self.options {
            command.args(["-c", option]);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs one command to its end and gives what it wrote.
    ///
    /// # Errors
    /// What it complained about, or that the checkout became too large meanwhile.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String, Problem> {
        let running = self.command(arguments).output();
        let output = tokio::select! {
            output = running => output.map_err(|error| {
                Problem::Machine(format!("git cannot be run in the image of the builder: {error}; see docs/builds.md for what it needs"))
            })?,
            problem = self.outgrown() => return Err(problem),
        };
        let said = self.judge(&output)?;
        // What came within one look is told, too, and not left to the kubelet, which evicts without a word of ours.
        match self.too_large().await {
            Some(problem) => Err(problem),
            None => Ok(said),
        }
    }

    fn judge(&self, output: &Output) -> Result<String, Problem> {
        let said = String::from_utf8_lossy(&output.stderr[..output.stderr.len().min(SAID_MAX)]);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        print!("{}", crate::text::printable(&said));
        Err(Problem::Git(Complaint::read(&self.url, &said, output.status.code())))
    }

    /// Comes to its end only when the checkout has become too large.
    async fn outgrown(&self) -> Problem {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(problem) = self.too_large().await {
                return problem;
            }
        }
    }

    /// That the checkout has more than it may, if it has.
    async fn too_large(&self) -> Option<Problem> {
        let (folder, bytes) = (self.folder.clone()?, self.bytes?);
        let weight = tokio::task::spawn_blocking(move || weight::of(&folder)).await.unwrap_or_default();
        (weight > bytes).then(|| {
            Problem::Git(Complaint::failed(
                reasons::TOO_LARGE,
                format!(
                    "{}: the checkout has more than {}, which spec.source.git.builder.disk allows: raise it, or keep less in the repository",
                    self.url,
                    crate::text::human(bytes)
                ),
            ))
        })
    }

    /// The commit that a ref names now; none when there is no such ref.
    pub(crate) async fn commit_of(&self, url: &str, reference: &str) -> Result<Option<String>, Problem> {
        let peeled = format!("{reference}^{{}}");
        let text = self.run(&["ls-remote", "--quiet", url, reference, &peeled]).await?;
        let named = |wanted: &str| {
            text.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == wanted).map(|(id, _)| id)
        };
        Ok(named(&peeled).or_else(|| named(reference)).map(str::to_string))
    }
}

/// Scheme, host and port of a URL of HTTP, as Git compares credentials by.
fn server(url: &str) -> String {
    let mut parts = url.splitn(4, '/');
    let (scheme, _, host) = (parts.next(), parts.next(), parts.next());
    format!("{}//{}", scheme.unwrap_or_default(), host.unwrap_or_default())
}

/// A credential helper that answers out of files: nothing of a login is on a command line or in a configuration.
fn helper_script(login: &Login<'_>) -> String {
    let file = |key: &str| login.0.join(key).display().to_string();
    let user = if login.has("username") { format!("$(cat '{}')", file("username")) } else { "git".into() };
    format!(
        "#!/bin/sh\n[ \"$1\" = get ] || exit 0\nprintf 'username=%s\\npassword=%s\\n' \"{user}\" \"$(cat '{}')\"\n",
        file("password")
    )
}

/// The command for SSH: only our key, only known hosts, no question.
fn ssh(login: &Login<'_>, scratch: &Path) -> io::Result<String> {
    let mut words = vec![
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o ConnectTimeout=20"
            .to_string(),
        "-o ServerAliveInterval=20 -o ServerAliveCountMax=3 -o ForwardAgent=no -o GlobalKnownHostsFile=/dev/null"
            .to_string(),
    ];
    let known = if login.has("known_hosts") { login.0.join("known_hosts") } else { PathBuf::from("/dev/null") };
    words.push(format!("-o UserKnownHostsFile={}", known.display()));
    // The second name is Flux's: one Secret can serve both.
    if let Some(name) = ["ssh-privatekey", "identity"].into_iter().find(|name| login.has(name)) {
        // A copy that only we can read: ssh takes no other.
        let key = scratch.join("key");
        let mut text = fs::read_to_string(login.0.join(name))?;
        // A key that lost its last newline on the way into a Secret is no key for OpenSSH.
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&key)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        words.push(format!("-i {}", key.display()));
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_one_server() {
        assert_eq!(server("https://git.example.com:8443/a/b.git"), "https://git.example.com:8443");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), "secret").unwrap();
        let git = Git::new("https://git.example.com/a.git", folder.path()).unwrap();
        let helper =
            git.options.iter().find(|one| one.starts_with("credential.https://git.example.com.helper=")).unwrap();
        let path = helper.split_once('=').unwrap().1;
        let answer = std::process::Command::new(path).arg("get").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "username=git\npassword=secret\n");
        assert!(!format!("{:?}", git.options).contains("secret"));
    }

    #[test]
    fn a_key_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ssh-privatekey"), "key").unwrap();
        let git = Git::new("git@example.com:a.git", folder.path()).unwrap();
        let key = git.scratch.path().join("key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(key).unwrap(), "key\n");
        assert!(git.ssh.contains("StrictHostKeyChecking=yes") && git.ssh.contains("UserKnownHostsFile=/dev/null"));
    }
}

//! A real Git server: `git http-backend` behind a few lines of HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::support::sign;

/// `ann:secret` as HTTP writes it.
const LOGIN: &str = "Basic YW5uOnNlY3JldA==";

/// Serves every repository below a folder, each connection once.
pub struct Server {
    pub address: String,
    root: tempfile::TempDir,
}

impl Server {
    /// `login` asks for ann with the password secret.
    pub fn start(login: bool) -> Self {
        Self::serve("http", login, |stream| stream)
    }

    /// Behind TLS, and the certificate of the authority that signed its own.
    pub fn start_tls() -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let authority = sign(folder.path());
        let chain = CertificateDer::pem_file_iter(folder.path().join("tls.crt")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(folder.path().join("tls.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(versions.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let wrap = move |stream| StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        (Self::serve("https", false, wrap), authority)
    }

    fn serve<S: Read + Write>(
        scheme: &str,
        login: bool,
        wrap: impl Fn(TcpStream) -> S + Send + Sync + 'static,
    ) -> Self {
        let root = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let folder = root.path().to_path_buf();
        // It ends with the test's process.
        let wrap = Arc::new(wrap);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, wrap) = (folder.clone(), wrap.clone());
                thread::spawn(move || answer(wrap(stream), &folder, login));
            }
        });
        Self { address, root }
    }

    /// A new repository, and a checkout of it in which commits are made.
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.root.path().join(name);
        git(self.root.path(), &["init", "--quiet", "--bare", "--initial-branch=main", name]);
        let work = tempfile::tempdir().unwrap();
        git(work.path(), &["init", "--quiet", "--initial-branch=main"]);
        git(work.path(), &["remote", "add", "origin", bare.to_str().unwrap()]);
        Repository { url: format!("{}/{name}", self.address), bare, work }
    }
}

/// A repository of the server.
pub struct Repository {
    pub url: String,
    pub bare: PathBuf,
    work: tempfile::TempDir,
}

impl Repository {
    pub fn write(&self, name: &str, text: &str) {
        let path = self.work.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(self.work.path(), arguments)
    }

    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// Commits everything and pushes it to main.
    pub fn push(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn answer(stream: impl Read + Write, root: &Path, login: bool) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    // Somebody who does not trust this server leaves before the first line.
    if reader.read_line(&mut first).unwrap_or_default() == 0 {
        return;
    }
    let mut headers = vec![];
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let mut out = reader.into_inner();
    if login && header("authorization") != LOGIN {
        out.write_all(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        return;
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    let mut said = vec![];
    child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    child.wait().unwrap();
    let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, content) = (String::from_utf8_lossy(&said[..end]).into_owned(), &said[end + 4..]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_string();
    let kept: Vec<&str> = head.lines().filter(|line| !line.starts_with("Status:")).collect();
    let length = content.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n", kept.join("\r\n"));
    out.write_all(head.as_bytes()).unwrap();
    out.write_all(content).unwrap();
}

//! A real registry and small base images for the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use launchway_crds::digest::{ImageRef, Sha256Digest};
use launchway_operator::image::Blob;
use launchway_operator::image::blob::Hasher;
use launchway_operator::image::layer::{Content, EPOCH, Layer, LayerEncoding, LayerEntry};
use launchway_operator::image::manifest::{LAYER_GZIP, MANIFEST, canonical};
use launchway_operator::registry::{Client, ClientOptions, Credentials, Repository, Silent};
use launchway_operator::worker::build::{Bases, BuildRequest};
use serde_json::{Value, json};

pub struct Registry {
    pub host: String,
    pub log: std::path::PathBuf,
    child: Child,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts Debian's docker-registry on a free loopback port. `auth` adds Basic authentication for user:password.
    pub fn start(auth: bool) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), auth, false, true)
    }

    /// The same without rights, one that deletes nothing: that is what its configuration says when nobody says otherwise.
    pub fn start_without_deletion() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), false, false, false)
    }

    /// The same with TLS, by a certificate of an authority of its own; its certificate in PEM form comes too.
    pub fn start_with_tls() -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let authority = sign(folder.path());
        (Self::start_in(folder, false, true, true), authority)
    }

    fn start_in(folder: tempfile::TempDir, auth: bool, tls: bool, deletes: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  delete:\n    enabled: {deletes}\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
            folder.path().join("data").display()
        );
        if tls {
            let file = |name: &str| folder.path().join(name).display().to_string();
            config.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", file("tls.crt"), file("tls.key")));
        }
        if auth {
            // user:password
            let line = "user:$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu\n";
            std::fs::write(folder.path().join("htpasswd"), line).unwrap();
            config.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                folder.path().join("htpasswd").display()
            ));
        }
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("docker-registry must be on PATH (Debian package docker-registry)");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(&host).is_err() {
            assert!(
                Instant::now() < deadline,
                "docker-registry did not start: {}",
                std::fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
        Self { host, log, child, folder }
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data/docker/registry/v2")
    }

    pub fn client(&self) -> Client {
        client(&[&self.host], Credentials::none())
    }

    pub fn repository(&self, path: &str) -> Repository {
        Repository::parse(&format!("{}/{path}", self.host)).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `tls.crt` and `tls.key` for 127.0.0.1, signed by a new authority.
pub fn sign(folder: &Path) -> String {
    let script = r#"set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=registry -keyout tls.key -out tls.csr
        printf 'subjectAltName=IP:127.0.0.1\n' >extensions
        openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -set_serial 2 -days 2 -extfile extensions -out tls.crt"#;
    let output = Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(folder.join("ca.crt")).unwrap()
}

pub fn client(plain: &[&str], credentials: Credentials) -> Client {
    let plain_http: BTreeSet<String> = plain.iter().map(|host| (*host).to_owned()).collect();
    Client::new(ClientOptions { plain_http, credentials, ..ClientOptions::default() }).unwrap()
}

pub fn base_config(tier: &str, diff_id: &str) -> Value {
    let labels = if tier == "aem" {
        json!({
            "dev.launchway.contract": "1", "dev.launchway.tier": "aem", "dev.launchway.port": "8080",
            "dev.launchway.install-path": "/opt/launchway/install", "dev.launchway.index-path": "/opt/launchway/packages.json",
            "dev.launchway.data-path": "/opt/launchway/data", "dev.launchway.writable-paths": "/tmp",
            "dev.launchway.command.ready": "[\"/opt/launchway/ready\"]",
        })
    } else {
        json!({
            "dev.launchway.contract": "1", "dev.launchway.tier": "dispatcher", "dev.launchway.port": "80",
            "dev.launchway.config-path": "/etc/httpd", "dev.launchway.cache-path": "/var/cache/dispatcher",
            "dev.launchway.immutable-files": "conf.d/dispatcher_vhost.conf,conf.dispatcher.d/dispatcher.any",
            "dev.launchway.command.ready": "[\"/ready\"]",
        })
    };
    json!({
        "architecture": "amd64", "os": "linux", "unknown": {"kept": true},
        "config": {"User": "1000:1000", "Labels": labels, "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "base"}],
    })
}

/// A base image of one small layer.
pub struct SmallBase {
    pub layer: Layer,
    pub layer_digest: Sha256Digest,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

/// Makes one; another `mark` makes another image with the same layer.
pub fn small_base(tier: &str, mark: &str) -> SmallBase {
    let entry = LayerEntry {
        path: format!("base-{tier}"),
        content: Content::File(Blob::from_bytes(tier.as_bytes().to_vec()), 0o644),
        mtime: EPOCH,
    };
    let layer = Layer::new(vec![entry], LayerEncoding::Gzip).unwrap();
    let described = layer.describe().unwrap();
    let mut config = base_config(tier, &described.diff_id.to_string());
    if !mark.is_empty() {
        config["config"]["Labels"]["mark"] = json!(mark);
    }
    let config = canonical(&config);
    let config_digest = Hasher::of(&config);
    let manifest = canonical(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest.to_string(), "size": config.len()},
        "layers": [{"mediaType": LAYER_GZIP, "digest": described.digest.to_string(), "size": described.size}],
    }));
    SmallBase { layer, layer_digest: described.digest, config, manifest }
}

/// Pushes a base image of one small layer.
pub async fn push_base(client: &Client, repository: &Repository, tier: &str) -> ImageRef {
    push_marked_base(client, repository, tier, "").await
}

/// Pushes another base image with the same layer.
pub async fn push_marked_base(client: &Client, repository: &Repository, tier: &str, mark: &str) -> ImageRef {
    let base = small_base(tier, mark);
    client.push_blob(repository, &base.layer_digest, Arc::new(base.layer), None, (&Silent, "")).await.unwrap();
    client.push_bytes(repository, &Hasher::of(&base.config), &base.config).await.unwrap();
    let digest = Hasher::of(&base.manifest);
    client.put_manifest(repository, &digest.to_string(), MANIFEST, &base.manifest).await.unwrap();
    ImageRef::new(&repository.to_string(), digest).unwrap()
}

/// Writes a base image as an OCI layout.
pub fn write_layout(folder: &Path, tier: &str) {
    let base = small_base(tier, "");
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let mut layer = Vec::new();
    base.layer.reader().read_to_end(&mut layer).unwrap();
    for bytes in [&layer, &base.config, &base.manifest] {
        std::fs::write(blobs.join(Hasher::of(bytes).hex()), bytes).unwrap();
    }
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": MANIFEST, "digest": Hasher::of(&base.manifest).to_string(), "size": base.manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "img"},
    }]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
}

pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// A build on a registry without TLS, with nothing asked for that may be left out.
pub fn request(host: &str, artifact: &ImageRef, target: &str, base: &Bases) -> BuildRequest {
    BuildRequest {
        artifact: artifact.clone(),
        target: target.into(),
        base: base.clone(),
        web_tier: false,
        execution: String::new(),
        plain_http: vec![host.into()],
        provided: Vec::new(),
        layer_encoding: LayerEncoding::Gzip,
        platform: None,
        sign_key: None,
    }
}

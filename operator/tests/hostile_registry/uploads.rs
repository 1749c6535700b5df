//! Uploads into registries that lead elsewhere, break off, lie about the end, or never read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use launchway_operator::image::Blob;
use launchway_operator::image::blob::Hasher;
use launchway_operator::image::layer::{Content, EPOCH, Layer, LayerEncoding, LayerEntry};
use launchway_operator::registry::{Client, ErrorKind, Pushed, RegistryError, Repository, Silent};

use crate::double::{Answer, Double, answer};

const LARGE: usize = 20 << 20;

async fn push(client: &Client, double: &Double, content: Vec<u8>) -> Result<Pushed, RegistryError> {
    let digest = Hasher::of(&content);
    let blob = Arc::new(Blob::from_bytes(content));
    client.push_blob(&double.repository(), &digest, blob, None, (&Silent, "")).await
}

/// A double that sends uploads to an address and answers them.
async fn uploading(location: &'static str, put: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Double {
    let puts = AtomicUsize::new(0);
    Double::start(move |seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[("Location", location)], b""),
        "PUT" => put(puts.fetch_add(1, Ordering::SeqCst)),
        _ => answer("404 Not Found", &[], b""),
    })
    .await
}

#[tokio::test]
async fn uploads_go_to_the_registry_only() {
    let elsewhere = Double::start(|_, _| answer("201 Created", &[], b"")).await;
    for location in [
        format!("http://{}/upload", elsewhere.host),
        format!("http://user@{}/upload", elsewhere.host),
        format!("//{}/upload", elsewhere.host),
        "http://169.254.169.254/upload".to_owned(),
        "http://10.0.0.1/upload".to_owned(),
        "https://registry.example.org/upload".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://".to_owned(),
    ] {
        let to = location.clone();
        let double = Double::start(move |seen, _| match seen.method.as_str() {
            "POST" => answer("202 Accepted", &[("Location", &to)], b""),
            _ => answer("404 Not Found", &[], b""),
        })
        .await;
        let error = push(&double.client(), &double, b"content".to_vec()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{location}: {error}");
        assert_eq!(double.count("PUT"), 0, "{location}");
    }
    assert!(elsewhere.seen().is_empty());
    let double = Double::start(|seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let error = push(&double.client(), &double, b"content".to_vec()).await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("without an address"), "{error}");
}

#[tokio::test]
async fn declined_mounts_become_uploads_and_queries_are_kept() {
    let double = uploading("/session?state=abc%3D", |_| answer("201 Created", &[], b"")).await;
    let from = Repository::parse(&format!("{}/c", double.host)).unwrap();
    let blob = Arc::new(Blob::from_bytes(b"content".to_vec()));
    let digest = Hasher::of(b"content");
    let pushed =
        double.client().push_blob(&double.repository(), &digest, blob, Some(&from), (&Silent, "")).await.unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    let seen = double.seen();
    assert!(seen[1].path.contains("mount=sha256%3A") && seen[1].path.contains("from=c"), "{}", seen[1].path);
    assert!(seen[2].path.starts_with("/session?state=abc%3D&digest=sha256%3A"), "{}", seen[2].path);
    assert_eq!(seen[2].body, b"content");
    assert!(seen[2].header("transfer-encoding").is_none());
}

#[tokio::test]
async fn relative_and_absolute_addresses_of_the_registry_are_followed() {
    let relative = uploading("session/../other", |_| answer("201 Created", &[], b"")).await;
    push(&relative.client(), &relative, b"content".to_vec()).await.unwrap();
    assert!(relative.seen().last().unwrap().path.starts_with("/v2/a/b/blobs/uploads/other?digest="));
    let absolute = Double::start(|seen, _| match seen.method.as_str() {
        "POST" => {
            let location = format!("http://{}/here", seen.header("host").unwrap());
            answer("202 Accepted", &[("Location", &location)], b"")
        }
        "PUT" => answer("201 Created", &[], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    push(&absolute.client(), &absolute, b"content".to_vec()).await.unwrap();
    assert!(absolute.seen().last().unwrap().path.starts_with("/here?digest="));
}

#[tokio::test]
async fn broken_uploads_start_again() {
    let double = uploading("/session", |number| match number {
        0 => Answer::Close,
        1 => answer("503 Service Unavailable", &[], b""),
        _ => answer("201 Created", &[], b""),
    })
    .await;
    let pushed = push(&double.client(), &double, vec![5; 3 << 20]).await.unwrap();
    assert_eq!((pushed, double.count("PUT")), (Pushed::Uploaded, 3));
    let full = uploading("/session", |_| {
        answer("507 Insufficient Storage", &[], br#"{"errors":[{"code":"UNKNOWN","message":"disk full"}]}"#)
    })
    .await;
    let error = push(&full.client(), &full, vec![5; 3 << 20]).await.unwrap_err();
    assert!(error.message.contains("disk full"), "{error}");
}

#[tokio::test]
async fn connections_that_are_reset_in_the_middle_are_tried_again_and_not_for_ever() {
    let double = uploading("/reset", |_| Answer::Close).await;
    let started = Instant::now();
    let error = push(&double.client(), &double, vec![7; LARGE]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert_eq!(double.count("PUT"), 3);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn answers_before_the_end_of_the_content_do_not_hang() {
    for (status, kind) in [
        ("201 Created", ErrorKind::Invalid),
        ("413 Content Too Large", ErrorKind::Invalid),
        ("403 Forbidden", ErrorKind::Refused),
    ] {
        let double = uploading("/early", move |_| answer(status, &[], b"")).await;
        let started = Instant::now();
        let error = push(&double.client(), &double, vec![7; LARGE]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{status}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn uploads_that_nobody_reads_end() {
    let double = uploading("/stuck", |_| Answer::Close).await;
    let started = Instant::now();
    let error = push(&double.hasty(), &double, vec![7; LARGE]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("no progress"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn statuses_of_another_step_are_no_success() {
    for status in ["200 OK", "202 Accepted", "206 Partial Content", "307 Temporary Redirect"] {
        let double = uploading("/session", move |_| answer(status, &[("Location", "/session")], b"")).await;
        let error = push(&double.client(), &double, b"content".to_vec()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{status}: {error}");
    }
    for status in ["200 OK", "201 Created", "204 No Content", "302 Found"] {
        let double = Double::start(move |seen, _| match seen.method.as_str() {
            "POST" => answer(status, &[("Location", "/session")], b""),
            _ => answer("404 Not Found", &[], b""),
        })
        .await;
        let error = push(&double.client(), &double, b"content".to_vec()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{status}: {error}");
    }
    let lie = Hasher::of(b"other").to_string();
    let double = uploading("/session", move |_| answer("201 Created", &[("Docker-Content-Digest", &lie)], b"")).await;
    let error = push(&double.client(), &double, b"content".to_vec()).await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("it stored"), "{error}");
}

#[tokio::test]
async fn busy_uploads_wait_as_asked_and_not_for_a_year() {
    let double = uploading("/session", |number| match number {
        0 => answer("429 Too Many Requests", &[("Retry-After", "1")], b""),
        _ => answer("201 Created", &[], b""),
    })
    .await;
    let started = Instant::now();
    assert_eq!(push(&double.client(), &double, b"content".to_vec()).await.unwrap(), Pushed::Uploaded);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let double = uploading("/session", |_| answer("429 Too Many Requests", &[("Retry-After", "31536000")], b"")).await;
    let error = push(&double.client(), &double, b"content".to_vec()).await.unwrap_err();
    assert_eq!((error.kind, double.count("PUT")), (ErrorKind::Unreachable, 1), "{error}");
    assert!(error.message.contains("31536000"), "{error}");
}

fn layer() -> Layer {
    let content = Content::File(Blob::from_bytes(vec![9; 1 << 20]), 0o444);
    Layer::new(vec![LayerEntry { path: "a".into(), content, mtime: EPOCH }], LayerEncoding::Gzip).unwrap()
}

/// A double that answers the part of an upload that comes before the digest.
async fn patching(patch: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Double {
    let patches = AtomicUsize::new(0);
    Double::start(move |seen, _| match seen.method.as_str() {
        "POST" => answer("202 Accepted", &[("Location", "/session")], b""),
        "PATCH" => patch(patches.fetch_add(1, Ordering::SeqCst)),
        "PUT" => answer("201 Created", &[], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await
}

#[tokio::test]
async fn layers_are_described_while_they_are_sent() {
    let layer = layer();
    let described = layer.describe().unwrap();
    let double = patching(|_| answer("202 Accepted", &[("Location", "/next?s=1")], b"")).await;
    assert_eq!(double.client().push_layer(&double.repository(), &layer, (&Silent, "")).await.unwrap(), described);
    let seen = double.seen();
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "PUT"]);
    assert_eq!(Hasher::of(&seen[1].body), described.digest);
    assert_eq!(seen[1].header("content-range").unwrap(), format!("0-{}", described.size - 1));
    assert!(seen[2].path.starts_with("/next?s=1&digest=sha256%3A") && seen[2].body.is_empty(), "{}", seen[2].path);
}

#[tokio::test]
async fn layers_reach_registries_that_want_the_digest_first() {
    let elsewhere = Double::start(|_, _| answer("201 Created", &[], b"")).await;
    let layer = layer();
    let described = layer.describe().unwrap();
    let host = elsewhere.host.clone();
    for status in ["405 Method Not Allowed", "201 Created", "202 Accepted"] {
        let location = format!("http://{host}/next");
        let double = patching(move |_| answer(status, &[("Location", &location)], b"")).await;
        let found = double.client().push_layer(&double.repository(), &layer, (&Silent, "")).await.unwrap();
        assert_eq!(found, described, "{status}");
        let put = double.seen().into_iter().find(|seen| seen.method == "PUT").unwrap();
        assert_eq!(Hasher::of(&put.body), described.digest, "{status}");
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn layers_are_sent_again_and_not_for_ever() {
    let double = patching(|number| match number {
        0 => Answer::Close,
        1 => answer("404 Not Found", &[], b""),
        _ => answer("202 Accepted", &[("Location", "/next")], b""),
    })
    .await;
    double.client().push_layer(&double.repository(), &layer(), (&Silent, "")).await.unwrap();
    assert_eq!(double.count("PATCH"), 3);
    let double = patching(|_| Answer::Close).await;
    let error = double.client().push_layer(&double.repository(), &layer(), (&Silent, "")).await.unwrap_err();
    assert_eq!((error.kind, double.count("PATCH")), (ErrorKind::Unreachable, 3));
}

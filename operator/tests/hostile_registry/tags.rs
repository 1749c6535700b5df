//! Tags that are followed: one small request while nothing changes, and no revision out of nonsense.

use launchway_crds::digest::Sha256Digest;
use launchway_operator::image::blob::Hasher;
use launchway_operator::registry::ErrorKind;

use crate::double::{Double, answer};

fn digest(text: &[u8]) -> Sha256Digest {
    Hasher::of(text)
}

/// A registry whose tag names the given content, and which knows conditional requests.
async fn registry(content: &'static [u8]) -> Double {
    Double::start(move |seen, _| {
        let etag = format!("\"{}\"", digest(content));
        if seen.header("if-none-match").as_deref() == Some(&etag) {
            return answer("304 Not Modified", &[("ETag", &etag)], b"");
        }
        let digest = digest(content).to_string();
        let body = if seen.method == "HEAD" { b"".as_slice() } else { content };
        answer("200 OK", &[("Docker-Content-Digest", &digest), ("ETag", &etag)], body)
    })
    .await
}

#[tokio::test]
async fn a_tag_that_stays_costs_one_conditional_head() {
    let double = registry(b"one").await;
    let (client, repository) = (double.client(), double.repository());
    let seen = client.follow_tag(&repository, "main", None).await.unwrap();
    assert_eq!(seen, Some(digest(b"one")));
    for _ in 0..3 {
        assert_eq!(client.follow_tag(&repository, "main", seen.as_ref()).await.unwrap(), seen);
    }
    assert_eq!((double.count("HEAD"), double.count("GET")), (4, 0));
    let old = digest(b"zero");
    assert_eq!(client.follow_tag(&repository, "main", Some(&old)).await.unwrap(), seen);
}

#[tokio::test]
async fn a_registry_that_states_no_digest_is_asked_for_the_content() {
    let double = Double::start(|seen, _| {
        let body = if seen.method == "HEAD" { b"".as_slice() } else { b"content" };
        answer("200 OK", &[], body)
    })
    .await;
    let seen = double.client().follow_tag(&double.repository(), "main", None).await.unwrap();
    assert_eq!(seen, Some(digest(b"content")));
}

#[tokio::test]
async fn answers_that_name_no_revision_are_errors_or_nothing() {
    let told = |status: &'static str, stated: &'static str| async move {
        let double = Double::start(move |_, _| answer(status, &[("Docker-Content-Digest", stated)], b"")).await;
        double.hasty().follow_tag(&double.repository(), "main", None).await
    };
    assert_eq!(told("404 Not Found", "x").await.unwrap(), None);
    assert_eq!(told("200 OK", "sha256:1234").await.unwrap_err().kind, ErrorKind::Invalid);
    // Nothing was known, so nothing can be unchanged.
    assert_eq!(told("304 Not Modified", "x").await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(told("302 Found", "x").await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(told("403 Forbidden", "x").await.unwrap_err().kind, ErrorKind::Refused);
}

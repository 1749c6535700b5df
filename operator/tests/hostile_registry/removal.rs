//! Tags that are listed whole or not at all, and manifests that are gone or not: nothing in between is believed.

use launchway_crds::digest::Sha256Digest;
use launchway_operator::image::blob::Hasher;
use launchway_operator::registry::{ErrorKind, MAX_TAGS, RegistryError};

use crate::double::{Answer, Double, answer};

const LOST: (&str, &[u8]) =
    ("404 Not Found", br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#);

fn tags(from: usize, to: usize) -> Vec<u8> {
    let all: Vec<String> = (from..to).map(|number| format!("\"t{number}\"")).collect();
    format!(r#"{{"name":"a/b","tags":[{}]}}"#, all.join(",")).into_bytes()
}

fn linked(body: &[u8], to: &str) -> Answer {
    answer("200 OK", &[("Link", &format!("<{to}>; rel=\"next\""))], body)
}

async fn listed(respond: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (Result<usize, RegistryError>, usize) {
    let double = Double::start(move |_, number| respond(number)).await;
    let all = double.hasty().list_tags(&double.repository()).await;
    (all.map(|all| all.len()), double.seen().len())
}

#[tokio::test]
async fn pages_of_tags_are_put_together() {
    let double = Double::start(|seen, _| match seen.path.as_str() {
        "/v2/a/b/tags/list?n=1000" => linked(&tags(0, 3), "/v2/a/b/tags/list?last=t2&n=1000"),
        _ => answer("200 OK", &[], &tags(2, 5)),
    })
    .await;
    let all = double.client().list_tags(&double.repository()).await.unwrap();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["t0", "t1", "t2", "t3", "t4"]);
    assert_eq!(double.seen()[1].path, "/v2/a/b/tags/list?last=t2&n=1000");
    for none in [r#"{"name":"a/b","tags":null}"#, r#"{"name":"a/b","tags":[]}"#] {
        assert_eq!(listed(move |_| answer("200 OK", &[], none.as_bytes())).await.0.unwrap(), 0);
    }
    assert_eq!(listed(|_| answer(LOST.0, &[], LOST.1)).await.0.unwrap(), 0, "the registry does not know it");
}

#[tokio::test]
async fn a_part_of_the_tags_is_never_taken_for_all() {
    let invalid = |(result, asked): (Result<usize, RegistryError>, usize)| {
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        (error.message, asked)
    };
    // The same page for ever, and a new tag on each page for ever.
    let (why, asked) = invalid(listed(|_| linked(&tags(0, 2), "/v2/a/b/tags/list?n=1000")).await);
    assert!(why.contains("without another tag") && asked == 2, "{asked}: {why}");
    let (why, asked) = invalid(listed(|at| linked(&tags(at, at + 1), "/v2/a/b/tags/list?n=1")).await);
    assert!(why.contains("pages of tags") && asked == 200, "{asked}: {why}");
    let (why, _) = invalid(listed(|_| answer("200 OK", &[], &tags(0, MAX_TAGS + 1))).await);
    assert!(why.contains("more than 10000 tags"), "{why}");
    // The rest is elsewhere, or is not there.
    let (why, _) = invalid(listed(|_| linked(&tags(0, 2), "https://other.example.org/v2/a/b/tags/list")).await);
    assert!(why.contains("other.example.org"), "{why}");
    let second_lost = |at| if at == 1 { linked(&tags(0, 2), "/more") } else { answer(LOST.0, &[], LOST.1) };
    invalid(listed(second_lost).await);
    // Pages that are not the registry's.
    invalid(listed(|_| answer("404 Not Found", &[], b"<html>nothing here</html>")).await);
    invalid(listed(|_| answer("200 OK", &[], b"<html>log in</html>")).await);
    let (why, _) = invalid(listed(|_| answer("200 OK", &[], br#"{"tags":["good","../../evil"]}"#)).await);
    assert!(why.contains("../../evil"), "{why}");
    assert_eq!(listed(|_| answer("403 Forbidden", &[], b"")).await.0.unwrap_err().kind, ErrorKind::Refused);
    assert_eq!(listed(|_| Answer::Silent).await.0.unwrap_err().kind, ErrorKind::Unreachable);
}

fn digest() -> Sha256Digest {
    Hasher::of(b"manifest")
}

/// What a deletion comes to when it and the looks after it are answered like this.
async fn deleted(answers: &'static str, body: &'static [u8], looks: &'static str) -> Result<(), RegistryError> {
    let double = Double::start(move |seen, _| match seen.method.as_str() {
        "DELETE" => answer(answers, &[], body),
        _ => answer(looks, &[], b""),
    })
    .await;
    let result = double.hasty().delete_manifest(&double.repository(), &digest()).await;
    assert_eq!(double.count("DELETE"), 1, "{answers}");
    assert!(double.seen().iter().all(|seen| seen.path == format!("/v2/a/b/manifests/{}", digest())));
    result
}

#[tokio::test]
async fn what_is_gone_is_gone_and_each_refusal_has_its_kind() {
    deleted("202 Accepted", b"", "404 Not Found").await.unwrap();
    deleted("204 No Content", b"", "404 Not Found").await.unwrap();
    deleted("404 Not Found", b"", "404 Not Found").await.unwrap();
    let unsupported = br#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#;
    let in_use = br#"{"errors":[{"code":"DENIED","message":"an index refers to it"}]}"#;
    for (status, body, kind, word) in [
        ("405 Method Not Allowed", &unsupported[..], ErrorKind::Unsupported, "REGISTRY_STORAGE_DELETE_ENABLED"),
        ("405 Method Not Allowed", b"", ErrorKind::Unsupported, "REGISTRY_STORAGE_DELETE_ENABLED"),
        ("400 Bad Request", unsupported, ErrorKind::Unsupported, "unsupported"),
        ("400 Bad Request", in_use, ErrorKind::Invalid, "an index refers to it"),
        ("409 Conflict", in_use, ErrorKind::Refused, "an index refers to it"),
        ("412 Precondition Failed", in_use, ErrorKind::Refused, "immutable"),
        ("403 Forbidden", in_use, ErrorKind::Refused, "deleting"),
        ("302 Found", b"", ErrorKind::Invalid, "not deleted"),
    ] {
        let error = deleted(status, body, "200 OK").await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(error.message.contains(word), "{status}: {error}");
    }
}

#[tokio::test]
async fn a_registry_that_says_so_and_deletes_nothing_is_not_believed() {
    let error = deleted("202 Accepted", b"", "200 OK").await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("still has it"), "{error}");
    // One that takes a moment is.
    let slow = Double::start(|seen, number| match (seen.method.as_str(), number) {
        ("DELETE", _) => answer("202 Accepted", &[], b""),
        (_, 2) => answer("200 OK", &[], b""),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    slow.hasty().delete_manifest(&slow.repository(), &digest()).await.unwrap();
    assert_eq!(slow.seen().len(), 3);
}

#[tokio::test]
async fn a_token_for_a_deletion_may_delete() {
    let double = Double::start(|seen, _| {
        if seen.path.starts_with("/token") {
            return answer("200 OK", &[], format!(r#"{{"token":"{}"}}"#, seen.path.contains("delete")).as_bytes());
        }
        match seen.authorization().as_deref() {
            Some("Bearer true") if seen.method == "DELETE" => answer("404 Not Found", &[], b""),
            _ => {
                let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", seen.header("host").unwrap());
                answer("401 Unauthorized", &[("WWW-Authenticate", &realm)], b"")
            }
        }
    })
    .await;
    double.client().delete_manifest(&double.repository(), &digest()).await.unwrap();
    assert!(double.seen().iter().any(|seen| seen.path.contains("scope=repository%3Aa%2Fb%3Apull%2Cdelete")));
}

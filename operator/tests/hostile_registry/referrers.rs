//! Lists of referrers that never end, lead elsewhere, lie, or lose what was added.

use std::sync::Mutex;

use launchway_crds::digest::Sha256Digest;
use launchway_operator::image::blob::Hasher;
use launchway_operator::image::manifest::{Encoded, INDEX, MANIFEST, canonical};
use launchway_operator::registry::{ErrorKind, Listed, fallback_tag};
use serde_json::{Value, json};

use crate::double::{Answer, Double, SOCKETS, answer, head};

fn subject() -> Sha256Digest {
    Hasher::of(b"subject")
}

fn document() -> Encoded {
    let bytes = canonical(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "subject": {"digest": subject().to_string()},
    }));
    Encoded { digest: Hasher::of(&bytes), bytes, media_type: MANIFEST }
}

fn index(entries: &[Value]) -> Vec<u8> {
    canonical(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
}

fn entry(name: &str) -> Value {
    json!({"mediaType": MANIFEST, "digest": Hasher::of(name.as_bytes()).to_string(), "size": 1, "artifactType": name})
}

fn page(link: &str, entries: &[Value]) -> Answer {
    answer("200 OK", &[("Content-Type", INDEX), ("Link", link)], &index(entries))
}

#[tokio::test]
async fn a_registry_that_keeps_the_list_is_believed_about_this_subject_only() {
    for (stated, kept) in [(subject(), true), (Hasher::of(b"other"), false)] {
        let text = stated.to_string();
        let double = Double::start(move |_, _| answer("201 Created", &[("OCI-Subject", &text)], b"")).await;
        let result = double.client().push_referrer(&double.repository(), &document()).await;
        match result {
            Ok(listed) => assert!(kept && listed == Listed::ByRegistry),
            Err(error) => assert!(!kept && error.kind == ErrorKind::Invalid, "{error}"),
        }
        assert_eq!(double.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_entry_that_another_writer_removes_is_added_again_beside_the_others() {
    // The first write of the tag is replaced by another writer's.
    let tag: Mutex<Vec<u8>> = Mutex::new(index(&[entry("first")]));
    let double = Double::start(move |seen, number| {
        let tagged = seen.path.ends_with(&fallback_tag(&subject()));
        match (seen.method.as_str(), tagged) {
            ("PUT", true) => {
                let bytes = if number <= 3 { index(&[entry("first"), entry("other")]) } else { seen.body.clone() };
                *tag.lock().unwrap() = bytes;
                answer("201 Created", &[], b"")
            }
            ("PUT", false) => answer("201 Created", &[], b""),
            ("GET", true) => answer("200 OK", &[("Content-Type", INDEX)], &tag.lock().unwrap()),
            _ => answer("404 Not Found", &[], b""),
        }
    })
    .await;
    let (client, repository) = (double.client(), double.repository());
    assert_eq!(client.push_referrer(&repository, &document()).await.unwrap(), Listed::UnderTag);
    let found = client.list_referrers(&repository, &subject(), None).await.unwrap();
    let digests: Vec<Sha256Digest> = found.iter().map(|found| found.descriptor.digest).collect();
    assert_eq!(digests, [Hasher::of(b"first"), Hasher::of(b"other"), document().digest]);
    let typed = client.list_referrers(&repository, &subject(), Some("a/b")).await.unwrap();
    assert_eq!(typed.len(), 1);
    assert_eq!(typed[0].descriptor.digest, document().digest);
}

#[tokio::test]
async fn writers_that_never_let_an_entry_stay_end_the_attempt() {
    let double = Double::start(|seen, _| match seen.method.as_str() {
        "PUT" => answer("201 Created", &[], b""),
        _ => answer("200 OK", &[("Content-Type", INDEX)], &index(&[])),
    })
    .await;
    let error = double.client().push_referrer(&double.repository(), &document()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(double.seen().len() < 20);
}

#[tokio::test]
async fn tags_that_list_nothing_are_left_alone() {
    let full: Vec<Value> = (0..500).map(|number| entry(&number.to_string())).collect();
    for content in [b"{}".to_vec(), b"no json".to_vec(), canonical(&json!({"mediaType": MANIFEST})), index(&full)] {
        let double = Double::start(move |seen, _| match seen.method.as_str() {
            "PUT" => answer("201 Created", &[], b""),
            _ => answer("200 OK", &[("Content-Type", INDEX)], &content),
        })
        .await;
        let error = double.client().push_referrer(&double.repository(), &document()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert_eq!(double.count("PUT"), 1, "the referrer itself, and no tag");
    }
}

#[tokio::test]
async fn lists_are_followed_inside_the_registry_and_not_for_ever() {
    let double = Double::start(|seen, _| {
        if seen.path.contains("last") {
            return page("<x>; rel=\"prev\"", &[entry("two")]);
        }
        page("</v2/a/b/referrers/x?last=1>; rel=\"next\"", &[entry("one")])
    })
    .await;
    let found = double.client().list_referrers(&double.repository(), &subject(), None).await.unwrap();
    assert_eq!(found.len(), 2);

    let endless = Double::start(|_, number| page("<?next>; rel=\"next\"", &[entry(&number.to_string())])).await;
    let error = endless.client().list_referrers(&endless.repository(), &subject(), None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(endless.seen().len() <= 20);

    let thief = Double::start(|_, _| page("", &[])).await;
    let link = format!("<http://{}/x>; rel=\"next\"", thief.host);
    let double = Double::start(move |_, _| page(&link, &[])).await;
    let error = double.client().list_referrers(&double.repository(), &subject(), None).await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("another host"), "{error}");
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn lists_are_bounded_in_bytes() {
    let start = format!("HTTP/1.1 200 OK\r\nContent-Type: {INDEX}\r\nConnection: close\r\n\r\n");
    let double = Double::start(move |_, _| Answer::Endless(start.clone())).await;
    let error = double.client().list_referrers(&double.repository(), &subject(), None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(double.sent() < SOCKETS);
}

#[tokio::test]
async fn registries_without_the_list_are_asked_for_the_tag() {
    for other in [answer_404 as fn() -> Answer, || answer("200 OK", &[("Content-Type", "text/html")], b"<html>")] {
        let double = Double::start(move |seen, _| {
            if seen.path.contains("/referrers/") { other() } else { answer("200 OK", &[], &index(&[entry("a")])) }
        })
        .await;
        let found = double.client().list_referrers(&double.repository(), &subject(), None).await.unwrap();
        assert_eq!(found.len(), 1);
        assert!(double.seen()[1].path.ends_with(&fallback_tag(&subject())));
    }
    let none = Double::start(|_, _| Answer::Whole(head("404 Not Found"), Vec::new())).await;
    assert!(none.client().list_referrers(&none.repository(), &subject(), None).await.unwrap().is_empty());
}

fn answer_404() -> Answer {
    answer("404 Not Found", &[], b"")
}

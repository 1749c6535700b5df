//! Reports of tests in a real registry.

#![allow(clippy::unwrap_used)]

mod support;

use launchway_operator::{
    image::manifest::{Document as Parsed, TITLE},
    worker::publish::{self, ARTIFACT_TYPE, Content, Destination, Document},
};
use serde_json::Value;
use support::Registry;

fn documents(folder: &std::path::Path) -> Vec<Document> {
    support::write(folder, "shot.png", b"a picture");
    let of = |title: &str, content| Document { title: title.into(), media_type: publish::media_type(title), content };
    vec![
        of("junit.xml", Content::Bytes(b"<testsuite/>".to_vec())),
        of("chrome/shot.png", Content::File(folder.join("shot.png"))),
        of("again.xml", Content::Bytes(b"<testsuite/>".to_vec())),
    ]
}

#[tokio::test]
async fn a_report_is_one_artifact_with_a_layer_for_each_file() {
    let (registry, folder) = (Registry::start(false), tempfile::tempdir().unwrap());
    let repository = registry.repository("wknd/images");
    let to = Destination { repository: repository.to_string(), plain_http: true };
    let digest = publish::push(&to, folder.path(), documents(folder.path())).await.unwrap();
    let again = publish::push(&to, folder.path(), documents(folder.path())).await.unwrap();
    assert_eq!(digest, again, "the same files make the same report");

    let client = registry.client();
    let fetched = client.get_manifest(&repository, &digest.to_string()).await.unwrap().unwrap();
    let value: Value = serde_json::from_slice(&fetched.bytes).unwrap();
    assert_eq!(value["artifactType"], ARTIFACT_TYPE);
    let Parsed::Manifest(manifest) = Parsed::parse(&fetched.bytes).unwrap() else { panic!("no manifest") };
    let titles: Vec<&str> = manifest.layers.iter().map(|layer| layer.annotations[TITLE].as_str()).collect();
    assert_eq!(titles, ["junit.xml", "chrome/shot.png", "again.xml"]);
    let picture = client.get_blob(&repository, &manifest.layers[1].digest, 100).await.unwrap();
    assert_eq!(picture, b"a picture");
    let tagged = client.head_manifest(&repository, &format!("report-{}", digest.short())).await.unwrap();
    assert_eq!(tagged, Some(digest), "a tag keeps clean-ups away");
}

#[tokio::test]
async fn a_lost_report_says_why_and_stops_nothing() {
    let (registry, folder) = (Registry::start(true), tempfile::tempdir().unwrap());
    let to = Destination { repository: format!("{}/wknd/images", registry.host), plain_http: true };
    let error = publish::push(&to, folder.path(), documents(folder.path())).await.unwrap_err();
    assert!(error.contains(&registry.host), "{error}");
    // No credentials are mounted here either.
    let (digest, why) = publish::publish(Some(&to), documents(folder.path())).await;
    assert!(digest.is_none() && why.unwrap().starts_with("the report is not kept: "));
    assert_eq!(publish::publish(None, vec![]).await, (None, None));
}

use serde_json::json;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn git() -> Object<'static> {
    Object { kind: Kind::GitRepository, namespace: "wknd", name: "site" }
}

fn oci() -> Object<'static> {
    Object { kind: Kind::OciRepository, namespace: "wknd", name: "site" }
}

/// An object as the source controller leaves it when all is well.
fn said(spec: &Value, revision: &str) -> Value {
    json!({
        "metadata": { "name": "site", "generation": 3 },
        "spec": spec,
        "status": {
            "observedGeneration": 3,
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact", "observedGeneration": 3 },
                { "type": "ArtifactInStorage", "status": "True", "reason": "Succeeded", "message": "stored artifact" },
            ],
            "artifact": { "revision": revision, "digest": "sha256:00", "url": "http://source-controller/x.tar.gz", "size": 1 },
        },
    })
}

fn repository(follows: &Value, revision: &str) -> Value {
    said(&json!({ "url": "https://git.example.com/wknd.git", "ref": follows }), revision)
}

#[test]
fn a_git_repository_is_a_ref_and_its_commit() {
    let long = "a".repeat(64);
    for (follows, revision, reference, id) in [
        (json!({ "branch": "main" }), format!("main@sha1:{ID}"), "refs/heads/main", ID),
        (Value::Null, format!("master@sha1:{ID}"), "refs/heads/master", ID),
        (json!({ "branch": "main" }), format!("main@sha256:{long}"), "refs/heads/main", &long),
        (json!({ "branch": "a/b" }), format!("a/b@sha1:{ID}"), "refs/heads/a/b", ID),
        (json!({ "branch": "main", "tag": "v1" }), format!("v1@sha1:{ID}"), "refs/tags/v1", ID),
        (json!({ "tag": "v1", "semver": ">=1" }), format!("v1.2.3@sha1:{ID}"), "refs/tags/v1.2.3", ID),
        (json!({ "name": "refs/pull/7/head" }), format!("refs/pull/7/head@sha1:{ID}"), "refs/pull/7/head", ID),
        // The commit wins over the tag, and the revision begins with the branch that it is on.
        (json!({ "branch": "main", "tag": "v1", "commit": ID }), format!("main@sha1:{ID}"), "refs/heads/main", ID),
        (json!({ "commit": ID }), format!("sha1:{ID}"), "HEAD", ID),
    ] {
        let found = commit(git(), &repository(&follows, &revision)).unwrap();
        assert_eq!((found.remote.reference.as_str(), found.id.as_str()), (reference, id), "{revision}");
        assert_eq!((found.remote.url.as_str(), found.verified), ("https://git.example.com/wknd.git", false));
    }
    let mut verified = repository(&json!({ "branch": "main" }), &format!("main@sha1:{ID}"));
    verified["spec"]["verify"] = json!({ "mode": "HEAD", "secretRef": { "name": "keys" } });
    assert!(commit(git(), &verified).unwrap().verified);
}

#[test]
fn an_oci_repository_is_a_repository_and_its_digest() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    for (url, revision, repository) in [
        ("oci://r.example.com/wknd/artifacts", format!("main@{digest}"), "r.example.com/wknd/artifacts"),
        ("oci://10.0.0.1:5000/artifacts", digest.clone(), "10.0.0.1:5000/artifacts"),
    ] {
        let found = artifact(oci(), &said(&json!({ "url": url }), &revision)).unwrap();
        assert_eq!((found.repository.as_str(), found.digest.to_string()), (repository, digest.clone()));
        assert!(!found.verified);
    }
}

#[test]
fn what_cannot_be_used_is_refused_in_words() {
    let at = format!("main@sha1:{ID}");
    for (spec, revision) in [
        (json!({ "url": "" }), at.as_str()),
        (json!({ "url": "file:///etc/passwd" }), &at),
        (json!({ "url": "ssh://-oProxyCommand=id/x" }), &at),
        (json!({ "url": "ssh://git@-oProxyCommand=id/x" }), &at),
        (json!({ "url": "https://ann:secret@git.example.com/wknd.git" }), &at),
        (json!({ "url": "https://git.example.com/" }), &at),
        // As the server of a key of Git's configuration, this would be a helper that a shell runs.
        (json!({ "url": "https://git.example.com?.helper=!id;#/wknd.git" }), &at),
        (json!({ "url": "https://git.example.com:80:80/wknd.git" }), &at),
        (json!({ "url": "https://git.example.com:x/wknd.git" }), &at),
        (json!({ "url": "https://[::1/wknd.git" }), &at),
        (json!({ "url": "https://[git]/wknd.git" }), &at),
        (json!({ "url": "ssh://@git.example.com/wknd.git" }), &at),
        (json!({ "url": "https://git.example.com/a b" }), &at),
        (json!({ "url": format!("https://git.example.com/{}", "a".repeat(1024)) }), &at),
        (json!({ "url": "https://g.example.com/a" }), "main@sha1:0123"),
        (json!({ "url": "https://g.example.com/a" }), "main"),
        (json!({ "url": "https://g.example.com/a" }), &at.replace("0123", "XYZ3")),
        (json!({ "url": "https://g.example.com/a" }), &at.replace("main", "a:refs/heads/b")),
        (json!({ "url": "https://g.example.com/a" }), &at.replace("main", "../x")),
        (json!({ "url": "https://g.example.com/a" }), &at.replace("main", "")),
    ] {
        let fault = commit(git(), &said(&spec, revision)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Invalid, "{spec} {revision}");
        assert!(fault.message.starts_with("spec.source.git.fluxRef: GitRepository site "), "{fault}");
        assert!(!fault.message.contains("secret"), "{fault}");
    }
    let digest = format!("sha256:{}", "ab".repeat(32));
    for (url, revision) in [
        ("https://r.example.com/a", digest.as_str()),
        ("oci://r.example.com", &digest),
        ("oci:///a", &digest),
        ("oci://r.example.com/a:main", &digest),
        ("oci://r.example.com/a@sha256:00", &digest),
        ("oci://ann:secret@r.example.com/a", &digest),
        ("oci://r.example.com/a", "main"),
        ("oci://r.example.com/a", &at),
    ] {
        let fault = artifact(oci(), &said(&json!({ "url": url }), revision)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Invalid, "{url} {revision}");
        assert!(!fault.message.contains("secret"), "{fault}");
    }
    let fault = commit(git(), &json!({ "spec": { "url": 7 } })).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid);
}

#[test]
fn a_server_is_what_the_schema_of_a_pipeline_takes() {
    for url in [
        "http://gitea-http.gitea.svc:3000/a.git",
        "https://[2001:db8::1]:8443/a",
        "https://[::1]/a",
        "ssh://git@git.example.com:2222/a.git",
        "ssh://_git@git.example.com/a",
        "ssh://git.example.com/~ann/a",
    ] {
        let found = commit(git(), &said(&json!({ "url": url }), &format!("main@sha1:{ID}"))).unwrap();
        assert_eq!(found.remote.url, url);
    }
}

#[test]
fn what_flux_says_is_repeated_without_logins() {
    for (said, told) in [
        ("unable to clone 'https://ann:secret@h/a': no", "unable to clone 'https://…@h/a': no"),
        ("Get \"https://t@h?x\": https://a:b@c@h", "Get \"https://…@h?x\": https://…@h"),
        ("a@b of ssh://h/c@d", "a@b of ssh://h/c@d"),
    ] {
        assert_eq!(words(said), told);
    }
    let mut object = repository(&json!({ "branch": "main" }), "");
    object["status"]["conditions"] = json!([{
        "type": "Ready", "status": "False", "reason": "GitOperationFailed",
        "message": "unable to clone 'https://ann:secret@git.example.com/wknd.git'",
    }]);
    let fault = commit(git(), &object).unwrap_err();
    assert!(fault.message.contains("git.example.com") && !fault.message.contains("secret"), "{fault}");
}

#[test]
fn only_what_flux_vouches_for_is_taken() {
    let fine = || repository(&json!({ "branch": "main" }), &format!("main@sha1:{ID}"));
    let failing = json!({
        "type": "Ready", "status": "False", "reason": "GitOperationFailed", "message": "authentication required\nto read",
        "observedGeneration": 3,
    });
    let unknown = json!({ "type": "Ready", "status": "Unknown", "reason": "Progressing", "message": "fetching" });
    let stalled = |generation: i64| json!({ "type": "Stalled", "status": "True", "reason": "URLInvalid", "message": "bad URL", "observedGeneration": generation });
    let ready = fine()["status"]["conditions"][0].clone();
    let cases: [(&str, Value, FaultKind, &str); 10] = [
        (
            "/status/conditions",
            json!([failing]),
            FaultKind::NotReady,
            "GitOperationFailed: authentication required to read",
        ),
        ("/status/conditions", json!([unknown]), FaultKind::NotReady, "fetching"),
        ("/status/conditions", json!([]), FaultKind::NotReady, "no condition Ready"),
        ("/status/conditions", json!([failing, stalled(3)]), FaultKind::Stalled, "URLInvalid: bad URL"),
        // It was corrected, and Flux has not come to it.
        ("/status/conditions", json!([failing, stalled(2)]), FaultKind::NotReady, "GitOperationFailed"),
        ("/metadata/generation", json!(4), FaultKind::NotObserved, "says now"),
        ("/status/observedGeneration", json!(-1), FaultKind::NotObserved, "says now"),
        ("/status", json!({}), FaultKind::NotObserved, "says now"),
        (
            "/status",
            json!({ "observedGeneration": 3, "conditions": [ready] }),
            FaultKind::NoArtifact,
            "status.artifact",
        ),
        (
            "/metadata",
            json!({ "generation": 3, "deletionTimestamp": "2026-11-28T07:00:00Z" }),
            FaultKind::NotFound,
            "deleted",
        ),
    ];
    for (path, value, kind, word) in cases {
        let mut object = fine();
        *object.pointer_mut(path).unwrap() = value.clone();
        let fault = commit(git(), &object).unwrap_err();
        assert_eq!(fault.kind, kind, "{path} {value}");
        assert!(fault.message.contains(word) && !fault.message.contains('\n'), "{fault}");
    }
    // Suspended objects keep what they have: so do Flux's own consumers.
    let mut suspended = fine();
    suspended["spec"]["suspend"] = json!(true);
    assert_eq!(commit(git(), &suspended).unwrap().id, ID);
}

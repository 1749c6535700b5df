#![allow(clippy::unwrap_used)]
use super::*;

fn base() -> Base {
    let layer = Descriptor::new("application/vnd.docker.image.rootfs.diff.tar.gzip", Hasher::of(b"base"), 10);
    Base {
        digest: Hasher::of(b"manifest"),
        manifest: Manifest {
            artifact_type: None,
            config: Descriptor::new(CONFIG, Hasher::of(b"c"), 1),
            layers: vec![layer],
        },
        config: json!({
            "os": "linux", "architecture": "amd64", "zzz": 1,
            "config": {"Labels": {"a": "b"}, "User": "7"},
            "rootfs": {"type": "layers", "diff_ids": [Hasher::of(b"diff").to_string()]},
            "history": [{"created_by": "x"}, {"created_by": "y", "empty_layer": true}],
        }),
    }
}

fn added(name: &str) -> AddedLayer {
    let described = Described { diff_id: Hasher::of(name.as_bytes()), digest: Hasher::of(b"gz"), size: 5 };
    AddedLayer {
        described,
        encoding: LayerEncoding::Gzip,
        what: format!("package {name}"),
        annotations: BTreeMap::from([("k".to_owned(), name.to_owned())]),
    }
}

#[test]
fn a_layer_that_is_a_tar_says_so() {
    let tar = AddedLayer { encoding: LayerEncoding::Tar, ..added("g:a:1") };
    let image = build(&base(), &[tar, added("g:b:1")], &BTreeMap::new(), 100).unwrap();
    let types = image.layers[image.base_layers..].iter().map(|layer| layer.media_type.as_str());
    assert_eq!(types.collect::<Vec<_>>(), [LAYER_TAR, LAYER_GZIP]);
}

#[test]
fn golden() {
    let image = build(&base(), &[added("g:a:1")], &BTreeMap::new(), 100).unwrap();
    assert_eq!(
        image.config.digest.to_string(),
        "sha256:08150acf9ee353c385a4a0c3396f3882bd0650321e7e7db9bcbfdf457bb3d55b"
    );
    assert_eq!(
        image.manifest.digest.to_string(),
        "sha256:fcbc758c9ab4c45a30440d206f4c337c5b2c0bca81b3618846269f08d1529658"
    );
    let release = release(&image.manifest.descriptor(), &image.config.descriptor());
    assert_eq!(release.digest.to_string(), "sha256:2e5d26a00cfc8df224862e20a001ffd91438085040cfb685772d0d4a03289582");
}

#[test]
fn unknown_fields_and_history_survive() {
    let image = build(&base(), &[added("g:a:1")], &BTreeMap::from([("x".to_owned(), "y".to_owned())]), 100).unwrap();
    let config: Value = serde_json::from_slice(&image.config.bytes).unwrap();
    assert_eq!(config["zzz"], 1);
    assert_eq!(config["config"]["User"], "7");
    assert_eq!(config["config"]["Labels"], json!({"a": "b", "x": "y", FORMAT_KEY: IMAGE_FORMAT}));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    assert_eq!(config["history"].as_array().unwrap().len(), 3);
    assert!(config.get("created").is_none());
    assert_eq!(image.layers[0].media_type, LAYER_GZIP);
    let Document::Manifest(parsed) = Document::parse(&image.manifest.bytes).unwrap() else { panic!() };
    assert_eq!(parsed.layers, image.layers);
}

#[test]
fn bases_that_cannot_be_built_upon() {
    let mut broken = base();
    broken.config["rootfs"]["diff_ids"] = json!([]);
    assert!(build(&broken, &[], &BTreeMap::new(), 100).is_err());
    let mut broken = base();
    broken.config["os"] = json!(null);
    assert!(build(&broken, &[], &BTreeMap::new(), 100).is_err());
    let mut broken = base();
    broken.manifest.layers[0].media_type = "application/x".to_owned();
    assert!(build(&broken, &[], &BTreeMap::new(), 100).is_err());
    assert!(build(&base(), &[added("a"), added("b")], &BTreeMap::new(), 2).unwrap_err().contains("3 layers"));
}

#[test]
fn canonical_json_is_sorted_and_tight() {
    let value: Value = serde_json::from_str(r#"{ "b": [1, {"z": "\u0041\n", "a": null}], "a": true }"#).unwrap();
    assert_eq!(canonical(&value), br#"{"a":true,"b":[1,{"a":null,"z":"A\n"}]}"#);
}

#[test]
fn hostile_manifests() {
    let digest = Hasher::of(b"x").to_string();
    let layer = json!({"mediaType": LAYER_GZIP, "digest": digest, "size": 1});
    let manifest = |layers: Value| json!({"schemaVersion": 2, "config": layer, "layers": layers});
    assert!(Document::parse(&canonical(&manifest(json!([layer])))).is_ok());
    let mut foreign = layer.clone();
    foreign["urls"] = json!(["https://169.254.169.254/"]);
    let many: Vec<Value> = vec![layer.clone(); 501];
    for bad in [
        json!([]),
        json!({"schemaVersion": 1}),
        json!({"schemaVersion": 2, "mediaType": "application/x"}),
        manifest(json!([foreign])),
        manifest(json!(many)),
        manifest(json!([{"mediaType": "m", "digest": "sha512:00", "size": 1}])),
        manifest(json!([{"mediaType": "m", "digest": digest, "size": -1}])),
        manifest(json!({})),
        json!({"schemaVersion": 2, "mediaType": INDEX}),
    ] {
        assert!(Document::parse(&canonical(&bad)).is_err(), "{bad}");
    }
    assert!(Document::parse(b"\xff").is_err());
    assert!(Document::parse("[".repeat(100_000).as_bytes()).is_err());
}

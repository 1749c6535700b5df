#![allow(clippy::unwrap_used)]
use super::*;

fn sample(seed: &[u8]) -> Vec<LayerEntry> {
    let file = |path: &str, data: Vec<u8>, mode| LayerEntry {
        path: path.into(),
        mtime: content_time(&Hasher::of(&data)),
        content: Content::File(Blob::from_bytes(data), mode),
    };
    vec![
        file("opt/launchway/install/site-1.zip", seed.to_vec(), 0o444),
        LayerEntry { path: "etc/httpd".into(), content: Content::Folder, mtime: EPOCH },
        LayerEntry { path: "etc/httpd/x.vhost".into(), content: Content::Link("../y".into()), mtime: EPOCH },
        file(&format!("a/{}/b", "d".repeat(150)), vec![7; 513], 0o644),
        file(&format!("a/{}", "e".repeat(180)), vec![], 0o644),
    ]
}

fn gzip(entries: Vec<LayerEntry>) -> Layer {
    Layer::new(entries, LayerEncoding::Gzip).unwrap()
}

fn bytes(layer: &Layer) -> Vec<u8> {
    let mut out = Vec::new();
    layer.reader().read_to_end(&mut out).unwrap();
    out
}

#[test]
fn golden() {
    let layer = gzip(sample(b"hello"));
    let described = layer.describe().unwrap();
    assert_eq!(
        described.diff_id.to_string(),
        "sha256:4f5bcdf41ffb79eda7021e745964e2937f7dcf97c5eb1b786376c4fccd5d1f3e"
    );
    assert_eq!(described.digest.to_string(), "sha256:58601b4b52d8bf7fafc91b76d6b1e4357c85322393c1585cba972ac65d2eb631");
}

#[test]
fn description_matches_bytes_and_gzip_readers_agree() {
    for size in [0, 1, 511, 512, 65_000, 65_535, 200_000, 1 << 20, 3_000_001] {
        let layer = gzip(sample(&vec![3; size]));
        let blob = bytes(&layer);
        let described = layer.describe().unwrap();
        assert_eq!(described.size, blob.len() as u64);
        assert_eq!(described.size, layer.size());
        let mut reader = layer.describing_reader();
        assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), described.size);
        assert_eq!(reader.finish(), described);
        assert_eq!(described.digest, Hasher::of(&blob));
        let alone = Layer::new(sample(&vec![3; size]), LayerEncoding::Tar).unwrap();
        let tar_alone = bytes(&alone);
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(described.diff_id, Hasher::of(&tar));
        assert_eq!(tar.len() % 512, 0);
        assert!(tar_alone == tar, "the encoding alone differs");
        let diff_id = described.diff_id;
        assert_eq!(alone.describe().unwrap(), Described { diff_id, digest: diff_id, size: tar.len() as u64 });
        assert_eq!(alone.size(), tar.len() as u64);
        let mut reader = alone.describing_reader();
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), alone.describe().unwrap());
    }
}

#[test]
fn order_of_input_does_not_matter() {
    let mut shuffled = sample(b"x");
    shuffled.reverse();
    assert_eq!(gzip(sample(b"x")).describe().unwrap(), gzip(shuffled).describe().unwrap());
}

#[test]
fn gnu_tar_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.tar.gz");
    std::fs::write(&path, bytes(&gzip(sample(b"hello")))).unwrap();
    let output = std::process::Command::new("tar").arg("tvzf").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listing.lines().count(), 5, "{listing}");
    assert!(
        listing.contains(&"e".repeat(180)) && listing.contains("x.vhost -> ../y") && listing.contains("-r--r--r--"),
        "{listing}"
    );
}

#[test]
fn times_follow_content() {
    assert_ne!(content_time(&Hasher::of(b"a")), content_time(&Hasher::of(b"b")));
    assert!(content_time(&Hasher::of(b"a")) >= EPOCH);
}

#[test]
fn refuses_what_a_layer_must_not_have() {
    for path in ["/abs", "a/../b", "a//b", ".wh.x", "a/.wh..wh..opq", ""] {
        let entry = LayerEntry { path: path.into(), content: Content::Folder, mtime: EPOCH };
        assert!(Layer::new(vec![entry], LayerEncoding::Gzip).is_err(), "{path}");
    }
    let twice = LayerEntry { path: "a".into(), content: Content::Folder, mtime: EPOCH };
    assert!(Layer::new(vec![twice.clone(), twice], LayerEncoding::Tar).is_err());
}

#[test]
fn a_file_that_becomes_shorter_ends_the_description() {
    for size in [10_000, 4 << 20] {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        let blob = Blob::from_file(file.reopen().unwrap()).unwrap();
        let entry = LayerEntry { path: "a".into(), content: Content::File(blob, 0o644), mtime: EPOCH };
        file.as_file().set_len(size - 1).unwrap();
        for encoding in [LayerEncoding::Gzip, LayerEncoding::Tar] {
            let layer = Layer::new(vec![entry.clone()], encoding).unwrap();
            assert_eq!(layer.describe().unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{size} {encoding:?}");
        }
    }
}

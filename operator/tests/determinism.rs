//! The same packages and bases give the same release, byte for byte: whatever the order of the files, the folder, the
//! time zone, the locale, the umask or the number of threads, and whichever version of this code built it first.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../src/image/testzip.rs"]
#[allow(dead_code)]
mod testzip;

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use launchway_operator::build::layout::Place;
use launchway_operator::build::stream::OwnLayer;
use launchway_operator::build::{BaseRef, PLATFORM, Recipe, Source, Watch, make};
use launchway_operator::image::layer::LayerEncoding;
use launchway_operator::registry::{Client, ClientOptions, Progress};
use support::{write, write_layout};
use testzip::{Item, file, link, package_items, zip};

/// Digests of the release below, by what they are of. A change here means that every release of every user is built
/// anew: raise the format that changed (`aem-layer/1`, `aem-image/1`, the build type) and keep the old writer.
const GOLDEN: &str = include_str!("golden/release.json");
/// The same with layers that are plain tars.
const GOLDEN_TAR: &str = include_str!("golden/release-tar.json");

const ROOT: &str = "LAUNCHWAY_DETERMINISM_ROOT";
const RUNS: u64 = 100;

struct Quiet;

impl Progress for Quiet {}

impl Watch for Quiet {
    fn line(&self, _line: &str) {}
}

/// Not compressed, so that the packages do not depend on a compressor either.
fn stored(items: Vec<Item>) -> Vec<u8> {
    let items: Vec<Item> = items.into_iter().map(|item| Item { deflate: false, method: 0, ..item }).collect();
    zip(&items)
}

fn packages() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = package_items("site:all:1.0", &[], "/apps/site-packages");
    all.push(file(
        "jcr_root/apps/site-packages/application/install/embedded.zip",
        stored(package_items("site:embedded:1.0", &[("dependencies", "site:core")], "/apps/embedded")),
    ));
    // Large enough to be hashed by two threads.
    let mut big = package_items("site/größe:big:2.0-SNAPSHOT", &[("packageType", "content")], "/content/big");
    big.push(file("jcr_root/content/big/data.bin", (0..2_000_000_u32).map(|n| (n % 253) as u8).collect::<Vec<u8>>()));
    vec![
        ("site.core-1.0.zip", stored(package_items("site:core:1.0", &[], "/apps/core"))),
        ("site.ui-1.0.zip", stored(package_items("site:ui:1.0", &[("dependencies", "site:core:[1.0,2)")], "/apps/ui"))),
        ("site.all-1.0.zip", stored(all)),
        ("site.big-2.0.zip", stored(big)),
        (
            "site.dispatcher-1.0.zip",
            zip(&[
                file("conf.d/available_vhosts/a.vhost", "<VirtualHost/>"),
                link("conf.d/enabled_vhosts/a.vhost", "../available_vhosts/a.vhost"),
                file("conf.dispatcher.d/available_farms/a.farm", "/a {}"),
                link("conf.dispatcher.d/enabled_farms/a.farm", "../available_farms/a.farm"),
                file("opt-in/USE_SOURCES_DIRECTLY", ""),
            ]),
        ),
        ("ui.frontend.zip", zip(&[file("package.json", "{}")])),
    ]
}

/// Writes packages and bases below a folder.
fn lay_out(root: &Path) {
    for tier in ["aem", "dispatcher"] {
        write_layout(&root.join(tier), tier);
    }
    let target = root.join("target");
    std::fs::create_dir_all(&target).unwrap();
    for (name, bytes) in packages() {
        write(&target, name, &bytes);
    }
}

async fn build(root: &Path, files: Vec<PathBuf>, layer_encoding: LayerEncoding) -> BTreeMap<String, String> {
    let base = |tier: &str| BaseRef::Layout(Place::parse(root.join(tier).to_str().unwrap()).unwrap());
    let recipe = Recipe {
        source: Source::Files(files),
        aem: base("aem"),
        dispatcher: base("dispatcher"),
        web_tier: false,
        provided: vec!["vendor/".to_owned()],
        layer_encoding,
        platform: PLATFORM.to_owned(),
    };
    let client = Client::new(ClientOptions::default()).unwrap();
    let spool = tempfile::tempdir().unwrap();
    let made = make(&client, &recipe, None, spool.path(), &Quiet).await.unwrap();
    let assembled = made.outcome.unwrap();
    let subjects = assembled.subjects();
    let mut out = BTreeMap::from([
        ("artifact".to_owned(), made.report.artifact.to_string()),
        ("release".to_owned(), subjects.release.to_string()),
        ("aem".to_owned(), subjects.aem.to_string()),
        ("dispatcher".to_owned(), subjects.dispatcher.to_string()),
        ("provenance".to_owned(), assembled.provenance.manifest.digest.to_string()),
        ("sbom".to_owned(), assembled.sbom.manifest.digest.to_string()),
    ]);
    for image in assembled.images() {
        for OwnLayer { named, added, .. } in &image.layers {
            let key = format!("layer of {}: {}", image.tier().as_str(), named.what);
            out.insert(key, added.described.digest.to_string());
        }
    }
    out
}

fn golden(encoding: LayerEncoding) -> BTreeMap<String, String> {
    serde_json::from_str(match encoding {
        LayerEncoding::Gzip => GOLDEN,
        LayerEncoding::Tar => GOLDEN_TAR,
    })
    .unwrap()
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

/// Another order every time, the same in every run of the test.
fn shuffled(mut files: Vec<PathBuf>, seed: u64) -> Vec<PathBuf> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..files.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        files.swap(last, usize::try_from(state % (last as u64 + 1)).unwrap());
    }
    files
}

#[test]
fn a_hundred_builds_in_any_order_from_any_folder_with_one_or_two_threads_are_the_golden_release() {
    let roots: Vec<tempfile::TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let deep = roots[1].path().join("another/folder with blanks/ä");
    lay_out(roots[0].path());
    lay_out(&deep);
    let runtimes = [runtime(1), runtime(2)];
    let encodings = [LayerEncoding::Gzip, LayerEncoding::Gzip, LayerEncoding::Gzip, LayerEncoding::Tar];
    let mut orders = std::collections::BTreeSet::new();
    for run in 0..RUNS {
        let root = if run % 2 == 0 { roots[0].path() } else { &deep };
        let files = shuffled(packages().iter().map(|(name, _)| root.join("target").join(name)).collect(), run + 1);
        orders.insert(files.iter().map(|file| file.file_name().unwrap().to_owned()).collect::<Vec<_>>());
        let encoding = encodings[usize::try_from(run / 4 % 4).unwrap()];
        let found = runtimes[usize::try_from(run / 2 % 2).unwrap()].block_on(build(root, files, encoding));
        assert_eq!(
            found,
            golden(encoding),
            "{encoding:?}, run {run}: {}",
            serde_json::to_string_pretty(&found).unwrap()
        );
    }
    assert!(orders.len() > 50, "only {} orders were tried", orders.len());
}

/// The build of another process, when the next test starts this test binary again; else nothing.
#[test]
fn build_of_another_process() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let found =
        runtime(2).block_on(build(Path::new(&root), vec![Path::new(&root).join("target")], LayerEncoding::Gzip));
    println!("\nfound {}", serde_json::to_string(&found).unwrap());
}

#[test]
fn time_zone_locale_umask_and_working_folder_do_not_matter() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path());
    for (zone, locale, umask) in
        [("UTC", "C", "022"), ("Asia/Kathmandu", "tr_TR.UTF-8", "077"), ("America/St_Johns", "de_DE.ISO-8859-1", "000")]
    {
        let done = Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" --exact build_of_another_process --nocapture")])
            .arg(std::env::current_exe().unwrap())
            .env(ROOT, root.path())
            .env("TZ", zone)
            .env("LC_ALL", locale)
            .env("LANG", locale)
            .env("SOURCE_DATE_EPOCH", "1")
            .current_dir(root.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("found "));
        let line = line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&done.stderr)));
        let found: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        assert_eq!(found, golden(LayerEncoding::Gzip), "{zone} {locale} {umask}");
    }
}

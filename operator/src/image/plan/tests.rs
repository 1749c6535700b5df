#![allow(clippy::unwrap_used)]
use std::path::{Path, PathBuf};

use super::super::classify::Flavour;
use super::super::layer::LayerEncoding;
use super::super::testzip::{deflated, file, link, package, package_items, zip};
use super::*;

fn input(name: &str, bytes: Vec<u8>) -> Input {
    Input { name: name.to_owned(), sha256: Some(Hasher::of(&bytes)), blob: Blob::from_bytes(bytes) }
}

fn base() -> BaseFiles {
    BaseFiles { config_path: "/etc/httpd".to_owned(), immutable: BTreeSet::new() }
}

fn planned(inputs: Vec<Input>) -> Planned {
    let folder = tempfile::tempdir().unwrap();
    let out = plan(inputs, &base(), &PlanOptions::default(), &Spool::new(folder.path())).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    out
}

fn reason(inputs: Vec<Input>) -> Reason {
    planned(inputs).plan.unwrap_err().reason
}

fn container(id: &str, entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut items = package_items(id, &[], "/apps/x");
    items.extend(entries.iter().enumerate().map(
        |(at, (name, bytes))| {
            if at % 2 == 0 { deflated(name, bytes) } else { file(name, bytes) }
        },
    ));
    zip(&items)
}

fn site() -> Vec<Input> {
    vec![
        input(
            "all.zip",
            container(
                "site:all:1",
                &[
                    (
                        "jcr_root/apps/x/install.author/a.zip",
                        container("site:mid:1", &[("jcr_root/apps/y/install/b.zip", package("site:deep:1", &[]))]),
                    ),
                    ("jcr_root/etc/packages/site/sub.zip", package("site:sub:1", &[("dependencies", "site:core")])),
                ],
            ),
        ),
        input("core.zip", package("site:core:1", &[])),
        input("skipped.zip", package("site:skipped:1", &[("cloudManagerTarget", "none")])),
        input(
            "dispatcher.zip",
            zip(&[
                file("conf.d/available_vhosts/a.vhost", "v"),
                link("conf.d/enabled_vhosts/a.vhost", "../available_vhosts/a.vhost"),
                file("conf.dispatcher.d/enabled_farms/a.farm", "f"),
                file("opt-in/USE_SOURCES_DIRECTLY", ""),
            ]),
        ),
    ]
}

#[test]
fn tiers_are_inherited_and_order_holds() {
    let planned = planned(site());
    let plan = planned.plan.unwrap();
    let ids: Vec<String> = plan.packages.iter().map(|package| package.id.to_string()).collect();
    assert_eq!(ids, ["site:all:1", "site:core:1", "site:mid:1", "site:deep:1", "site:sub:1"]);
    let tiers = |id: &str| plan.packages.iter().find(|package| package.id.to_string() == id).unwrap().tiers.clone();
    assert_eq!(tiers("site:all:1"), ServiceTier::BOTH);
    assert_eq!(tiers("site:deep:1"), [ServiceTier::Author]);
    assert_eq!(tiers("site:sub:1"), ServiceTier::BOTH);
    let skipped = planned.files.iter().find(|file| file.name == "skipped.zip").unwrap();
    assert_eq!(skipped.kind, FileKind::Ignored);
    assert!(skipped.message.as_deref().unwrap().contains("cloudManagerTarget"));
    let index: serde_json::Value = serde_json::from_slice(&plan.packages_json()).unwrap();
    assert_eq!(index["packages"][3]["embeddedIn"], "site:mid:1");
    assert!(index["packages"][3].get("file").is_none());
    assert!(index["packages"][1]["file"].as_str().unwrap().starts_with("core-1."));
}

fn digests(inputs: Vec<Input>) -> Vec<String> {
    let plan = planned(inputs).plan.unwrap();
    let mut layers =
        plan.aem_layers(("/opt/launchway/install", "/opt/launchway/packages.json"), 90, LayerEncoding::Gzip).unwrap();
    layers.extend(plan.dispatcher_layer("/etc/httpd", LayerEncoding::Gzip).unwrap());
    layers.iter().map(|layer| layer.layer.describe().unwrap().digest.to_string()).collect()
}

#[test]
fn order_of_files_does_not_matter() {
    let expected = digests(site());
    for turn in 1..site().len() {
        let mut shuffled = site();
        shuffled.rotate_left(turn);
        assert_eq!(digests(shuffled), expected);
        let mut reversed = site();
        reversed.reverse();
        assert_eq!(digests(reversed), expected);
    }
}

#[test]
fn golden_packages_json() {
    let plan = planned(vec![input(
        "a.zip",
        zip(&package_items("g:a:1.0", &[], "/apps/a")
            .into_iter()
            .map(|item| super::super::testzip::Item { deflate: false, method: 0, ..item })
            .collect::<Vec<_>>()),
    )])
    .plan
    .unwrap();
    let text = String::from_utf8(plan.packages_json()).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"format":"launchway-packages/1","packages":[{"dependencies":[],"file":"a-1.0.fa3c807e5611.zip","group":"g","id":"g:a:1.0","#,
            r#""name":"a","sha256":"fa3c807e5611153637f9a38cdb711ad1ba7a9f640a150e272f7f79c99262f395","tiers":["author","publish"],"version":"1.0"}]}"#,
            "\n"
        )
    );
}

#[test]
fn layers_share_when_there_is_no_room() {
    let inputs: Vec<Input> = (0..10)
        .map(|n| input(&format!("{n}.zip"), package(&format!("g:p{n}:1"), &[("description", &"d".repeat(n * 7))])))
        .collect();
    let plan = planned(inputs).plan.unwrap();
    assert_eq!(plan.aem_layers(("/i", "/p.json"), 11, LayerEncoding::Gzip).unwrap().len(), 11);
    let tight = plan.aem_layers(("/i", "/p.json"), 5, LayerEncoding::Gzip).unwrap();
    assert_eq!(tight.len(), 5);
    assert_eq!(tight[3].layer.len(), 7);
}

#[test]
fn refusals() {
    let with = |entries: &[(&str, Vec<u8>)]| vec![input("c.zip", container("g:c:1", entries))];
    assert_eq!(reason(Vec::new()), Reason::NoArtifacts);
    assert_eq!(reason(vec![input("x.zip", zip(&[file("a", "b")]))]), Reason::NoArtifacts);
    assert_eq!(reason(with(&[("jcr_root/apps/x/install.prod/a.zip", package("g:a:1", &[]))])), Reason::EmbeddedRunMode);
    assert_eq!(reason(with(&[("jcr_root/apps/x/install.dev/a.jar", b"jar".to_vec())])), Reason::EmbeddedRunMode);
    assert_eq!(reason(with(&[("jcr_root/apps/x/install/a.zip", package("g:c:1", &[]))])), Reason::ConflictingPackages);
    assert_eq!(reason(with(&[("jcr_root/apps/x/install/a.zip", b"no zip".to_vec())])), Reason::NotAZip);
    let mut nested = package("g:p0:1", &[]);
    for level in 1..10 {
        nested = container(&format!("g:p{level}:1"), &[("jcr_root/apps/x/install/a.zip", nested)]);
    }
    assert_eq!(reason(vec![input("deep.zip", nested)]), Reason::NestingTooDeep);
    let items = |more| {
        let mut items = package_items("g:a:1", &[], "/apps/a");
        items.push(more);
        vec![input("a.zip", zip(&items))]
    };
    assert_eq!(reason(items(link("jcr_root/x", "/etc/passwd"))), Reason::LinkInPackage);
    assert_eq!(reason(items(file("jcr_root\\x", ""))), Reason::UnsafePath);
    assert_eq!(
        reason(items(super::super::testzip::Item { crc: Some(1), ..file("jcr_root/x", "y") })),
        Reason::CorruptEntry
    );
    let without = |part: &str| {
        let items: Vec<_> = package_items("g:a:1", &[], "/apps/a")
            .into_iter()
            .filter(|item| !String::from_utf8_lossy(&item.name).ends_with(part))
            .collect();
        vec![input("a.zip", zip(&items))]
    };
    assert_eq!(reason(without("filter.xml")), Reason::FilterMissing);
    assert_eq!(reason(without("properties.xml")), Reason::PropertiesMissing);
    assert_eq!(reason(vec![input("a.zip", package("g::1", &[]))]), Reason::PackageIdMissing);
    assert_eq!(reason(vec![input("a.zip", package("g:tmp :1", &[]))]), Reason::PackageIdIllegal);
    assert_eq!(reason(vec![input("a.zip", package("g:a:1", &[("packageFormatVersion", "3")]))]), Reason::PackageFormat);
    assert_eq!(
        reason(vec![input("a.zip", package("g:a:1", &[("dependencies", "g:b:[2,1]")]))]),
        Reason::DependencyInvalid
    );
    let mut twice = site();
    let mut bytes = Vec::new();
    twice[3].blob.reader().read_to_end(&mut bytes).unwrap();
    twice.push(input("dispatcher2.zip", bytes));
    assert_eq!(reason(twice), Reason::SeveralDispatchers);
}

use std::io::Read;

#[test]
fn one_refusal_does_not_hide_other_files() {
    let mut inputs = site();
    inputs.push(input("bad.zip", b"x".to_vec()));
    let planned = planned(inputs);
    assert_eq!(planned.files.len(), 5);
    assert_eq!(planned.files.iter().filter(|file| file.kind == FileKind::Rejected).count(), 1);
    assert_eq!(planned.plan.unwrap_err().file, "bad.zip");
}

#[test]
fn sub_packages_follow_their_containers_instruction() {
    let mut items = package_items("g:c:1", &[("subPackageHandling", "*;ignore")], "/etc/packages");
    items.push(file("jcr_root/etc/packages/g/a.zip", package("g:a:1", &[])));
    let planned = planned(vec![input("c.zip", zip(&items))]);
    assert_eq!(planned.plan.unwrap().packages.len(), 1);
    assert!(planned.findings.iter().any(|finding| finding.message.contains("ignores")));
}

#[test]
fn file_names_hold_content_and_nothing_dangerous() {
    let digest = Hasher::of(b"x");
    let name = |name: &str, version: &str| file_name(&PackageId::new("g", name, version).unwrap(), &digest);
    assert_eq!(name("site.all", "1.0-SNAPSHOT"), format!("site.all-1.0-SNAPSHOT.{}.zip", digest.short()));
    assert_eq!(name("a b", ""), format!("a_b.{}.zip", digest.short()));
    assert!(name(".wh.x", "1").starts_with("_wh.x-1."));
}

fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("the folder ../shared/fixtures is not there: real packages are not tested");
    None
}

fn fixture(folder: &Path, name: &str) -> Input {
    let path = folder.join(name);
    let blob = Blob::from_file(std::fs::File::open(&path).unwrap()).unwrap();
    Input { name: path.file_name().unwrap().to_string_lossy().into_owned(), sha256: None, blob }
}

#[test]
fn real_dependencies() {
    let Some(folder) = fixtures() else { return };
    let folder = folder.join("cpconverter");
    let set = ["test_dep_b-1.0.zip", "test_dep_a-1.0.zip", "test_dep_c-1.0.zip"].map(|name| fixture(&folder, name));
    let plan = planned(set.to_vec()).plan.unwrap();
    let names: Vec<&str> = plan.packages.iter().map(|package| package.id.name()).collect();
    assert_eq!(names, ["test_c", "test_a", "test_b"]);
}

#[test]
fn real_dispatcher_configurations() {
    let Some(folder) = fixtures() else { return };
    for (name, flavour, links) in [
        ("wknd.dispatcher.cloud-4.0.4.zip", Flavour::Flexible, 2),
        ("archetype.dispatcher.ams-51.zip", Flavour::Ams, 6),
    ] {
        let planned = planned(vec![fixture(&folder.join("dispatcher"), name)]);
        assert_eq!(planned.files[0].flavour, Some(flavour));
        let tree = planned.plan.unwrap().dispatcher.unwrap();
        assert_eq!(tree.nodes.values().filter(|node| matches!(node, dispatcher::Node::Link(_))).count(), links);
    }
}

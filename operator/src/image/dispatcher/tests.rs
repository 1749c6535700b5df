#![allow(clippy::unwrap_used)]
use super::super::testzip::{Item, file, folder, link, zip};
use super::*;

fn minimal() -> Vec<Item> {
    vec![
        folder("conf.d"),
        file("conf.d/available_vhosts/a.vhost", "v"),
        link("conf.d/enabled_vhosts/a.vhost", "../available_vhosts/a.vhost"),
        file("conf.dispatcher.d/available_farms/a.farm", "f"),
        link("conf.dispatcher.d/enabled_farms/a.farm", "../available_farms/a.farm"),
        file("opt-in/USE_SOURCES_DIRECTLY", ""),
    ]
}

fn base() -> BaseFiles {
    BaseFiles {
        config_path: "/etc/httpd".into(),
        immutable: BTreeSet::from(["conf.d/dispatcher_vhost.conf".to_owned()]),
    }
}

fn run(items: &[Item]) -> Result<DispatcherTree, ImageError> {
    let archive = Archive::open(&Blob::from_bytes(zip(items)), "d.zip", &Limits::default())?;
    read(&archive, Flavour::Flexible, &base(), &Limits::default())
}

fn reason(items: &[Item]) -> Reason {
    match run(items) {
        Err(ImageError::Refused(refusal)) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

fn with(item: Item) -> Vec<Item> {
    let mut items = minimal();
    items.push(item);
    items
}

#[test]
fn keeps_links_and_drops_immutable_files() {
    let tree = run(&with(file("conf.d/dispatcher_vhost.conf", "mine"))).unwrap();
    assert_eq!(tree.nodes["conf.d/enabled_vhosts/a.vhost"], Node::Link("../available_vhosts/a.vhost".into()));
    assert!(!tree.nodes.contains_key("conf.d/dispatcher_vhost.conf"));
    assert!(tree.remarks.iter().any(|remark| remark.message.contains("kept the base's file")));
    let entries = tree.layer_entries("/etc/httpd");
    assert!(
        entries
            .iter()
            .any(|entry| entry.path == "etc/httpd/conf.d/enabled_vhosts" && matches!(entry.content, Content::Folder))
    );
    assert!(entries.iter().all(|entry| entry.path.starts_with("etc/httpd/")));
}

#[test]
fn absolute_links_become_relative() {
    let tree = run(&with(link("conf.d/enabled_vhosts/b.vhost", "/etc/httpd/conf.d/available_vhosts/a.vhost"))).unwrap();
    assert_eq!(tree.nodes["conf.d/enabled_vhosts/b.vhost"], Node::Link("../../conf.d/available_vhosts/a.vhost".into()));
}

#[test]
fn windows_links_are_repaired() {
    let tree = run(&with(file("conf.d/enabled_vhosts/b.vhost", "../available_vhosts/a.vhost\r\n"))).unwrap();
    assert_eq!(tree.nodes["conf.d/enabled_vhosts/b.vhost"], Node::Link("../available_vhosts/a.vhost".into()));
}

#[test]
fn links_may_lead_to_files_of_the_base() {
    assert!(run(&with(link("conf.d/enabled_vhosts/b.vhost", "../dispatcher_vhost.conf"))).is_ok());
    assert!(run(&with(link("conf.d/rules", "available_vhosts"))).is_ok());
}

#[test]
fn hostile_links() {
    for (target, expected) in [
        ("../../../etc/passwd", Reason::LinkEscapes),
        ("/etc/passwd", Reason::LinkEscapes),
        ("/etc/httpd/../passwd", Reason::LinkEscapes),
        ("/etc/httpdx/a", Reason::LinkEscapes),
        ("../..", Reason::LinkEscapes),
        ("b.vhost", Reason::LinkLoop),
        ("../available_vhosts/none", Reason::LinkDangling),
        ("a\\b", Reason::LinkEscapes),
        ("", Reason::LinkEscapes),
    ] {
        assert_eq!(reason(&with(link("conf.d/enabled_vhosts/b.vhost", target))), expected, "{target}");
    }
    let mut items = with(link("conf.d/x", "y"));
    items.push(link("conf.d/y", "x"));
    assert_eq!(reason(&items), Reason::LinkLoop);
    // Lexically this is conf.d/a/etc/passwd, which exists; the kernel would go to /etc/passwd.
    let mut items = with(link("conf.d/a/b/c/up", "../../.."));
    items.push(file("conf.d/a/etc/passwd", "x"));
    items.push(link("conf.d/a/b/c/x", "up/../../../etc/passwd"));
    assert_eq!(reason(&items), Reason::LinkEscapes);
    let through_a_file = with(link("conf.d/x", "available_vhosts/a.vhost/../../available_vhosts/a.vhost"));
    assert_eq!(reason(&through_a_file), Reason::LinkDangling);
    let mut items = with(link("conf.d/up", "../conf.dispatcher.d"));
    items.push(link("conf.d/enabled_vhosts/b.vhost", "../up/../../../etc/passwd"));
    assert_eq!(reason(&items), Reason::LinkEscapes);
}

#[test]
fn a_link_is_followed_before_the_parent_behind_it_is_taken() {
    // By its letters `dl/../../x` is conf.d/x, which exists. The kernel goes to opt-in first, and then above the root.
    let mut items = with(link("conf.d/deep/dl", "../../opt-in"));
    items.push(file("conf.d/x", ""));
    items.push(link("conf.d/deep/l", "dl/../../x"));
    assert_eq!(reason(&items), Reason::LinkEscapes);
    // The other way round: by its letters it dangles, and the kernel finds it.
    let mut items = with(link("conf.d/deep/dl", "../../conf.dispatcher.d/available_farms"));
    items.push(link("conf.d/deep/l", "dl/../enabled_farms/a.farm"));
    assert!(run(&items).is_ok());
    // A file is no folder.
    assert_eq!(reason(&with(link("conf.d/l", "available_vhosts/a.vhost/../a.vhost"))), Reason::LinkDangling);
}

#[test]
fn incomplete_and_clashing() {
    let without = |part: &str| {
        minimal().into_iter().filter(|item| !String::from_utf8_lossy(&item.name).contains(part)).collect::<Vec<_>>()
    };
    assert_eq!(reason(&without("enabled_farms")), Reason::DispatcherIncomplete);
    assert_eq!(reason(&without("enabled_vhosts")), Reason::DispatcherIncomplete);
    assert_eq!(reason(&with(file("conf.d/available_vhosts/A.vhost", ""))), Reason::ConflictingEntries);
    assert!(
        run(&with(file("README.md", "x"))).unwrap().remarks.iter().any(|remark| remark.message.contains("README.md"))
    );
}

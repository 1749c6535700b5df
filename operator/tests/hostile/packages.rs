//! Lies of packages: metadata, what is nested in them, links of dispatcher configurations.

use launchway_operator::image::{Limits, Reason};

use super::Cases;
use crate::testzip::{Item, deflated, file, link, package, package_items, properties, zip};

const FILTER: &str = "META-INF/vault/filter.xml";
const PROPERTIES: &str = "META-INF/vault/properties.xml";

/// A content package in which one entry is replaced, or left out.
fn replaced(name: &str, by: Option<&str>) -> Vec<u8> {
    let mut items = package_items("g:a:1", &[], "/apps/a");
    items.retain(|item| item.name != name.as_bytes());
    items.extend(by.map(|text| deflated(name, text)));
    zip(&items)
}

fn with(id: &str, more: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let more = more.iter().map(|(name, bytes)| file(name, bytes));
    zip(&package_items(id, &[], "/apps/a").into_iter().chain(more).collect::<Vec<Item>>())
}

pub fn metadata(cases: &mut Cases) {
    use Reason::{
        FilterInvalid, FilterMissing, PackageIdIllegal, PackageIdMissing, PropertiesInvalid, PropertiesMissing,
    };
    let laughs: String =
        (1..10).map(|at| format!("<!ENTITY l{at} \"{}\">", format!("&l{};", at - 1).repeat(10))).collect();
    let laughs = format!("<!DOCTYPE x [<!ENTITY l0 \"ha\">{laughs}]><workspaceFilter>&l9;</workspaceFilter>");
    let deep = format!("{}{}", "<filter root='/a'>".repeat(500), "</filter>".repeat(500));
    for (name, text) in [
        ("billion laughs in the filter", laughs.as_str()),
        ("an external entity in the filter", "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><workspaceFilter/>"),
        ("a deep filter", deep.as_str()),
        ("a filter that is not closed", "<workspaceFilter>"),
        ("a filter in UTF-16", "<?xml version='1.0' encoding='UTF-16'?><workspaceFilter/>"),
        ("a relative root", "<workspaceFilter><filter root='apps'/></workspaceFilter>"),
    ] {
        cases.refused(name, &[FilterInvalid], replaced(FILTER, Some(text)));
    }
    cases.refused("no filter", &[FilterMissing], replaced(FILTER, None));
    cases.refused("no properties", &[PropertiesMissing], replaced(PROPERTIES, None));
    let entity = "<!DOCTYPE properties [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><properties><entry key='group'>&x;</entry></properties>";
    cases.refused("an external entity in the properties", &[PropertiesInvalid], replaced(PROPERTIES, Some(entity)));
    cases.refused("no jcr_root", &[Reason::JcrRootMissing], replaced("jcr_root/.content.xml", None));
    cases.refused("no name", &[PackageIdMissing], package("g::1", &[]));
    cases.refused("a name that ends in a space", &[PackageIdIllegal], package("g:tmp :1", &[]));
    cases.refused("a group that leads out", &[PackageIdIllegal], package("../x:a:1", &[]));
    cases.refused("a version with a slash", &[PackageIdIllegal], package("g:a:1/2", &[]));
    cases.refused(
        "a format of the future",
        &[Reason::PackageFormat],
        package("g:a:1", &[("packageFormatVersion", "3")]),
    );
    let range = &[("dependencies", "g:b:[2,1]")];
    cases.refused("an empty range", &[Reason::DependencyInvalid], package("g:a:1", range));
    cases.refused("a dependency on itself", &[Reason::DependencyCycle], package("g:a:1", &[("dependencies", "g:a")]));
    let other = properties(&[("group", "evil"), ("name", "a"), ("version", "1")]);
    let stray = with("g:a:1", &[("META-INF/maven/x/properties.xml", other.into_bytes())]);
    cases.refused("other properties beside the real ones", &[Reason::StrayMetadata], stray);
    let both = with("g:a:1", &[("conf.dispatcher.d/a.any", b"x".to_vec())]);
    cases.refused("a package that is a dispatcher configuration too", &[Reason::AmbiguousArchive], both);
    let large = Limits { filter_bytes: 100, ..Limits::default() };
    let long = format!("<workspaceFilter><!-- {} --></workspaceFilter>", "x".repeat(200));
    cases.within("a filter that is too large", &[Reason::TooLarge], large, replaced(FILTER, Some(&long)));
    let tight = Limits { metadata_bytes: 100, ..Limits::default() };
    cases.within("metadata that are too large together", &[Reason::TooLarge], tight, package("g:a:1", &[]));
    let roots: String =
        (0..5000).map(|at| format!("<filter root='/apps/a{at}'><exclude pattern='(a+)+$'/></filter>")).collect();
    let why = "patterns take time in proportion to what they match, and their number is bounded";
    cases.harmless(
        "patterns that backtrack for ever",
        why,
        replaced(FILTER, Some(&format!("<workspaceFilter>{roots}</workspaceFilter>"))),
    );
    let nodes = "<a/>".repeat(200_000);
    let view = format!("<jcr:root xmlns:jcr='http://www.jcp.org/jcr/1.0'>{nodes}</jcr:root>");
    let why = "document views are read up to a size, into a map";
    cases.harmless(
        "a document view of a hundred thousand nodes",
        why,
        with("g:a:1", &[("jcr_root/_oak_index/.content.xml", view.into_bytes())]),
    );
}

pub fn large(cases: &mut Cases) {
    let config = |text: String| with("g:a:1", &[("jcr_root/apps/a/config/x.cfg.json", text.into_bytes())]);
    let why = "the end of a name is looked for nearby";
    cases.harmless("a configuration of variables without end", why, config("$[env:".repeat(170_000)));
    let why = "comments are read once";
    cases.harmless("a configuration of comments without end", why, config("/*".repeat(500_000)));
    let folders: Vec<String> = (0..3_000).map(|at| format!("jcr_root/apps/a/config.m{at}/p-{at}.config")).collect();
    let folders: Vec<(&str, Vec<u8>)> = folders.iter().map(|name| (name.as_str(), Vec::new())).collect();
    let why = "run modes are told for a number of folders, and counted for all";
    cases.harmless("thousands of run modes", why, with("g:a:1", &folders));
    let vhost = file("conf.d/enabled_vhosts/a.vhost", format!("ServerAlias {}", "*a".repeat(7 << 19)));
    let farm = file("conf.dispatcher.d/enabled_farms/a.farm", format!("/f {{ {} }}", "\"\" ".repeat(2 << 20)));
    let why = "files of the server that are too large to be written by hand are not read";
    cases.harmless(
        "a farm and a virtual host of megabytes",
        why,
        zip(&[vhost, farm, file("opt-in/USE_SOURCES_DIRECTLY", "")]),
    );
}

pub fn nested(cases: &mut Cases) {
    const INSTALL: &str = "jcr_root/apps/x/install/a.zip";
    let mut deep = package("g:p0:1", &[]);
    for level in 1..10 {
        deep = with(&format!("g:p{level}:1"), &[(INSTALL, deep)]);
    }
    cases.refused("packages in packages, ten deep", &[Reason::NestingTooDeep], deep);
    cases.refused(
        "a package in itself",
        &[Reason::ConflictingPackages],
        with("g:a:1", &[(INSTALL, package("g:a:1", &[]))]),
    );
    let two = with(
        "g:c:1",
        &[
            (INSTALL, package("g:a:1", &[])),
            ("jcr_root/apps/x/install/b.zip", package("g:a:1", &[("description", "b")])),
        ],
    );
    cases.refused("one id, two contents", &[Reason::ConflictingPackages], two);
    cases.refused("a nested file that is no zip", &[Reason::NotAZip], with("g:a:1", &[(INSTALL, b"no zip".to_vec())]));
    cases.refused("a nested file without bytes", &[Reason::EmptyFile], with("g:a:1", &[(INSTALL, Vec::new())]));
    let mut cut = package("g:b:1", &[]);
    cut.truncate(cut.len() - 4);
    cases.refused("a nested package that is cut off", &[Reason::NotAZip], with("g:a:1", &[(INSTALL, cut)]));
    let up = zip(&[package_items("g:b:1", &[], "/apps/b"), vec![file("../x", "x")]].concat());
    cases.refused("a nested package that leads out", &[Reason::UnsafePath], with("g:a:1", &[(INSTALL, up)]));
    let wrong = with("g:a:1", &[("jcr_root/apps/x/install.author.prod/a.zip", package("g:b:1", &[]))]);
    cases.refused("a package for one environment", &[Reason::EmbeddedRunMode], wrong);
    let bundle = with("g:a:1", &[("jcr_root/apps/x/install.dev/a.jar", b"jar".to_vec())]);
    cases.refused("a bundle for one environment", &[Reason::EmbeddedRunMode], bundle);
    let circle = with(
        "g:c:1",
        &[
            (INSTALL, package("g:a:1", &[("dependencies", "g:b")])),
            ("jcr_root/apps/x/install/b.zip", package("g:b:1", &[("dependencies", "g:a")])),
        ],
    );
    cases.refused("packages that need each other", &[Reason::DependencyCycle], circle);
    let bomb =
        zip(&[package_items("g:b:1", &[], "/apps/b"), vec![deflated("jcr_root/x", vec![0_u8; 8 << 20])]].concat());
    cases.refused("a bomb in a package", &[Reason::CompressionBomb], with("g:a:1", &[(INSTALL, bomb)]));
    let few = Limits { packages: 3, ..Limits::default() };
    let names: Vec<String> = (0..5).map(|at| format!("jcr_root/apps/x/install/p{at}.zip")).collect();
    let many: Vec<(&str, Vec<u8>)> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), package(&format!("g:p{at}:1"), &[]))).collect();
    cases.within("too many packages", &[Reason::TooManyPackages], few, with("g:c:1", &many));
    let inner = |at: usize| {
        zip(&[package_items(&format!("g:p{at}:1"), &[], "/apps/b"), vec![deflated("jcr_root/x", vec![b'x'; 900_000])]]
            .concat())
    };
    let matryoshka: Vec<(&str, Vec<u8>)> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), inner(at))).collect();
    let small = Limits { build_bytes: 2 << 20, ..Limits::default() };
    cases.within("small packages that are large together", &[Reason::TooLarge], small, with("g:c:1", &matryoshka));
}

pub fn dispatchers(cases: &mut Cases) {
    use Reason::{ConflictingEntries, DispatcherIncomplete, DispatcherPrefix, LinkDangling, LinkEscapes, LinkLoop};
    let minimal = || {
        vec![
            file("conf.d/enabled_vhosts/a.vhost", "v"),
            file("conf.dispatcher.d/enabled_farms/a.farm", "/f { }"),
            file("opt-in/USE_SOURCES_DIRECTLY", ""),
        ]
    };
    let plus = |more: Vec<Item>| zip(&[minimal(), more].concat());
    let linked = |target: &str| plus(vec![link("conf.d/enabled_vhosts/b.vhost", target)]);
    for (name, target, reason) in [
        ("a link up and out", "../../../etc/passwd", &[LinkEscapes]),
        ("an absolute link", "/etc/passwd", &[LinkEscapes]),
        ("an absolute link that climbs", "/etc/httpd/../passwd", &[LinkEscapes]),
        ("a link to a neighbour of the folder", "/etc/httpdx/a", &[LinkEscapes]),
        ("a link to the root", "../..", &[LinkEscapes]),
        ("a link without target", "", &[LinkEscapes]),
        ("a link with a backslash", "..\\..\\x", &[LinkEscapes]),
        ("a link with a line break", "a\nb", &[LinkEscapes]),
        ("a link to nothing", "../none", &[LinkDangling]),
        ("a link to itself", "b.vhost", &[LinkLoop]),
    ] {
        cases.refused(name, reason, linked(target));
    }
    let circle = plus(vec![link("conf.d/x", "y"), link("conf.d/y", "x")]);
    cases.refused("two links in a circle", &[LinkLoop], circle);
    // Read without following `up` it is conf.d/a/etc/passwd, which is there.
    let chain = plus(vec![
        link("conf.d/a/b/c/up", "../../.."),
        file("conf.d/a/etc/passwd", "x"),
        link("conf.d/a/b/c/x", "up/../../../etc/passwd"),
    ]);
    cases.refused("a link through a link out", &[LinkEscapes], chain);
    let binary = Item { name: b"conf.d/x".to_vec(), ..link("", "") };
    let binary = Item { data: vec![0xff, 0xfe], ..binary };
    cases.refused("a link to bytes", &[LinkEscapes], plus(vec![binary]));
    let below = vec![file("etc/httpd/conf.d/a", "x"), file("etc/httpd/conf.dispatcher.d/a", "x")];
    cases.refused("folders below etc/httpd", &[DispatcherPrefix], zip(&below));
    cases.refused(
        "no farm",
        &[DispatcherIncomplete],
        zip(&[&minimal()[..1], &[file("conf.dispatcher.d/a", "")]].concat()),
    );
    cases.refused("no virtual host", &[DispatcherIncomplete], zip(&minimal()[1..]));
    let clash = plus(vec![file("conf.d/enabled_vhosts/A.vhost", "")]);
    cases.refused("names that differ in case in a configuration", &[ConflictingEntries], clash);
    let mixed = plus(vec![file("conf.d\\x", "")]);
    cases.refused("one backslash in a configuration", &[Reason::UnsafePath], mixed);
    let small = Limits { dispatcher_bytes: 10, ..Limits::default() };
    cases.within(
        "a configuration that is too large",
        &[Reason::TooLarge],
        small,
        plus(vec![file("conf.d/x", "x".repeat(20))]),
    );
    let few = Limits { dispatcher_files: 3, ..Limits::default() };
    cases.within(
        "a configuration of too many files",
        &[Reason::TooLarge],
        few,
        plus(vec![file("conf.d/x", ""), file("conf.d/y", "")]),
    );
    let filter: String = (0..20_000).map(|at| format!("/{at} {{ /type \"allow\" /url '(a+)+{at}' }}\n")).collect();
    let farm = format!("/f {{ /filter {{ {filter} }} }}");
    let why = "filters are judged up to a number of patterns, and a farm only configures the customer's own server";
    let items = vec![minimal().remove(0), file("conf.dispatcher.d/enabled_farms/a.farm", farm), minimal().remove(2)];
    cases.harmless("a filter of twenty thousand rules", why, zip(&items));
    let nested = format!("{}{}", "/a {".repeat(100_000), "}".repeat(100_000));
    let items = vec![minimal().remove(0), file("conf.dispatcher.d/enabled_farms/a.farm", nested), minimal().remove(2)];
    cases.harmless(
        "a farm of a hundred thousand sections",
        "it is reported as unreadable and the server refuses it",
        zip(&items),
    );
}

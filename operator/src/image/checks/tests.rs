//! The checks as a build runs them: whole packages in, findings out.

use crate::image::Blob;
use crate::image::blob::{Hasher, Spool};
use crate::image::checks::{Finding, RuleId};
use crate::image::dispatcher::BaseFiles;
use crate::image::plan::{Input, PlanOptions, Planned, plan};
use crate::image::testzip::{Item, deflated, file, package_items, zip};

const APPLICATION: &[(&str, &str)] = &[("packageType", "application")];

fn planned(packages: &[Vec<u8>]) -> Planned {
    let folder = tempfile::tempdir().unwrap();
    let inputs = packages.iter().enumerate().map(|(at, bytes)| Input {
        name: format!("{at}.zip"),
        sha256: Some(Hasher::of(bytes)),
        blob: Blob::from_bytes(bytes.clone()),
    });
    let options = PlanOptions::default();
    plan(inputs.collect(), &BaseFiles::unknown(), &options, &Spool::new(folder.path())).unwrap()
}

fn with(more: &[(&str, &str)], root: &str, items: Vec<Item>) -> Vec<u8> {
    zip(&[package_items("g:a:1", more, root), items].concat())
}

fn findings(items: Vec<Item>) -> Vec<Finding> {
    let planned = planned(&[with(APPLICATION, "/apps/a", items)]);
    assert!(planned.plan.is_ok(), "{:?}", planned.plan);
    planned.findings
}

fn rules(items: Vec<Item>) -> Vec<RuleId> {
    findings(items).into_iter().map(|finding| finding.rule).collect()
}

fn view(attributes: &str) -> String {
    format!("<jcr:root xmlns:jcr=\"http://www.jcp.org/jcr/1.0\" {attributes}/>")
}

#[test]
fn a_plain_application_breaks_no_rule() {
    assert_eq!(
        rules(vec![
            file("jcr_root/apps/a/osgiconfig/config.author/a.B.cfg.json", "{\"x\":\"$[env:GOOD]\"}"),
            file("jcr_root/apps/a/osgiconfig/config/.content.xml", view("jcr:primaryType=\"sling:Folder\"")),
            file("jcr_root/apps/a/install/10/b.jar", "jar"),
            deflated("jcr_root/apps/a/c/.content.xml", view("jcr:primaryType=\"cq:Component\"")),
            file("jcr_root/apps/a/c/other.xml", "<not a=\"view\">"),
        ]),
        []
    );
}

#[test]
fn each_entry_is_found_with_its_place() {
    let found = findings(vec![file("jcr_root/apps/a/config.prod.author/a.B.config", "x=\"$[env:ADOBE_X]\"")]);
    let told: Vec<(RuleId, &str)> = found.iter().map(|found| (found.rule, found.entry.as_deref().unwrap())).collect();
    assert_eq!(
        told,
        [
            (RuleId::EnvironmentVariableName, "jcr_root/apps/a/config.prod.author/a.B.config"),
            (RuleId::SupportedRunmode, "apps/a/config.prod.author/"),
        ]
    );
    assert!(found[1].message.contains("author.prod") && found[1].file == "0.zip" && !found[1].remedy.is_empty());
}

#[test]
fn configurations() {
    let config = |name: &str, text: &str| rules(vec![file(&format!("jcr_root/apps/a/config/{name}"), text)]);
    assert_eq!(config("a.B.cfg.json", "{"), [RuleId::ConfigurationUnreadable]);
    assert_eq!(config("readme.md", ""), [RuleId::ConfigAndInstallShouldOnlyContainOsgiNodes]);
    assert_eq!(config("a.B.xml", &view("jcr:primaryType=\"sling:OsgiConfig\"")), []);
    assert_eq!(
        config("a.B.xml", &view("jcr:primaryType=\"nt:unstructured\"")),
        [RuleId::ConfigAndInstallShouldOnlyContainOsgiNodes]
    );
    assert_eq!(
        config("com.day.cq.wcm.core.impl.AuthoringUIModeServiceImpl.config", "x=\"CLASSIC\""),
        [RuleId::ClassicUIAuthoringMode]
    );
    assert_eq!(
        config("org.apache.jackrabbit.oak.query.QueryEngineSettingsService.config", "queryLimitReads=I\"1\""),
        [RuleId::OverrideOfQueryLimitReads]
    );
}

#[test]
fn content_of_an_application() {
    assert_eq!(rules(vec![file("jcr_root/apps/a/c/.content.xml", format!("{}<", view("")))]), [RuleId::DocviewInvalid]);
    let template = view("jcr:primaryType=\"cq:Template\"");
    assert_eq!(rules(vec![file("jcr_root/apps/a/t/.content.xml", template)]), [RuleId::StaticTemplateUsage]);
    assert_eq!(rules(vec![file("jcr_root/libs/a", "x")]), [RuleId::BannedPath]);
    assert_eq!(rules(vec![file("jcr_root/apps/a/_rep_policy.xml", view(""))]), [RuleId::AccessControlIgnored]);
    let hook = rules(vec![file("META-INF/vault/hooks/h.jar", "x")]);
    assert_eq!(hook, [RuleId::ApplicationWithHooks, RuleId::InstallHook]);
}

#[test]
fn index_definitions_are_put_together_from_several_files() {
    let good = "jcr:primaryType=\"oak:QueryIndexDefinition\" type=\"lucene\" async=\"[async]\" compatVersion=\"2\"";
    let tags = "tags=\"[visualSimilaritySearch]\"";
    let files = |tika: bool| {
        let mut items = vec![
            file("jcr_root/_oak_index/damAssetLucene-8-custom-1/.content.xml", view(&format!("{good} {tags}"))),
            file(
                "jcr_root/_oak_index/damAssetLucene-8-custom-1/indexRules/.content.xml",
                "<jcr:root xmlns:jcr=\"http://www.jcp.org/jcr/1.0\"><a/></jcr:root>",
            ),
        ];
        if tika {
            items.push(file("jcr_root/_oak_index/damAssetLucene-8-custom-1/tika/config.xml", "<properties/>"));
        }
        items
    };
    assert_eq!(rules(files(true)), [RuleId::AllowIndexDefinitionsMissing]);
    assert_eq!(rules(files(false)), [RuleId::IndexTikaNode, RuleId::AllowIndexDefinitionsMissing]);
    let elsewhere = file("jcr_root/apps/a/_oak_index/x/.content.xml", view(good));
    assert_eq!(rules(vec![elsewhere]), [RuleId::OakIndexLocation]);
}

#[test]
fn containers_carry_and_do_nothing_else() {
    let container = |items| planned(&[with(&[("packageType", "container")], "/apps/a-packages", items)]).findings;
    let nested = zip(&package_items("g:n:1", APPLICATION, "/apps/n"));
    let install = "jcr_root/apps/a-packages/application/install/n.zip";
    let properties = view("jcr:primaryType=\"nt:file\"");
    assert_eq!(container(vec![file(install, &nested), file(&format!("{install}.dir/.content.xml"), properties)]), []);
    let found = container(vec![file("jcr_root/apps/a/clientlib/x.js", "x")]);
    assert_eq!(found[0].rule, RuleId::ContainerWithContent);
}

#[test]
fn packages_are_compared_and_metrics_are_made() {
    let config = |id: &str, path: &str| {
        let item = file(path, "{}");
        zip(&[package_items(id, APPLICATION, &format!("/apps/{}", &id[2..3])), vec![item]].concat())
    };
    let planned = planned(&[
        config("g:a:1", "jcr_root/apps/a/config/p.Q.cfg.json"),
        config("g:b:1", "jcr_root/apps/b/config/p.Q.config"),
    ]);
    assert_eq!(planned.findings.len(), 1);
    assert_eq!(planned.findings[0].rule, RuleId::DuplicateOsgiConfigurations);
    let actual: Vec<&str> = planned.metrics.iter().map(|metric| metric.actual.as_str()).collect();
    assert_eq!(actual, ["A", "A", "C", "1"]);
}

#[test]
fn odd_archives_are_told_and_used() {
    let twice = with(APPLICATION, "/apps/a", vec![file("jcr_root/x", "x"), file("jcr_root/x", "x")]);
    let properties = crate::image::testzip::properties(&[
        ("group", "g"),
        ("name", "a"),
        ("version", "1"),
        ("packageType", "application"),
    ]);
    let stray = with(APPLICATION, "/apps/a", vec![file("META-INF/maven/properties.xml", properties)]);
    for (bytes, rule) in [(twice, RuleId::DuplicateEntry), (stray, RuleId::StrayMetadata)] {
        let planned = planned(&[bytes]);
        assert!(planned.plan.is_ok(), "{:?}", planned.plan);
        assert!(planned.findings.iter().any(|finding| finding.rule == rule), "{:?}", planned.findings);
    }
}

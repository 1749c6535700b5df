//! Projects with versions of all sorts; what is no project; and whatever else may stand in a `pom.xml`.

use std::collections::BTreeMap;

use launchway_crds::version::ArtifactsVersion;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{super::super::verdict::Verdict, *};

const VERSION: &str = "2019.926.121356.0000020490";
const ROOT: &str = r#"<?xml version="1.0"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <!-- <version>0.1</version> -->
  <parent><groupId>org.apache</groupId><artifactId>apache</artifactId><version>1.0.0-SNAPSHOT</version></parent>
  <groupId>com.example</groupId><artifactId>site</artifactId>
  <version> 1.0.0-SNAPSHOT<!-- the next one --> </version>
  <description><![CDATA[<version>1.0.0-SNAPSHOT</version>]]></description>
  <modules><module>core</module><module>./ui/pom-ui.xml</module></modules>
  <profiles><profile><modules><module>it</module><module>elsewhere</module></modules></profile></profiles>
  <dependencyManagement><dependencies>
    <dependency><groupId>com.example</groupId><artifactId>core</artifactId><version>1.0.0-SNAPSHOT</version></dependency>
    <dependency><groupId>com.other</groupId><artifactId>core</artifactId><version>1.0.0-SNAPSHOT</version></dependency>
    <dependency><groupId>com.example</groupId><artifactId>core</artifactId><version>0.9</version></dependency>
  </dependencies></dependencyManagement>
</project>
"#;
const CORE: &str = "<project>\r\n<parent><groupId>com.example</groupId><artifactId>site</artifactId><version>1.0.0-SNAPSHOT</version></parent>\r\n<artifactId>core</artifactId></project>";
const UI: &str = "<project><parent><groupId>com.example</groupId><artifactId>core</artifactId><version>1.0.0-SNAPSHOT</version></parent><artifactId>ui</artifactId><build><plugins><plugin><configuration><excludes><artifactId>a</artifactId><artifactId>b</artifactId></excludes><embedded><groupId>${project.groupId}</groupId><artifactId>core</artifactId><version>1.0.0-SNAPSHOT</version></embedded></configuration></plugin></plugins></build></project>";
const IT: &str = "<project><groupId>com.example.it</groupId><artifactId>it</artifactId><version>1.0.0-SNAPSHOT</version><parent><groupId>org.apache</groupId><artifactId>apache</artifactId><version>33</version></parent></project>";
const PROPERTY: &str = "<cloudManagerOriginalVersion>1.0.0-SNAPSHOT</cloudManagerOriginalVersion>";

fn version() -> ArtifactsVersion {
    VERSION.parse().unwrap()
}

/// A folder with the files of the project above, some of them replaced.
fn project_with(changed: &[(&str, &str)]) -> tempfile::TempDir {
    let mut files =
        BTreeMap::from([("pom.xml", ROOT), ("core/pom.xml", CORE), ("ui/pom-ui.xml", UI), ("it/pom.xml", IT)]);
    files.extend(changed.iter().copied());
    folder_of(&files.into_iter().collect::<Vec<_>>())
}

fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn text(folder: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

/// Reason and message of a project that is refused.
fn refused(folder: &Path) -> (String, String) {
    match rewrite(folder, &version()).unwrap_err().verdict::<()>() {
        Verdict::Failed(reason) => (reason.reason, reason.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_version_of_the_project_is_replaced_and_nothing_else() {
    let folder = project_with(&[("other/pom.xml", "no module"), ("core/src/pom.xml", "no module")]);
    let told = rewrite(folder.path(), &version()).unwrap();
    assert_eq!(told, format!("the project's version 1.0.0-SNAPSHOT becomes {VERSION} in 4 files"));
    let property = format!("<properties>{PROPERTY}</properties>");
    let root = ROOT
        .replace(" 1.0.0-SNAPSHOT<!-- the next one --> ", VERSION)
        .replace("4.0.0\">", &format!("4.0.0\">{property}"))
        .replace(
            "example</groupId><artifactId>core</artifactId><version>1.0.0-SNAPSHOT",
            &format!("example</groupId><artifactId>core</artifactId><version>{VERSION}"),
        );
    assert_eq!(text(&folder, "pom.xml"), root);
    for (name, before) in [("core/pom.xml", CORE), ("ui/pom-ui.xml", UI), ("it/pom.xml", IT)] {
        assert_eq!(text(&folder, name), before.replace("1.0.0-SNAPSHOT", VERSION), "{name}");
    }
}

#[test]
fn a_version_of_three_segments_stays_and_goes_on() {
    for (name, properties, wanted) in [
        ("none", "", "<properties><cloudManagerOriginalVersion>1.0.0</cloudManagerOriginalVersion></properties>"),
        (
            "empty",
            "<properties/>",
            "<properties><cloudManagerOriginalVersion>1.0.0</cloudManagerOriginalVersion></properties>",
        ),
        (
            "some",
            "<properties><a>1</a></properties>",
            "<properties><cloudManagerOriginalVersion>1.0.0</cloudManagerOriginalVersion><a>1</a></properties>",
        ),
        (
            "ours",
            "<properties><cloudManagerOriginalVersion>local</cloudManagerOriginalVersion></properties>",
            "<properties><cloudManagerOriginalVersion>1.0.0</cloudManagerOriginalVersion></properties>",
        ),
    ] {
        let pom = format!("<project><artifactId>a</artifactId><version>1.0.0</version>{properties}</project>");
        let folder = folder_of(&[("pom.xml", &pom)]);
        rewrite(folder.path(), &version()).unwrap();
        let written = text(&folder, "pom.xml");
        assert!(written.contains("<version>1.0.0.2019_0926_121356_0000020490</version>"), "{name}: {written}");
        assert!(written.contains(wanted), "{name}: {written}");
        assert_eq!(written.matches("cloudManagerOriginalVersion").count(), 2, "{name}: {written}");
    }
}

/// As Maven's "CI friendly" versions are written: the property keeps its value, nothing is built with it any more.
#[test]
fn a_version_out_of_properties_gives_way_wherever_it_stands() {
    let root =
        ROOT.replace(" 1.0.0-SNAPSHOT<!-- the next one --> ", "${revision}").replace("1.0.0-SNAPSHOT", "${revision}");
    let of = |text: &str| text.replace("1.0.0-SNAPSHOT", "${revision}");
    let (core, ui, it) = (of(CORE), of(UI), of(IT));
    let folder =
        project_with(&[("pom.xml", &root), ("core/pom.xml", &core), ("ui/pom-ui.xml", &ui), ("it/pom.xml", &it)]);
    rewrite(folder.path(), &version()).unwrap();
    let root = text(&folder, "pom.xml");
    assert!(root.contains("<cloudManagerOriginalVersion>${revision}</cloudManagerOriginalVersion>"), "{root}");
    assert!(root.contains(&format!("<version>{VERSION}</version>\n  <description>")), "{root}");
    assert_eq!(text(&folder, "ui/pom-ui.xml"), UI.replace("1.0.0-SNAPSHOT", VERSION));
}

/// The root only lists modules, and one of them is the parent of all.
#[test]
fn the_parent_may_be_a_module() {
    let parent = "<parent><groupId>g</groupId><artifactId>parent</artifactId><version>1.0.0</version></parent>";
    let root =
        format!("<project>{parent}<artifactId>all</artifactId><modules><module>parent</module></modules></project>");
    let folder = folder_of(&[
        ("pom.xml", &root),
        (
            "parent/pom.xml",
            "<project><groupId>g</groupId><artifactId>parent</artifactId><version>1.0.0</version></project>",
        ),
    ]);
    rewrite(folder.path(), &version()).unwrap();
    for file in ["pom.xml", "parent/pom.xml"] {
        assert!(text(&folder, file).contains("<version>1.0.0.2019_0926_121356_0000020490</version>"), "{file}");
    }
}

#[test]
fn a_module_that_does_not_follow_the_project_is_named_and_nothing_is_written() {
    let own = CORE.replace("<artifactId>core", "<version>2</version><artifactId>core");
    let stranger = CORE.replace(">site<", ">elsewhere<");
    let older = CORE.replace("1.0.0-", "0.9-");
    let twice = CORE.replace("<artifactId>core", "<artifactId>x</artifactId><artifactId>core");
    let dtd = format!("<!DOCTYPE project [<!ENTITY v \"1\">]>{CORE}");
    let entity = CORE.replace(">1.0.0-", ">&v;");
    let large = format!("{CORE}{}", " ".repeat(BYTES_MAX));
    for (core, rule) in [
        (own.as_str(), "core/pom.xml: it has the version 2, and the project has 1.0.0-SNAPSHOT"),
        (stranger.as_str(), "core/pom.xml: it has no version, and its parent is no module of this project"),
        (older.as_str(), "core/pom.xml: it names its parent's version 0.9-SNAPSHOT"),
        (twice.as_str(), "core/pom.xml: it has <artifactId> twice"),
        (dtd.as_str(), "core/pom.xml: it has a DOCTYPE"),
        (entity.as_str(), "core/pom.xml: it uses the entity &v;"),
        (large.as_str(), "core/pom.xml: it is larger than 4.0 MiB"),
        ("<project>", "core/pom.xml: it ends inside"),
        ("<html/>", "core/pom.xml: its root is <html>"),
        ("", "core/pom.xml: it has 0 root elements"),
    ] {
        let folder = project_with(&[("core/pom.xml", core)]);
        let (reason, message) = refused(folder.path());
        assert_eq!(reason, reasons::PROJECT_VERSION_INVALID);
        assert!(message.starts_with(rule), "{rule}: {message}");
        assert_eq!(text(&folder, "pom.xml"), ROOT);
    }
}

#[test]
fn a_root_that_no_version_can_be_written_into_says_why() {
    let with_version = |version: &str| ROOT.replace(" 1.0.0-SNAPSHOT<!-- the next one --> ", version);
    let with_module = |module: &str| ROOT.replace(">core<", &format!(">{module}<"));
    for (root, rule) in [
        (with_version(""), "pom.xml: it says no version"),
        (with_version("1.0 beta"), "pom.xml: its version 1.0 beta has more than"),
        (with_version("1&lt;2"), "pom.xml: its version 1<2 has more than"),
        (with_module("../elsewhere"), "pom.xml: its module ../elsewhere is outside"),
        (with_module("core/../../../etc"), "pom.xml: its module core/../../../etc is outside"),
        (with_module("/etc"), "pom.xml: its module /etc is outside"),
        (with_module("missing"), "pom.xml: its module missing is not there"),
    ] {
        let (reason, message) = refused(project_with(&[("pom.xml", &root)]).path());
        assert_eq!(reason, reasons::PROJECT_VERSION_INVALID);
        assert!(message.starts_with(rule), "{rule}: {message}");
    }
    let (reason, message) = refused(folder_of(&[]).path());
    assert_eq!(reason, reasons::NO_POM, "{message}");
    let folder = folder_of(&[]);
    fs::write(folder.path().join("pom.xml"), b"<project><version>\xe9</version></project>").unwrap();
    assert!(refused(folder.path()).1.starts_with("pom.xml: it is not in UTF-8"));
}

#[test]
fn no_link_is_followed() {
    let elsewhere = folder_of(&[("pom.xml", CORE)]);
    for (link, target) in [("core", elsewhere.path().to_path_buf()), ("core/pom.xml", elsewhere.path().join("pom.xml"))]
    {
        let folder = project_with(&[]);
        fs::remove_dir_all(folder.path().join("core")).unwrap();
        let link = folder.path().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
        let (_, message) = refused(folder.path());
        assert!(message.contains("is a link"), "{message}");
        assert_eq!(text(&elsewhere, "pom.xml"), CORE);
    }
}

/// What may stand between the elements of a `pom.xml` and says nothing.
fn noise() -> impl Strategy<Value = String> {
    select(vec![
        "",
        " ",
        "\r\n\t",
        "<!-- <version>1.2.3-SNAPSHOT</version> -->",
        "<?pi <version>1.2.3-SNAPSHOT</version>?>",
        "<description><![CDATA[<version>1.2.3-SNAPSHOT</version>]]></description>",
        "<name>&lt;version>1.2.3-SNAPSHOT é</name>",
        "<build><plugins><plugin><artifactId>p</artifactId><version>1.2.3-SNAPSHOT</version></plugin></plugins></build>",
        "<profiles><profile><properties><cloudManagerOriginalVersion>x</cloudManagerOriginalVersion></properties></profile></profiles>",
        "<dependencies/>",
    ])
    .prop_map(str::to_string)
}

/// The texts of a project whose modules have each an earlier one for their parent, and where they stand.
fn projects() -> impl Strategy<Value = Vec<(String, String)>> {
    let module = (any::<prop::sample::Index>(), noise(), noise(), any::<bool>());
    (vec(module, 1..6), select(vec!["1.2.3-SNAPSHOT", "${revision}", "7", "1.2.3"])).prop_map(|(modules, version)| {
        let mut files: Vec<(String, Vec<usize>, String)> = vec![];
        for (number, (parent, before, after, own)) in modules.iter().enumerate() {
            let name = format!("<artifactId>m{number}</artifactId>");
            let own_version = if *own || number == 0 { format!("<version>{version}</version>") } else { String::new() };
            let (path, parent) = if number == 0 {
                ("pom.xml".to_string(), "<groupId>g</groupId>".to_string())
            } else {
                let parent = parent.index(number);
                files[parent].1.push(number);
                let folder = files[parent].0.trim_end_matches("pom.xml").to_string();
                let coordinates =
                    format!("<groupId>g</groupId><artifactId>m{parent}</artifactId><version>{version}</version>");
                (format!("{folder}m{number}/pom.xml"), format!("<parent>{coordinates}</parent>"))
            };
            files.push((path, vec![], format!("{before}{parent}{name}{own_version}{after}")));
        }
        files
            .into_iter()
            .map(|(path, children, content)| {
                let modules: String = children.iter().map(|number| format!("<module>m{number}</module>")).collect();
                (path, format!("<project>{content}<modules>{modules}</modules></project>"))
            })
            .collect()
    })
}

proptest! {
    /// The versions that Maven reads are the wanted one, and without them the files are what they were.
    #[test]
    fn all_modules_get_the_version_and_nothing_else_changes(files in projects()) {
        let list: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let folder = folder_of(&list);
        let committed = Pom::parse(files[0].1.clone()).unwrap().own.version.unwrap().text;
        let wanted = version().in_place_of(&committed);
        rewrite(folder.path(), &version()).unwrap();
        for (number, (path, before)) in files.iter().enumerate() {
            let written = text(&folder, path);
            let pom = Pom::parse(written.clone()).unwrap();
            let own = pom.own.version.as_ref().or_else(|| pom.parent.as_ref()?.version.as_ref()).unwrap();
            prop_assert_eq!(&own.text, &wanted);
            if let Some(parent) = pom.parent.as_ref().and_then(|parent| parent.version.as_ref()) {
                prop_assert_eq!(&parent.text, &wanted);
            }
            let property = format!("<cloudManagerOriginalVersion>{committed}</cloudManagerOriginalVersion>");
            let undone = written.replace(&format!("<properties>{property}</properties>"), "").replace(&wanted, &committed);
            prop_assert_eq!(&undone, before);
            prop_assert_eq!(written.matches(&property).count(), usize::from(number == 0));
        }
    }

    /// Whatever a file holds: it is read or refused, and what is made of what was read can be read again.
    #[test]
    fn no_text_does_harm(
        files in projects(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        put in select(vec!["", "<", "</", "<version>", "</version>", "<!--", "<![CDATA[", "&#49;", "<a/>", "\u{0}", "é", "<parent>"]),
    ) {
        let mut pom: Vec<char> = files[0].1.chars().collect();
        let from = at.index(pom.len());
        let to = (from + length).min(pom.len());
        pom.splice(from..to, put.chars());
        let pom: String = pom.into_iter().collect();
        let others = files[1..].iter().map(|(path, text)| (path.as_str(), text.as_str()));
        let folder = folder_of(&others.chain([("pom.xml", pom.as_str())]).collect::<Vec<_>>());
        let before = text(&folder, "pom.xml");
        match rewrite(folder.path(), &version()) {
            Ok(_) => prop_assert!(Pom::parse(text(&folder, "pom.xml")).is_ok()),
            Err(problem) => {
                prop_assert!(matches!(problem.verdict::<()>(), Verdict::Failed(_)));
                prop_assert_eq!(text(&folder, "pom.xml"), before);
            }
        }
    }
}

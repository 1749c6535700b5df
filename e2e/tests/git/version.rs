//! The real Maven build of the demo's site with a version of the execution's own: every package carries it to stage, the
//! same commit again is not built, and a module with a version of its own is named.

use launchway_crds::{execution::PipelineExecutionStatus, step::StepName};
use launchway_e2e::{
    Failure, Outcome,
    executions::{step, told},
    failure::ensure,
    git_ground::{Ground, SHORT, WHOLE},
    git_server::Checkout,
    program::{PIPELINE, STAGE},
    scenario::measured,
};
use serde_json::json;

/// Fails unless the root and its six modules say the version, and the root the one that was committed.
const SAID: &str = "test \"$(grep -l \"<version>$ARTIFACTS_VERSION</version>\" pom.xml */pom.xml | wc -l)\" = 7; grep '<cloudManagerOriginalVersion>${revision}<' pom.xml";
const BUILD: &str = "mvn --batch-mode -Drelease=1 package";

pub async fn check(ground: &Ground) -> Outcome {
    let Ground { scenario, program, images, server } = ground;
    let checkout = Checkout::of_site(server, "site.git", 1)?;
    checkout.push()?;
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["spec"]["source"] = json!({ "git": {
        "url": server.url("site.git"), "branch": "main",
        "builder": {
            "image": images.builder, "commands": [SAID, BUILD], "projectVersion": "Generate",
            "resources": { "limits": { "memory": "1Gi" } },
        },
    } });
    program.apply(&pipeline).await?;

    ground.run(PIPELINE, "generated", json!({})).await?;
    scenario.on_failure(program, "generated", program.awaits_approval("generated", WHOLE)).await?;
    let status = program.execution("generated").await?.status.unwrap_or_default();
    let version = version(&status)?;
    every_package_has(&status, &version)?;
    program.serves(STAGE, "Release 1").await?;
    measured("version of every package of the demo's site", &version);
    ground.cancel("generated").await?;

    ground.run(PIPELINE, "again", json!({})).await?;
    let again = ground.built("again").await?;
    let reused = again.build.as_ref().and_then(|build| build.reused_from.clone()).unwrap_or_default();
    ensure(reused.ends_with("/generated"), || format!("the same commit was built again: {}", told(&again)))?;
    ensure(self::version(&again)? == version, || format!("it says another version: {:?}", again.build))?;
    ground.cancel("again").await?;

    let pom = checkout.read("core/pom.xml")?;
    checkout.write("core/pom.xml", &pom.replace("<packaging>", "<version>7</version>\n  <packaging>"))?;
    checkout.push()?;
    ground.run(PIPELINE, "strays", json!({})).await?;
    let status = scenario.on_failure(program, "strays", program.ended("strays", SHORT)).await?;
    let ended = step(&status, StepName::Build)?;
    let message = ended.message.clone().unwrap_or_default();
    let named = ended.reason.as_deref() == Some("ProjectVersionInvalid") && message.starts_with("core/pom.xml: ");
    ensure(named, || told(&status))?;
    println!("  strays: {message}");
    Ok(())
}

fn version(status: &PipelineExecutionStatus) -> Outcome<String> {
    let version = status.build.as_ref().and_then(|build| build.artifacts_version.as_ref());
    version.map(ToString::to_string).ok_or_else(|| Failure::new(format!("no version: {}", told(status))))
}

/// By name of the file, and content packages by what is written inside.
fn every_package_has(status: &PipelineExecutionStatus, version: &str) -> Outcome {
    let files = status.artifact.as_ref().map(|artifact| &*artifact.files).unwrap_or_default();
    let content: Vec<&str> = files.iter().filter_map(|file| file.id.as_deref()).collect();
    ensure(files.len() == 5 && content.len() == 4, || format!("not the packages of the site: {files:?}"))?;
    let named = |file: &str| file.ends_with(&format!("-{version}.zip"));
    let said = |id: &&str| id.ends_with(&format!(":{version}"));
    let all = files.iter().all(|file| named(&file.name)) && content.iter().all(said);
    ensure(all, || format!("not all of version {version}: {files:?}"))
}

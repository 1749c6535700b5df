//! The real Maven build of the demo's site: pushed, noticed, built, approved, served; and the same commit again without a
//! build.

use std::time::Instant;

use launchway_crds::conditions::reasons;
use launchway_e2e::{
    Outcome,
    failure::ensure,
    git_ground::{Ground, WHOLE},
    git_server::Checkout,
    program::{PIPELINE, PRODUCTION},
    scenario::measured,
};
use serde_json::json;

pub async fn check(ground: &Ground) -> Outcome {
    let Ground { scenario, program, images, server } = ground;
    // What the pipeline finds first starts nothing.
    Checkout::empty(server, "site.git")?.push()?;
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["spec"]["source"] = json!({ "git": {
        "url": server.url("site.git"), "branch": "main",
        "builder": {
            "image": images.builder, "commands": ["mvn --batch-mode -Drelease=1 package"],
            "resources": { "limits": { "memory": "1Gi" } },
        },
    } });
    pipeline["spec"]["trigger"] = json!("OnChange");
    pipeline["spec"]["onChange"] = json!({ "interval": "10s" });
    program.apply(&pipeline).await?;
    program.watched(PIPELINE, reasons::WATCHED).await?;

    let commit = Checkout::of_site(server, "site.git", 1)?.push()?;
    let pushed = Instant::now();
    let name = program.started(PIPELINE, &commit).await?;
    measured("from git push to execution, asked every 10 s", format!("{} ms", pushed.elapsed().as_millis()));
    scenario
        .on_failure(program, &name, async {
            program.awaits_approval(&name, WHOLE).await?;
            program.approve(&name, &scenario.launchway).await?;
            let status = program.succeeded(&name, WHOLE).await?;
            let recorded = status.commit.as_ref().map(|commit| commit.id.clone());
            ensure(recorded.as_deref() == Some(commit.as_str()), || format!("built {recorded:?}, pushed {commit}"))?;
            program.serves(PRODUCTION, "Release 1").await
        })
        .await?;
    measured("from git push to a page in production", format!("{} s", pushed.elapsed().as_secs()));

    let begun = Instant::now();
    ground.run(PIPELINE, "again", json!({})).await?;
    let again = ground.built("again").await?;
    let reused = again.build.and_then(|build| build.reused_from).unwrap_or_default();
    ensure(reused.ends_with(&format!("/{name}")), || format!("the same commit was built again: {reused:?}"))?;
    measured("the same commit again, to the end of the step build", format!("{} ms", begun.elapsed().as_millis()));
    ground.cancel("again").await
}

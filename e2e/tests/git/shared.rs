//! A coupled and a stage-only pipeline on one branch, which moves while they run.

use launchway_e2e::{
    Outcome, artifacts, changes, executions::told, failure::ensure, git_ground::Ground, git_server::Checkout,
    scenario::measured,
};
use serde_json::json;

/// The site's packages are in the repository: this is about what starts, not about Maven.
const BUILD: &str = "mkdir target; cp packages/*.zip target";

pub async fn check(ground: &Ground) -> Outcome {
    let Ground { scenario, program, images, server } = ground;
    let checkout = Checkout::empty(server, "site.git")?;
    let site = artifacts::site(1, None).await?;
    copy(site.path(), &checkout.folder().join("packages"))?;
    let source = json!({ "git": {
        "url": server.url("site.git"), "branch": "main",
        "builder": { "image": images.builder, "commands": [BUILD], "resources": { "limits": { "memory": "128Mi" } } },
    } });
    let push = async |number: u32| {
        checkout.write("README", &number.to_string())?;
        checkout.push()
    };
    let started = changes::one_and_one_more(scenario, program, &source, push).await?;
    for one in &started {
        let status = program.execution(&one.name).await?.status.unwrap_or_default();
        let built = status.commit.as_ref().map(|commit| &commit.id);
        ensure(built == Some(&one.change), || format!("{} built {built:?}: {}", one.name, told(&status)))?;
        // Another execution's packages would be of another commit.
        let reused = status.build.and_then(|build| build.reused_from);
        ensure(reused.is_none(), || format!("{} took packages of {reused:?}", one.name))?;
    }
    changes::only(program, started.len()).await?;
    measured(
        "one push, then five during the run, two pipelines on the branch",
        "2 executions, of the first and the last commit",
    );
    Ok(())
}

pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) -> Outcome {
    let said = |error: std::io::Error| format!("{}: {error}", to.display());
    std::fs::create_dir(to).map_err(said)?;
    for file in std::fs::read_dir(from).map_err(said)? {
        let file = file.map_err(said)?;
        std::fs::copy(file.path(), to.join(file.file_name())).map_err(said)?;
    }
    Ok(())
}

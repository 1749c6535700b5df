//! The dispatcher packages of two real projects, as they come: one for the cloud service, one for managed services. Each is
//! built into releases, tested on stage and visited in production, and what a release drops from the caches is seen by what
//! each dispatcher answers before and after.

use std::time::Duration;

use launchway_crds::execution::PipelineExecutionStatus;
use launchway_e2e::{
    Failure, Outcome, artifacts,
    caches::{self, Source, Watch},
    executions::told,
    failure::ensure,
    page,
    program::{HEADING, Options, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(420);
/// Paths that are invalidated before those that are looked at, so that what comes before an invalidation can be seen: the
/// dispatcher drops them one after the other before it serves, and nobody asks for them.
const BEFORE: usize = 25;

/// The page at which visitors look: a short URL, which the project's rules rewrite.
const SHORT: &str = "/us/de.html";
/// Not in any path that is dropped.
const SPARED: &str = "/content/launchway-demo/home.json";
/// What the flushed path covers beside its page, which the dispatcher itself requests again.
const FLUSHED: &str = "/content/launchway-demo/packages.json";

/// A project's dispatcher package, and what its rules expect to be there.
struct Project {
    file: &'static str,
    /// Folder of its pages, below `/content`.
    folder: &'static str,
    /// Variables of its configuration that each environment has to define.
    variables: &'static [(&'static str, &'static str)],
}

const PROJECTS: [Project; 2] = [
    Project { file: "wknd.dispatcher.cloud-4.0.4.zip", folder: "wknd", variables: &[] },
    Project {
        file: "archetype.dispatcher.ams-51.zip",
        folder: "mysite",
        variables: &[("country", "us"), ("language", "en")],
    },
];

#[test]
fn real_dispatcher_packages_serve_and_their_caches_are_emptied() -> Outcome {
    scenario::run("dispatchers", |scenario| async move {
        for project in &PROJECTS {
            project.is_there().await?;
        }
        for project in &PROJECTS {
            project.shown(&scenario).await.map_err(|failure| failure.during(project.file))?;
        }
        Ok(())
    })
}

impl Project {
    /// Fails before anything is built: without the package nothing is shown.
    async fn is_there(&self) -> Outcome {
        let folder = artifacts::folder()?;
        if artifacts::add_real_package(folder.path(), self.file).await? {
            return Ok(());
        }
        Err(Failure::new(format!("the dispatcher package {} is not on this machine", self.file)).remedy(
            "set LAUNCHWAY_FIXTURES to a folder with dispatcher/, or put that at ../shared/fixtures beside the repository: \
             e2e/packages/README.md says where the packages come from",
        ))
    }

    async fn shown(&self, scenario: &Scenario) -> Outcome {
        let options = Options::stand_in(1);
        let program = scenario.program(self.folder, &options).await?;
        for (name, type_) in [(STAGE, "Stage"), (PRODUCTION, "Production")] {
            let mut environment = program.environment_object(name, type_, 1, &options);
            let variables = self
                .variables
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value, "services": ["dispatcher"]}));
            environment["spec"]["variables"] = variables.collect();
            program.apply(&environment).await?;
        }
        program.apply(&self.pipeline(&program)).await?;

        self.release(scenario, &program, 1).await?;
        self.approved(scenario, &program, 1).await?;
        self.visited(&program, "Release 1").await?;
        self.release(scenario, &program, 2).await?;
        self.cached(&program, "Release 1").await?;

        let watch = Watch::new_dispatchers(&program, PRODUCTION, &[&self.covered(), FLUSHED, SPARED]).await?;
        let approved = self.approved(scenario, &program, 2).await;
        let seen = watch.end().await;
        approved?;
        self.judge(&seen)?;
        self.visited(&program, "Release 2").await?;
        program.let_go().await
    }

    /// A page that no path names, but whose stat file an invalidation touches.
    fn covered(&self) -> String {
        format!("/content/{}/us/en/about.html", self.folder)
    }

    fn pipeline(&self, program: &Program) -> Value {
        let mut pipeline = program.pipeline(&program.images.tester);
        let smoke = json!({"path": "/us/en.html", "status": 200, "contains": HEADING});
        pipeline["spec"]["stage"]["tests"]["smoke"] = json!([smoke]);
        pipeline["spec"]["stage"]["tests"]["functional"]["variables"]["LAUNCHWAY_TEST_PATH"] =
            json!("/us/en/about.html");
        let mut invalidated: Vec<String> =
            (0..BEFORE).map(|number| format!("/content/elsewhere/page-{number}")).collect();
        invalidated.push(format!("/content/{}/us/en", self.folder));
        pipeline["spec"]["production"]["deploy"] =
            json!({"invalidatePaths": invalidated, "flushPaths": ["/content/launchway-demo/packages"]});
        pipeline
    }

    /// Builds a release with the project's dispatcher configuration, and tests it on stage.
    async fn release(&self, scenario: &Scenario, program: &Program, release: u32) -> Outcome {
        let zips = artifacts::site(release, None).await?;
        // The demo site's own configuration gives way: a release has one.
        let own = zips.path().join(format!("launchway-demo.dispatcher-{release}.0.0.zip"));
        std::fs::remove_file(&own).map_err(|error| Failure::new(format!("{}: {error}", own.display())))?;
        artifacts::add_real_package(zips.path(), self.file).await?;
        artifacts::pages(zips.path(), self.folder, release, &["us/en", "us/en/about", "us/de"])?;
        let artifact = program.push(zips.path()).await?;
        let name = format!("r{release}");
        program.run(&name, Some(artifact.digest())).await?;
        let execution = scenario.on_failure(program, &name, program.awaits_approval(&name, LONG)).await?;
        let status = execution.status.unwrap_or_default();
        self.recognised(&status)
    }

    fn recognised(&self, status: &PipelineExecutionStatus) -> Outcome {
        let files = status.artifact.iter().flat_map(|artifact| &artifact.files);
        let file = files.into_iter().find(|file| file.name == self.file);
        ensure(file.is_some_and(|file| file.kind.as_deref() == Some("dispatcher")), || {
            format!("{} was not recognised: {}", self.file, told(status))
        })
    }

    async fn approved(&self, scenario: &Scenario, program: &Program, release: u32) -> Outcome {
        let name = format!("r{release}");
        program.approve(&name, &scenario.launchway).await?;
        scenario.on_failure(program, &name, program.succeeded(&name, LONG)).await.map(drop)
    }

    /// A page's first visitor gets it from publish, everybody after that from the cache.
    async fn visited(&self, program: &Program, wanted: &str) -> Outcome {
        let (client, url) = (page::client()?, format!("{}{}", program.address(PRODUCTION).await?, SHORT));
        let mut answers = vec![];
        for _ in 0..3 {
            answers.push(caches::ask(&client, &url).await?);
        }
        let sources: Vec<Option<Source>> = answers.iter().map(|answer| answer.source).collect();
        measured(&format!("{} of {wanted} by visitors", SHORT), format!("{sources:?}"));
        ensure(sources == [Some(Source::Publish), Some(Source::Cache), Some(Source::Cache)], || {
            format!("{answers:?}")
        })?;
        for answer in &answers {
            ensure(page::heading(&answer.body) == Some(wanted), || format!("not {wanted}: {answer:?}"))?;
            ensure(answer.host == "publish", || format!("not by the project's own virtual host: {answer:?}"))?;
        }
        Ok(())
    }

    /// While the next release waits for its approval, visitors still get the page of this one from the cache.
    async fn cached(&self, program: &Program, wanted: &str) -> Outcome {
        let (client, url) = (page::client()?, format!("{}{}", program.address(PRODUCTION).await?, SHORT));
        let answer = caches::ask(&client, &url).await?;
        let right = answer.source == Some(Source::Cache) && page::heading(&answer.body) == Some(wanted);
        ensure(right, || format!("{SHORT} is not {wanted} from the cache: {answer:?}"))
    }

    /// On each dispatcher that the release brought, what its paths cover was cached, was fetched once more, and is cached; what
    /// they do not cover stayed.
    fn judge(&self, seen: &caches::Seen) -> Outcome {
        const ONCE: [Source; 2] = [Source::Publish, Source::Cache];
        const TWICE: [Source; 4] = [Source::Publish, Source::Cache, Source::Publish, Source::Cache];
        // The surge pair, and the one pair.
        ensure(seen.len() == 2, || format!("not two new dispatchers: {seen:?}"))?;
        for (pod, paths) in seen {
            for (path, wanted) in [(self.covered().as_str(), &TWICE[..]), (FLUSHED, &TWICE[..]), (SPARED, &ONCE[..])] {
                let found = paths.get(path).map(Vec::as_slice).unwrap_or_default();
                measured(&format!("{pod} {path}"), format!("{found:?}"));
                ensure(found == wanted, || format!("{pod}: {path} came from {found:?}, not from {wanted:?}"))?;
            }
        }
        Ok(())
    }
}

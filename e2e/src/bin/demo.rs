//! `make demo`: from nothing to "production serves release 1", step by step, on a real cluster that stays up.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use launchway_crds::{
    PipelineExecution,
    digest::{ImageRef, Sha256Digest},
    execution::PipelineExecutionStatus,
    step::StepName,
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::Cluster,
    executions::{self, succeeded},
    failure::ensure,
    images, install,
    live::Live,
    page, paths, people,
    process::{self, Program as Process},
    program::{APPROVER, DEVELOPER, Options, PAGE, PIPELINE, PRODUCTION, Program},
    steps::Phases,
};

const NAMESPACE: &str = "demo";
const PHASES: usize = 9;
const ROLL: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nThe demo stopped. {failure}");
            eprintln!("It goes on from there when it is started again: make demo. To start over: make clean");
            ExitCode::FAILURE
        }
    }
}

/// What the phases share.
struct Demo {
    program: Program,
    /// Folder with `kubectl-launchway`, kubectl and helm.
    path: String,
}

async fn demo() -> Outcome {
    let mut phases = Phases::new(PHASES);
    let compiled = std::env::var("LAUNCHWAY_COMPILED_IN").ok().and_then(|seconds| seconds.parse().ok());
    phases.before("compile", Duration::from_secs(compiled.unwrap_or_default()));

    let launchway = process::launchway().await?;
    let cluster = phases
        .phase(
            "cluster",
            "a real Kubernetes: built in 10 minutes the first time, then started in 20 s",
            Cluster::start(),
        )
        .await?;
    let images = phases
        .phase(
            "images",
            "Sling, httpd, a tester and the operator: 2 minutes the first time",
            images::provide(&cluster, &launchway),
        )
        .await?;
    phases
        .phase(
            "operator",
            "installed by the Helm chart, policies seen to act: 15 s",
            install::install(&cluster, &images),
        )
        .await?;
    let program = phases
        .phase("program", "namespace, stage, production with 2 pairs, pipeline, two people: a second", async {
            Program::set_up(&cluster, &images, NAMESPACE, &Options::default()).await
        })
        .await?;
    let demo = Demo { path: plugin_path(&cluster, &launchway)?, program };
    let artifact = phases
        .phase(
            "packages",
            "release 1 of a site, by Maven, pushed to the registry: a minute the first time",
            demo.push(1),
        )
        .await?;
    let (name, mut live) = phases
        .phase("stage", "images built, deployed, tested: about 90 s", async {
            let name = demo.start(artifact.digest()).await?;
            let waits = |status: &PipelineExecutionStatus| {
                status.waiting_for.as_ref().is_some_and(|waiting| waiting.step == StepName::ApprovalProduction)
                    || succeeded(status)
            };
            let mut live = Live::of(&demo.program, &name);
            live.show(ROLL, waits).await?;
            Ok((name, live))
        })
        .await?;
    phases
        .phase(
            "approval",
            &format!("by {APPROVER}, with the very command that the execution names"),
            demo.approve(&name),
        )
        .await?;
    phases
        .phase("production", "author, then both pairs: about 90 s", async {
            let execution = live.show(ROLL, succeeded).await?;
            demo.check(&execution).await
        })
        .await?;
    println!("\nProduction serves release 1. Times:\n{}", phases.table());
    demo.farewell(&name).await
}

impl Demo {
    async fn push(&self, release: u32) -> Outcome<ImageRef> {
        let folder = paths::cache_folder(&format!("demo/release-{release}"))?;
        artifacts::build_site(release, None, &folder).await?;
        let line = format!(
            "kubectl launchway push {} --to {}:main --plain-http {}",
            folder.display(),
            self.program.artifacts(),
            self.program.cluster.registry
        );
        println!("    {DEVELOPER}$ {line}");
        let developer = people::kubeconfig(&self.program.cluster, DEVELOPER).await?;
        let said = self.shell(&line, &developer).await?;
        said.lines().for_each(|line| println!("    {line}"));
        let pushed = said.trim_end().rsplit(' ').next().unwrap_or_default();
        pushed.parse().map_err(|error| Failure::new(format!("push did not say what it pushed: {error}")).seen(&said))
    }

    /// The execution to follow: the newest that is under way or succeeded with these packages, or a new one.
    async fn start(&self, artifact: Sha256Digest) -> Outcome<String> {
        let list = launchway_e2e::cluster::call(self.program.executions().list(&Default::default())).await?;
        let useful = |execution: &&PipelineExecution| {
            let status = execution.status.clone().unwrap_or_default();
            let chosen = execution.spec.artifact.as_ref().and_then(|choice| choice.digest);
            chosen == Some(artifact) && (status.completion_time.is_none() || succeeded(&status))
        };
        let newest = list
            .items
            .iter()
            .filter(useful)
            .max_by_key(|execution| execution.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let runs_it = match newest {
            Some(execution) => self.is_deployed_or_under_way(execution).await?,
            None => false,
        };
        if let Some(execution) = newest.filter(|_| runs_it) {
            println!("    {} is there already", executions::name(execution));
            return Ok(executions::name(execution));
        }
        let name = format!("demo-{}", jiff::Timestamp::now().as_second());
        let developer = people::kubeconfig(&self.program.cluster, DEVELOPER).await?;
        let line =
            format!("kubectl launchway run {PIPELINE} --name {name} --artifact {artifact} --namespace {NAMESPACE}");
        println!("    {DEVELOPER}$ {line}");
        self.shell(&line, &developer).await?;
        Ok(name)
    }

    async fn is_deployed_or_under_way(&self, execution: &PipelineExecution) -> Outcome<bool> {
        let status = execution.status.clone().unwrap_or_default();
        if status.completion_time.is_none() {
            return Ok(true);
        }
        let production = self.program.environment(PRODUCTION).await?.status.and_then(|status| status.deployed);
        Ok(production.is_some_and(|deployed| Some(deployed.release) == status.release))
    }

    async fn approve(&self, name: &str) -> Outcome {
        let execution = self.program.execution(name).await?;
        let waiting = execution.status.and_then(|status| status.waiting_for);
        let Some(command) =
            waiting.filter(|waiting| waiting.step == StepName::ApprovalProduction).and_then(|waiting| waiting.command)
        else {
            println!("    {name} was approved before");
            return Ok(());
        };
        let approver = people::kubeconfig(&self.program.cluster, APPROVER).await?;
        println!("    {APPROVER}$ {command}    (with --yes, as nobody is asked here)");
        let said = self.shell(&format!("{command} --yes"), &approver).await?;
        said.lines().for_each(|line| println!("    {line}"));
        Ok(())
    }

    /// What production runs is what stage tested, and a visitor sees it.
    async fn check(&self, execution: &PipelineExecution) -> Outcome {
        let images = execution
            .status
            .as_ref()
            .and_then(|status| status.images.clone())
            .ok_or("the execution names no images")?;
        let running = self.program.running(PRODUCTION).await?;
        for (tier, image) in [("author", &images.aem), ("publish", &images.aem), ("dispatcher", &images.dispatcher)] {
            let found = running.get(tier).copied();
            ensure(found == Some(image.digest()), || format!("{tier} of production runs {found:?}, not {image}"))?;
            println!("    {tier:10} runs {}", image.digest());
        }
        self.program.serves(PRODUCTION, "Release 1").await.map_err(|failure| {
            failure.remedy(format!(
                "kubectl -n {NAMESPACE} get environments,pods; a run of another release may have been the last one"
            ))
        })?;
        let body = self.program.page(PRODUCTION, PAGE).await?;
        println!("    {PAGE}: {}", page::heading(&body).unwrap_or_default());
        Ok(())
    }

    async fn shell(&self, line: &str, kubeconfig: &PathBuf) -> Outcome<String> {
        let left = Process::new("sh")
            .args(["-c", line])
            .env("PATH", &self.path)
            .env("KUBECONFIG", kubeconfig)
            .drawn()
            .limit(Duration::from_secs(300))
            .remedy(format!("run it yourself: KUBECONFIG={} {line}", kubeconfig.display()))
            .run()
            .await?;
        Ok(left.stdout)
    }

    async fn farewell(&self, name: &str) -> Outcome {
        let kubeconfig = self.program.cluster.kubeconfig.display();
        let address = self.program.address(PRODUCTION).await?;
        let approver = people::kubeconfig(&self.program.cluster, APPROVER).await?;
        let folder: Vec<&str> = self.path.split(':').take(2).collect();
        println!(
            "
The page          {address}{PAGE}
                  (from this machine; from elsewhere: kubectl -n {NAMESPACE} port-forward service/{PRODUCTION}-dispatcher 8080:80)

A shell for it    export KUBECONFIG={kubeconfig}
                  export PATH={folder}:$PATH

Look around       kubectl launchway status {name} --namespace {NAMESPACE}
                  kubectl -n {NAMESPACE} get environments,pipelines,pipelineexecutions,pods
Kill a pod        kubectl -n {NAMESPACE} delete pod {PRODUCTION}-publish-0 --grace-period 0 --force
and see it heal   kubectl -n {NAMESPACE} get pods --watch     (back on the same image; the other pair serves meanwhile)
Run release 2     e2e/site/build.sh 2 /tmp/release-2
                  kubectl launchway push /tmp/release-2 --to {artifacts}:main --plain-http {registry}
                  kubectl launchway run {PIPELINE} --namespace {NAMESPACE} --name release-2 --watch
                  KUBECONFIG={approver} kubectl launchway approve release-2 --namespace {NAMESPACE}
Take it down      kubectl delete namespace {NAMESPACE}   (the site)
                  make cluster-down        (the cluster; make cluster-up brings it back, make clean removes everything)
",
            folder = folder.join(":"),
            artifacts = self.program.artifacts(),
            registry = self.program.cluster.registry,
            approver = approver.display(),
        );
        Ok(())
    }
}

/// A PATH on which kubectl finds the plugin.
fn plugin_path(cluster: &Cluster, launchway: &PathBuf) -> Outcome<String> {
    let folder = paths::cache_folder("plugin")?;
    let link = folder.join("kubectl-launchway");
    let binary =
        std::fs::canonicalize(launchway).map_err(|error| Failure::new(format!("{}: {error}", launchway.display())))?;
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&binary, &link).map_err(|error| Failure::new(format!("{}: {error}", link.display())))?;
    Ok(format!("{}:{}", folder.display(), cluster.path))
}

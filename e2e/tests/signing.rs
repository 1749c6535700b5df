//! Releases signed with the key in a Secret of the Pipeline: never unsigned instead, and refused under another key.

use std::{fs, path::Path, time::Duration};

use launchway_crds::{
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    executions::{step, succeeded, told},
    failure::ensure,
    process,
    program::{Options, Program},
    scenario::{self, Scenario},
};
use serde_json::json;

const SECRET: &str = "signer";
const FIELD: &str = "spec.images.signing.secretRef";
/// A build of small packages, and a deployment of the stand-in before it can be told.
const LONG: Duration = Duration::from_secs(300);

#[test]
fn a_release_is_signed_with_the_key_of_the_pipeline_or_not_made() -> Outcome {
    scenario::run("signing", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let mut pipeline = program.pipeline(&scenario.images.tester);
        pipeline["spec"]["images"]["signing"] = json!({"secretRef": {"name": SECRET}});
        program.apply(&pipeline).await?;
        let (site, keys) = (artifacts::site(1, None).await?, artifacts::folder()?);
        let artifact = program.push(site.path()).await?;

        program.run("without", Some(artifact.digest())).await?;
        not_made(&scenario.on_failure(&program, "without", program.ended("without", LONG)).await?, "cannot be read")?;

        key(keys.path(), "rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).await?;
        store(&program, &keys.path().join("rsa.pem")).await?;
        program.run("rsa", Some(artifact.digest())).await?;
        not_made(&scenario.on_failure(&program, "rsa", program.ended("rsa", LONG)).await?, "ECDSA")?;

        for name in ["right", "other"] {
            key(keys.path(), name, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]).await?;
        }
        store(&program, &keys.path().join("right.pem")).await?;
        program.run("right", Some(artifact.digest())).await?;
        let built =
            scenario.on_failure(&program, "right", program.begins("right", StepName::DeployStage, LONG)).await?;
        let release = built.status.and_then(|status| status.release).ok_or("the execution has no release")?.to_string();
        ensure(verifies(&scenario, &program, &release, &keys.path().join("right.pub")).await?, || "refused".into())?;
        ensure(!verifies(&scenario, &program, &release, &keys.path().join("other.pub")).await?, || "taken".into())
    })
}

/// No release, and the words say which field names the key, and what is wrong with it.
fn not_made(status: &PipelineExecutionStatus, why: &str) -> Outcome {
    let build = step(status, StepName::BuildImage)?;
    let message = build.message.clone().unwrap_or_default();
    ensure(!succeeded(status) && status.release.is_none() && build.state == StepState::Error, || told(status))?;
    ensure(message.contains(FIELD) && message.contains(why), || message.clone())?;
    println!("  build: {message}");
    Ok(())
}

/// Makes `NAME.pem` and `NAME.pub`.
async fn key(folder: &Path, name: &str, kind: &[&str]) -> Outcome {
    let (private, public) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.pub")));
    process::Program::new("openssl").args(["genpkey", "-out"]).args([&private]).args(kind).run().await?;
    process::Program::new("openssl")
        .args(["pkey", "-pubout", "-in"])
        .args([&private])
        .args(["-out"])
        .args([&public])
        .run()
        .await?;
    Ok(())
}

async fn store(program: &Program, private: &Path) -> Outcome {
    let pem = fs::read_to_string(private).map_err(|error| Failure::new(error.to_string()))?;
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"key.pem": pem},
    });
    program.apply(&object).await
}

/// Whether `launchway verify` finds the release as its provenance says, and signed with this key.
async fn verifies(scenario: &Scenario, program: &Program, release: &str, key: &Path) -> Outcome<bool> {
    let left = process::Program::new(&scenario.launchway)
        .args(["verify", release, "--plain-http", &program.cluster.registry, "--key"])
        .args([key])
        .answer()
        .await?;
    println!("  verify with {}: exit code {:?}", key.file_name().unwrap_or_default().display(), left.code);
    match left.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(Failure::new("launchway verify could not read").seen(&left.stderr)),
    }
}

//! What each container of a build sees.

use launchway_crds::git::GitSource;

use super::*;

const IMAGE: &str = "reg.example/builder@sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn sources(builder: &serde_json::Value) -> Sources {
    let git = json!({
        "url": "https://git.example.com/wknd.git", "branch": "main", "secretRef": { "name": "login" }, "builder": builder,
    });
    let git: GitSource = serde_json::from_value(git).unwrap();
    Sources {
        remote: git.remote().unwrap(),
        git,
        builder: IMAGE.parse().unwrap(),
        pipeline: "wknd".into(),
        pipeline_uid: "p-1".into(),
        cache_epoch: "monday".into(),
    }
}

fn parts(builder: &serde_json::Value) -> Parts {
    parts_of(builder, None)
}

fn parts_of(builder: &serde_json::Value, version: Option<&ArtifactsVersion>) -> Parts {
    let execution: PipelineExecution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "wknd-1", "namespace": "wknd", "uid": "u" },
        "spec": { "pipelineRef": { "name": "wknd" } },
    }))
    .unwrap();
    let commit: Commit = serde_json::from_value(json!({
        "url": "https://git.example.com/wknd.git", "ref": "refs/heads/main", "id": "a".repeat(40),
        "resolvedAt": "2026-11-27T10:00:00Z",
    }))
    .unwrap();
    let packages: PackageRepository = serde_json::from_value(json!({
        "repository": "reg.example/artifacts", "secretRef": { "name": "registry" },
    }))
    .unwrap();
    let sources = sources(builder);
    let key = Sha256Digest::from_bytes([7; 32]);
    let about = Build { sources: &sources, commit: &commit, key, packages: &packages, version };
    build(&execution, &about, &installation())
}

fn installation() -> Installation {
    Installation { image: "launchway:1".into(), build_memory: "256Mi".into(), builder: None }
}

fn mounts(container: &Container) -> Vec<(&str, &str, bool)> {
    let all = container.volume_mounts.as_deref().unwrap_or_default();
    all.iter().map(|one| (one.name.as_str(), one.mount_path.as_str(), one.read_only == Some(true))).collect()
}

/// What a container sees: the last of two of one name.
fn seen<'a>(container: &'a Container, name: &str) -> &'a str {
    let found = container.env.as_ref().unwrap().iter().rfind(|env| env.name == name);
    found.and_then(|env| env.value.as_deref()).unwrap_or_default()
}

#[test]
fn each_container_sees_only_what_its_part_needs() {
    let parts = parts(&json!({}));
    let [tools, fetch, commands] = parts.init_containers.as_slice() else { panic!("three containers come first") };
    let [pack] = parts.containers.as_slice() else { panic!("one container uploads") };
    assert_eq!([&tools.name, &fetch.name, &commands.name, &pack.name], [TOOLS, FETCH, BUILD, PACK]);
    assert_eq!(mounts(tools), [("tools", PROGRAM, false)]);
    assert!(mounts(fetch).contains(&("login", LOGIN, true)) && mounts(fetch).contains(&("tools", PROGRAM, true)));
    // The commands of the project find neither login, and none of our programs.
    assert_eq!(
        mounts(commands),
        [("work", SOURCE, false), ("work", HOME, false), ("work", END, false), ("work", "/tmp", false)]
    );
    assert!(mounts(pack).iter().all(|(_, _, read_only)| *read_only), "{:?}", mounts(pack));
    assert!(mounts(pack).iter().any(|(name, _, _)| *name == "target"));
    assert_eq!((commands.image.as_deref(), pack.image.as_deref()), (Some(IMAGE), Some("launchway:1")));
}

#[test]
fn every_container_is_restricted_and_bounded() {
    let parts = parts(&json!({}));
    for container in parts.init_containers.iter().chain(&parts.containers) {
        let context = container.security_context.as_ref().unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
        assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
        let limits = container.resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert!(limits.contains_key("memory"), "{}", container.name);
    }
    let work = parts.volumes.iter().find(|volume| volume.name == "work").unwrap();
    assert_eq!(work.empty_dir.as_ref().unwrap().size_limit, Some(Quantity("8Gi".into())));
}

#[test]
fn variables_are_cloud_managers_and_nobody_changes_ours() {
    let parts = parts(&json!({
        "variables": [{ "name": "BRANCH", "value": "mine" }, { "name": "MAVEN_OPTS", "value": "-Xmx1g" }],
        "secrets": [{ "name": "TOKEN", "secretKeyRef": { "name": "nexus", "key": "token" } }],
    }));
    let commands = &parts.init_containers[2];
    for (name, value) in [
        ("CM_BUILD", "true"),
        ("BRANCH", "main"),
        ("CM_PIPELINE_ID", "p-1"),
        ("CM_PIPELINE_NAME", "wknd"),
        ("CM_PROGRAM_NAME", "wknd"),
        ("HOME", HOME),
        ("MAVEN_OPTS", "-Xmx1g"),
    ] {
        assert_eq!(seen(commands, name), value, "{name}");
    }
    let token = commands.env.as_ref().unwrap().iter().find(|env| env.name == "TOKEN").unwrap();
    let reference = token.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap();
    assert_eq!((reference.name.as_str(), reference.key.as_str()), ("nexus", "token"));
}

#[test]
fn a_cache_is_the_pipelines_and_is_prepared_by_the_checkout() {
    let parts = parts(&json!({ "cache": { "size": "2Gi" } }));
    let claim = parts.volumes.iter().find_map(|volume| volume.persistent_volume_claim.as_ref()).unwrap();
    assert_eq!(claim.claim_name, "wknd-build-cache");
    let commands = &parts.init_containers[2];
    let maven = commands.volume_mounts.as_ref().unwrap().iter().find(|one| one.mount_path.ends_with("repository"));
    assert_eq!(maven.unwrap().sub_path.as_deref(), Some("maven"));
    let request = seen(&parts.init_containers[1], "LAUNCHWAY_FETCH");
    let request: crate::worker::checkout::Request = serde_json::from_str(request).unwrap();
    let cache = request.cache.unwrap();
    assert_eq!(
        (cache.epoch.as_str(), cache.parts.as_slice()),
        ("monday", ["maven", "npm", "cache"].map(String::from).as_slice())
    );
    assert_eq!(request.bytes, Some(8 << 30));
}

#[test]
fn requests_are_what_the_workers_read() {
    let parts = parts(&json!({}));
    let request = seen(&parts.containers[0], "LAUNCHWAY_PACK");
    let request: crate::worker::pack::Request = serde_json::from_str(request).unwrap();
    assert_eq!((request.execution.as_str(), request.commands.len()), ("wknd/wknd-1", 1));
    let resolve = resolve(&sources(&json!({})), &installation());
    let request = seen(&resolve.containers[0], "LAUNCHWAY_RESOLVE");
    let request: crate::worker::resolve::Request = serde_json::from_str(request).unwrap();
    assert_eq!(request.reference, "refs/heads/main");
}

#[test]
fn a_generated_version_is_told_to_all_who_need_it_and_to_nobody_otherwise() {
    let version: ArtifactsVersion = "2019.926.121356.0000020490".parse().unwrap();
    for told in [Some(&version), None] {
        let parts = parts_of(&json!({}), told);
        let [_, fetch, commands] = parts.init_containers.as_slice() else { panic!("three containers come first") };
        let fetch: crate::worker::checkout::Request = serde_json::from_str(seen(fetch, "LAUNCHWAY_FETCH")).unwrap();
        let pack: crate::worker::pack::Request =
            serde_json::from_str(seen(&parts.containers[0], "LAUNCHWAY_PACK")).unwrap();
        assert_eq!((fetch.version.as_ref(), pack.version.as_ref()), (told, told));
        let variable = commands.env.as_ref().unwrap().iter().find(|env| env.name == "ARTIFACTS_VERSION");
        assert_eq!(variable.and_then(|one| one.value.clone()), told.map(ToString::to_string));
    }
}

/// The shell that runs the commands, on this machine.
#[test]
fn the_first_command_that_fails_ends_the_build_and_is_written_down() {
    let run = |commands: &[&str]| {
        let end = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", RUN, "build"])
            .args(commands)
            .env("LAUNCHWAY_END", end.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{commands:?}");
        std::fs::read_to_string(end.path().join("commands")).unwrap()
    };
    assert_eq!(run(&["true", "test \"$0\" != x"]), "0 0");
    assert_eq!(run(&["true", "exit 3", "touch /never"]), "2 3");
    assert_eq!(run(&["false; true"]), "1 1");
}

#[test]
fn a_request_is_never_larger_than_a_limit_of_the_pipeline() {
    let own: Resources = serde_json::from_value(json!({ "limits": { "memory": "256Mi" } })).unwrap();
    let all = resources(&own);
    let requests = all.requests.unwrap();
    assert!(!requests.contains_key("memory") && requests.contains_key("cpu"));
    assert_eq!(all.limits.unwrap()["memory"].0, "256Mi");
}

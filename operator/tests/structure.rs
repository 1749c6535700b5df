//! The dependency rule: what decides and what builds bytes knows no client, no runtime and no clock.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Words that a pure module must not use, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("kube::Client", "it must not reach a cluster"),
    ("kube::Api", "it must not reach a cluster"),
    ("kube::api::", "it must not reach a cluster"),
    ("Client,", "it must not reach a cluster"),
    ("tokio", "it must not wait"),
    ("async fn", "it must not wait"),
    (".await", "it must not wait"),
    ("reqwest", "it must not reach a network"),
    ("SystemTime", "time is an input"),
    ("Timestamp::now", "time is an input"),
    ("Instant::now", "time is an input"),
    ("std::env", "the environment is an input"),
    ("std::process", "it must not start anything"),
    ("crate::observe", "facts are an input"),
    ("crate::effects", "it only says what is to be done"),
    ("crate::registry", "it must not reach a network"),
];

/// Whether a file holds tests and their helpers alone.
fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testzip")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            found.push(path);
        }
    }
}

/// The lines of a file that are code: no comments, no tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line uses a word of the list. A field whose name goes on after `.await` waits for nothing.
fn uses(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let next = line[at + word.len()..].chars().next();
        word != ".await" || !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
    })
}

#[test]
fn pure_modules_stay_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    for module in ["src/plan", "src/render", "src/image", "src/attest", "src/gate", "../crds/src"] {
        sources(&root.join(module), &mut files);
    }
    assert!(files.len() > 30, "the modules are not where this test looks: {} files", files.len());
    let mut broken = vec![];
    for file in files {
        if file.components().any(|part| part.as_os_str() == "bin") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code(&text) {
            for (word, why) in FORBIDDEN {
                if uses(line, word) {
                    broken.push(format!("{}:{}: `{word}`: {why}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The files that a crate root includes by `#[path]`, with everything in the folder of a `mod.rs`.
fn included(file: &Path, found: &mut Vec<PathBuf>) {
    let folder = file.parent().unwrap();
    for line in fs::read_to_string(file).unwrap().lines() {
        let Some(path) = line.trim().strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) else {
            continue;
        };
        let path = folder.join(path).canonicalize().unwrap();
        if path.ends_with("mod.rs") {
            sources(path.parent().unwrap(), found);
        } else {
            found.push(path);
        }
    }
}

/// `fuzz/parsers` compiles some files of the product a second time, and is no part of the workspace: what such a file
/// newly names would be missing there, and nobody would see it before the next run of the fuzzer.
#[test]
fn the_fuzzed_parsers_have_all_that_they_name() {
    let parsers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/parsers/src");
    let modules = fs::read_to_string(parsers.join("lib.rs")).unwrap();
    let mut files = vec![];
    for root in fs::read_dir(&parsers).unwrap() {
        included(&root.unwrap().path(), &mut files);
    }
    assert!(files.len() > 20, "the parsers are not where this test looks: {} files", files.len());
    let mut missing = vec![];
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code(&text) {
            for start in ["launchway_crds::", "crate::"] {
                let named = line.split(start).skip(1);
                for module in named.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()) {
                    if !modules.contains(&format!("pub mod {module};")) {
                        missing.push(format!("{}:{}: {start}{module}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "add these to fuzz/parsers/src/lib.rs:\n{}", missing.join("\n"));
}

/// The model stands apart, with a lock file of its own, and cargo refuses one that does not know what the operator depends on
/// by now: nobody would see that before the next run of the model.
#[test]
fn the_models_lock_file_knows_what_it_is_built_from() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lock = fs::read_to_string(root.join("model/Cargo.lock")).unwrap();
    for (folder, name) in [("operator", "launchway-operator"), ("crds", "launchway-crds")] {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let wanted = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        let wanted = wanted.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty());
        let mut wanted: Vec<&str> = wanted.map(|line| line.split(['.', ' ', '=']).next().unwrap()).collect();
        let package =
            lock.split("[[package]]").find(|package| package.contains(&format!("name = \"{name}\"\n"))).unwrap();
        let known = package.lines().filter_map(|line| line.strip_prefix(" \"")?.split(['"', ' ']).next());
        let mut known: Vec<&str> = known.collect();
        wanted.sort_unstable();
        known.sort_unstable();
        assert!(wanted.len() > 3, "{folder}/Cargo.toml is not as this test reads it: {wanted:?}");
        assert_eq!(known, wanted, "cd model; cargo update --workspace");
    }
}

/// What code may do to objects.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// It looks and decides.
    Reads,
    /// It writes, but never pods.
    Effects,
    /// Commands, the Lease and Jobs: what reads pods there writes nothing.
    Elsewhere,
}

/// What a file does that it must not in its place, as number and text of a line.
fn trespass(text: &str, place: Place) -> Option<(usize, &str)> {
    let writes =
        [".create(", ".patch(", ".replace(", ".replace_status(", ".patch_status(", ".delete(", ".delete_collection("];
    let is_write = |line: &str| {
        // Texts have a replace of their own.
        let on_text = line.contains(".replace(") && (line.contains('"') || line.contains('\''));
        writes.iter().any(|write| line.contains(write)) && !line.contains("status::replace(") && !on_text
    };
    let is_pod = |line: &str| line.contains("<Pod>") || line.contains("\"pods\"");
    let write = code(text).find(|(_, line)| is_write(line));
    let pod = code(text).find(|(_, line)| is_pod(line));
    let found = match place {
        Place::Reads => write,
        Place::Effects => pod,
        Place::Elsewhere => write.and(pod),
    };
    found.map(|(number, line)| (number + 1, line))
}

/// Invariant I3, and that one place writes.
#[test]
fn only_effects_write_and_nobody_writes_pods() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&root, &mut files);
    let mut seen = [0; 3];
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let (place, rule) = match inside.iter().next().unwrap().to_str().unwrap() {
            "plan" | "render" | "observe" | "controllers" => (Place::Reads, "writes belong into effects"),
            "effects" => (Place::Effects, "no effect may touch a pod"),
            _ => (Place::Elsewhere, "what reads pods must not write"),
        };
        seen[place as usize] += 1;
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(trespass(&text, place), None, "{}: {rule}", file.display());
    }
    assert!(seen.iter().all(|count| *count > 5), "modules are not where this test looks: {seen:?}");
}

#[test]
fn a_write_in_the_wrong_place_is_found() {
    let heals = "let pods: Api<Pod> = Api::namespaced(client, namespace);\npods.delete(&name, &params).await?;";
    let places = [(Place::Effects, Some(1)), (Place::Reads, Some(2)), (Place::Elsewhere, Some(1))];
    for (place, line) in places {
        assert_eq!(trespass(heals, place).map(|(line, _)| line), line);
    }
    let looks = "let pods = Api::<Pod>::all(client);\nlet name = name.replace('.', \"-\");\n// pods.delete(&name)";
    assert_eq!(trespass(looks, Place::Reads), None);
    assert_eq!(trespass(looks, Place::Effects).map(|(line, _)| line), Some(1));
}

/// What is compiled and named in no script is never run, and passes.
#[test]
fn every_test_is_run_by_a_script() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let scripts = [read("hack/unit.sh"), read("hack/test.sh"), read("Makefile")].concat();
    let named: Vec<&str> = scripts.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut count = 0;
    for folder in ["crds/tests", "operator/tests", "e2e/tests"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file() {
                count += 1;
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert!(named.contains(&name), "{}: name it in hack/unit.sh, hack/test.sh or Makefile", path.display());
            }
        }
    }
    assert!(count > 40, "tests are not where this test looks: {count}");
}

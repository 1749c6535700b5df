//! Writes one YAML file for each CustomResourceDefinition into the folder that it is given.

use std::{env, fs, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: crdgen FOLDER");
        return ExitCode::FAILURE;
    };
    for crd in launchway_crds::all_crds() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let written = serde_yaml::to_string(&crd)
            .map_err(|error| error.to_string())
            .and_then(|text| fs::write(&path, text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("wrote {}", path.display());
    }
    ExitCode::SUCCESS
}

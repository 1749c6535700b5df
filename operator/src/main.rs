//! One binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("build-images") => launchway_operator::worker::build::main(),
        _ => ExitCode::from(64),
    }
}

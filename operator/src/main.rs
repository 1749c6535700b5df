//! One binary.

use std::process::ExitCode;

use clap::Parser;
use launchway_operator::cli::{inspect, push};

#[derive(Parser)]
enum Command {
    Push(push::PushArgs),
    Inspect(inspect::InspectArgs),
    BuildImages,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::BuildImages => return launchway_operator::worker::build::main(),
        Command::Inspect(args) => {
            inspect::run(&args, &mut std::io::stdout()).map(|ok| if ok { 0 } else { 1 })
        }
        Command::Push(args) => match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime
                .block_on(push::run(&args, &mut std::io::stdout()))
                .map(|_| 0),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

//! `launchway`, also installed as `kubectl-launchway`.

fn main() -> std::process::ExitCode {
    launchway_operator::cli::main()
}

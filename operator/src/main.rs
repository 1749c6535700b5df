//! `launchway`, also installed as `kubectl-launchway`.

use std::process::ExitCode;

use launchway_operator::cli;

fn main() -> ExitCode {
    // Two libraries bring TLS and neither chooses a provider: without this the first connection panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("launchway: a TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let cli = cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(cli::dispatch(cli, launchway_operator::controllers::run));
            // A read of the terminal cannot be called off: it must not hold up the end.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("launchway: no threads: {error}");
            ExitCode::FAILURE
        }
    }
}

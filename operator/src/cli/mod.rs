//! The command line: a kubectl plugin for people, and what runs inside the cluster.

pub mod approval;
pub mod approve;
pub mod cache;
pub mod cancel;
pub mod changes;
pub mod completion;
pub mod follow;
pub mod gate;
pub mod heading;
pub mod image_build;
pub mod inspect;
pub mod logs;
pub mod override_metrics;
pub mod parity;
pub mod plan;
pub mod plan_diff;
pub mod promote;
pub mod push;
pub mod re_execute;
pub mod registry;
pub mod reject;
pub mod releases;
pub mod report;
pub mod request;
pub mod resume;
pub mod roll_back;
pub mod run;
pub mod schedule;
pub mod screen;
pub mod session;
pub mod start;
pub mod status;
pub mod table;
pub mod times;
pub mod transitions;
pub mod tree;
pub mod verify;

#[cfg(test)]
pub(crate) mod samples;

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{client::CallError, config::OperatorArgs, controllers, operator_command, worker::Worker};

const INSIDE: &str = "\
Inside the cluster:
  operator  Run the operator
  worker    Do one task of an execution, as its Jobs do

Exit codes:
  0  done; with -w: the execution succeeded
  1  the execution failed or was cancelled (with -w); packages are refused; a release differs from its provenance;
     a plan would change something
  2  the command could not do what it was asked: usage, connection, refusal
  3  the time of --timeout is over";

/// Name of this program where kubectl finds it.
const PLUGIN: &str = "kubectl-launchway";

/// AEM and Sling packages as immutable images: built once, tested on stage, approved, rolled to production.
#[derive(Debug, Parser)]
#[command(
    name = "launchway",
    version,
    max_term_width = 110,
    subcommand_help_heading = "For people",
    after_help = INSIDE,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands. Those inside the cluster are listed in the text after the help: clap has one list only.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check packages without pushing them
    Inspect(inspect::InspectArgs),
    /// Push the packages of a project into a registry, as one artifact
    Push(push::PushArgs),
    /// Build images by hand
    #[command(subcommand)]
    Image(image_build::ImageCommand),
    /// Build a release again from what its provenance names, and compare
    Verify(verify::VerifyArgs),
    /// Start an execution of a pipeline
    Run(run::RunArgs),
    /// Show the newest executions, or one with its steps and what it waits for
    Status(status::StatusArgs),
    /// Show what a release would change on an Environment, or the objects that it would be
    Plan(plan::PlanArgs),
    /// Take the latest release that a stage-only pipeline tested to production
    Promote(promote::PromoteArgs),
    /// Do the last deployment of a pipeline to production again
    ReExecute(re_execute::ReExecuteArgs),
    /// Take production back to an earlier release, or list those
    RollBack(roll_back::RollBackArgs),
    /// Approve exactly the release that waits
    ///
    /// On stage, for production, or as the go of the support organisation: whichever the execution waits for.
    #[command(visible_alias = "managed-go")]
    Approve(approve::ApproveArgs),
    /// Reject what an execution waits for: an approval, a time, a go, failing metrics
    Reject(reject::RejectArgs),
    /// Accept the failing important metrics of a gate
    Override(override_metrics::OverrideArgs),
    /// Choose when production is deployed
    Schedule(schedule::ScheduleArgs),
    /// Let a deployment that pauses go on, or stop it
    Resume(resume::ResumeArgs),
    /// Stop an execution
    Cancel(cancel::CancelArgs),
    /// Look after the caches of builds
    Cache(cache::CacheArgs),
    /// Show the log of a step's Job
    Logs(logs::LogsArgs),
    /// Show what a step measured and found
    Report(report::ReportArgs),
    /// Print what a shell needs to complete this command
    Completion(completion::CompletionArgs),
    /// Run the operator
    #[command(hide = true)]
    Operator(Box<OperatorArgs>),
    /// Do one task of an execution, as its Jobs do
    #[command(hide = true, subcommand)]
    Worker(Worker),
}

/// How a command of a person ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Done, or the execution succeeded.
    Done,
    /// The execution failed or was cancelled.
    Failed,
    /// The time was over.
    TimedOut,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::SUCCESS,
            End::Failed => Self::from(1),
            End::TimedOut => Self::from(3),
        }
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The apiserver refused, or did not answer.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Anything that the command itself found; the text says what to do.
    #[error("{0}")]
    Said(String),
    /// The terminal or pipe is gone.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// From a sentence.
    pub fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }
}

/// Writes a line of the result. `println!` would panic when the reader of a pipe has gone.
///
/// # Errors
/// When nobody reads.
pub fn say(line: impl Display) -> Result<(), CliError> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Writes objects as they are.
///
/// # Errors
/// When nobody reads.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    say(serde_json::to_string_pretty(value).map_err(|error| CliError::said(error.to_string()))?)
}

/// Reads the arguments; ends the process with help or a usage error where clap would, and with an answer where kubectl
/// asks for completion.
#[must_use]
fn parse() -> Cli {
    if let Some(lines) = completion::asked() {
        let written = lines.iter().try_for_each(say);
        std::process::exit(i32::from(written.is_err()));
    }
    let program = std::env::args_os().next().unwrap_or_default();
    let plugin = Path::new(&program).file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubectl-"));
    let mut command = Cli::command();
    if plugin {
        command = command.name(PLUGIN).bin_name("kubectl launchway");
    }
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// The most threads that wait and decide; what hashes and compresses has threads of its own.
const THREADS_MAX: usize = 4;

/// The whole program. It is here and not in the binary so that all of its code is generated once, with the library,
/// and not again for everything that links to it.
#[must_use]
pub fn main() -> ExitCode {
    // Two libraries bring TLS and neither chooses a provider: without this the first connection panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("launchway: a TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let cli = parse();
    // A thread for each core of a large node would cost memory and do nothing: this program waits for others.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(dispatch(cli));
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

/// Does what was asked.
async fn dispatch(cli: Cli) -> ExitCode {
    let only_reads = match &cli.command {
        Command::Status(_) | Command::Plan(_) | Command::Logs(_) | Command::Report(_) | Command::Completion(_) => true,
        Command::RollBack(args) => args.to.is_none(),
        _ => false,
    };
    let result = match cli.command {
        Command::Operator(args) => return operator_command::run(*args, controllers::run).await,
        Command::Worker(worker) => return worker.run().await,
        Command::Inspect(args) => return inspect::main(&args),
        Command::Push(args) => push::run(&args, &mut std::io::stdout())
            .await
            .map(|_| End::Done)
            .map_err(|error| CliError::said(error.to_string())),
        Command::Image(image_build::ImageCommand::Build(args)) => image_build::run(&args, &mut std::io::stdout()).await,
        Command::Verify(args) => verify::run(&args, &mut std::io::stdout()).await,
        Command::Run(args) => run::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Plan(args) => plan::run(args).await,
        Command::Promote(args) => promote::run(args).await,
        Command::ReExecute(args) => re_execute::run(args).await,
        Command::RollBack(args) => roll_back::run(args).await,
        Command::Approve(args) => approve::run(args).await,
        Command::Reject(args) => reject::run(args).await,
        Command::Override(args) => override_metrics::run(args).await,
        Command::Schedule(args) => schedule::run(args).await,
        Command::Resume(args) => resume::run(args).await,
        Command::Cancel(args) => cancel::run(args).await,
        Command::Cache(args) => cache::run(args).await,
        Command::Logs(args) => logs::run(args).await,
        Command::Report(args) => report::run(args).await,
        Command::Completion(args) => completion::run(&args),
    };
    match result {
        Ok(end) => end.into(),
        // `status | head` is no failure. A change that was not made because nobody reads what it shows, is one.
        Err(CliError::Output(error)) if only_reads && error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        for command in Cli::command().get_subcommands() {
            let about = command.get_about().unwrap().to_string();
            let listed = help.lines().any(|line| line.contains(command.get_name()) && line.contains(&about));
            assert!(listed, "{} is not in\n{help}", command.get_name());
        }
    }

    #[test]
    fn commands_read_their_arguments() {
        let Command::Run(args) = parse("launchway run wknd --artifact main -n wknd -w --timeout 1h").unwrap() else {
            panic!("another command")
        };
        assert_eq!((args.pipeline.as_str(), args.start.watch), ("wknd", true));
        assert!(matches!(parse("launchway worker smoke-test").unwrap(), Command::Worker(Worker::SmokeTest)));
        assert!(matches!(parse("launchway status"), Ok(Command::Status(_))));
        assert!(matches!(parse("launchway promote"), Ok(Command::Promote(_))));
        let Command::Plan(args) = parse("launchway plan prod --execution wknd-1 -o yaml").unwrap() else {
            panic!("another command")
        };
        assert_eq!((args.environment.as_str(), args.output), ("prod", plan::Form::Yaml));
        assert!(matches!(parse("launchway managed-go wknd-1"), Ok(Command::Approve(_))));
        let line = "launchway schedule wknd-1 2026-11-21T22:00 --time-zone Europe/Zurich";
        assert!(matches!(parse(line), Ok(Command::Schedule(_))));
        for (line, part) in [
            ("launchway image build a.zip", "--to"),
            ("launchway verify", "<RELEASE>"),
            ("launchway run", "<PIPELINE>"),
            ("launchway run wknd --artifact sha256:12", "sha256:12"),
            ("launchway run wknd --artifact a/b", "a/b"),
            ("launchway run wknd --name Wknd", "Wknd"),
            ("launchway run wknd --emergency", "--reason"),
            ("launchway run wknd --artifact main --source wknd-7", "--source"),
            ("launchway roll-back wknd --yes", "--to"),
            ("launchway roll-back wknd --to wknd-7 -o json", "--output"),
            ("launchway schedule wknd-1", "<now|DATE>"),
            ("launchway schedule wknd-1 now --time-zone Mars", "Mars"),
            ("launchway reject wknd-1", "--reason"),
            ("launchway plan", "<ENVIRONMENT>"),
            ("launchway plan prod --release r/x:1 --execution wknd-1", "--execution"),
            ("launchway plan prod -o table", "table"),
            ("launchway status -w", "<NAME>"),
            ("launchway status x -w -o json", "--output"),
            ("launchway status x --timeout 5m", "--watch"),
            ("launchway logs x nostep", "nostep"),
            ("launchway report x codeQuality -o xml", "xml"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}

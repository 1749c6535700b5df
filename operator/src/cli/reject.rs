//! `launchway reject`: says no to a production deployment that waits for approval.

use clap::Args;
use launchway_crds::names::requests::{REJECT, REJECTED_BY};

use super::{
    CliError, End, request, say,
    session::{Connection, Session},
};

/// Arguments of `reject`.
#[derive(Args, Debug)]
pub struct RejectArgs {
    /// Name of the execution
    pub name: String,
    /// Why; everyone can read it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Rejects.
///
/// # Errors
/// When the execution waits for no approval, or the apiserver refuses.
pub async fn run(args: RejectArgs) -> Result<End, CliError> {
    let reason = request::reason(&args.reason)?;
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    request::awaiting_approval(&execution)?;
    let me = session.me().await?;
    let annotations = [(REJECT, reason.as_str()), (REJECTED_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{} rejected by {me}: production stays as it is", args.name))?;
    Ok(End::Done)
}

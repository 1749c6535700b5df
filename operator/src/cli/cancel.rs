//! `launchway cancel`: stops an execution.

use clap::Args;
use kube::ResourceExt;
use launchway_crds::names::requests::{CANCEL, CANCELLED_BY};

use super::{
    CliError, End, request, say,
    session::{Connection, Session},
};

/// Arguments of `cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// Name of the execution
    pub name: String,
    /// Why; everyone can read it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Cancels.
///
/// # Errors
/// When the execution has ended, or the apiserver refuses.
pub async fn run(args: CancelArgs) -> Result<End, CliError> {
    let reason = request::reason(&args.reason)?;
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    if let Some((_, how)) = execution.status.as_ref().and_then(request::ended) {
        return Err(CliError::said(format!("{} has ended: {how}", execution.name_any())));
    }
    let me = session.me().await?;
    let annotations = [(CANCEL, reason.as_str()), (CANCELLED_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{} cancelled by {me}: it ends at the next safe point", args.name))?;
    Ok(End::Done)
}

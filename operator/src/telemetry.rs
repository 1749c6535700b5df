//! The log: to stderr, one line an event, JSON with flat fields for machines or text for people.

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::config::LogFormat;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "--log `{filter}` is no filter: {source}; write a level such as info, or directives such as info,kube=debug"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else logs already.
    #[error("the log is set up twice: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the log, for the whole process. Panics go to it too.
///
/// # Errors
/// When the filter cannot be read, or a log exists already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let source = |source| TelemetryError::Filter { filter: filter.into(), source };
    let filter = EnvFilter::try_new(filter).map_err(source)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).finish().try_init()?,
        LogFormat::Text => builder.with_ansi(false).with_target(false).finish().try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("without a message"));
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = init(LogFormat::Json, "info,kube=loudly").unwrap_err();
        assert!(error.to_string().contains("--log `info,kube=loudly`"), "{error}");
    }
}

//! Small types that several kinds share.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The name of an object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalName {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// "No generation was observed yet".
#[must_use]
pub const fn none_seen() -> i64 {
    -1
}

/// A span of time as people write it: `90s`, `15m`, `336h`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span in seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// The span for arithmetic with timestamps.
    #[must_use]
    pub fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(i64::try_from(self.as_secs()).unwrap_or(i64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// Why a text is no [`Span`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a span of time: write hours, minutes and seconds in this order, such as 90s, 15m or 1h30m")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_string());
        let mut rest = text;
        let mut seconds = 0_u64;
        for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((number, tail)) = rest.split_once(unit) {
                let number: u64 = number.parse().map_err(|_| error())?;
                seconds = number.checked_mul(factor).and_then(|part| seconds.checked_add(part)).ok_or_else(error)?;
                rest = tail;
            }
        }
        // Whatever the schema's pattern lets pass is read.
        if text.is_empty() || !rest.is_empty() || seconds > 10_000 * 3600 + 10_000 * 60 + 100_000 {
            return Err(error());
        }
        Ok(Self::from_secs(seconds))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.as_secs();
        let parts = [(all / 3600, 'h'), (all % 3600 / 60, 'm'), (all % 60, 's')];
        if all == 0 {
            return f.write_str("0s");
        }
        parts.iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 16,
            "pattern": "^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$",
            "minLength": 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("336h", 1_209_600), ("1h30m", 5400), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().unwrap().as_secs(), seconds, "{text}");
        }
        assert_eq!(Span::from_secs(90).to_string(), "1m30s");
        for bad in ["", "5", "m", "1m1h", "-1s", "1.5h", "99999999999999999999h", "90000h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}

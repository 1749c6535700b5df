//! A deployment that stops half-way until somebody has looked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Span;

/// Where a Rolling deployment to production pauses: some pairs serve the new release, the others the one before, and
/// somebody with the verb `cancel` on the Pipeline resumes it or stops it. A way back and a deployment that is done again
/// do not pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// After so many pairs. An Environment with no more pairs than that does not pause, nor does strategy AllAtOnce.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub after_pairs: i32,
    /// How long it waits for somebody. Then the deployment is stopped where it is.
    #[serde(default = "half_a_day")]
    pub timeout: Span,
}

const fn one() -> i32 {
    1
}

/// As long as Cloud Manager's canary is left alone.
const fn half_a_day() -> Span {
    Span::from_secs(12 * 3600)
}

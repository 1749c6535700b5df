//! An Environment in outline.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use launchway_crds::{Environment, conditions::types};
use serde::Deserialize;

use super::{lean, lenient, outline_of};

/// What is kept in memory of an Environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct EnvironmentOutline {
    /// Who it is.
    #[serde(deserialize_with = "lean")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "lenient")]
    status: Status,
}

outline_of!(EnvironmentOutline, Environment);

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Status {
    lock: Option<Lock>,
    #[serde(default)]
    conditions: Drifted,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Lock {
    uid: String,
}

/// Whether one of the conditions says that somebody changed it by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Vec<Condition>")]
struct Drifted(bool);

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl From<Vec<Condition>> for Drifted {
    fn from(all: Vec<Condition>) -> Self {
        Self(all.iter().any(|one| one.type_ == types::DRIFTED && one.status == "True"))
    }
}

impl EnvironmentOutline {
    /// Whether the execution of this UID has it locked.
    #[must_use]
    pub fn is_held_by(&self, uid: &str) -> bool {
        self.status.lock.as_ref().is_some_and(|lock| lock.uid == uid)
    }

    /// Whether it says that somebody changed it by hand.
    #[must_use]
    pub const fn has_drifted(&self) -> bool {
        self.status.conditions.0
    }
}

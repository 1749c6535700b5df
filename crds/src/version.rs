//! The versions that a build gives to packages, in the form of Cloud Manager.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What becomes of the version of a Maven project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProjectVersion {
    /// Packages carry the version that was committed.
    #[default]
    Keep,
    /// Packages carry a version of the execution's own.
    Generate,
}

/// A generated version, `YYYY.MDD.HHMMSS.NNNNNNNNNN`: year, month without a leading zero and day, time (UTC), and a number
/// of the execution. A version of a later second is greater, as Maven and OSGi compare: number by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactsVersion(String);

/// Why a text is no [`ArtifactsVersion`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no generated version: it has the form YYYY.MDD.HHMMSS.NNNNNNNNNN")]
pub struct ArtifactsVersionError(String);

/// Lengths of the numbers of a version, least and most.
const NUMBERS: [(usize, usize); 4] = [(4, 4), (3, 4), (6, 6), (10, 10)];

impl ArtifactsVersion {
    /// The version of an execution that began to build at this time.
    #[must_use]
    pub fn new(at: Timestamp, execution: u32) -> Self {
        Self(format!("{}.{execution:010}", at.strftime("%Y.%-m%d.%H%M%S")))
    }

    /// What a project gets in place of the version that was committed. One of exactly three segments that is no snapshot
    /// is kept, and goes on with this version as its fourth segment; every other one gives way.
    #[must_use]
    pub fn in_place_of(&self, committed: &str) -> String {
        let segments: Vec<&str> = committed.split('.').collect();
        let merges = segments.len() == 3
            && segments.iter().all(|segment| !segment.is_empty())
            && !committed.contains("${")
            && !committed.ends_with("-SNAPSHOT");
        if merges { format!("{committed}.{}", self.segment()) } else { self.0.clone() }
    }

    /// The version as one segment, which is compared by its characters: the month has two digits here.
    fn segment(&self) -> String {
        let numbers: Vec<&str> = self.0.split('.').collect();
        match numbers.as_slice() {
            [year, day, rest @ ..] => format!("{year}_{day:0>4}_{}", rest.join("_")),
            _ => self.0.clone(),
        }
    }
}

impl fmt::Display for ArtifactsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ArtifactsVersion {
    type Err = ArtifactsVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<&str> = text.split('.').collect();
        let fits = numbers.len() == NUMBERS.len()
            && numbers.iter().zip(NUMBERS).all(|(number, (least, most))| {
                (least..=most).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
            });
        if fits { Ok(Self(text.to_string())) } else { Err(ArtifactsVersionError(text.chars().take(40).collect())) }
    }
}

impl Serialize for ArtifactsVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ArtifactsVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ArtifactsVersion {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ArtifactsVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 27,
            "pattern": r"^[0-9]{4}\.[0-9]{3,4}\.[0-9]{6}\.[0-9]{10}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(at: &str) -> ArtifactsVersion {
        ArtifactsVersion::new(at.parse().unwrap(), 20490)
    }

    /// The examples of the documents.
    #[test]
    fn a_version_is_made_and_merged_as_cloud_manager_does() {
        let generated = version("2019-09-26T12:13:56.7Z");
        assert_eq!(generated.to_string(), "2019.926.121356.0000020490");
        for (committed, wanted) in [
            ("1.0.0", "1.0.0.2019_0926_121356_0000020490"),
            ("1.2.3", "1.2.3.2019_0926_121356_0000020490"),
            ("1.0.0-SNAPSHOT", "2019.926.121356.0000020490"),
            ("1.0", "2019.926.121356.0000020490"),
            ("1", "2019.926.121356.0000020490"),
            ("1..0", "2019.926.121356.0000020490"),
            ("1.2.3.4", "2019.926.121356.0000020490"),
            ("${revision}", "2019.926.121356.0000020490"),
            ("1.${minor}.0", "2019.926.121356.0000020490"),
        ] {
            assert_eq!(generated.in_place_of(committed), wanted, "{committed}");
        }
    }

    #[test]
    fn a_later_version_is_greater() {
        let numbers = |version: &ArtifactsVersion| -> Vec<u64> {
            version.to_string().split('.').map(|number| number.parse().unwrap()).collect()
        };
        let times = [
            "2025-12-31T23:59:59Z",
            "2026-01-01T00:00:00Z",
            "2026-01-31T23:59:59Z",
            "2026-09-30T23:00:00Z",
            "2026-10-01T00:30:00Z",
            "2026-10-01T09:30:00Z",
        ];
        for pair in times.windows(2) {
            let (first, second) = (version(pair[0]), version(pair[1]));
            assert!(numbers(&first) < numbers(&second), "{pair:?}");
            // What is appended is one segment, and not a number.
            assert!(first.in_place_of("1.0.0") < second.in_place_of("1.0.0"), "{pair:?}");
        }
    }

    #[test]
    fn only_generated_versions_are_read() {
        let good = "2026.101.003000.4294967295";
        assert_eq!(good.parse::<ArtifactsVersion>().unwrap().to_string(), good);
        assert_eq!(ArtifactsVersion::new("2026-01-01T00:30:00Z".parse().unwrap(), u32::MAX).to_string(), good);
        for bad in ["", "1.0.0", "2026.101.003000", "2026.1.003000.4294967295", "2026.101.003000.42949672-5", "a.b.c.d"]
        {
            assert!(bad.parse::<ArtifactsVersion>().is_err(), "{bad}");
        }
    }
}

//! What a release says of itself: where it comes from, what is in it, and who vouches for that.
//!
//! Pure functions of a build's digests and metadata, without time, machine or names of executions: the same inputs give
//! the same bytes, so an unchanged rebuild finds its documents in the registry already. Only a signature differs each
//! time it is made (ECDSA takes a random number), which is why an existing one is looked for first.
//!
//! * [`provenance`]: an in-toto statement with SLSA provenance v1, which `launchway verify` rebuilds from.
//! * [`sbom`]: a `CycloneDX` 1.6 bill of materials out of the packages' metadata.
//! * [`bundle`]: the statement in a signed DSSE envelope, as a Sigstore bundle, which cosign reads.

pub mod bundle;
pub mod dsse;
pub mod key;
pub mod provenance;
pub mod sbom;

/// Media type and artifact type of a provenance statement.
pub const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
/// Media type and artifact type of a bill of materials.
pub const SBOM_TYPE: &str = "application/vnd.cyclonedx+json";
/// Media type and artifact type of a signed bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Type of the provenance predicate.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";

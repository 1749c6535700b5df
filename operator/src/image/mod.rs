//! Zip packages in, OCI bytes out.
//!
//! Everything here is a pure function of its inputs: no cluster, no network, no clock, no async. The only side effect
//! is a spool folder for packages that are compressed inside other packages. The same zips and the same base give the
//! same bytes on any machine, whatever the order in which the zips are found.

pub mod archive;
pub mod blob;
pub mod checks;
pub mod classify;
pub mod contract;
pub mod dispatcher;
pub mod failure;
pub mod layer;
pub mod limits;
pub mod manifest;
pub mod order;
pub mod package;
pub mod plan;

pub use blob::{Blob, Hasher};
pub use failure::{ImageError, Reason, Refusal};
pub use limits::Limits;

#[cfg(test)]
pub(crate) mod testzip;

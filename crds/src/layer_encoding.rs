//! How layers of images are stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the layers of an image are stored in a registry. Neither compresses: packages are compressed already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LayerEncoding {
    /// A gzip of stored blocks: tools that copy images leave it as it is.
    #[default]
    Gzip,
    /// A plain tar: one digest less to compute when it is built and pulled. Tools that copy images by default compress it,
    /// which changes its digest (skopeo and Buildah do).
    Tar,
}

impl LayerEncoding {
    /// Whether it is the default one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Media type of an OCI layer that is stored so.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Tar => "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

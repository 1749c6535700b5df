//! The part of the webhook receiver that reads what strangers send.

#[path = "../../../operator/src/webhook/verify.rs"]
pub mod verify;

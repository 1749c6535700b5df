//! A Sigstore bundle (v0.3): a signed DSSE envelope with a hint at its key, as cosign attaches attestations to images.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::dsse::pre_authentication_encoding;
use super::key::{PublicKey, SigningKey};
use super::{BUNDLE_TYPE, STATEMENT_TYPE};
use crate::image::manifest::canonical;

/// Largest bundle that is read: base64 of the largest statement, and some.
pub const MAX_BUNDLE: usize = 3 << 20;

/// Signs an in-toto statement.
///
/// # Errors
/// When the machine gives no random numbers.
pub fn sign(statement: &[u8], key: &SigningKey) -> Result<Vec<u8>, String> {
    let signature = key.sign(&pre_authentication_encoding(STATEMENT_TYPE, statement))?;
    Ok(canonical(&json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.public().hint()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement),
            "payloadType": STATEMENT_TYPE,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    })))
}

/// The statement of a bundle, if this key signed it.
///
/// # Errors
/// Why it is not believed.
pub fn open(bundle: &[u8], key: &PublicKey) -> Result<Vec<u8>, String> {
    let value: Value = serde_json::from_slice(bundle).map_err(|_| "it is not JSON".to_owned())?;
    let envelope = value.get("dsseEnvelope").ok_or("it has no DSSE envelope")?;
    let text = |from: &Value, key: &str| from.get(key).and_then(Value::as_str).map(str::to_owned);
    let payload_type = text(envelope, "payloadType").unwrap_or_default();
    if payload_type != STATEMENT_TYPE {
        return Err(format!("its payload is of type {}", payload_type.escape_debug()));
    }
    let decode = |text: Option<String>| text.and_then(|text| STANDARD.decode(text).ok());
    let payload = decode(text(envelope, "payload")).ok_or("its payload is not base64")?;
    let message = pre_authentication_encoding(&payload_type, &payload);
    let signatures = envelope.get("signatures").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let signed = signatures
        .iter()
        .filter_map(|signature| decode(text(signature, "sig")))
        .any(|signature| key.verifies(&message, &signature));
    if signed { Ok(payload) } else { Err("this key did not sign it".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::pair;
    use super::*;

    #[test]
    fn a_bundle_opens_with_its_key_alone() {
        let (private, public) = pair();
        let key = SigningKey::from_pem(private.as_bytes()).unwrap();
        let public = PublicKey::from_pem(public.as_bytes()).unwrap();
        let bundle = sign(b"{\"a\":1}", &key).unwrap();
        assert_eq!(open(&bundle, &public).unwrap(), b"{\"a\":1}");
        let text = String::from_utf8(bundle).unwrap();
        let forged = text.replace(&STANDARD.encode("{\"a\":1}"), &STANDARD.encode("{\"a\":2}"));
        assert_eq!(open(forged.as_bytes(), &public).unwrap_err(), "this key did not sign it");
        let other = text.replace(STATEMENT_TYPE, "text/plain");
        assert!(open(other.as_bytes(), &public).unwrap_err().contains("text/plain"));
        for bad in ["", "[]", "{}", "{\"dsseEnvelope\":{}}"] {
            assert!(open(bad.as_bytes(), &public).is_err(), "{bad}");
        }
    }
}

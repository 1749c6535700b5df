//! DSSE, the envelope that in-toto statements are signed in (<https://github.com/secure-systems-lab/dsse>, protocol.md).

/// The bytes that a signature covers: type and content, each with its length, so that neither can be read as the other.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The vector of protocol.md: its key, and its signature as the raw numbers r and s.
    #[test]
    fn the_protocols_own_signature_covers_these_bytes() {
        let message = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        let point = [
            "67cd390f77aa359cb08c2235f652270493a9ed832b0abcc01f70954c0390d238",
            "0c782bd54e269125a44f4433aff1432ce94e12bca73aa67ac80cea12608ddf74",
        ];
        let mut key = vec![4];
        for half in point {
            key.extend((0..64).step_by(2).map(|at| u8::from_str_radix(&half[at..at + 2], 16).unwrap()));
        }
        let signature = STANDARD
            .decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
            .unwrap();
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, &key);
        assert!(public.verify(&message, &signature).is_ok());
        assert!(public.verify(b"hello world", &signature).is_err());
    }
}

//! Signatures of notifications, as Standard Webhooks says: who has the secret can tell that an event is ours, whole and
//! recent.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use ring::hmac;

/// Names of the headers, and their values.
pub type Headers = [(&'static str, String); 3];

/// What a base64 secret begins with.
const PREFIX: &str = "whsec_";
/// A shorter key could be guessed.
const SHORTEST: usize = 16;

/// A secret that signs.
pub struct Signer(hmac::Key);

impl Signer {
    /// From the value of a Secret's key: bytes as they are, or base64 behind `whsec_`. A newline at the end, as editors
    /// leave it, is no part of it.
    ///
    /// # Errors
    /// When it is too short or no base64.
    pub fn new(value: &[u8]) -> Result<Self, String> {
        let value = value.trim_ascii_end();
        let key = match std::str::from_utf8(value).ok().and_then(|text| text.strip_prefix(PREFIX)) {
            Some(text) => {
                STANDARD.decode(text).map_err(|error| format!("it is no base64 behind {PREFIX} ({error})"))?
            }
            None => value.to_vec(),
        };
        if key.len() < SHORTEST {
            return Err(format!("it has {} bytes and needs {SHORTEST}", key.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// Headers for a body that is sent now.
    #[must_use]
    pub fn headers(&self, id: &str, now: Timestamp, body: &[u8]) -> Headers {
        let now = now.as_second().to_string();
        let mut signed = format!("{id}.{now}.").into_bytes();
        signed.extend_from_slice(body);
        let signature = STANDARD.encode(hmac::sign(&self.0, &signed));
        [("webhook-id", id.to_owned()), ("webhook-timestamp", now), ("webhook-signature", format!("v1,{signature}"))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries (standard-webhooks, `test_sign`).
    #[test]
    fn the_specifications_example_comes_out() {
        let signer = Signer::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let [id, timestamp, signature] = signer.headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_second(1_614_265_330).unwrap(),
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(id, ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()));
        assert_eq!(timestamp, ("webhook-timestamp", "1614265330".to_owned()));
        assert_eq!(signature, ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()));
    }

    #[test]
    fn a_secret_is_read_as_people_write_it_and_a_weak_one_refused() {
        let one = Signer::new(b"0123456789abcdef\n").unwrap();
        let same = Signer::new(b"whsec_MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
        let headers = |signer: &Signer| signer.headers("id", Timestamp::UNIX_EPOCH, b"body");
        assert_eq!(headers(&one), headers(&same));
        for (bad, why) in [(&b"short"[..], "5 bytes"), (b"whsec_!!", "base64"), (b"", "0 bytes")] {
            let error = Signer::new(bad).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}

//! Whether a request comes from somebody who knows the secret: a pure judge of header fields and payload.
//!
//! | sender | says so by |
//! | --- | --- |
//! | GitHub, and Gitea and Forgejo, which send it too | `X-Hub-Signature-256: sha256=HEX`, HMAC-SHA256 of the payload |
//! | Gitea, Forgejo | `X-Gitea-Signature`, `X-Forgejo-Signature: HEX`, the same |
//! | Standard Webhooks | `Webhook-Signature: v1,BASE64` over `Webhook-Id`, `Webhook-Timestamp` and payload |
//! | GitLab | `X-Gitlab-Token`, the secret itself |
//! | Harbor, distribution, anything else | `Authorization: Bearer SECRET`, or the secret alone |
//!
//! Everything is compared in constant time. A request that signs in two ways is judged by the first in this order:
//! Standard Webhooks, GitHub, Gitea, Forgejo, GitLab, `Authorization`.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac};

/// How far the clock of a sender that states a time may be off, in seconds: what Standard Webhooks recommends.
pub const CLOCK: i64 = 300;
/// Longest value of a field that is looked at.
const FIELD_MAX: usize = 1024;
/// How many signatures one field may offer: senders that change their secret sign with both.
const SIGNATURES: usize = 4;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing in it that could be verified.
    Unsigned,
    /// What it says does not follow from the secret.
    Forged,
    /// It was made too long ago, or in the future.
    Stale,
    /// A field that cannot be read.
    Malformed(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str(
                "no signature and no token: set the secret of the webhook at its sender (X-Hub-Signature-256, X-Gitea-Signature, Webhook-Signature, X-Gitlab-Token or Authorization)",
            ),
            Self::Forged => f.write_str("the signature or token does not follow from the secret of this webhook"),
            Self::Stale => write!(f, "Webhook-Timestamp is more than {CLOCK} s away from now"),
            Self::Malformed(field) => write!(f, "{field} is there twice, too long or of another form"),
        }
    }
}

/// What a request that was verified means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Somebody tries the webhook out.
    Ping,
    /// Something happened at the source.
    Changed,
}

/// A request that comes from somebody who knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it means.
    pub meaning: Meaning,
    /// What two requests have in common if one is the other, sent again; none where the secret itself is sent: whoever
    /// can repeat such a request can make a new one as well.
    pub fingerprint: Option<[u8; 32]>,
}

/// How a request shows that its sender knows the secret.
enum Proof {
    /// Signatures of the payload, behind what precedes it; any of them will do.
    Signed { signatures: Vec<Vec<u8>> },
    /// The secret itself was right.
    Token,
}

/// Judges one request: made from its header fields, fed with its payload.
pub struct Verifier {
    proof: Proof,
    meaning: Meaning,
    signature: hmac::Context,
    payload: digest::Context,
}

/// Header fields by their lower-case names.
pub type Fields<'a> = [(&'a str, &'a [u8])];

impl Verifier {
    /// Looks at the header. `now` is in seconds since 1970. A token is judged here, a signature when the payload is there.
    ///
    /// # Errors
    /// Why the request cannot be verified, whatever its payload is.
    pub fn new(fields: &Fields<'_>, secret: &[u8], now: i64) -> Result<Self, Refusal> {
        let meaning = meaning(fields)?;
        let begun = |key: &[u8], proof| Self {
            proof,
            meaning,
            signature: hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key)),
            payload: digest::Context::new(&digest::SHA256),
        };
        if let Some(offered) = text(fields, "webhook-signature")? {
            let (id, time) = stamp(fields, now)?;
            let signatures = standard(offered)?;
            let mut verifier = begun(&standard_key(secret)?, Proof::Signed { signatures });
            verifier.signature.update(format!("{id}.{time}.").as_bytes());
            return Ok(verifier);
        }
        for (field, prefix) in
            [("x-hub-signature-256", "sha256="), ("x-gitea-signature", ""), ("x-forgejo-signature", "")]
        {
            if let Some(offered) = text(fields, field)? {
                let signature = offered.strip_prefix(prefix).and_then(hex).ok_or(Refusal::Malformed(field))?;
                return Ok(begun(secret, Proof::Signed { signatures: vec![signature] }));
            }
        }
        let token = match text(fields, "x-gitlab-token")? {
            Some(token) => token,
            None => {
                let given = text(fields, "authorization")?.ok_or(Refusal::Unsigned)?;
                let (scheme, rest) = given.split_once(' ').unwrap_or(("", given));
                if scheme.eq_ignore_ascii_case("bearer") { rest.trim() } else { given }
            }
        };
        if !same(token.as_bytes(), secret) {
            return Err(Refusal::Forged);
        }
        Ok(begun(secret, Proof::Token))
    }

    /// Takes the next piece of the payload.
    pub fn update(&mut self, piece: &[u8]) {
        self.signature.update(piece);
        self.payload.update(piece);
    }

    /// The judgement, once the payload was there as a whole.
    ///
    /// # Errors
    /// When the payload is not what was signed.
    pub fn finish(self) -> Result<Verified, Refusal> {
        let Proof::Signed { signatures } = self.proof else {
            return Ok(Verified { meaning: self.meaning, fingerprint: None });
        };
        let own = self.signature.sign();
        // The list is as long as the sender made it; how each of them is wrong does not show in the time.
        let good = signatures.iter().fold(false, |good, offered| same(offered, own.as_ref()) | good);
        if !good {
            return Err(Refusal::Forged);
        }
        // Delivery ids are not signed: who repeats a request can change them. The signature, or where a time is signed
        // the signature of payload and time, cannot be changed.
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, own.as_ref()).as_ref());
        Ok(Verified { meaning: self.meaning, fingerprint: Some(fingerprint) })
    }
}

/// Compares in a time that depends on neither.
fn same(one: &[u8], other: &[u8]) -> bool {
    // What is compared are two MACs under one key: where they differ says nothing about where the texts do.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"launchway webhook comparison");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

/// The one value of a field.
fn text<'a>(fields: &Fields<'a>, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| *value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > FIELD_MAX {
        return Err(Refusal::Malformed(name));
    }
    str::from_utf8(value).map(str::trim).map(Some).map_err(|_| Refusal::Malformed(name))
}

fn meaning(fields: &Fields<'_>) -> Result<Meaning, Refusal> {
    let event = text(fields, "x-github-event")?;
    Ok(if event == Some("ping") { Meaning::Ping } else { Meaning::Changed })
}

/// Id and time of a Standard Webhook, as they are signed.
fn stamp<'a>(fields: &Fields<'a>, now: i64) -> Result<(&'a str, &'a str), Refusal> {
    let id = text(fields, "webhook-id")?.ok_or(Refusal::Malformed("webhook-id"))?;
    let time = text(fields, "webhook-timestamp")?.ok_or(Refusal::Malformed("webhook-timestamp"))?;
    let seconds: i64 = time.parse().map_err(|_| Refusal::Malformed("webhook-timestamp"))?;
    if now.saturating_sub(seconds).unsigned_abs() > CLOCK.unsigned_abs() {
        return Err(Refusal::Stale);
    }
    Ok((id, time))
}

/// The signatures of a Standard Webhook that are made with a shared secret.
fn standard(offered: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let malformed = Refusal::Malformed("webhook-signature");
    let ours = offered.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    let signatures: Vec<Vec<u8>> =
        ours.map(|one| STANDARD.decode(one).map_err(|_| malformed)).collect::<Result<_, _>>()?;
    if signatures.is_empty() || signatures.len() > SIGNATURES { Err(malformed) } else { Ok(signatures) }
}

/// Secrets of Standard Webhooks are written `whsec_BASE64`; any other text is taken as it is.
fn standard_key(secret: &[u8]) -> Result<Vec<u8>, Refusal> {
    match secret.strip_prefix(b"whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| Refusal::Forged),
        None => Ok(secret.to_vec()),
    }
}

/// 32 bytes in hexadecimal digits.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.len() != 64 {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?)).collect()
}

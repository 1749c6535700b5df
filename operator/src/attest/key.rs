//! Keys that releases are signed with: ECDSA on P-256 with SHA-256, in PEM, as `openssl` writes them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::image::Hasher;

/// What stands before the point in the DER form of a P-256 public key (RFC 5480).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const MAKE_ONE: &str = "make a pair with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem` and \
                        `openssl pkey -in key.pem -pubout -out key.pub`";

/// A private key. Never printed.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.hint())
    }
}

impl SigningKey {
    /// Reads an unencrypted PKCS#8 key.
    ///
    /// # Errors
    /// What is wrong with it and how to make one; never any of its content.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| {
            format!(
                "it is not an unencrypted PKCS#8 key (`-----BEGIN PRIVATE KEY-----`): {MAKE_ONE}; an older form is \
                 turned into it by `openssl pkcs8 -topk8 -nocrypt`"
            )
        })?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der(), &SystemRandom::new())
                .map_err(|why| format!("it is not a key for ECDSA on P-256 ({why}): {MAKE_ONE}"))?;
        let public = PublicKey(pair.public_key().as_ref().to_vec());
        Ok(Self { pair, public })
    }

    /// The other half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message. Another signature each time: ECDSA takes a random number.
    ///
    /// # Errors
    /// When this machine gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| "signing failed: this machine gives no random numbers".to_owned())
    }
}

/// A public key: the uncompressed point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a public key (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| {
            format!("it is not a public key (`-----BEGIN PUBLIC KEY-----`): {MAKE_ONE}, and give the second file")
        })?;
        let point = der.as_ref().strip_prefix(&SPKI).filter(|point| point.len() == 65 && point[0] == 4);
        point
            .map(|point| Self(point.to_vec()))
            .ok_or_else(|| format!("it is not a public key for ECDSA on P-256: {MAKE_ONE}"))
    }

    /// Whether this key's other half made the signature.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(message, signature).is_ok()
    }

    /// How Sigstore names a key: the SHA-256 of its DER form, in base64.
    #[must_use]
    pub fn hint(&self) -> String {
        let mut hasher = Hasher::new();
        hasher.update(&SPKI);
        hasher.update(&self.0);
        STANDARD.encode(hasher.finish().as_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Made by openssl 3.0; its other half is gone.
    const OPENSSL: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEd+xIDe49edQ8kMnzJXgpEOrkxrrq
urZpATYc8g4D0+7NLEvtd/8lUdA5rKxJY/ASYIuLRXwBk+4rypZeV8l5/Q==
-----END PUBLIC KEY-----
";
    /// `printf message | openssl dgst -sha256 -sign key.pem | base64`
    const SIGNATURE: &str =
        "MEYCIQD+VjWVKM2DEImXsdltnm1WDYm7rFAqNVZo+8AyaPUFgQIhAOgrcYmJkwTEPBDB/Z/O3fF54zcH1hS+lp9LIW6Hl5Sh";

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    /// A fresh pair as PEM: private, public.
    pub fn pair() -> (String, String) {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let private = pem("PRIVATE KEY", pkcs8.as_ref());
        let key = SigningKey::from_pem(private.as_bytes()).unwrap();
        (private, pem("PUBLIC KEY", &[&SPKI[..], &key.public.0].concat()))
    }

    #[test]
    fn what_openssl_signed_verifies() {
        let public = PublicKey::from_pem(OPENSSL.as_bytes()).unwrap();
        let signature = STANDARD.decode(SIGNATURE).unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        assert!(!public.verifies(b"message", &signature[1..]));
    }

    #[test]
    fn a_signature_verifies_with_the_other_half_alone() {
        let (private, public) = pair();
        let key = SigningKey::from_pem(private.as_bytes()).unwrap();
        assert_eq!(*key.public(), PublicKey::from_pem(public.as_bytes()).unwrap());
        let signature = key.sign(b"message").unwrap();
        assert!(key.public().verifies(b"message", &signature));
        assert!(!PublicKey::from_pem(OPENSSL.as_bytes()).unwrap().verifies(b"message", &signature));
    }

    #[test]
    fn other_keys_are_refused_with_the_way_to_make_one() {
        for bad in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", OPENSSL] {
            let error = SigningKey::from_pem(bad.as_bytes()).unwrap_err();
            assert!(error.contains("openssl genpkey"), "{error}");
        }
        for bad in ["", &pair().0, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(PublicKey::from_pem(bad.as_bytes()).unwrap_err().contains("openssl pkey"));
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let (private, _) = pair();
        let shown = format!("{:?}", SigningKey::from_pem(private.as_bytes()).unwrap());
        assert!(shown.starts_with("SigningKey(") && shown.len() < 70, "{shown}");
    }
}

//! A key that tokens are bound to (RFC 9449), and keys that clients keep in files.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use http::HeaderValue;
use jose::{Algorithm, NumericDate, PrivateKey};
use oauth::TokenId;
use oauth::dpop::{DpopClaims, FIELD, NONCE_FIELD, ProofInput};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use wiring::world::SystemClock;

use crate::behalf::random;
use crate::exit::Failure;
use crate::files;
use crate::http1::Answer;

/// The key, and the nonce that the server gave last.
#[derive(Debug)]
pub struct Key {
    key: PrivateKey,
    nonce: Mutex<Option<String>>,
}

impl Key {
    /// One that ends with the command.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self { key: made()?, nonce: Mutex::new(None) })
    }

    /// The one of a file, which is made where it is not there yet.
    pub fn kept(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            let key = made()?;
            let text = key.to_jwk_private_text().map_err(|error| Failure::file(path, error))?;
            files::write(path, text.expose().as_bytes(), files::SECRET)?;
        }
        let key = read_key(path)?;
        if !key.public().may_verify(Algorithm::Es256) {
            return Err(Failure::file(path, "not a key of P-256"));
        }
        Ok(Self { key, nonce: Mutex::new(None) })
    }

    /// What tokens name it by.
    pub fn thumbprint(&self) -> String {
        self.key.public().thumbprint().to_base64url()
    }

    /// The field that proves the key for one `POST`.
    pub fn proof(&self, url: &str) -> Result<(&'static str, HeaderValue), Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::unavailable(format!("a proof: {why}"));
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let claims = DpopClaims {
            jti: TokenId::parse(&random()?).map_err(|error| failed(&error))?,
            htm: "POST".to_owned(),
            // RFC 9449 §4.2: "without query and fragment parts."
            htu: url.split('?').next().unwrap_or_default().to_owned(),
            iat: NumericDate::from_time(SystemClock::read()),
            ath: None,
            nonce,
            exp: None,
            nbf: None,
        };
        let input = ProofInput::new(self.key.public(), Algorithm::Es256, &claims);
        let input = input.map_err(|error| failed(&error))?;
        let signature = self.key.sign(input.bytes());
        let value = HeaderValue::try_from(input.attach(&signature));
        Ok((FIELD, value.map_err(|error| failed(&error))?))
    }

    /// RFC 9449 §8.2: "the client [...] MUST use the new nonce value supplied for the next DPoP
    /// proof".
    pub fn hear(&self, answer: &Answer) {
        let given = answer.headers.get(NONCE_FIELD).and_then(|value| value.to_str().ok());
        if let Some(given) = given {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(given.to_owned());
        }
    }
}

/// A private key: PKCS #8 in PEM, or a JWK.
pub fn read_key(path: &Path) -> Result<PrivateKey, Failure> {
    let text = zeroize::Zeroizing::new(files::read(path)?);
    let hint = "a private key is PKCS #8 in PEM, or a JWK";
    if text.trim_start().starts_with('{') {
        let key = PrivateKey::from_jwk_private_text(&text);
        return key.map_err(|error| Failure::file(path, error).hint(hint));
    }
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
    let der = der.map_err(|error| Failure::file(path, error).hint(hint))?;
    let key = PrivateKey::from_pkcs8(der.secret_pkcs8_der());
    key.map_err(|error| Failure::file(path, error).hint(hint))
}

fn made() -> Result<PrivateKey, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::unavailable(format!("a key: {why}"));
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let made = made.map_err(|error| failed(&error))?;
    PrivateKey::from_pkcs8(made.as_ref()).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn rfc9449_4_2_a_proof_is_one_that_servers_take() {
        let key = Key::new().ok().unwrap();
        *key.nonce.lock().unwrap() = Some("given".to_owned());
        let url = "https://as.example/token";
        let (name, value) = key.proof("https://as.example/token?a=b").ok().unwrap();
        assert_eq!(name, "dpop");
        let proof = oauth::dpop::Proof::of_field([value.as_bytes()], &[Algorithm::Es256]).unwrap();
        assert_eq!(proof.thumbprint(), key.key.public().thumbprint());
        let expected = oauth::dpop::Expected {
            method: "POST",
            uri: &oauth::dpop::target(url).unwrap(),
            freshness: oauth::dpop::Freshness::Clock {
                max_age: time::Span::from_seconds(60),
                skew: time::Span::from_seconds(60),
            },
            access_token: None,
        };
        proof.verify(&expected, SystemClock::read()).unwrap();
    }

    #[test]
    fn a_kept_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dpop.jwk");
        let made = Key::kept(&path).ok().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Key::kept(&path).ok().unwrap().thumbprint(), made.thumbprint());
        std::fs::write(&path, "no key").unwrap();
        assert_eq!(Key::kept(&path).err().unwrap().problem().outcome.exit_code(), 2);
    }
}

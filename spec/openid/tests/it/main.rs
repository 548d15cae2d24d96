//! Messages of OpenID Connect as callers see them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod ciba;
mod provider;
mod status_list;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, Kind, PrivateKey, SigningInput, Unverified, Verified};
use oauth::form::Form;
use oauth::{ClientId, Issuer};
use serde_json::Value;
use time::{Span, UnixTime};

/// RFC 8037, appendix A.1.
const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const NOW: UnixTime = UnixTime::from_seconds(1_000);

fn key() -> PrivateKey {
    PrivateKey::from_jwk_private_text(KEY).unwrap()
}

fn issuer() -> Issuer {
    Issuer::parse("https://server.example.com").unwrap()
}

fn client() -> ClientId {
    ClientId::parse("s6BhdRkqt3").unwrap()
}

fn form(body: &str) -> Form {
    Form::parse(body.as_bytes()).unwrap()
}

/// A token with any header and claims, signed whatever they say.
fn forge(typ: Option<&str>, claims: &Value) -> String {
    let header = match typ {
        Some(typ) => format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#),
        None => r#"{"alg":"EdDSA"}"#.to_owned(),
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    format!("{input}.{}", encode(key().sign(input.as_bytes()).as_bytes()))
}

fn verify<K: Kind>(text: &str) -> Result<Verified<K>, String> {
    let token = Unverified::<K>::parse(text).map_err(|refused| refused.to_string())?;
    let verified = token.verify(key().public(), &[Algorithm::EdDsa], NOW, Span::ZERO);
    verified.map_err(|refused| refused.to_string())
}

/// Claims of the first type of their kind, proven.
fn proven<K: Kind>(claims: &Value) -> Verified<K> {
    verify(&forge(K::TYPES.first().copied(), claims)).unwrap()
}

/// `base` with some members replaced or, by null, removed.
fn changed(base: &Value, changes: &Value) -> Value {
    let mut changed = base.clone();
    let members = changed.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.remove(name);
        if !value.is_null() {
            members.insert(name.clone(), value.clone());
        }
    }
    changed
}

/// What this crate signs it reads back as the same.
fn round_trip<K: Kind>(claims: &K::Claims) -> K::Claims {
    let input = SigningInput::<K>::new(Algorithm::EdDsa, None, claims).unwrap();
    let signature = key().sign(input.bytes());
    verify::<K>(input.attach(signature).as_str()).unwrap().into_claims()
}

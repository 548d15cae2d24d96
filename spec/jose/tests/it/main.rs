//! Tokens and keys as callers see them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod keys;
mod properties;
mod tokens;
mod vectors;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::{Algorithm, Audience, Jwk, Kind, NumericDate, PrivateKey, Window};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A kind as old as RFC 7519: no type demanded, foreign header parameters ignored.
struct Plain;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PlainClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<NumericDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<NumericDate>,
}

impl Kind for Plain {
    const TYPES: &'static [&'static str] = &["JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = PlainClaims;
    type Hint = Option<String>;

    fn hint(claims: &PlainClaims) -> Option<String> {
        claims.iss.clone()
    }

    fn window(claims: &PlainClaims) -> Window {
        Window { exp: claims.exp, nbf: claims.nbf, iat: claims.iat }
    }
}

/// A kind with a type of its own and a closed header, whose tokens need not expire.
struct Typed;

impl Kind for Typed {
    const TYPES: &'static [&'static str] = &["test+jwt", "older-test+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = Some(&["alg", "kid", "typ"]);
    const EXP_REQUIRED: bool = false;
    type Claims = PlainClaims;
    type Hint = ();

    fn hint(_: &PlainClaims) {}

    fn window(claims: &PlainClaims) -> Window {
        Plain::window(claims)
    }
}

/// A workload identity token, as far as the published example goes.
struct Wit;

#[derive(Debug, Serialize, Deserialize)]
struct WitClaims {
    sub: String,
    jti: String,
    iat: NumericDate,
    exp: NumericDate,
    cnf: Confirmation,
}

#[derive(Debug, Serialize, Deserialize)]
struct Confirmation {
    jwk: Jwk,
}

impl Kind for Wit {
    const TYPES: &'static [&'static str] = &["wit+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = WitClaims;
    type Hint = String;

    fn hint(claims: &WitClaims) -> String {
        claims.sub.clone()
    }

    fn window(claims: &WitClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: None, iat: Some(claims.iat) }
    }
}

/// `vectors.json`: published examples, each with its origin.
fn published(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    all[name].clone()
}

fn published_token(name: &str) -> String {
    published(name)["token"].as_str().unwrap().to_owned()
}

fn published_key(name: &str) -> PrivateKey {
    PrivateKey::from_jwk_private_text(&published(name)["key"].to_string()).unwrap()
}

/// The published key less its private members.
fn published_jwk(name: &str) -> Value {
    let mut key = published(name)["key"].clone();
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        key.as_object_mut().unwrap().remove(member);
    }
    key
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A token with any header and payload, signed by `key` whatever they say.
fn forge(key: &PrivateKey, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let signature = key.sign(input.as_bytes());
    format!("{input}.{}", encode(signature.as_bytes()))
}

const ALL: &[Algorithm] = Algorithm::ALL;

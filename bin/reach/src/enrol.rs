//! Enrolment as an agent's side does it (docs/enrolment.md): a key is made, a session opened, its
//! challenge answered, and what comes back is handed on with the key.

use std::process::{Command, Stdio};

use attestation::evidence::{self, from_text, to_text};
use attestation::x509pop::NONCE_BYTES;
use attestors::x509pop::Credential;
use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use http::{HeaderValue, Method};
use hyper::body::Bytes;
use jose::{Algorithm, PrivateKey, TokenHash};
use serde_json::{Map, Value, json};
use time::{Span, UnixTime};
use wimse::Proof;
use x509::{Name, RequestTemplate, SignatureAlgorithm};

use crate::exit::Failure;
use crate::https::Https;

/// How long the proof of a renewal lives.
const PROOF_LIFE: Span = Span::from_seconds(30);

/// What speaks for the agent.
pub enum Evidence {
    /// What a file holds.
    Bytes(Vec<u8>),
    /// What a command prints, once key and challenge are known.
    Command(String),
    /// A certificate and its key, by which a challenge is answered (`x509pop`, `idevid`).
    Certificate(Credential),
}

/// What is asked for.
pub struct Order {
    /// The agent's name.
    pub agent: String,
    /// By which mechanism.
    pub mechanism: String,
    /// What speaks for it.
    pub evidence: Evidence,
    /// Documents about it, by kind.
    pub documents: Vec<(String, Vec<u8>)>,
    /// `x509`, `wit`, `jwt`.
    pub kinds: Vec<String>,
    /// For whom a `jwt` is.
    pub audiences: Vec<String>,
}

/// The server's answer, and the key that its credentials bind.
pub struct Enrolled {
    /// As it came.
    pub answer: Map<String, Value>,
    /// The key.
    pub key: PrivateKey,
    /// Where the decision is recorded.
    pub audit_id: Option<String>,
}

/// Enrols.
pub async fn enrol(https: &Https, server: &str, order: &Order) -> Result<Enrolled, Failure> {
    let key = new_key()?;
    let shown = match &order.evidence {
        Evidence::Certificate(own) => Some(own.evidence().map_err(Failure::misused)?),
        _ => None,
    };
    let asked = json!({
        "mechanism": order.mechanism, "key": to_text(key.public().spki_der()),
        "evidence": shown.as_deref().map(to_text),
    });
    let (session, _) = post(https, server, "/enrol/session", Vec::new(), &asked).await?;
    let challenge = session.get("challenge").and_then(Value::as_str).unwrap_or_default();
    let challenge = from_text(challenge).unwrap_or_default();
    let evidence = match (&order.evidence, shown) {
        (Evidence::Bytes(bytes), _) => bytes.clone(),
        (Evidence::Command(command), _) => printed(command, &key, &challenge)?,
        (Evidence::Certificate(_), shown) => shown.unwrap_or_default(),
    };
    let response = match &order.evidence {
        Evidence::Certificate(own) => Some(answer(own, &challenge)?),
        _ => None,
    };
    let media_type = format!("application/vnd.aims.evidence.{}", order.mechanism);
    let mut wrapper = Map::new();
    wrapper.insert("platform".to_owned(), json!([media_type, to_text(&evidence)]));
    for (kind, document) in &order.documents {
        let media_type = evidence::by_name(kind).and_then(|one| one.media_types().first());
        let media_type =
            media_type.ok_or_else(|| Failure::misused(format!("no document `{kind}`")))?;
        wrapper.insert(kind.clone(), json!([media_type, to_text(document)]));
    }
    let body = json!({
        "nonce": session.get("nonce"), "agent": order.agent, "mechanism": order.mechanism,
        "request": to_text(&request(&key)?), "response": response.as_deref().map(to_text),
        "evidence": wrapper, "kinds": order.kinds, "audiences": order.audiences,
    });
    let (answer, audit_id) = post(https, server, "/enrol", Vec::new(), &body).await?;
    Ok(Enrolled { answer, key, audit_id })
}

/// Renews by the WIT and its key.
pub async fn renew(
    https: &Https,
    server: &str,
    wanted: &Value,
    (wit, held): (&str, &PrivateKey),
    now: UnixTime,
) -> Result<Enrolled, Failure> {
    let key = new_key()?;
    let mut body = wanted.clone();
    let asked = to_text(&request(&key)?);
    let proof = Proof {
        audience: &format!("{server}/enrol/renew"),
        expires: now.plus(PROOF_LIFE),
        // The request is of a key that was never used.
        jti: &TokenHash::of(&asked).to_base64url(),
        wit: TokenHash::of(wit),
        access_token: None,
        txn_token: None,
        other: &[],
    };
    if let Some(members) = body.as_object_mut() {
        members.insert("request".to_owned(), json!(asked));
    }
    let input = proof.signing_input(Algorithm::Es256).map_err(Failure::misused)?;
    let signature = held.sign(input.bytes());
    let proof = input.attach(signature).into_string();
    let field = |text: &str| HeaderValue::try_from(text).map_err(Failure::misused);
    let fields = vec![
        (wimse::WORKLOAD_IDENTITY_TOKEN, field(wit)?),
        (wimse::WORKLOAD_PROOF_TOKEN, field(&proof)?),
    ];
    let (answer, audit_id) = post(https, server, "/enrol/renew", fields, &body).await?;
    Ok(Enrolled { answer, key, audit_id })
}

async fn post(
    https: &Https,
    server: &str,
    path: &str,
    mut fields: Vec<(&'static str, HeaderValue)>,
    body: &Value,
) -> Result<(Map<String, Value>, Option<String>), Failure> {
    fields.push(("content-type", HeaderValue::from_static("application/json")));
    let (url, body) = (format!("{server}{path}"), Bytes::from(body.to_string()));
    let answer = https.send(Method::POST, &url, fields, body).await?;
    let audit_id = answer.headers.get(api::AUDIT_ID).and_then(|id| id.to_str().ok());
    let audit_id = audit_id.map(str::to_owned);
    let read: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == http::StatusCode::CREATED {
        return Ok((read, audit_id));
    }
    let text = |name: &str| read.get(name).and_then(Value::as_str).unwrap_or_default();
    let (error, why) = (text("error"), text("error_description"));
    if answer.status.is_server_error() || error.is_empty() {
        let status = answer.status;
        return Err(Failure::unavailable(format!("`{url}` answered {status} {why}")));
    }
    let failure = Failure::refused(error, why).recorded(audit_id);
    Err(match error {
        "invalid_evidence" => failure.hint("the operator finds the step that failed in the log"),
        "enrolment_ended" => failure.hint("enrol again, without `--renew`"),
        _ => failure,
    })
}

fn new_key() -> Result<PrivateKey, Failure> {
    let unmade = |error: &dyn std::fmt::Display| Failure::unavailable(format!("no key: {error}"));
    let (curve, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let made = EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(|error| unmade(&error))?;
    PrivateKey::from_pkcs8(made.as_ref()).map_err(|error| unmade(&error))
}

fn request(key: &PrivateKey) -> Result<Vec<u8>, Failure> {
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: key.public().spki_der().to_vec(),
        uri_names: Vec::new(),
        dns_names: Vec::new(),
    };
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let unsigned = template.to_be_signed(algorithm).map_err(Failure::misused)?;
    let signature = signature(key, unsigned.bytes())?;
    Ok(unsigned.attach(&signature))
}

fn signature(key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, Failure> {
    x509::ecdsa_der_from_fixed(key.sign(message).as_bytes()).map_err(Failure::misused)
}

fn answer(own: &Credential, challenge: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).map_err(Failure::unavailable)?;
    let unread = |error| Failure::refused("enrol::Challenge", format!("the challenge: {error}"));
    own.answer(challenge, nonce).map_err(unread)
}

/// What a command prints. It is told the key, as the audience of a token names it, and the
/// challenge.
fn printed(command: &str, key: &PrivateKey, challenge: &[u8]) -> Result<Vec<u8>, Failure> {
    let hash = digest::digest(&digest::SHA256, key.public().spki_der());
    let ran = Command::new("/bin/sh")
        .args(["-c", command])
        .env("AIMS_KEY_HASH", to_text(hash.as_ref()))
        .env("AIMS_CHALLENGE", String::from_utf8_lossy(challenge).as_ref())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = ran.map_err(|error| Failure::misused(format!("`{command}`: {error}")))?;
    if !output.status.success() {
        return Err(Failure::misused(format!("`{command}` ended with {}", output.status)));
    }
    Ok(output.stdout.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_the_key_and_the_challenge() {
        let key = new_key().unwrap();
        let hash = digest::digest(&digest::SHA256, key.public().spki_der());
        let told = printed("echo \"$AIMS_KEY_HASH $AIMS_CHALLENGE\"", &key, b"{}").unwrap();
        assert_eq!(told, format!("{} {{}}", to_text(hash.as_ref())).into_bytes());
        assert!(printed("exit 3", &key, b"").unwrap_err().to_string().contains("`exit 3` ended"));
    }
}

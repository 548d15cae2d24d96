//! One call that a human must approve: as it is asked about, and as a token lets it through
//! (draft-rosomakho-oauth-txn-challenge; AUTHZ-31, AUTHZ-32).
//!
//! In scope: what the call is, by action and arguments, the challenge about it, and whether a token
//! is for it. Not here: who approves.

use ::json::NotCanonical;
use approval::{Act, call_detail};
use authorization::presented::Presented;
use credential::Checked;
use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput};
use oauth::txn_challenge::{TxnChallenge, TxnChallengeClaims};
use oauth::{ClientId, Issuer, LineageId, SubjectText, TokenId, TransactionId};
use serde_json::{Value, json};
use time::{Span, UnixTime};

use crate::call::Call;
use crate::mapping::{Wanted, WantedKind};
use crate::refusal::Refusal;

/// How long a challenge is good for.
pub const CHALLENGE_LIFE: Span = Span::from_seconds(300);

/// How deep a body is looked into.
const DEPTH_MAX: usize = 64;
/// Parameters of a tool's call that are told otherwise, or say nothing of what is done.
const TOLD: [&str; 3] = ["name", "arguments", "_meta"];

/// Why a call cannot be shown to anybody: so nobody can approve it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// A message that is read in more than one way.
    #[error("its body: {0}")]
    Body(#[from] NotCanonical),
    /// A body that is no text.
    #[error("its body is no text")]
    NotText,
    /// A body that is packed.
    #[error("its body is packed (`content-encoding`)")]
    Packed,
}

/// The call, by what it does and with what: all of it that counts.
pub fn act(call: &Call, wanted: &Wanted) -> Result<Act, NotShown> {
    let (what, arguments) = match &wanted.kind {
        WantedKind::Tool { name } => (name.clone(), tool(&call.body)?),
        WantedKind::Session => ("session".to_owned(), json!({})),
        WantedKind::Request { method, path } => {
            let mut arguments = body(call)?;
            let query = call.target.query.clone().unwrap_or_default();
            arguments.insert("query".to_owned(), query.into());
            (format!("{method} {path}"), arguments.into())
        }
    };
    let arguments_hash = call_detail::hash_of(&arguments)?;
    Ok(Act { action: wanted.action().to_owned(), what, arguments, arguments_hash })
}

/// A JSON text as every reader reads it: one value for each name, no number that some round.
fn one_meaning(body: &[u8]) -> Result<Value, NotCanonical> {
    let bounds = ::json::Bounds { bytes_max: body.len(), depth_max: DEPTH_MAX };
    let canonical = ::json::canonical(::json::text(body, bounds)?, &[])?;
    let read = serde_json::from_str(&canonical);
    read.map_err(|error| ::json::Unreadable::NotJson { reason: error.to_string() }.into())
}

/// What a tool is called with. Parameters beside its arguments (MCP `inputResponses`, `task`) may
/// change what it does: they are shown and bound, too.
fn tool(body: &[u8]) -> Result<Value, NotShown> {
    let message = one_meaning(body)?;
    let params = message.get("params").and_then(Value::as_object);
    let arguments = params.and_then(|params| params.get("arguments")).cloned();
    let arguments = arguments.unwrap_or_else(|| json!({}));
    let beside: serde_json::Map<_, _> = params
        .into_iter()
        .flatten()
        .filter(|(name, _)| !TOLD.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if beside.is_empty() {
        return Ok(arguments);
    }
    Ok(json!({ "arguments": arguments, "beside": beside }))
}

/// A body: the value of a JSON text that has one meaning, any other text as it stands, by its bytes
/// and by what it says that they are.
fn body(call: &Call) -> Result<serde_json::Map<String, Value>, NotShown> {
    let field = |name| {
        let values: Vec<_> = call.values(name).map(String::from_utf8_lossy).collect();
        values.join(", ")
    };
    let mut told = serde_json::Map::new();
    // Each body has a text of its own, whatever its bytes.
    let sha256 = jose::TokenHash::of(&call.body.escape_ascii().to_string());
    told.insert("body_sha256".to_owned(), sha256.to_base64url().into());
    if call.body.is_empty() {
        told.insert("body".to_owned(), Value::Null);
        return Ok(told);
    }
    if !["", "identity"].contains(&field("content-encoding").as_str()) {
        return Err(NotShown::Packed);
    }
    let read = match one_meaning(&call.body) {
        Ok(value) => value,
        Err(_) => String::from_utf8(call.body.clone()).map_err(|_| NotShown::NotText)?.into(),
    };
    told.insert("body".to_owned(), read);
    told.insert("content_type".to_owned(), field("content-type").into());
    Ok(told)
}

/// Whether a token is for one approved call.
pub fn is_of_one_call(presented: &Presented) -> bool {
    let mut details = presented.authorization_details().into_iter().flat_map(|all| all.iter());
    details.any(|one| one.type_ == call_detail::TYPE)
}

/// The transaction that a token approves, where it is for one approved call: this one, or the
/// refusal. `None` for any other token.
pub fn approved(
    presented: &Presented,
    act: &Act,
    audience: &str,
) -> Result<Option<String>, Refusal> {
    let details = presented.authorization_details().into_iter().flat_map(|all| all.iter());
    let calls: Vec<_> =
        details.filter(|one| one.type_ == call_detail::TYPE).map(|one| one.to_value()).collect();
    let other = |why: &str| Refusal::OtherCall { why: why.to_owned() };
    let one = match calls.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(other("it names several")),
    };
    let found = call_detail::of_value(one, audience).map_err(|why| other(&why.to_string()))?;
    if found.action != act.action || found.what != act.what {
        return Err(other(&format!("it is for `{}` of `{}`", found.action, found.what)));
    }
    // docs/past-defects.md, "the signed thing is not the used thing": by what is sent upstream.
    if found.arguments_hash != act.arguments_hash {
        return Err(other("its arguments are others"));
    }
    let txn = presented.txn().ok_or_else(|| other("it has no `txn`"))?;
    Ok(Some(txn.to_owned()))
}

/// What a challenge says beside the call.
#[derive(Clone, Copy, Debug)]
pub struct Says<'a> {
    /// The authorization server.
    pub issuer: &'a Issuer,
    /// The resource.
    pub audience: &'a str,
    /// Fresh ids: of the challenge, and of the transaction.
    pub jti: &'a str,
    /// See there.
    pub txn: &'a str,
    /// Now.
    pub now: UnixTime,
    /// The key that signs.
    pub kid: &'a KeyId,
    /// By which algorithm.
    pub algorithm: Algorithm,
}

/// The challenge about `act`, which came with `presented`, ready to be signed. §4.2.1: "The
/// challenge MUST be signed by the protected resource."
pub fn challenge(
    presented: &Presented,
    act: &Act,
    says: &Says<'_>,
) -> Result<Checked<SigningInput<TxnChallenge>>, Unbuilt> {
    let unbuilt = |error: &dyn std::fmt::Display| Unbuilt(error.to_string());
    let claims = TxnChallengeClaims {
        iss: says.audience.to_owned(),
        aud: Audience::one(says.issuer.as_str().to_owned()),
        iat: NumericDate::from_time(says.now),
        exp: NumericDate::from_time(says.now.plus(CHALLENGE_LIFE)),
        jti: TokenId::parse(says.jti).map_err(|error| unbuilt(&error))?,
        txn: TransactionId::parse(says.txn).map_err(|error| unbuilt(&error))?,
        authorization_details: vec![call_detail::to_value(act, says.audience, true)],
        reason: format!("policy wants a human to approve `{}` of `{}`", act.action, act.what),
        act: presented.act().cloned(),
        sub: SubjectText::parse(presented.subject()).map_err(|error| unbuilt(&error))?,
        client_id: ClientId::parse(presented.client_id()).map_err(|error| unbuilt(&error))?,
        aims_root: LineageId::parse(presented.root()).map_err(|error| unbuilt(&error))?,
        aims_parent: TokenId::parse(presented.jti()).map_err(|error| unbuilt(&error))?,
    };
    let input = SigningInput::new(says.algorithm, Some(says.kid), &claims);
    Ok(Checked::assertion(input.map_err(|error| unbuilt(&error))?))
}

/// A challenge that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the challenge cannot be made: {0}")]
pub struct Unbuilt(String);

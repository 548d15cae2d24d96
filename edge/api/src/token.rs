//! `POST /token` (RFC 6749 §3.2): from bytes to a [`Call`], and from its end to an answer.

use std::sync::Arc;
use std::time::Duration;

use approve::deferred::Deferral;
use authentication::client_secret::{self, NotBasic};
use axum::body::Body;
use axum::extract::State;
use env::{Unavailable, World};
use flow::token::asker::Asker;
use flow::token::{Call, ClientRefusal, End, Endpoint, GRANTS, Refusal, Wanting};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use oauth::TokenText;
use oauth::client_assertion::{PresentedClient, SecretWay};
use oauth::error::ErrorCode;
use oauth::form::Form;
use oauth::token_request::{TokenRequest, TokenRequestError, may_be_deferred};
use serde::Serialize;

use crate::accept::Peer;
use crate::answer::{self, Answer};
use crate::limits::FORM_BYTES_MAX;
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::wire;

/// What the endpoint reads.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// draft-ietf-oauth-attestation-based-client-auth §4: the attestation; here a WIT.
const ATTESTATION: &str = "OAuth-Client-Attestation";
/// §5 of it: the proof of its key.
const PROOF: &str = "OAuth-Client-Attestation-PoP";
/// HTTP authentication schemes that a challenge can answer with.
const SCHEMES: &[&str] = &["Basic", "Bearer", "DPoP"];

/// Answers a request over HTTP.
pub(crate) async fn serve<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return wire::of_unavailable().into_answer();
    };
    let source = Source::Address(peer.address);
    let chain = peer.chain.as_deref().unwrap_or_default().to_vec();
    // Read before it is judged: over HTTP/2 an answer that comes earlier is lost by some clients.
    let bytes = read_body(body, FORM_BYTES_MAX, shared.limits.body_max).await;
    let bytes = head(&parts).and(bytes);
    let read = bytes.and_then(|bytes| read(&parts.headers, &bytes, chain, &source));
    finish(&shared, &source, read).await
}

/// The same for a request that came in another way: status and body.
pub(crate) async fn over<W: World>(
    shared: &Shared<W>,
    source: &Source,
    form: &[(String, String)],
    fields: &[(String, String)],
) -> (u16, Vec<u8>) {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut headers = HeaderMap::new();
    let mut read = Ok(());
    for (name, value) in fields {
        let name = http::HeaderName::try_from(name);
        match (name, HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(headers.append(name, value)),
            _ => read = Err(Unread::NotHttp),
        }
    }
    let read = read
        .and_then(|()| fields_fit(&headers))
        .and_then(|()| self::read(&headers, body.as_bytes(), Vec::new(), source));
    let answer = finish(shared, source, read).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map(|body| body.to_bytes().to_vec());
    (status, body.unwrap_or_default())
}

/// What is refused without a look at the body.
fn head(parts: &Parts) -> Result<(), Unread> {
    if parts.uri.query().is_some() {
        // RFC 6749 §2.3.1: "The parameters can only be transmitted in the request-body and MUST
        // NOT be included in the request URI."
        return Err(Unread::Query);
    }
    fields_fit(&parts.headers)?;
    let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if is_form(one) => Ok(()),
        _ => Err(Unread::ContentType { expected: FORM }),
    }
}

fn fields_fit(headers: &HeaderMap) -> Result<(), Unread> {
    let other = |value: &&HeaderValue| scheme(value) != "Basic";
    if let Some(value) = headers.get_all(AUTHORIZATION).iter().find(other) {
        return Err(Unread::Authorization { scheme: scheme(value) });
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Unread::ContentEncoding);
    }
    Ok(())
}

/// RFC 6749 appendix B: the media type, in UTF-8 if it says so.
pub(crate) fn is_form(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let parameters = parameters.trim();
    let utf8 = ["", "charset=utf-8", "charset=\"utf-8\""];
    essence.trim().eq_ignore_ascii_case(FORM)
        && utf8.iter().any(|known| parameters.eq_ignore_ascii_case(known))
}

fn scheme(value: &HeaderValue) -> &'static str {
    let text = value.to_str().unwrap_or_default();
    let found = text.split(' ').next().unwrap_or_default();
    let known = SCHEMES.iter().find(|known| known.eq_ignore_ascii_case(found));
    known.copied().unwrap_or("Basic")
}

/// A body, whole, within its bounds.
pub(crate) async fn read_body(body: Body, max: usize, within: Duration) -> Result<Vec<u8>, Unread> {
    let read = tokio::time::timeout(within, Limited::new(body, max).collect()).await;
    match read {
        Err(_) => Err(Unread::SlowBody),
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLong { max }),
        Ok(Err(_)) => Err(Unread::BrokenBody),
    }
}

fn read(
    headers: &HeaderMap,
    body: &[u8],
    certificates: Vec<Vec<u8>>,
    source: &Source,
) -> Result<(Call, Waits), Unread> {
    let form = Form::parse(body)?;
    let waits = Waits(may_be_deferred(&form).map_err(TokenRequestError::from)?);
    let client = presented(headers, &form)?;
    let request = TokenRequest::parse(&form)?;
    if !GRANTS.contains(&request.grant_type()) {
        let found = request.grant_type().to_string();
        return Err(TokenRequestError::UnsupportedGrantType { found }.into());
    }
    let (attestation, source) = (attestation(headers)?, source.to_string());
    let dpop = dpop(headers);
    Ok((Call { request, client, attestation, dpop, certificates, source }, waits))
}

/// Whether the client says that it can wait for somebody's approval (`completion_mode=deferred`).
#[derive(Clone, Copy)]
pub(crate) struct Waits(pub(crate) bool);

/// What the form and the `Authorization` field show of the client: in one place alone.
pub(crate) fn presented(headers: &HeaderMap, form: &Form) -> Result<PresentedClient, Unread> {
    let client = PresentedClient::parse(form)?;
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(client) };
    // RFC 9110 §5.3: a field that stands there twice is read by nobody alike.
    if fields.next().is_some() {
        return Err(NotBasic::Scheme.into());
    }
    let (id, secret) = client_secret::basic(field.as_bytes())?;
    // RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
    if client.secret.is_some() || client.client_id.as_ref().is_some_and(|other| *other != id) {
        return Err(Unread::Stranger(Box::new(ClientRefusal::Several)));
    }
    Ok(PresentedClient { client_id: Some(id), secret: Some((SecretWay::Basic, secret)), ..client })
}

/// The values of the `DPoP` field: the flow says what is wrong with them.
pub(crate) fn dpop(headers: &HeaderMap) -> Vec<Vec<u8>> {
    headers.get_all(oauth::dpop::FIELD).iter().map(|value| value.as_bytes().to_vec()).collect()
}

/// What a request of a form shows of its client, and the form.
pub(crate) async fn asker<W: World>(
    shared: &Shared<W>,
    parts: &Parts,
    body: Body,
) -> Result<(Asker, Form), Unread> {
    let bytes = read_body(body, FORM_BYTES_MAX, shared.limits.body_max).await;
    let form = Form::parse(&head(parts).and(bytes)?)?;
    let peer = parts.extensions.get::<Peer>().ok_or(Unread::NotHttp)?;
    let asker = Asker {
        client: presented(&parts.headers, &form)?,
        attestation: attestation(&parts.headers)?,
        dpop: dpop(&parts.headers),
        path: parts.uri.path().to_owned(),
        certificates: peer.chain.as_deref().unwrap_or_default().to_vec(),
        source: peer.address.to_string(),
    };
    Ok((asker, form))
}

/// Both fields, or the first beside a proof of DPoP, or neither.
/// draft-ietf-oauth-attestation-based-client-auth §7.1: "There is precisely one
/// OAuth-Client-Attestation HTTP request header field containing a Client Attestation JWT."
pub(crate) fn attestation(headers: &HeaderMap) -> Result<Option<Attested>, Unread> {
    if !headers.contains_key(ATTESTATION) && !headers.contains_key(PROOF) {
        return Ok(None);
    }
    // §7.3: "There is no OAuth-Client-Attestation-PoP HTTP request header field present in the
    // request."
    let combined = !headers.contains_key(PROOF) && headers.contains_key(oauth::dpop::FIELD);
    let proof = if combined { None } else { Some(field(headers, PROOF)?) };
    Ok(Some((field(headers, ATTESTATION)?, proof)))
}

/// An attestation, and its proof where that is not one of DPoP.
pub(crate) type Attested = (TokenText, Option<TokenText>);

fn field(headers: &HeaderMap, name: &'static str) -> Result<TokenText, Unread> {
    let values = headers.get_all(name);
    TokenText::of_field(values.iter().map(HeaderValue::as_bytes))
        .map_err(|reason| Unread::Field { name, reason })
}

async fn finish<W: World>(
    shared: &Shared<W>,
    source: &Source,
    read: Result<(Call, Waits), Unread>,
) -> Answer {
    let (call, waits) = match read {
        Ok(read) => read,
        Err(unread) => return refused(shared, source, &unread),
    };
    given(shared, source, (Endpoint::Token, waits), call).await
}

/// The answer to a request that reads.
pub(crate) async fn given<W: World>(
    shared: &Shared<W>,
    source: &Source,
    (endpoint, waits): (Endpoint, Waits),
    call: Call,
) -> Answer {
    match flow::token::answer_at(&*shared.world, endpoint, call).await {
        Ok(End::Stranger(refusal)) => stranger(shared, source, refusal).await,
        Ok(End::Unproved(refusal)) => {
            shared.refuse(source, &Unread::Unproved { check: refusal.check() });
            let wire = wire::of_refusal(&refusal);
            shared.metrics.token("refused", wire.code.as_str());
            with_nonce(shared, wire.into_answer()).await
        }
        Ok(End::Decided(recorded)) => {
            let id = recorded.audit_id();
            let mut answer = match recorded.into_value() {
                Err(Refusal::Unapproved(wanting)) if waits.0 => {
                    return deferred(shared, *wanting).await;
                }
                Ok(response) => {
                    shared.metrics.token("issued", "");
                    let mut answer = answer::json(StatusCode::OK, &response);
                    wire::not_kept(answer.headers_mut());
                    answer
                }
                Err(refusal) => {
                    let wire = wire::of_refusal(&refusal);
                    shared.metrics.token("refused", wire.code.as_str());
                    wire.into_answer()
                }
            };
            answer::name_record(answer.headers_mut(), id);
            with_nonce(shared, answer).await
        }
        Err(unavailable) => down(shared, &unavailable),
    }
}

/// The answer to a client that is not known: with what its next proof must repeat.
pub(crate) async fn stranger<W: World>(
    shared: &Shared<W>,
    source: &Source,
    refusal: ClientRefusal,
) -> Answer {
    let answer = refused(shared, source, &Unread::Stranger(Box::new(refusal)));
    with_nonce(shared, answer).await
}

/// The answer to a client that waits for somebody's approval (Deferred Token Response, a draft).
async fn deferred<W: World>(shared: &Shared<W>, wanting: Wanting) -> Answer {
    let recorded = match approve::deferred::defer(&*shared.world, wanting).await {
        Ok(recorded) => recorded,
        Err(unavailable) => return down(shared, &unavailable),
    };
    let id = recorded.audit_id();
    let mut answer = match recorded.into_value() {
        Ok(deferral) => {
            let code = ErrorCode::AuthorizationPending.as_str();
            shared.metrics.token("deferred", code);
            answer::json(StatusCode::BAD_REQUEST, &Deferred { error: code, deferral })
        }
        Err(refusal) => crate::asking::of_refusal(&refusal).into_answer(),
    };
    wire::not_kept(answer.headers_mut());
    answer::name_record(answer.headers_mut(), id);
    with_nonce(shared, answer).await
}

/// The body of that answer.
#[derive(Serialize)]
struct Deferred {
    error: &'static str,
    #[serde(flatten)]
    deferral: Deferral,
}

/// The answer with a nonce for the next proof, where policy asks for nonces (RFC 9449 §8).
pub(crate) async fn with_nonce<W: World>(shared: &Shared<W>, mut answer: Answer) -> Answer {
    if let Ok(Some(nonce)) = flow::token::nonce(&*shared.world).await
        && let Ok(value) = HeaderValue::try_from(nonce)
    {
        answer.headers_mut().insert(oauth::dpop::NONCE_FIELD, value);
    }
    if let Ok(Some(given)) = flow::token::challenge(&*shared.world).await
        && let Ok(value) = HeaderValue::try_from(given.attestation_challenge)
    {
        answer.headers_mut().insert(oauth::attestation_client::CHALLENGE_FIELD, value);
    }
    answer
}

pub(crate) fn refused<W: World>(shared: &Shared<W>, source: &Source, unread: &Unread) -> Answer {
    shared.refuse(source, unread);
    let wire = wire::of_unread(unread);
    shared.metrics.token("refused", wire.code.as_str());
    wire.into_answer()
}

pub(crate) fn down<W: World>(shared: &Shared<W>, unavailable: &Unavailable) -> Answer {
    tracing::error!(%unavailable, "the token endpoint could not answer");
    shared.metrics.token("unavailable", "temporarily_unavailable");
    wire::of_unavailable().into_answer()
}

//! Evidence appraised for relying parties: Veraison's challenge-response API, version 1
//! (<https://github.com/veraison/docs/tree/main/api/challenge-response>), and what it is discovered
//! by (`/.well-known/veraison/verification`). docs/verifier.md says what is ours in it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ::verify::{End, Refusal, Verified};
use axum::body::Body;
use axum::extract::{Path, State};
use env::{Clock, Recorded, Unavailable, World};
use flow::join;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use socket::Place;
use time::UnixTime;
use verification::{Session, Sessions, Unfit};

use crate::accept::Peer;
use crate::answer::{self, Answer};
use crate::origin::{Shared, not_found};
use crate::refused::{Source, Unread};
use crate::token::read_body;
use crate::wire;

/// Where a session is opened; its name follows [`SESSION`].
pub(crate) const NEW_SESSION: &str = "/challenge-response/v1/newSession";
const SESSION: &str = "/challenge-response/v1/session/";
/// Where the keys are that results are verified with.
pub(crate) const KEYS: &str = "/verifier/jwks";
/// What a session is written as.
const SESSION_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.veraison.challenge-response-session+json");
/// What the discovery document is written as.
const DISCOVERY_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.veraison.discovery+json");
/// RFC 9457 §3.
const PROBLEM_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// How long documents may be kept: well under the time that a key is published ahead of its use.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// Parameters of a query that are looked at.
const PARAMETERS_MAX: usize = 4;
/// The most results that are kept for whoever asks again; of more the one that ends first goes.
const RESULTS_MAX: usize = 1_024;
/// The most sessions that are known to have been ended before their time.
const ENDED_MAX: usize = 4_096;

/// What this process remembers of sessions: bounded, and for as long as they live.
pub(crate) struct Verifications {
    sessions: Sessions,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Results by the end of the session and its name.
    results: BTreeMap<(UnixTime, String), String>,
    /// Sessions that were deleted, likewise.
    ended: BTreeMap<(UnixTime, String), ()>,
}

impl Verifications {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self { sessions: Sessions::new(secret), inner: Mutex::default() }
    }

    fn of<T>(&self, now: UnixTime, look: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.results.retain(|(until, _), _| now < *until);
        inner.ended.retain(|(until, _), ()| now < *until);
        look(&mut inner)
    }

    /// The session of that name, and its result if it has one.
    fn find(&self, id: &str, now: UnixTime) -> Result<(Session, Option<String>), Refusal> {
        let session = self.sessions.find(id, now)?;
        let key = (session.until, session.id.clone());
        self.of(now, |inner| match inner.ended.contains_key(&key) {
            true => Err(verification::Refusal::Ended { end: now, now }.into()),
            false => Ok((session, inner.results.get(&key).cloned())),
        })
    }

    fn keep(&self, session: &Session, result: &str, now: UnixTime) {
        self.of(now, |inner| {
            let key = (session.until, session.id.clone());
            inner.results.insert(key, result.to_owned());
            if inner.results.len() > RESULTS_MAX {
                inner.results.pop_first();
            }
        });
    }

    /// False: too many were ended at once.
    fn end(&self, session: &Session, now: UnixTime) -> bool {
        self.of(now, |inner| {
            let key = (session.until, session.id.clone());
            inner.results.remove(&key);
            let has_place = inner.ended.len() < ENDED_MAX;
            if has_place {
                inner.ended.insert(key, ());
            }
            has_place
        })
    }
}

/// What a request is, before its body is read.
struct Came {
    parts: Parts,
    body: Body,
    source: Source,
    _place: Place,
}

/// `POST …/newSession`.
pub(crate) async fn open<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let came = match came(&shared, request) {
        Ok(came) => came,
        Err(answer) => return *answer,
    };
    let query = came.parts.uri.query().unwrap_or_default();
    let given: Vec<_> = form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX + 1).collect();
    let named = |name: &str| {
        let mut all = given.iter().filter(|(given, _)| given == name);
        let first = all.next().map(|(_, value)| value.as_ref());
        if all.next().is_some() { Err(Unread::Query) } else { Ok(first) }
    };
    let (nonce, size) = match (named("nonce"), named("nonceSize"), given.len()) {
        (Ok(nonce), Ok(size), 0..=PARAMETERS_MAX) => (nonce, size),
        _ => return counted(&shared, &came.source, Unread::Query),
    };
    let sessions = &shared.verifications.sessions;
    match ::verify::open(&*shared.world, sessions, nonce, size).await {
        Ok(Ok((session, accept))) => {
            let mut answer = shown(StatusCode::CREATED, &session, &accept, None);
            let place = format!("{}{SESSION}{}", shared.world.site().issuer, session.id);
            if let Ok(place) = HeaderValue::try_from(place) {
                answer.headers_mut().insert(LOCATION, place);
            }
            answer
        }
        Ok(Err(refusal)) => stranger(&shared, &came.source, refusal),
        Err(unavailable) => down(&unavailable),
    }
}

/// `POST …/session/ID`: "Evidence can only be submitted when the challenge-response session is in
/// state "waiting"" (challenge-response.yaml).
pub(crate) async fn submit<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let Came { parts, body, source, _place } = match came(&shared, request) {
        Ok(came) => came,
        Err(answer) => return *answer,
    };
    // Before a body is read, whether it is for anything.
    let now = shared.world.clock().now();
    match shared.verifications.find(&id, now) {
        Ok((_, None)) => {}
        Ok((_, Some(_))) => return stranger(&shared, &source, Refusal::Replayed),
        Err(refusal) => return stranger(&shared, &source, refusal),
    }
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return counted(&shared, &source, Unread::ContentEncoding);
    }
    let Some(media_type) = only(&parts.headers, &CONTENT_TYPE) else {
        return counted(&shared, &source, Unread::ContentType { expected: "what `accept` names" });
    };
    let max = verification::submission::BYTES_MAX;
    let body = match read_body(body, max, shared.limits.body_max).await {
        Ok(body) => body,
        Err(unread) => return counted(&shared, &source, unread),
    };
    let sessions = &shared.verifications.sessions;
    let (submitted, from) = ((media_type, body.as_slice()), source.to_string());
    // Boxed: what is in flight while a mechanism asks a platform is large.
    let end = ::verify::submit(&*shared.world, sessions, &id, submitted, &from);
    match Box::pin(end).await {
        Ok(End::Decided(recorded)) => decided(&shared, *recorded).await,
        Ok(End::Stranger(refusal)) => stranger(&shared, &source, refusal),
        Err(unavailable) => down(&unavailable),
    }
}

/// `GET …/session/ID`.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let came = match came(&shared, request) {
        Ok(came) => came,
        Err(answer) => return *answer,
    };
    match shared.verifications.find(&id, shared.world.clock().now()) {
        Ok((session, result)) => described(&shared, &session, result.as_deref()).await,
        Err(refusal) => stranger(&shared, &came.source, refusal),
    }
}

/// `DELETE …/session/ID`.
pub(crate) async fn delete<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let came = match came(&shared, request) {
        Ok(came) => came,
        Err(answer) => return *answer,
    };
    let now = shared.world.clock().now();
    match shared.verifications.find(&id, now) {
        Ok((session, _)) if shared.verifications.end(&session, now) => {
            answer::bytes(StatusCode::NO_CONTENT, SESSION_TYPE, Vec::new())
        }
        Ok(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "too many sessions were ended just now"),
        Err(refusal) => stranger(&shared, &came.source, refusal),
    }
}

/// `GET /.well-known/veraison/verification`.
pub(crate) async fn discovery<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    let accept = match ::verify::accepted(&*shared.world).await {
        Ok(Ok(accept)) => accept,
        Ok(Err(_)) => return not_found(),
        Err(unavailable) => return down(&unavailable),
    };
    let key = match ::verify::key(&*shared.world).await {
        Ok(key) => key,
        Err(unavailable) => return down(&unavailable),
    };
    let document = json!({
        "ear-verification-key": key,
        // Ours: all keys, of which the one above is the one that signs now.
        "ear-verification-keys": format!("{}{KEYS}", shared.world.site().issuer),
        "media-types": accept,
        "version": concat!("aims-", env!("CARGO_PKG_VERSION")),
        "service-state": "READY",
        "api-endpoints": { "newChallengeResponseSession": NEW_SESSION },
    });
    kept(DISCOVERY_TYPE, &document)
}

/// `GET /verifier/jwks` (RFC 7517 §5): also where nothing is appraised for others, because results
/// of the verifier stand in records and credentials name them.
pub(crate) async fn keys<W: World>(State(shared): State<Arc<Shared<W>>>) -> Answer {
    match ::verify::keys(&*shared.world).await {
        Ok(keys) => kept(HeaderValue::from_static("application/jwk-set+json"), &json!(keys)),
        Err(unavailable) => down(&unavailable),
    }
}

fn kept(content_type: HeaderValue, document: &Value) -> Answer {
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    let mut answer = answer::bytes(StatusCode::OK, content_type, bytes);
    answer.headers_mut().insert(CACHE_CONTROL, KEPT);
    answer
}

async fn decided<W: World>(shared: &Shared<W>, recorded: Recorded<Verified>) -> Answer {
    let id = recorded.audit_id();
    let Verified { session, result } = recorded.into_value();
    shared.verifications.keep(&session, result.expose(), shared.world.clock().now());
    let mut answer = described(shared, &session, Some(result.expose())).await;
    answer::name_record(answer.headers_mut(), id);
    answer
}

async fn described<W: World>(
    shared: &Shared<W>,
    session: &Session,
    result: Option<&str>,
) -> Answer {
    match ::verify::accepted(&*shared.world).await {
        Ok(accept) => shown(StatusCode::OK, session, &accept.unwrap_or_default(), result),
        Err(unavailable) => down(&unavailable),
    }
}

/// components.yaml, `ChallengeResponseSession`. The evidence is not said again: nobody keeps it.
fn shown(status: StatusCode, session: &Session, accept: &[String], result: Option<&str>) -> Answer {
    let mut body = json!({
        "nonce": session.nonce.to_text(),
        "expiry": session.until.to_string(),
        "accept": accept,
        "status": if result.is_some() { "complete" } else { "waiting" },
    });
    if let (Some(members), Some(result)) = (body.as_object_mut(), result) {
        members.insert("result".to_owned(), json!(result));
    }
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let mut answer = answer::bytes(status, SESSION_TYPE, bytes);
    wire::not_kept(answer.headers_mut());
    answer
}

/// A place is taken as for enrolment, whose bodies are as large, and the answer is one that the
/// caller takes.
fn came<W: World>(shared: &Shared<W>, request: Request<Body>) -> Result<Came, Box<Answer>> {
    let (parts, body) = request.into_parts();
    let address = parts.extensions.get::<Peer>().map(|peer| peer.address);
    let address: IpAddr = address.ok_or_else(|| Box::new(wire::of_unavailable().into_answer()))?;
    let source = Source::Address(address);
    let place = shared.enrolments.take(address).map_err(|_| {
        let unread = Unread::RequestsOfSource { max: shared.limits.enrolments_per_source_max };
        shared.refuse(&source, &unread);
        Box::new(problem(StatusCode::TOO_MANY_REQUESTS, &unread.to_string()))
    })?;
    if !takes_session(&parts.headers) {
        let text = format!("the only format is `{}`", SESSION_TYPE.to_str().unwrap_or_default());
        return Err(Box::new(problem(StatusCode::NOT_ACCEPTABLE, &text)));
    }
    Ok(Came { parts, body, source, _place: place })
}

/// RFC 9110 §12.5.1, as far as one format needs it.
fn takes_session(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(ACCEPT).iter().peekable();
    let ours = SESSION_TYPE;
    let ranges = ["*/*", "application/*", ours.to_str().unwrap_or_default()];
    let takes = |one: &str| {
        let range = one.split(';').next().unwrap_or_default().trim();
        ranges.iter().any(|known| range.eq_ignore_ascii_case(known))
    };
    fields.peek().is_none()
        || fields.filter_map(|field| field.to_str().ok()).flat_map(|all| all.split(',')).any(takes)
}

fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let one = all.next().and_then(|value| value.to_str().ok());
    one.filter(|_| all.next().is_none())
}

fn counted<W: World>(shared: &Shared<W>, source: &Source, unread: Unread) -> Answer {
    shared.refuse(source, &unread);
    let status = match &unread {
        Unread::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::SlowBody => StatusCode::REQUEST_TIMEOUT,
        Unread::ContentType { .. } | Unread::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::BAD_REQUEST,
    };
    problem(status, &unread.to_string())
}

/// Who proved nothing is counted, and learns what is wrong with the form of what it sent; of its
/// evidence only that it was not accepted.
fn stranger<W: World>(shared: &Shared<W>, source: &Source, refusal: Refusal) -> Answer {
    let unread = Unread::Verify(Box::new(refusal));
    shared.refuse(source, &unread);
    let Unread::Verify(refusal) = unread else { return not_found() };
    let (status, text) = match &*refusal {
        Refusal::Off => return not_found(),
        Refusal::Session(_) => (StatusCode::NOT_FOUND, refusal.to_string()),
        Refusal::Replayed => (StatusCode::CONFLICT, refusal.to_string()),
        Refusal::Unfit(Unfit::MediaType { .. }) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, refusal.to_string())
        }
        Refusal::Nonce(_) | Refusal::Unfit(_) | Refusal::Proof(join::Refusal::Request(_)) => {
            (StatusCode::BAD_REQUEST, refusal.to_string())
        }
        Refusal::Proof(join::Refusal::CannotAsk { .. } | join::Refusal::NoAnswer { .. }) => {
            (StatusCode::SERVICE_UNAVAILABLE, "a platform did not answer".to_owned())
        }
        Refusal::Proof(_) => (StatusCode::BAD_REQUEST, "the evidence was not accepted".to_owned()),
    };
    problem(status, &text)
}

/// RFC 9457 §3.1.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let mut answer = answer::bytes(status, PROBLEM_TYPE, bytes);
    answer.headers_mut().insert(CACHE_CONTROL, answer::NO_STORE);
    if answer::may_come_again(status) {
        answer.headers_mut().insert(RETRY_AFTER, answer::RETRY_AFTER_SECONDS);
    }
    answer
}

fn down(unavailable: &Unavailable) -> Answer {
    tracing::error!(%unavailable, "a verification could not be answered");
    problem(StatusCode::SERVICE_UNAVAILABLE, "nothing can be decided or recorded just now")
}

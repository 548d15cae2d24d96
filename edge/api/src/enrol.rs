//! Enrolment over HTTPS: `POST /enrol/session`, `/enrol` and `/enrol/renew`, endpoints of our own
//! (docs/enrolment.md), and the one table from their refusals to the wire.

use std::sync::Arc;

use ::enrol::renew::{self, Renewal};
use ::enrol::{Attempt, End, Enrolled, Refusal};
use attestation::evidence::to_text;
use axum::body::Body;
use axum::extract::State;
use enrolment::{EnrolRequest, REQUEST_BYTES_MAX, RenewRequest, SessionRequest};
use env::{AssignedCredential, Recorded, Unavailable, World};
use flow::join;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use socket::Place;

use crate::accept::Peer;
use crate::answer::{self, Answer};
use crate::origin::Shared;
use crate::refused::{Source, Unread};
use crate::token::read_body;
use crate::wire;

/// What the endpoints read.
const JSON: &str = "application/json";

/// What a request is, before it is read.
struct Came {
    parts: Parts,
    body: Vec<u8>,
    source: Source,
    chain: Vec<Vec<u8>>,
    _place: Place,
}

/// Opens a session.
pub(crate) async fn session<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let came = match came(&shared, request).await {
        Ok(came) => came,
        Err(answer) => return answer,
    };
    let asked = match SessionRequest::parse(&came.body) {
        Ok(asked) => asked,
        Err(unread) => return unreadable(&shared, &came.source, unread.into()),
    };
    match ::enrol::open(&*shared.world, &shared.sessions, &asked).await {
        Ok(Ok(opened)) => kept_nowhere(answer::json(
            StatusCode::CREATED,
            &json!({
                "nonce": opened.nonce,
                "expires": opened.until.to_string(),
                "challenge": opened.challenge.map(|bytes| to_text(&bytes)),
                "accept": opened.accept,
            }),
        )),
        Ok(Err(refusal)) => stranger(&shared, &came.source, Unread::Enrol(Box::new(refusal))),
        Err(unavailable) => down(&unavailable),
    }
}

/// Enrols.
pub(crate) async fn serve<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let came = match came(&shared, request).await {
        Ok(came) => came,
        Err(answer) => return answer,
    };
    let request = match EnrolRequest::parse(&came.body) {
        Ok(request) => request,
        Err(unread) => return unreadable(&shared, &came.source, unread.into()),
    };
    let attempt = Attempt { request, source: came.source.to_string() };
    // Boxed: what is in flight while a mechanism asks a platform is large.
    match Box::pin(::enrol::enrol(&*shared.world, &shared.sessions, &attempt)).await {
        Ok(End::Decided(recorded)) => decided(recorded, of_refusal),
        Ok(End::Stranger(refusal)) => {
            stranger(&shared, &came.source, Unread::Enrol(Box::new(refusal)))
        }
        Err(unavailable) => down(&unavailable),
    }
}

/// Renews.
pub(crate) async fn renewed<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    request: Request<Body>,
) -> Answer {
    let came = match came(&shared, request).await {
        Ok(came) => came,
        Err(answer) => return answer,
    };
    let request = match RenewRequest::parse(&came.body) {
        Ok(request) => request,
        Err(unread) => return unreadable(&shared, &came.source, unread.into()),
    };
    let fields = |name: &str| -> Vec<Vec<u8>> {
        came.parts.headers.get_all(name).iter().map(|one| one.as_bytes().to_vec()).collect()
    };
    let renewal = Renewal {
        request,
        wit: fields(wimse::WORKLOAD_IDENTITY_TOKEN),
        wpt: fields(wimse::WORKLOAD_PROOF_TOKEN),
        certificates: came.chain,
        source: came.source.to_string(),
    };
    match Box::pin(renew::renew(&*shared.world, &renewal)).await {
        Ok(renew::End::Decided(recorded)) => decided(recorded, of_renewal),
        Ok(renew::End::Stranger(refusal)) => {
            stranger(&shared, &came.source, Unread::Renew(Box::new(refusal)))
        }
        Err(unavailable) => down(&unavailable),
    }
}

/// Reads the body, if there is a place for it and the head is as it must be.
async fn came<W: World>(shared: &Shared<W>, request: Request<Body>) -> Result<Came, Answer> {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return Err(wire::of_unavailable().into_answer());
    };
    let source = Source::Address(peer.address);
    let chain = peer.chain.as_deref().unwrap_or_default().to_vec();
    // Bodies here are large: their number is bounded more narrowly than that of requests.
    let place = shared.enrolments.take(peer.address).map_err(|_| {
        let max = shared.limits.enrolments_per_source_max;
        let unread = Unread::RequestsOfSource { max };
        shared.refuse(&source, &unread);
        let status = StatusCode::TOO_MANY_REQUESTS;
        answer::error(status, "temporarily_unavailable", &unread.to_string())
    })?;
    let read = match head(&parts) {
        Ok(()) => read_body(body, REQUEST_BYTES_MAX, shared.limits.body_max).await,
        Err(unread) => Err(unread),
    };
    match read {
        Ok(body) => Ok(Came { parts, body, source, chain, _place: place }),
        Err(unread) => Err(unreadable(shared, &source, unread)),
    }
}

fn head(parts: &Parts) -> Result<(), Unread> {
    if parts.uri.query().is_some() {
        return Err(Unread::Query);
    }
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(Unread::ContentEncoding);
    }
    if is_json(&parts.headers) { Ok(()) } else { Err(Unread::ContentType { expected: JSON }) }
}

/// RFC 8259 §11: "No 'charset' parameter is defined for this registration."
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let one = types.next().and_then(|value| value.to_str().ok());
    types.next().is_none() && one.is_some_and(|text| text.trim().eq_ignore_ascii_case(JSON))
}

fn unreadable<W: World>(shared: &Shared<W>, source: &Source, unread: Unread) -> Answer {
    shared.refuse(source, &unread);
    wire::of_unread(&unread).into_answer()
}

/// Who proved nothing is counted.
fn stranger<W: World>(shared: &Shared<W>, source: &Source, unread: Unread) -> Answer {
    shared.refuse(source, &unread);
    match &unread {
        Unread::Enrol(refusal) => of_refusal(refusal).into_answer(),
        Unread::Renew(refusal) => of_renewal(refusal).into_answer(),
        other => wire::of_unread(other).into_answer(),
    }
}

fn decided<R>(recorded: Recorded<Result<Enrolled, R>>, told: impl Fn(&R) -> Told) -> Answer {
    let id = recorded.audit_id();
    let mut answer = match recorded.into_value() {
        Ok(enrolled) => kept_nowhere(answer::json(StatusCode::CREATED, &shown(&enrolled))),
        Err(refusal) => told(&refusal).into_answer(),
    };
    answer::name_record(answer.headers_mut(), id);
    answer
}

/// RFC 6749 §5.1, of answers with credentials: they are kept by nobody on the way.
fn kept_nowhere(mut answer: Answer) -> Answer {
    wire::not_kept(answer.headers_mut());
    answer
}

fn shown(enrolled: &Enrolled) -> Value {
    let mut shown = json!({
        "agent": enrolled.id.to_string(),
        "expires": enrolled.expires.to_string(),
        "renew_after": enrolled.renew_after.to_string(),
        "until": enrolled.until.to_string(),
        "handle": enrolled.handle,
    });
    for credential in &enrolled.credentials {
        let (kind, value) = match credential {
            AssignedCredential::X509 { chain } => {
                let chain: Vec<_> = chain.iter().map(|der| to_text(der)).collect();
                ("x509", json!({ "chain": chain }))
            }
            AssignedCredential::Wit { token } => ("wit", json!(token.expose())),
            AssignedCredential::Jwt { token, .. } => ("jwt", json!(token.expose())),
        };
        if let Some(members) = shown.as_object_mut() {
            members.insert(kind.to_owned(), value);
        }
    }
    shown
}

fn down(unavailable: &Unavailable) -> Answer {
    tracing::error!(%unavailable, "an enrolment could not be answered");
    wire::of_unavailable().into_answer()
}

/// What an asker is told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: StatusCode,
    code: &'static str,
    text: String,
}

impl Told {
    fn new(status: StatusCode, code: &'static str, text: impl ToString) -> Self {
        Self { status, code, text: text.to_string() }
    }

    fn into_answer(self) -> Answer {
        answer::error(self.status, self.code, &self.text)
    }
}

/// The table. A stranger learns what is wrong with the form of what it sent, and of its evidence
/// only that it was not accepted; who proved something learns what policy asks for.
fn of_refusal(refusal: &Refusal) -> Told {
    let bad =
        |text: &dyn std::fmt::Display| Told::new(StatusCode::BAD_REQUEST, "invalid_request", text);
    let denied =
        |text: &dyn std::fmt::Display| Told::new(StatusCode::FORBIDDEN, "access_denied", text);
    match refusal {
        Refusal::Off => Told::new(StatusCode::FORBIDDEN, "enrolment_off", "enrolment is off here"),
        Refusal::NotAllowed { .. } | Refusal::FirstUse { .. } => denied(refusal),
        Refusal::Session(_) | Refusal::Replayed("nonce") => {
            Told::new(StatusCode::BAD_REQUEST, "invalid_nonce", refusal)
        }
        Refusal::Proof(join::Refusal::Request(_))
        | Refusal::Key(_)
        | Refusal::KeyUsed
        | Refusal::Unfit(_)
        | Refusal::Order(_) => bad(refusal),
        Refusal::Proof(_) | Refusal::Replayed(_) => {
            let text = "the evidence was not accepted";
            Told::new(StatusCode::BAD_REQUEST, "invalid_evidence", text)
        }
        // Which names there are is not told to whoever can prove some other thing.
        // Nor how an agent stands.
        Refusal::Unknown(_)
        | Refusal::Class(_)
        | Refusal::Issue(
            provisioning::IssueRefusal::Evidence { .. }
            | provisioning::IssueRefusal::NotInForce(_)
            | provisioning::IssueRefusal::Node { .. }
            | provisioning::IssueRefusal::NoNode,
        ) => denied(&"the evidence is not that of the agent, or it may not enrol now"),
        Refusal::Issue(_) => denied(refusal),
        Refusal::Overtaken => Told::new(StatusCode::FORBIDDEN, "enrolment_ended", refusal),
        Refusal::TooMany => {
            Told::new(StatusCode::TOO_MANY_REQUESTS, "too_many_enrolments", refusal)
        }
        Refusal::Ended { .. } => Told::new(StatusCode::FORBIDDEN, "enrolment_ended", refusal),
    }
}

fn of_renewal(refusal: &renew::Refusal) -> Told {
    match refusal {
        // Whoever renews proved which agent it is.
        renew::Refusal::Enrol(Refusal::Issue(refusal)) => {
            Told::new(StatusCode::FORBIDDEN, "access_denied", refusal)
        }
        renew::Refusal::Enrol(refusal) => of_refusal(refusal),
        renew::Refusal::Unknown | renew::Refusal::Stale => {
            Told::new(StatusCode::FORBIDDEN, "enrolment_ended", refusal)
        }
        renew::Refusal::NoProof | renew::Refusal::Wit(_) | renew::Refusal::X509(_) => {
            Told::new(StatusCode::BAD_REQUEST, "invalid_client", refusal)
        }
        renew::Refusal::OtherAgent { .. } | renew::Refusal::OtherKey => {
            let text = "the enrolment is not that of the credential shown";
            Told::new(StatusCode::FORBIDDEN, "access_denied", text)
        }
        renew::Refusal::NotInForce(_) => Told::new(StatusCode::FORBIDDEN, "access_denied", refusal),
    }
}

#[cfg(test)]
mod tests {
    use attestation::Refusal as Evidence;
    use attestation::mechanism::Step;
    use enrolment::session;
    use identifier::AgentName;
    use provisioning::IssueRefusal;

    use super::*;

    /// What is told helps whoever may enrol, and shows others neither names nor anchors.
    #[test]
    fn s3_1_each_refusal_has_its_code_and_tells_no_more_than_it_must() {
        let check = |refusal: Refusal, status: u16, code: &str, text: &str| {
            let told = of_refusal(&refusal);
            let found = (told.status.as_u16(), told.code, told.text.as_str());
            assert_eq!(found, (status, code, text), "{refusal:?}");
        };
        check(Refusal::Off, 403, "enrolment_off", "enrolment is off here");
        let nonce = session::Refusal::OtherKey;
        check(nonce.clone().into(), 400, "invalid_nonce", &nonce.to_string());
        check(Refusal::Replayed("nonce"), 400, "invalid_nonce", "the nonce was used before");
        let kept = "the evidence was not accepted";
        for step in [Step::Form, Step::Signature, Step::Chain, Step::Binding, Step::Policy] {
            let why = "an internal text".to_owned();
            let refusal: join::Refusal = Evidence::Failed { mechanism: "ear", step, why }.into();
            check(refusal.into(), 400, "invalid_evidence", kept);
        }
        check(Refusal::Replayed("evidence"), 400, "invalid_evidence", kept);
        // A name that there is not, and one that is another's, are told alike.
        // So is how an agent stands.
        let text = "the evidence is not that of the agent, or it may not enrol now";
        check(IssueRefusal::NoNode.into(), 403, "access_denied", text);
        check(Refusal::Unknown(AgentName::parse("a").unwrap()), 403, "access_denied", text);
        let missing = vec!["github_actions:repository:acme/secret".to_owned()];
        check(IssueRefusal::Evidence { missing }.into(), 403, "access_denied", text);
        let kind = IssueRefusal::Kind { kind: "jwt" };
        check(kind.clone().into(), 403, "access_denied", &kind.to_string());
        check(Refusal::KeyUsed, 400, "invalid_request", &Refusal::KeyUsed.to_string());
        let renewal = of_renewal(&renew::Refusal::OtherAgent { caller: "b".to_owned() });
        let text = "the enrolment is not that of the credential shown";
        assert_eq!(renewal, Told::new(StatusCode::FORBIDDEN, "access_denied", text));
        let renewal = of_renewal(&renew::Refusal::Stale);
        assert_eq!((renewal.status.as_u16(), renewal.code), (403, "enrolment_ended"));
    }
}

//! What an agent without a host of ours sends to be enrolled (S2 §3.1; PROV-07, REG-01): the
//! requests of our own endpoints, read, and the bundle of evidence in them (CMW) taken apart.
//!
//! Nothing here is believed yet: the order of the checks is `flow/src/enrol.rs`.

use std::collections::BTreeMap;

use attestation::class::KINDS;
use attestation::evidence::{self, AgentEvidence, DOCUMENT_BYTES_MAX};
use attestation::mechanism::{EVIDENCE_BYTES_MAX, Mechanism, RESPONSE_BYTES_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identifier::AgentName;
use json::Bounds;
use rats::{COLLECTION_DEPTH_MAX, Cmw, CmwError, Record};
use serde::Deserialize;
use serde_json::Value;

use x509::{Oid, Request};

use crate::session::NONCE_CHARS;

/// The largest body of any of the requests, in bytes: a wrapper of full size and what stands
/// beside it.
pub const REQUEST_BYTES_MAX: usize = rats::CMW_BYTES_MAX + 64 * 1024;
/// The most audiences of a JWT-SVID.
pub const AUDIENCES_MAX: usize = 8;
/// Longest audience, name of a mechanism or handle, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// The largest key, in bytes: RSA with 8192 bits.
const KEY_BYTES_MAX: usize = 1_200;
/// The media type of a mechanism's evidence, before its name.
const MEDIA_TYPE: &str = "application/vnd.aims.evidence.";

/// Asks for a session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// By which mechanism.
    pub mechanism: String,
    /// The key that a credential will bind, as `SubjectPublicKeyInfo`.
    pub key: Vec<u8>,
    /// The evidence, where the mechanism has to see it before it can ask.
    pub evidence: Option<Vec<u8>>,
}

/// Asks to be enrolled.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolRequest {
    /// That of the session.
    pub nonce: String,
    /// Whom it wants to be.
    pub agent: AgentName,
    /// By which mechanism.
    pub mechanism: String,
    /// The answer to the challenge.
    pub response: Option<Vec<u8>>,
    /// All that speaks for it.
    pub evidence: Cmw,
    /// The key, proved, and what is wanted for it.
    pub wanted: Wanted,
}

/// Asks for new credentials for a new key.
#[derive(Clone, PartialEq, Eq)]
pub struct RenewRequest {
    /// That of the enrolment.
    pub handle: String,
    /// The new key, proved, and what is wanted for it.
    pub wanted: Wanted,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    /// PKCS #10 request, DER.
    pub request: Vec<u8>,
    /// Kinds of credentials, each once: `x509`, `wit`, `jwt`.
    pub kinds: Vec<String>,
    /// For whom a JWT-SVID is.
    pub audiences: Vec<String>,
}

macro_rules! shown_as {
    ($type:ident, $self:ident => $($part:expr),+) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $self = self;
                f.debug_tuple(stringify!($type))$(.field(&$part))+.finish()
            }
        }
    };
}

// Evidence may be a bearer token; a handle is nobody else's business.
shown_as!(SessionRequest, one => one.mechanism);
shown_as!(EnrolRequest, one => one.agent, one.mechanism);
shown_as!(RenewRequest, one => one.wanted);
shown_as!(Wanted, one => one.kinds);

/// Why a request does not read: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Not JSON with one meaning, or over a bound of it.
    #[error(transparent)]
    Json(#[from] json::Unreadable),
    /// A member is missing, unknown, or of another type.
    #[error("{0}")]
    Shape(String),
    /// A member does not read.
    #[error("`{member}` is not {form}")]
    Form {
        /// Which.
        member: &'static str,
        /// What it must be.
        form: &'static str,
    },
    /// A member is over its bound.
    #[error("`{member}` has {size}, at most {max} are read")]
    TooLong {
        /// Which.
        member: &'static str,
        /// Its size.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// No credential of that name, or one twice, or none.
    #[error("`kinds` names each of x509, wit, jwt at most once, and one at least")]
    Kinds,
    /// Audiences without a token for them, or the other way round.
    #[error("`audiences` names whom a `jwt` is for, and stands beside no other kind alone")]
    Audiences,
    /// None beside the request, and none in it.
    #[error("no `evidence`, and no wrapper in the attribute `id-aa-attestation` of the request")]
    NoEvidence,
    /// In two places, or two in the request.
    #[error("evidence twice: a wrapper stands beside the request, or in it, and once")]
    EvidenceTwice,
    /// The wrapper.
    #[error("`evidence`: {0}")]
    Cmw(#[from] CmwError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionText {
    mechanism: String,
    key: String,
    evidence: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolText {
    nonce: String,
    agent: String,
    request: String,
    mechanism: String,
    response: Option<String>,
    evidence: Option<Value>,
    kinds: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewText {
    handle: String,
    request: String,
    kinds: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
}

impl SessionRequest {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Unread> {
        let text: SessionText = read(body)?;
        let evidence = text.evidence.as_deref();
        let evidence = evidence.map(|one| octets("evidence", one, EVIDENCE_BYTES_MAX)).transpose();
        let key = octets("key", &text.key, KEY_BYTES_MAX)?;
        Ok(Self { mechanism: short("mechanism", text.mechanism)?, key, evidence: evidence? })
    }
}

impl EnrolRequest {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Unread> {
        let text: EnrolText = read(body)?;
        let response = text.response.as_deref();
        let response = response.map(|one| octets("response", one, RESPONSE_BYTES_MAX)).transpose();
        if text.nonce.len() != NONCE_CHARS {
            return Err(Unread::Form { member: "nonce", form: "one of this server" });
        }
        let agent = AgentName::parse(&text.agent)
            .map_err(|_| Unread::Form { member: "agent", form: "the name of an agent" })?;
        let wanted = Wanted::read(&text.request, text.kinds, text.audiences)?;
        Ok(Self {
            nonce: text.nonce,
            agent,
            mechanism: short("mechanism", text.mechanism)?,
            response: response?,
            evidence: evidence_of(text.evidence.as_ref(), &wanted.request)?,
            wanted,
        })
    }
}

impl RenewRequest {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Unread> {
        let text: RenewText = read(body)?;
        let handle = short("handle", text.handle)?;
        Ok(Self { handle, wanted: Wanted::read(&text.request, text.kinds, text.audiences)? })
    }
}

impl Wanted {
    fn read(request: &str, kinds: Vec<String>, audiences: Vec<String>) -> Result<Self, Unread> {
        let once = |kind: &String| kinds.iter().filter(|other| *other == kind).count() == 1;
        let fits = |kind: &String| KINDS.contains(&kind.as_str()) && once(kind);
        // The length first: it bounds the comparison of each with each.
        if kinds.is_empty() || kinds.len() > KINDS.len() || !kinds.iter().all(fits) {
            return Err(Unread::Kinds);
        }
        if audiences.len() > AUDIENCES_MAX {
            let (member, size) = ("audiences", audiences.len());
            return Err(Unread::TooLong { member, size, max: AUDIENCES_MAX });
        }
        if kinds.iter().any(|kind| kind == "jwt") == audiences.is_empty() {
            return Err(Unread::Audiences);
        }
        let audiences: Result<_, _> =
            audiences.into_iter().map(|one| short("audiences", one)).collect();
        let request = octets("request", request, x509::CERTIFICATE_BYTES_MAX)?;
        Ok(Self { request, kinds, audiences: audiences? })
    }
}

/// The wrapper beside the request, or the one that the request carries (CSR attestation): in one
/// place, so that nobody overlooks what stands in the other.
fn evidence_of(beside: Option<&Value>, request: &[u8]) -> Result<Cmw, Unread> {
    let read = match (beside, Request::verify(request)) {
        (_, Ok(read)) => read,
        // Why a request is refused is told in its place.
        (Some(beside), Err(_)) => return Ok(Cmw::read(beside)?),
        (None, Err(_)) => return Err(Unread::NoEvidence),
    };
    let mut carried = read.attestations().iter().filter(|one| one.kind == Oid::CMW);
    match (beside, carried.next(), carried.next()) {
        (Some(beside), None, _) => Ok(Cmw::read(beside)?),
        (None, Some(one), None) => match one.tag {
            // CMW: "CMW ::= CHOICE { json UTF8String, cbor OCTET STRING }".
            UTF8_STRING => Ok(Cmw::parse(&one.contents)?),
            OCTET_STRING => Ok(Cmw::parse_cbor(&one.contents)?),
            _ => Err(Unread::NoEvidence),
        },
        (None, None, _) => Err(Unread::NoEvidence),
        (_, Some(_), _) => Err(Unread::EvidenceTwice),
    }
}

/// Tags of DER.
const UTF8_STRING: u8 = 0x0c;
const OCTET_STRING: u8 = 0x04;

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Unread> {
    let bounds = Bounds { bytes_max: REQUEST_BYTES_MAX, depth_max: COLLECTION_DEPTH_MAX + 2 };
    let text = json::text(body, bounds)?;
    serde_json::from_str(text).map_err(|error| Unread::Shape(error.to_string()))
}

fn octets(member: &'static str, text: &str, max: usize) -> Result<Vec<u8>, Unread> {
    let form = "base64url without padding";
    let octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| Unread::Form { member, form })?;
    if octets.len() > max {
        return Err(Unread::TooLong { member, size: octets.len(), max });
    }
    Ok(octets)
}

fn short(member: &'static str, text: String) -> Result<String, Unread> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Unread::TooLong { member, size: text.len(), max: TEXT_BYTES_MAX });
    }
    let fits = !text.is_empty() && !text.contains(char::is_control);
    fits.then_some(text).ok_or(Unread::Form { member, form: "a text without control characters" })
}

/// The media types of a mechanism's evidence in a wrapper; the first is ours.
pub fn media_types(mechanism: &dyn Mechanism) -> Vec<String> {
    let ours = format!("{MEDIA_TYPE}{}", mechanism.name());
    let registered = mechanism.media_types().iter().map(|&one| one.to_owned());
    [ours].into_iter().chain(registered).collect()
}

/// All that a wrapper may hold for this mechanism.
pub fn accepted(mechanism: &dyn Mechanism) -> Vec<String> {
    let documents = evidence::KINDS.iter().flat_map(|kind| kind.media_types());
    media_types(mechanism).into_iter().chain(documents.map(|&one| one.to_owned())).collect()
}

/// A wrapper taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought<'a> {
    /// The kind of document.
    pub kind: &'static str,
    /// The document.
    pub bytes: &'a [u8],
}

/// Why a wrapper is not what a mechanism and the kinds of documents need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A message that nobody here appraises.
    #[error("`{media_type}` is not accepted")]
    MediaType {
        /// Its type.
        media_type: String,
    },
    /// Not one message of the mechanism.
    #[error("{count} messages of the type `{media_type}`, one is needed")]
    Platform {
        /// How many.
        count: usize,
        /// The type.
        media_type: String,
    },
    /// Two documents of a kind: which of them counts?
    #[error("two documents `{kind}`")]
    Twice {
        /// The kind.
        kind: &'static str,
    },
    /// Over the bound.
    #[error("a message of {bytes} bytes, at most {max} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

/// The evidence of the mechanism, and the documents about the agent.
pub fn take_apart<'a>(
    wrapper: &'a Cmw,
    mechanism: &dyn Mechanism,
) -> Result<(&'a [u8], Vec<Brought<'a>>), Unfit> {
    take_apart_by(evidence::KINDS, wrapper, mechanism)
}

/// The same where there are these kinds of documents.
pub fn take_apart_by<'a>(
    kinds: &[&'static dyn AgentEvidence],
    wrapper: &'a Cmw,
    mechanism: &dyn Mechanism,
) -> Result<(&'a [u8], Vec<Brought<'a>>), Unfit> {
    let own = media_types(mechanism);
    let (mut platform, mut documents) = (Vec::new(), BTreeMap::new());
    for (_, record) in wrapper.records() {
        let essence = essence(record);
        if own.contains(&essence) {
            platform.push(fitting(record, EVIDENCE_BYTES_MAX)?);
            continue;
        }
        let of = |kind: &&dyn AgentEvidence| kind.media_types().contains(&essence.as_str());
        let kind = kinds.iter().copied().find(of);
        let kind = kind.ok_or(Unfit::MediaType { media_type: essence })?.name();
        if documents.insert(kind, fitting(record, DOCUMENT_BYTES_MAX)?).is_some() {
            return Err(Unfit::Twice { kind });
        }
    }
    let documents = documents.into_iter().map(|(kind, bytes)| Brought { kind, bytes }).collect();
    match platform.as_slice() {
        [one] => Ok((one, documents)),
        others => {
            let media_type = own.into_iter().next().unwrap_or_default();
            Err(Unfit::Platform { count: others.len(), media_type })
        }
    }
}

/// RFC 9110 §8.3.1: "The type and subtype tokens are case-insensitive."
fn essence(record: &Record) -> String {
    let essence = record.media_type.split(';').next().unwrap_or_default();
    essence.trim_end().to_ascii_lowercase()
}

fn fitting(record: &Record, max: usize) -> Result<&[u8], Unfit> {
    let bytes = record.value.len();
    if bytes <= max { Ok(&record.value) } else { Err(Unfit::TooLarge { bytes, max }) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use attestation::mechanism::by_name;

    fn enrol() -> Value {
        json!({
            "nonce": "n".repeat(NONCE_CHARS), "agent": "bot", "request": "AAAA",
            "mechanism": "x509pop", "response": "AAAA",
            "evidence": ["application/vnd.aims.evidence.x509pop", "AAAA"],
            "kinds": ["x509", "jwt"], "audiences": ["https://a.example"]
        })
    }

    fn refused(change: (&str, Value)) -> String {
        let mut body = enrol();
        match change {
            (member, Value::Null) => drop(body.as_object_mut().unwrap().remove(member)),
            (member, value) => body[member] = value,
        }
        EnrolRequest::parse(body.to_string().as_bytes()).unwrap_err().to_string()
    }

    /// req: PROV-07 (part)
    #[test]
    fn s3_1_a_request_reads_or_says_what_is_wrong() {
        let read = EnrolRequest::parse(enrol().to_string().as_bytes()).unwrap();
        assert_eq!((read.agent.to_string().as_str(), read.mechanism.as_str()), ("bot", "x509pop"));
        assert!(!format!("{read:?}").contains("nnn"));
        let kinds = "`kinds` names each of x509, wit, jwt at most once, and one at least";
        let audiences = "`audiences` names whom a `jwt` is for, and stands beside no other kind";
        let cases = [
            (("nonce", json!("n")), "`nonce` is not one of this server"),
            (("agent", json!("Bot")), "`agent` is not the name of an agent"),
            (("request", Value::Null), "missing field `request`"),
            (("request", json!("A")), "`request` is not base64url without padding"),
            (("mechanism", json!("")), "`mechanism` is not a text without control characters"),
            (("response", json!("A=")), "`response` is not base64url"),
            (("evidence", json!("AAAA")), "`evidence`: neither a record nor a collection"),
            (("kinds", json!([])), kinds),
            (("kinds", json!(["pgp"])), kinds),
            (("kinds", json!(["x509", "pgp"])), kinds),
            (("kinds", json!(["jwt", "jwt"])), kinds),
            (("kinds", json!(["wit"])), audiences),
            (("audiences", Value::Null), audiences),
            (("audiences", json!(vec!["a"; AUDIENCES_MAX + 1])), "`audiences` has 9, at most 8"),
            (("role", json!("admin")), "unknown field `role`"),
        ];
        for (change, expect) in cases {
            let told = refused(change.clone());
            assert!(told.starts_with(expect), "{change:?}: {told}");
        }
        let twice = r#"{"mechanism":"a","mechanism":"b","key":""}"#;
        let refused = SessionRequest::parse(twice.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused, "member `mechanism` appears twice in one object");
        let long = vec![b' '; REQUEST_BYTES_MAX + 1];
        assert!(matches!(RenewRequest::parse(&long), Err(Unread::Json(_))));
    }

    /// req: ATT-04 (part)
    #[test]
    fn cmw_3_a_wrapper_holds_the_evidence_once_and_nothing_unknown() {
        let mechanism = by_name("x509pop").unwrap();
        let check = |wrapper: Value, expect: &str| {
            let wrapper = Cmw::read(&wrapper).unwrap();
            let told = match take_apart(&wrapper, mechanism) {
                Ok((platform, documents)) => format!("{platform:?} and {}", documents.len()),
                Err(unfit) => unfit.to_string(),
            };
            assert_eq!(told, expect);
        };
        let ours = "application/vnd.aims.evidence.x509pop";
        check(json!([ours, "AAAA"]), "[0, 0, 0] and 0");
        check(json!(["Application/vnd.AIMS.evidence.x509pop; a=b", "AAAA"]), "[0, 0, 0] and 0");
        check(json!({"platform": [ours, "AAAA"]}), "[0, 0, 0] and 0");
        let two = json!({"a": [ours, "AAAA"], "b": {"c": [ours, "AAAB"]}});
        check(two, &format!("2 messages of the type `{ours}`, one is needed"));
        check(json!(["text/plain", "AAAA"]), "`text/plain` is not accepted");
        let other = "application/vnd.aims.evidence.sshpop";
        let both = json!({"a": [ours, "AAAA"], "b": [other, "AAAA"]});
        check(both, &format!("`{other}` is not accepted"));
        let long = URL_SAFE_NO_PAD.encode(vec![0; EVIDENCE_BYTES_MAX + 1]);
        let told = "a message of 65537 bytes, at most 65536 are read";
        check(json!([ours, long]), told);
    }
}

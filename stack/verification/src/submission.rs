//! What a relying party submits to a session: evidence by its media type, or a wrapper (CMW) with
//! the evidence, the answer to the challenge and a request that proves the key that it is about.

use std::borrow::Cow;

use attestation::mechanism::{EVIDENCE_BYTES_MAX, Mechanism, RESPONSE_BYTES_MAX};
use rats::{CMW_BYTES_MAX, Cmw, CmwError};

/// The largest body, in bytes.
pub const BYTES_MAX: usize = CMW_BYTES_MAX;
/// The media types of wrappers.
const WRAPPERS: [&str; 2] = ["application/cmw+json", "application/cmw+cbor"];
/// The media type of a mechanism's evidence and of an answer to a challenge, before its name.
const EVIDENCE: &str = "application/vnd.aims.evidence.";
const RESPONSE: &str = "application/vnd.aims.response.";
/// RFC 5967: a PKCS #10 request, in DER.
const REQUEST: &str = "application/pkcs10";
/// The largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Evidence, and what came with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// Whose evidence it is: a name in policy.
    pub mechanism: &'static str,
    /// The evidence.
    pub evidence: Vec<u8>,
    /// The answer to the challenge.
    pub response: Option<Vec<u8>>,
    /// A request of the key that it is about, in DER.
    pub request: Option<Vec<u8>>,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Submission({})", self.mechanism)
    }
}

/// Why a submission does not read: one variant a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not a type that is accepted here.
    #[error("`{media_type}` is not accepted")]
    MediaType {
        /// Its type.
        media_type: String,
    },
    /// The wrapper.
    #[error(transparent)]
    Cmw(#[from] CmwError),
    /// Not one message of evidence.
    #[error("{count} messages of evidence, one is needed")]
    Evidence {
        /// How many.
        count: usize,
    },
    /// Two of what there may be one of.
    #[error("two messages `{media_type}`")]
    Twice {
        /// Their type.
        media_type: String,
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

/// The mechanisms of policy whose evidence one message with a nonce that others know can prove.
fn checked<'a>(
    all: &'a [&'static dyn Mechanism],
) -> impl Iterator<Item = &'static dyn Mechanism> + 'a {
    all.iter().copied().filter(|one| one.takes_known_nonce())
}

fn types_of(mechanism: &dyn Mechanism) -> impl Iterator<Item = Cow<'static, str>> {
    let ours = Cow::Owned(format!("{EVIDENCE}{}", mechanism.name()));
    let registered = mechanism.media_types().iter().map(|&one| Cow::Borrowed(one));
    [ours].into_iter().chain(registered)
}

/// The media types that a submission may have, where policy has these mechanisms.
pub fn accepted(mechanisms: &[&'static dyn Mechanism]) -> Vec<String> {
    let evidence = checked(mechanisms).flat_map(types_of).map(Cow::into_owned);
    WRAPPERS.into_iter().map(str::to_owned).chain(evidence).collect()
}

/// Reads a body of this media type.
pub fn read(
    mechanisms: &[&'static dyn Mechanism],
    media_type: &str,
    body: &[u8],
) -> Result<Submission, Unfit> {
    let essence = essence(media_type);
    let wrapper = match essence.as_str() {
        "application/cmw+json" => Cmw::parse(body)?,
        "application/cmw+cbor" => Cmw::parse_cbor(body)?,
        _ => {
            let mechanism =
                of(mechanisms, &essence).ok_or(Unfit::MediaType { media_type: essence })?;
            let evidence = fitting(body, EVIDENCE_BYTES_MAX)?;
            let mechanism = mechanism.name();
            return Ok(Submission { mechanism, evidence, response: None, request: None });
        }
    };
    let (mut found, mut response, mut request) = (Vec::new(), None, None);
    for (_, record) in wrapper.records() {
        let essence = self::essence(&record.media_type);
        if essence == REQUEST {
            let bytes = fitting(&record.value, REQUEST_BYTES_MAX)?;
            once(&mut request, bytes, &essence)?;
        } else if let Some(name) = essence.strip_prefix(RESPONSE) {
            let bytes = fitting(&record.value, RESPONSE_BYTES_MAX)?;
            once(&mut response, (name.to_owned(), bytes), &essence)?;
        } else {
            let mechanism =
                of(mechanisms, &essence).ok_or(Unfit::MediaType { media_type: essence })?;
            found.push((mechanism.name(), fitting(&record.value, EVIDENCE_BYTES_MAX)?));
        }
    }
    let count = found.len();
    let Some((mechanism, evidence)) = found.pop().filter(|_| count == 1) else {
        return Err(Unfit::Evidence { count });
    };
    // An answer to another mechanism's challenge is none to this one's.
    if let Some((name, _)) = response.as_ref().filter(|(name, _)| name != mechanism) {
        return Err(Unfit::MediaType { media_type: format!("{RESPONSE}{name}") });
    }
    Ok(Submission { mechanism, evidence, response: response.map(|(_, bytes)| bytes), request })
}

fn of(mechanisms: &[&'static dyn Mechanism], essence: &str) -> Option<&'static dyn Mechanism> {
    checked(mechanisms).find(|one| types_of(*one).any(|known| known == essence))
}

fn once<T>(place: &mut Option<T>, found: T, media_type: &str) -> Result<(), Unfit> {
    match place.replace(found) {
        None => Ok(()),
        Some(_) => Err(Unfit::Twice { media_type: media_type.to_owned() }),
    }
}

/// RFC 9110 §8.3.1: "The type and subtype tokens are case-insensitive."
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn fitting(bytes: &[u8], max: usize) -> Result<Vec<u8>, Unfit> {
    let size = bytes.len();
    if size <= max { Ok(bytes.to_vec()) } else { Err(Unfit::TooLarge { bytes: size, max }) }
}

#[cfg(test)]
mod tests {
    use attestation::mechanism::by_name;
    use serde_json::{Value, json};

    use super::*;

    fn mechanisms() -> Vec<&'static dyn Mechanism> {
        let names = ["x509pop", "ear", "github_actions", "tpm_devid"];
        names.into_iter().filter_map(by_name).collect()
    }

    fn wrapped(value: &Value) -> Result<Submission, Unfit> {
        read(&mechanisms(), "application/cmw+json", value.to_string().as_bytes())
    }

    /// req: ATT-04 (part)
    #[test]
    fn rfc9334_5_2_a_submission_is_evidence_or_a_wrapper_of_it() {
        let types = accepted(&mechanisms());
        // A token that others can show again, and a challenge that must stay secret, are no
        // evidence for somebody else.
        let expect = [
            "application/cmw+json",
            "application/cmw+cbor",
            "application/vnd.aims.evidence.x509pop",
            "application/vnd.aims.evidence.ear",
            "application/eat+jwt",
        ];
        assert_eq!(types, expect);
        let bare = read(&mechanisms(), "Application/EAT+JWT; profile=a", b"a.b.c").unwrap();
        assert_eq!((bare.mechanism, bare.evidence.as_slice()), ("ear", b"a.b.c".as_slice()));
        let pop = json!(["application/vnd.aims.evidence.x509pop", "AAAA"]);
        let response = json!(["application/vnd.aims.response.x509pop", "AQ"]);
        let request = json!(["application/pkcs10", "Ag"]);
        let whole = json!({ "evidence": pop, "about": { "answer": response, "key": request } });
        let found = wrapped(&whole).unwrap();
        assert_eq!(found.mechanism, "x509pop");
        assert_eq!((found.response, found.request), (Some(vec![1]), Some(vec![2])));
        assert!(wrapped(&pop).is_ok());
    }

    #[test]
    fn rfc9334_5_2_each_check_of_a_submission_refuses_by_its_name() {
        let check = |value: Value, expect: &str| {
            assert_eq!(wrapped(&value).unwrap_err().to_string(), expect, "{value}");
        };
        let pop = json!(["application/vnd.aims.evidence.x509pop", "AAAA"]);
        let key = json!(["application/pkcs10", "AAAA"]);
        let answer = |name: &str| json!([format!("application/vnd.aims.response.{name}"), "AAAA"]);
        check(json!({ "a": key }), "0 messages of evidence, one is needed");
        check(json!({ "a": pop, "b": pop }), "2 messages of evidence, one is needed");
        check(json!({ "a": pop, "b": key, "c": key }), "two messages `application/pkcs10`");
        let other = "`application/vnd.aims.response.ear` is not accepted";
        check(json!({ "a": pop, "b": answer("ear") }), other);
        let twice = "two messages `application/vnd.aims.response.x509pop`";
        check(json!({ "a": pop, "b": answer("x509pop"), "c": answer("x509pop") }), twice);
        let github = json!(["application/vnd.aims.evidence.github_actions", "AAAA"]);
        check(github, "`application/vnd.aims.evidence.github_actions` is not accepted");
        check(json!("AAAA"), "neither a record nor a collection");
        let other = read(&mechanisms(), "application/psa-attestation-token", b"").unwrap_err();
        assert!(matches!(other, Unfit::MediaType { .. }));
        let long = vec![0; EVIDENCE_BYTES_MAX + 1];
        let long = read(&mechanisms(), "application/eat+jwt", &long).unwrap_err();
        assert!(matches!(long, Unfit::TooLarge { .. }));
        // Policy that has none of them takes none of it.
        assert!(matches!(read(&[], "application/eat+jwt", b"a"), Err(Unfit::MediaType { .. })));
    }
}

//! What ties an access request to the denial that it is about, and an approval to the one question
//! that it answers (AuthZEN Access Request and Approval Profile; AUTHZ-31, AUTHZ-32).
//!
//! In scope: the id of a denied evaluation, which says for itself until when and to whom it may be
//! answered, so that nobody has to remember denials. Not here: the questions (`pdp`).

use aws_lc_rs::{constant_time, hmac};
use jose::TokenHash;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Span, UnixTime};

/// How long a denial may be asked for.
pub const DENIAL_LIFE: Span = Span::from_seconds(600);
/// How much longer than its question a task is told of.
pub const TASK_KEPT: Span = Span::from_seconds(600);
/// Longest id that is looked at, in bytes.
const ID_BYTES_MAX: usize = 256;
/// What each code is made over, so that the secret is not used for something else.
const OF_DENIAL: &[u8] = b"aims denied evaluation 1";
const OF_TASK: &[u8] = b"aims access request task 1";

/// What an approval is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The client that asked for the decision: it alone may use the approval.
    pub pep: String,
    /// The record of the denial.
    pub evaluation: String,
    /// SHA-256 of the question, base64url, over its canonical form.
    pub hash: String,
}

/// The SHA-256 of a question, base64url, over its canonical form (RFC 8785): Access Request and
/// Approval Profile, Binding Token Integrity: "structural comparison of two JSON values".
pub fn hash_of(question: &Value) -> Result<String, json::NotCanonical> {
    hash_of_text(&question.to_string())
}

/// The same of a text that was read as strictly as everything is.
pub fn hash_of_text(text: &str) -> Result<String, json::NotCanonical> {
    json::canonical(text, &[]).map(|text| TokenHash::of(&text).to_base64url())
}

/// The `evaluation_id` of a denial that may be asked for until `until`: the id of its record, the
/// end in seconds, and a code over both, who asked and what.
pub fn denial_id(secret: &[u8; 32], bound: &Bound, until: UnixTime) -> String {
    let said = format!("{}.{}", bound.evaluation, until.seconds());
    let code = code_of_denial(secret, &said, bound);
    format!("{said}.{}", TokenHash::from_bytes(code).to_base64url())
}

/// What a denial id is bound to, if it is one of ours, for this client and this question, and when
/// it ends.
pub fn read_denial(
    secret: &[u8; 32],
    id: &str,
    (pep, hash): (&str, &str),
) -> Result<(Bound, UnixTime), NotBound> {
    if id.len() > ID_BYTES_MAX {
        return Err(NotBound);
    }
    let (said, code) = id.rsplit_once('.').ok_or(NotBound)?;
    let (evaluation, until) = said.split_once('.').ok_or(NotBound)?;
    let (pep, hash) = (pep.to_owned(), hash.to_owned());
    let bound = Bound { pep, evaluation: evaluation.to_owned(), hash };
    let expect = TokenHash::from_bytes(code_of_denial(secret, said, &bound)).to_base64url();
    constant_time::verify_slices_are_equal(expect.as_bytes(), code.as_bytes())
        .map_err(|_| NotBound)?;
    let until: u64 = until.parse().map_err(|_| NotBound)?;
    Ok((bound, UnixTime::from_seconds(until)))
}

/// The random part of the task that `pep` gets for what it hands in under `key`: whoever asks again
/// gets the same one, and nobody else can tell it.
pub fn task_secret(secret: &[u8; 32], pep: &str, key: &str) -> [u8; 32] {
    code(secret, &[OF_TASK, pep.as_bytes(), key.as_bytes()])
}

fn code_of_denial(secret: &[u8; 32], said: &str, bound: &Bound) -> [u8; 32] {
    code(secret, &[OF_DENIAL, said.as_bytes(), bound.pep.as_bytes(), bound.hash.as_bytes()])
}

fn code(secret: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    for part in parts {
        // Each with its length, so that no two lists of parts have one text.
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        context.update(&length.to_be_bytes());
        context.update(part);
    }
    let mut made = [0; 32];
    for (to, from) in made.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    made
}

/// An id that is none of ours, or is of another client's or another question's denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`denial.evaluation_id` is not that of a denial of this question to this client")]
pub struct NotBound;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];
    const UNTIL: UnixTime = UnixTime::from_seconds(1_700_000_000);

    fn bound() -> Bound {
        let (pep, evaluation) = ("client-1".to_owned(), "0190-record".to_owned());
        Bound { pep, evaluation, hash: "hash".to_owned() }
    }

    /// req: AUTHZ-31 (part)
    #[test]
    fn arap_a_denial_id_is_of_one_client_and_one_question() {
        let id = denial_id(&SECRET, &bound(), UNTIL);
        let read = |secret: u8, id: &str, pep: &str, hash: &str| {
            read_denial(&[secret; 32], id, (pep, hash))
        };
        assert_eq!(read(7, &id, "client-1", "hash"), Ok((bound(), UNTIL)));
        let later = id.replace("1700000000", "1700000001");
        let other = id.replace("0190", "0191");
        for (secret, id, pep, hash) in [
            (8, id.as_str(), "client-1", "hash"),
            (7, &id, "client-2", "hash"),
            (7, &id, "client-1", "hash2"),
            (7, &id, "client-1h", "ash"),
            (7, &later, "client-1", "hash"),
            (7, &other, "client-1", "hash"),
            (7, "", "client-1", "hash"),
            (7, "a.b", "client-1", "hash"),
            (7, &"x.".repeat(200), "client-1", "hash"),
        ] {
            assert_eq!(read(secret, id, pep, hash), Err(NotBound), "{id}");
        }
    }

    #[test]
    fn arap_a_task_is_of_one_client_and_one_key() {
        let of = |secret: u8, pep: &str, key: &str| task_secret(&[secret; 32], pep, key);
        assert_eq!(of(1, "a", "b"), of(1, "a", "b"));
        for other in [of(2, "a", "b"), of(1, "b", "b"), of(1, "a", "c"), of(1, "ab", "")] {
            assert_ne!(of(1, "a", "b"), other);
        }
    }

    #[test]
    fn arap_a_question_is_compared_by_its_members() {
        let hash = |text: &str| hash_of(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(hash(r#"{"a":1,"b":[2]}"#), hash(r#"{ "b":[2], "a":1.0 }"#));
        for other in [r#"{"a":1}"#, r#"{"a":1,"b":[2],"c":null}"#, r#"{"a":"1","b":[2]}"#] {
            assert_ne!(hash(r#"{"a":1,"b":[2]}"#), hash(other));
        }
    }
}

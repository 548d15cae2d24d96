//! What the claims of a token mean, in words.

use serde_json::Value;
use time::{Span, UnixTime};

use crate::output::when;
use crate::span;

/// Claims that are instants (RFC 7519 §2, NumericDate).
const INSTANTS: &[&str] = &["exp", "nbf", "iat", "auth_time"];

/// Names of claims and header parameters, and what they say.
const MEANINGS: &[(&str, &str)] = &[
    // RFC 7515 §4.1, of the header.
    ("alg", "how it is signed"),
    ("kid", "which key signed it"),
    ("typ", "what kind of token it is"),
    // RFC 7519 §4.1.
    ("iss", "who issued it"),
    ("sub", "on whose behalf it is used"),
    ("aud", "whom it is for: others refuse it"),
    ("exp", "from then on it is refused"),
    ("nbf", "before that it is refused"),
    ("iat", "when it was issued"),
    ("jti", "its own id: records call it by this"),
    // RFC 9068 §2.2, RFC 8693 §4, RFC 7800 §3.1.
    ("client_id", "who got it: the agent that acts"),
    ("scope", "what it allows, at most"),
    ("act", "the chain of actors, the current one outermost"),
    ("may_act", "who may act for the subject"),
    ("cnf", "the key that must be proved with it"),
    ("auth_time", "when the user signed in"),
    ("acr", "how strongly the user signed in"),
    ("amr", "by what the user signed in"),
    // draft-ietf-oauth-transaction-tokens §9.2.
    ("txn", "the transaction that it belongs to"),
    ("req_wl", "the workload that asked for it"),
    ("tctx", "what stays the same throughout the transaction"),
    ("rctx", "the environment of the first request"),
    // draft-ietf-wimse-wpt §2.
    ("wth", "hash of the WIT that it goes with"),
    ("ath", "hash of the access token that it goes with"),
    ("tth", "hash of the transaction token that it goes with"),
    ("oth", "hashes of other tokens that it goes with"),
    // Ours (docs/design.md §5).
    ("aims_root", "what the whole lineage began with: `aims audit trace` takes it"),
    ("aims_parent", "the token that it came from"),
    ("aims_epoch", "the revocations so far, when it was issued"),
];

/// What a claim means; empty for one that nobody here knows.
pub(crate) fn meaning(name: &str) -> &'static str {
    MEANINGS.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning)
}

/// A value as people read it: instants as such, with how far they are from `now`.
pub(crate) fn value(name: &str, value: &Value, now: UnixTime) -> String {
    if let (true, Some(seconds)) = (INSTANTS.contains(&name), value.as_u64()) {
        let time = UnixTime::from_seconds(seconds);
        let distance = match (time.since(now), now.since(time)) {
            (Span::ZERO, Span::ZERO) => "now".to_owned(),
            (Span::ZERO, past) => format!("{} ago", span::show(past)),
            (ahead, _) => format!("in {}", span::show(ahead)),
        };
        return format!("{} ({distance})", when(time));
    }
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_with_their_distance() {
        let now = UnixTime::from_seconds(1_000);
        for (name, given, expect) in [
            ("exp", serde_json::json!(1_300), "1970-01-01T00:21:40Z (in 5m)"),
            ("iat", serde_json::json!(940), "1970-01-01T00:15:40Z (1m ago)"),
            ("nbf", serde_json::json!(1_000), "1970-01-01T00:16:40Z (now)"),
            ("exp", serde_json::json!("1300"), "1300"),
            ("aims_epoch", serde_json::json!(7), "7"),
            ("aud", serde_json::json!(["a", "b"]), "[\"a\",\"b\"]"),
        ] {
            assert_eq!(value(name, &given, now), expect);
        }
    }

    /// Every claim that a token of ours can have is explained.
    #[test]
    fn no_claim_of_ours_is_without_a_meaning() {
        for name in [
            "iss",
            "exp",
            "aud",
            "sub",
            "client_id",
            "iat",
            "nbf",
            "jti",
            "scope",
            "act",
            "may_act",
            "cnf",
            "txn",
            "auth_time",
            "acr",
            "amr",
            "aims_root",
            "aims_parent",
            "aims_epoch",
            "req_wl",
            "tctx",
            "rctx",
            "wth",
            "ath",
            "tth",
            "oth",
        ] {
            assert_ne!(meaning(name), "", "{name}");
        }
        assert_eq!(meaning("unheard_of"), "");
    }
}

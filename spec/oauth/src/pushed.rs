//! Pushed authorization requests (RFC 9126): the request, the reference and the answer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::form::Form;
use crate::parameter::{Refused, within};
use crate::token_text::TokenText;

/// What references begin with.
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// Bytes of a reference.
const MAX_BYTES: usize = 512;
/// Status of the answer. RFC 9126 §2.2: "the server MUST generate a request URI and provide it in
/// the response with a 201 HTTP status code."
pub const STATUS: u16 = 201;

/// `request_uri`: a reference to what one client pushed, to be used once. It says nothing else, so
/// that no server is made to fetch a URL that somebody wrote.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestUri(String);

impl RequestUri {
    /// A reference of these random octets.
    pub fn of_random(octets: &[u8; 32]) -> Self {
        // RFC 9126 §2.2: "The request URI [...] MUST contain some part generated using a
        // cryptographically strong pseudorandom algorithm".
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(octets)))
    }

    /// A reference of this server; others are not followed.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        const RULE: &str = "RFC 9126 §2.2";
        let text = within(text, "request_uri", RULE, MAX_BYTES)?;
        match text.strip_prefix(PREFIX) {
            Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Refused::value("request_uri", RULE, text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The parameters themselves.
    Parameters,
    /// A signed request object that has them all (RFC 9126 §3).
    Object(TokenText),
}

impl Pushed {
    /// Reads what is pushed. The parameters are those of an authorization request, and who pushes
    /// them has authenticated as at the token endpoint.
    pub fn read(form: &Form) -> Result<Self, Refused> {
        // RFC 9126 §2.1: "The request_uri authorization request parameter is one exception, and it
        // MUST NOT be provided."
        if form.has("request_uri") {
            return Err(Refused::unexpected("request_uri", "RFC 9126 §2.1"));
        }
        let Some(text) = form.get("request") else { return Ok(Self::Parameters) };
        let text = TokenText::parse(text);
        text.map(Self::Object).map_err(|why| Refused::form("request", "RFC 9126 §3", why))
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedResponse {
    pub request_uri: RequestUri,
    /// Seconds, at least one.
    pub expires_in: u64,
}

/// Whoever has the reference can begin what it stands for.
impl fmt::Debug for RequestUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestUri(…)")
    }
}

impl Serialize for RequestUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RequestUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc9126_2_2_the_example_answer() {
        let text = r#"{"request_uri":"urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c","expires_in":60}"#;
        let answer: PushedResponse = serde_json::from_str(text).unwrap();
        assert_eq!(answer.expires_in, 60);
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert!(!format!("{answer:?}").contains("6esc"));
        let made = RequestUri::of_random(&[7; 32]);
        assert_eq!(RequestUri::parse(made.as_str()), Ok(made));
    }

    /// Defect: a server that fetches what a request names.
    #[test]
    fn rfc9126_2_1_other_references_are_refused() {
        for text in [
            "https://client.example.org/request.jwt",
            "urn:ietf:params:oauth:request_uri:",
            "urn:ietf:params:oauth:request_uri:a b",
            "URN:ietf:params:oauth:request_uri:a",
            &format!("{PREFIX}{}", "a".repeat(MAX_BYTES)),
        ] {
            assert_eq!(RequestUri::parse(text).unwrap_err().name, "request_uri", "{text}");
        }
        let read = |body: &str| Pushed::read(&Form::parse(body.as_bytes()).unwrap());
        assert_eq!(read("client_id=a"), Ok(Pushed::Parameters));
        assert!(matches!(read("client_id=a&request=a.b.c"), Ok(Pushed::Object(_))));
        let refused = Refused::unexpected("request_uri", "RFC 9126 §2.1");
        assert_eq!(read(&format!("client_id=a&request_uri={PREFIX}a")), Err(refused));
    }
}

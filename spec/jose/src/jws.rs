//! JWS over bytes that are no claims (RFC 7515): attached, detached (RFC 7515 Appendix F), or with
//! the signature beside its header, as documents carry it.
//!
//! What was signed can be read only of what was verified.

use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::header::{KeyId, NotAKeyId};
use crate::json::{self, NotStrict};
use crate::key::PublicKey;

/// Longest protected header, in bytes of base64url.
const HEADER_BYTES_MAX: usize = 8_192;
/// Longest signature, in bytes of base64url: one by RSA-8192 has 1,366.
const SIGNATURE_BYTES_MAX: usize = 2_048;

/// A signature whose header can be read and that nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jws {
    protected: String,
    algorithm: Algorithm,
    kid: Option<KeyId>,
    typ: Option<String>,
    signature: Vec<u8>,
}

impl Jws {
    /// The signature of a compact text, and the payload that stands in it, which is empty if it is
    /// detached. The payload is as unproven as the rest.
    pub fn parse_compact(text: &str) -> Result<(Self, Vec<u8>), JwsError> {
        let mut parts = text.split('.');
        let (Some(protected), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsError::Parts);
        };
        let payload = base64url::decode(payload).ok_or(JwsError::Encoding)?;
        Ok((Self::parse(protected, signature)?, payload))
    }

    /// The members `protected` and `signature` of the JSON serialization (RFC 7515 §7.2).
    pub fn parse(protected: &str, signature: &str) -> Result<Self, JwsError> {
        if protected.len() > HEADER_BYTES_MAX || signature.len() > SIGNATURE_BYTES_MAX {
            return Err(JwsError::TooLong);
        }
        let header = base64url::decode(protected).ok_or(JwsError::Encoding)?;
        let header: Map<String, Value> = json::parse_bytes(&header).map_err(JwsError::Header)?;
        // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood
        // and supported by the recipient, then the JWS is invalid." None is understood, `b64` of
        // RFC 7797 among them.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwsError::Critical);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(JwsError::NotText),
        };
        // RFC 7515 §4.1.1: "This Header Parameter MUST be present and MUST be understood and
        // processed by implementations."
        let algorithm = text("alg")?.and_then(Algorithm::parse).ok_or(JwsError::Algorithm)?;
        let kid = text("kid")?.map(KeyId::parse).transpose()?;
        let typ = text("typ")?.map(str::to_owned);
        let signature = base64url::decode(signature).ok_or(JwsError::Encoding)?;
        Ok(Self { protected: protected.to_owned(), algorithm, kid, typ, signature })
    }

    /// `kid`: a hint, chosen by whoever made it.
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    /// `typ`, as it is written.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// Whether the holder of this key signed `payload`, by the one algorithm that the key is for.
    pub fn verify(&self, payload: &[u8], key: &PublicKey) -> Result<(), JwsError> {
        // RFC 7515 §5.1: "ASCII(BASE64URL(UTF8(JWS Protected Header)) || '.' ||
        // BASE64URL(JWS Payload))"
        let mut message = String::with_capacity(self.protected.len() + payload.len() * 2);
        message.push_str(&self.protected);
        message.push('.');
        message.push_str(&base64url::encode(payload));
        if !key.may_verify(self.algorithm) {
            return Err(JwsError::Signature);
        }
        let verified = key.verify(self.algorithm, message.as_bytes(), &self.signature);
        verified.map_err(|_| JwsError::Signature)
    }
}

/// The bytes to sign, and the protected header that goes with the signature.
pub fn signing_input(
    algorithm: Algorithm,
    kid: Option<&KeyId>,
    typ: Option<&str>,
    payload: &[u8],
) -> (String, Vec<u8>) {
    let mut header = Map::new();
    header.insert("alg".to_owned(), Value::from(algorithm.as_str()));
    if let Some(kid) = kid {
        header.insert("kid".to_owned(), Value::from(kid.as_str()));
    }
    if let Some(typ) = typ {
        header.insert("typ".to_owned(), Value::from(typ));
    }
    let protected = base64url::encode(Value::Object(header).to_string().as_bytes());
    let input = format!("{protected}.{}", base64url::encode(payload)).into_bytes();
    (protected, input)
}

/// Why a signature is not read, or not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error("not three parts with dots between them")]
    Parts,
    #[error("a header of more than {HEADER_BYTES_MAX} bytes, or a signature that is as long")]
    TooLong,
    #[error("not base64url without padding")]
    Encoding,
    #[error("header: {0}")]
    Header(NotStrict),
    #[error("header parameter `crit` or `b64`: no extension is understood")]
    Critical,
    #[error("a header parameter that must be text is not")]
    NotText,
    #[error("no `alg`, or none of those known")]
    Algorithm,
    #[error(transparent)]
    KeyId(#[from] NotAKeyId),
    #[error("the signature does not verify")]
    Signature,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::Jwk;

    // RFC 7515 §A.3.1
    const TOKEN: &str = "\
        eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh\
        0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6\
        -Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q\
    ";
    const KEY: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn key() -> PublicKey {
        PublicKey::from_jwk(&Jwk::parse(KEY).unwrap()).unwrap()
    }

    #[test]
    fn rfc7515_a_3_the_example_verifies_attached_and_detached() {
        let (jws, payload) = Jws::parse_compact(TOKEN).unwrap();
        assert!(payload.starts_with(b"{\"iss\":\"joe\",\r\n"));
        assert_eq!(jws.verify(&payload, &key()), Ok(()));
        let mut parts = TOKEN.split('.');
        let detached = format!("{}..{}", parts.next().unwrap(), parts.nth(1).unwrap());
        let (detached, none) = Jws::parse_compact(&detached).unwrap();
        assert_eq!((none.as_slice(), detached.verify(&payload, &key())), (&b""[..], Ok(())));
        assert_eq!(detached.verify(b"", &key()), Err(JwsError::Signature));
        assert_eq!(detached, jws);
        let other = [payload.as_slice(), b" "].concat();
        assert_eq!(jws.verify(&other, &key()), Err(JwsError::Signature));
    }

    #[test]
    fn rfc7515_4_headers_that_are_not_understood_are_refused() {
        let check = |header: &str, expect: Option<JwsError>| {
            let protected = base64url::encode(header.as_bytes());
            assert_eq!(Jws::parse(&protected, "AA").err(), expect, "{header}");
        };
        check(r#"{"alg":"ES256","kid":"k","typ":"JOSE"}"#, None);
        check(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, Some(JwsError::Critical));
        check(r#"{"alg":"ES256","b64":false}"#, Some(JwsError::Critical));
        check(r#"{"alg":"none"}"#, Some(JwsError::Algorithm));
        check(r#"{"alg":"HS256"}"#, Some(JwsError::Algorithm));
        check(r#"{"kid":"k"}"#, Some(JwsError::Algorithm));
        check(r#"{"alg":["ES256"]}"#, Some(JwsError::NotText));
        let twice = NotStrict::DuplicateMember { name: "alg".to_owned() };
        check(r#"{"alg":"ES256","alg":"ES384"}"#, Some(JwsError::Header(twice)));
        check(
            &format!(r#"{{"alg":"ES256","a":"{}"}}"#, "a".repeat(8_192)),
            Some(JwsError::TooLong),
        );
        assert_eq!(Jws::parse("e30=", "AA").err(), Some(JwsError::Encoding));
        assert_eq!(Jws::parse_compact("a.b").err(), Some(JwsError::Parts));
        assert_eq!(Jws::parse_compact("a.b.c.d").err(), Some(JwsError::Parts));
    }

    #[test]
    fn what_is_made_is_what_is_read() {
        let kid = KeyId::parse("k").unwrap();
        let (protected, input) = signing_input(Algorithm::Es256, Some(&kid), Some("JOSE"), b"abc");
        assert_eq!(input, format!("{protected}.YWJj").into_bytes());
        let jws = Jws::parse(&protected, "AA").unwrap();
        assert_eq!((jws.kid(), jws.typ()), (Some(&kid), Some("JOSE")));
    }
}

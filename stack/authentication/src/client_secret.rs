//! Client authentication with a shared secret (RFC 6749 §2.3.1), for clients that policy lets have
//! one. Whoever sees the secret can be the client; an agent never has one (CRED-10).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth::ClientId;
use oauth::TokenText;
use time::UnixTime;

use crate::caller::{Caller, Method, Who};
use crate::session::hash_of;

/// Bytes of an `Authorization` field that are read.
const FIELD_BYTES_MAX: usize = 4_096;

/// Reads the one `Authorization` field of a request. One way of writing it alone counts
/// (docs/past-defects.md 13): `Basic`, one space, base64 with its padding, one colon between two
/// form-encoded texts.
pub fn basic(field: &[u8]) -> Result<(ClientId, TokenText), NotBasic> {
    if field.len() > FIELD_BYTES_MAX {
        return Err(NotBasic::TooLong { length: field.len(), max: FIELD_BYTES_MAX });
    }
    // RFC 9110 §11.1: the name of a scheme is "case-insensitive"; one space follows.
    let (scheme, rest) = field.split_at_checked(6).ok_or(NotBasic::Scheme)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return Err(NotBasic::Scheme);
    }
    let bytes = STANDARD.decode(rest).map_err(|_| NotBasic::Base64)?;
    let text = String::from_utf8(bytes).map_err(|_| NotBasic::Text)?;
    let (id, secret) = text.split_once(':').ok_or(NotBasic::NoColon)?;
    // RFC 7617 §2: the user-id has no colon, and form encoding leaves none in the secret.
    if secret.contains(':') {
        return Err(NotBasic::NoColon);
    }
    let id = decode(id).ok_or(NotBasic::Text)?;
    let secret = decode(secret).ok_or(NotBasic::Text)?;
    let id = ClientId::parse(&id).map_err(|_| NotBasic::Text)?;
    let secret = TokenText::parse(&secret).map_err(|_| NotBasic::Text)?;
    Ok((id, secret))
}

/// RFC 6749 §2.3.1: "encoded using the "application/x-www-form-urlencoded" encoding algorithm".
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// Authenticates the client that shows a secret, by the hash of the one that it was given.
pub fn authenticate(
    client_id: &ClientId,
    secret: &TokenText,
    hash: &str,
    method: Method,
    until: UnixTime,
) -> Result<Caller, Refusal> {
    let shown = hash_of(secret.as_str());
    verify_slices_are_equal(shown.as_bytes(), hash.as_bytes()).map_err(|_| Refusal)?;
    Ok(Caller::new(Who::Client(client_id.as_str().to_owned()), method, until))
}

/// The secret is not the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client secret is wrong")]
pub struct Refusal;

/// Why a field is no HTTP Basic authentication of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBasic {
    /// It is too long.
    #[error("`Authorization` of {length} bytes, more than {max}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// It is of another scheme, or not followed by one space.
    #[error("`Authorization` is not `Basic` and one space")]
    Scheme,
    /// It is not base64 in its one spelling.
    #[error("`Authorization` is no base64")]
    Base64,
    /// There is not exactly one colon.
    #[error("`Authorization` has not one colon between client id and secret")]
    NoColon,
    /// One of both is no client id or no secret.
    #[error("`Authorization` has no client id and secret, form-encoded")]
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    /// docs/past-defects.md 13: what is nearly a field is none.
    #[test]
    fn rfc6749_2_3_1_one_way_of_writing_counts() {
        let (id, secret) = basic(&field("client-1:s%65cret%2B")).unwrap();
        assert_eq!((id.as_str(), secret.as_str()), ("client-1", "secret+"));
        assert!(basic(b"bAsIc Y2xpZW50LTE6c2VjcmV0").is_ok());
        let cases: &[(&[u8], NotBasic)] = &[
            (b"", NotBasic::Scheme),
            (b"Basic", NotBasic::Scheme),
            (b"Basic  Y2xpZW50LTE6c2VjcmV0", NotBasic::Base64),
            (b" Basic Y2xpZW50LTE6c2VjcmV0", NotBasic::Scheme),
            (b"Basic\tY2xpZW50LTE6c2VjcmV0", NotBasic::Scheme),
            (b"Bearer Y2xpZW50LTE6c2VjcmV0", NotBasic::Scheme),
            (b"BasicY2xpZW50LTE6c2VjcmV0", NotBasic::Scheme),
            (b"Basic Y2xpZW50LTE6c2VjcmV0,", NotBasic::Base64),
            (b"Basic Y2xpZW50LTE6c2VjcmV0 ", NotBasic::Base64),
            (b"Basic Y2xpZW50LTE6c2VjcmV0, Basic YTpi", NotBasic::Base64),
            (&field("client-1"), NotBasic::NoColon),
            (&field("client-1:a:b"), NotBasic::NoColon),
            (&field(":secret"), NotBasic::Text),
            (&field("client-1:"), NotBasic::Text),
            (&field("client-1:%"), NotBasic::Text),
            (&field("client-1:%zz"), NotBasic::Text),
            (&field("client-1:%ff"), NotBasic::Text),
            (&field("client-1:a%00b"), NotBasic::Text),
            (&field("client-1:a%0ab"), NotBasic::Text),
        ];
        for (field, expect) in cases {
            let found = basic(field).map(|_| ());
            assert_eq!(found, Err(*expect), "{}", String::from_utf8_lossy(field));
        }
        let long = basic(&field(&"a".repeat(5_000)));
        assert!(matches!(long, Err(NotBasic::TooLong { .. })));
    }

    #[test]
    fn rfc6749_2_3_1_another_secret_is_refused() {
        let id = ClientId::parse("client-1").unwrap();
        let until = UnixTime::from_seconds(10);
        let hash = hash_of("right");
        let ask = |secret: &str| {
            let secret = TokenText::parse(secret).unwrap();
            authenticate(&id, &secret, &hash, Method::SecretPost, until).map(|_| ())
        };
        assert_eq!(ask("right"), Ok(()));
        for wrong in ["wrong", "righ", "rightt", hash.as_str()] {
            assert_eq!(ask(wrong), Err(Refusal), "{wrong}");
        }
    }
}

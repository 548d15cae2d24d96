//! Who asks: a client, and how it proves that at the token endpoint (RFC 6749 §2.3, RFC 7523).

use fetch::Basic;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use jose::{Audience, NumericDate, PrivateKey, SigningInput};
use oauth::client_assertion::{AssertionType, ClientAssertion, ClientAssertionClaims};
use oauth::{ClientId, TokenId, TokenText};
use time::Span;
use wiring::world::SystemClock;
use zeroize::Zeroizing;

use crate::behalf::random;
use crate::exit::Failure;

/// How long an assertion lives: it is sent at once.
const ASSERTION_LIFETIME: Span = Span::from_seconds(60);

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// What it proves that with.
    pub proof: Proof,
}

/// How a client authenticates.
#[derive(Debug)]
pub enum Proof {
    /// Not at all: it is a public one.
    None,
    /// `client_secret_basic`.
    Basic(TokenText),
    /// `client_secret_post`.
    Post(TokenText),
    /// `private_key_jwt`.
    Key(Box<PrivateKey>),
}

/// What a request has besides.
pub(crate) struct Shown {
    pub(crate) parameters: Vec<(&'static str, Zeroizing<String>)>,
    pub(crate) fields: Vec<(&'static str, HeaderValue)>,
}

impl Client {
    /// A public one.
    pub fn public(id: &str) -> Self {
        Self { id: id.to_owned(), proof: Proof::None }
    }

    /// Whether no parameter of [`Self::shown`] is its identifier.
    pub(crate) const fn names_itself(&self) -> bool {
        matches!(self.proof, Proof::Basic(_))
    }

    /// What shows at `issuer` who asks.
    pub(crate) fn shown(&self, issuer: &str) -> Result<Shown, Failure> {
        let id = || ("client_id", Zeroizing::new(self.id.clone()));
        let text = |secret: &TokenText| Zeroizing::new(secret.as_str().to_owned());
        let none = Vec::new;
        Ok(match &self.proof {
            // RFC 7521 §4.1: "client authentication and/or client identification are optional".
            Proof::None if self.id.is_empty() => {
                Shown { parameters: Vec::new(), fields: Vec::new() }
            }
            Proof::None => Shown { parameters: vec![id()], fields: none() },
            Proof::Post(secret) => {
                Shown { parameters: vec![id(), ("client_secret", text(secret))], fields: none() }
            }
            // RFC 6749 §2.3.1: both are "encoded using the "application/x-www-form-urlencoded"
            // encoding algorithm".
            Proof::Basic(secret) => {
                let value = Basic::new(&self.id, secret.as_str()).field();
                let value = value.map_err(|error| Failure::unavailable(&error))?;
                Shown { parameters: Vec::new(), fields: vec![(AUTHORIZATION.as_str(), value)] }
            }
            Proof::Key(key) => {
                let kind = Zeroizing::new(AssertionType::Jwt.as_str().to_owned());
                let assertion = Zeroizing::new(self.assertion(key, issuer)?);
                let parameters =
                    vec![id(), ("client_assertion_type", kind), ("client_assertion", assertion)];
                Shown { parameters, fields: none() }
            }
        })
    }

    /// draft-ietf-oauth-rfc7523bis §4: the audience is the issuer, and nothing else.
    fn assertion(&self, key: &PrivateKey, issuer: &str) -> Result<String, Failure> {
        let failed =
            |why: &dyn std::fmt::Display| Failure::unavailable(format!("an assertion: {why}"));
        let id = ClientId::parse(&self.id).map_err(|error| failed(&error))?;
        let now = SystemClock::read();
        let claims = ClientAssertionClaims {
            iss: id.clone(),
            sub: id,
            aud: Audience::one(issuer),
            exp: NumericDate::from_time(now.plus(ASSERTION_LIFETIME)),
            jti: TokenId::parse(&random()?).map_err(|error| failed(&error))?,
            iat: Some(NumericDate::from_time(now)),
            nbf: None,
        };
        let algorithm = key.public().algorithms().next();
        let algorithm = algorithm.ok_or_else(|| failed(&"no algorithm for this key"))?;
        let input = SigningInput::<ClientAssertion>::new(algorithm, None, &claims);
        let input = input.map_err(|error| failed(&error))?;
        let signature = key.sign(input.bytes());
        Ok(input.attach(signature).into_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_2_3_1_a_secret_is_encoded_as_in_a_form() {
        let secret = TokenText::parse("a:b c%").unwrap();
        let basic = Client { id: "c:d".to_owned(), proof: Proof::Basic(secret.clone()) };
        let shown = basic.shown("https://i.example").ok().unwrap();
        assert!(shown.parameters.is_empty());
        // c%3Ad:a%3Ab%20c%25
        let [(name, value)] = shown.fields.as_slice() else { panic!("one field") };
        assert_eq!(
            (*name, value.as_bytes()),
            ("authorization", &b"Basic YyUzQWQ6YSUzQWIlMjBjJTI1"[..])
        );
        assert!(!format!("{basic:?} {value:?}").contains("a:b"));
        let post = Client { id: "c:d".to_owned(), proof: Proof::Post(secret) };
        let shown = post.shown("https://i.example").ok().unwrap();
        let names: Vec<_> = shown.parameters.iter().map(|(name, _)| *name).collect();
        assert_eq!((names, shown.fields.len()), (vec!["client_id", "client_secret"], 0));
    }
}

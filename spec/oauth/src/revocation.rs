//! Revocation of tokens by their clients (RFC 7009).

use crate::form::Form;
use crate::introspection::TokenHint;
use crate::parameter::{Refused, required};
use crate::token_text::TokenText;

/// A token that is to end. RFC 7009 §2.2: "The authorization server responds with HTTP status code
/// 200 if the token has been revoked successfully or if the client submitted an invalid token."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRequest {
    pub token: TokenText,
    pub hint: Option<TokenHint>,
}

impl RevocationRequest {
    /// Reads the parameters.
    pub fn parse(form: &Form) -> Result<Self, Refused> {
        // RFC 7009 §2.1: "token REQUIRED. The token that the client wants to get revoked."
        const RULE: &str = "RFC 7009 §2.1";
        let token = TokenText::parse(required(form, "token", RULE)?);
        let token = token.map_err(|why| Refused::form("token", RULE, why))?;
        Ok(Self { token, hint: TokenHint::of(form) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7009 §2.1.
    #[test]
    fn rfc7009_2_1_requests() {
        let read = |body: &str| RevocationRequest::parse(&Form::parse(body.as_bytes()).unwrap());
        let request = read("token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token").unwrap();
        assert_eq!(request.token.as_str(), "45ghiukldjahdnhzdauz");
        assert_eq!(request.hint, Some(TokenHint::RefreshToken));
        let deferred = "token=d&token_type_hint=urn:ietf:params:oauth:token-type:deferral-code";
        assert_eq!(read(deferred).unwrap().hint, Some(TokenHint::DeferralCode));
        assert_eq!(read(""), Err(Refused::missing("token", "RFC 7009 §2.1")));
        assert!(!format!("{request:?}").contains("45ghi"));
    }
}

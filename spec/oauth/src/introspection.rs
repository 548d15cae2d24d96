//! Introspection of tokens (RFC 7662), and its signed answer (RFC 9701).
//!
//! In scope: request and answer, in both forms. Not here: who may ask about what.

use jose::{Audience, Kind, NumericDate, Window};
use serde::{Deserialize, Serialize};

use crate::act::Act;
use crate::authorization_details::AuthorizationDetails;
use crate::confirmation::Confirmation;
use crate::form::Form;
use crate::identifier::{ClientId, SubjectText, TokenId, TransactionId};
use crate::issuer::Issuer;
use crate::may_act::MayAct;
use crate::parameter::{Refused, required};
use crate::scope::ScopeSet;
use crate::token_response::TokenUse;
use crate::token_text::TokenText;

/// What `Accept` asks for a signed answer by, and what its `Content-Type` is (RFC 9701 §4, §5).
pub const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// A question about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionRequest {
    pub token: TokenText,
    pub hint: Option<TokenHint>,
}

/// `token_type_hint`: where to look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenHint {
    AccessToken,
    RefreshToken,
    /// Deferred Token Response, a draft.
    DeferralCode,
}

impl TokenHint {
    /// A hint that is not known is none. RFC 7009 §2.1: "An authorization server MAY ignore this
    /// parameter, particularly if it is able to detect the token type automatically."
    pub(crate) fn of(form: &Form) -> Option<Self> {
        match form.get("token_type_hint")? {
            "access_token" => Some(Self::AccessToken),
            "refresh_token" => Some(Self::RefreshToken),
            "urn:ietf:params:oauth:token-type:deferral-code" | "deferral_code" => {
                Some(Self::DeferralCode)
            }
            _ => None,
        }
    }
}

impl IntrospectionRequest {
    /// Reads the parameters.
    pub fn parse(form: &Form) -> Result<Self, Refused> {
        // RFC 7662 §2.1: "token REQUIRED. The string value of the token."
        const RULE: &str = "RFC 7662 §2.1";
        let token = TokenText::parse(required(form, "token", RULE)?);
        let token = token.map_err(|why| Refused::form("token", RULE, why))?;
        Ok(Self { token, hint: TokenHint::of(form) })
    }
}

/// What is said of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introspection {
    pub active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<TokenUse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<SubjectText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<Issuer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<TokenId>,
    /// RFC 9449 §6.2, RFC 8705 §3.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// RFC 8693 §7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<MayAct>,
    /// RFC 9396 §9.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<AuthorizationDetails>,
    /// RFC 9470 §6.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<TransactionId>,
}

impl Introspection {
    /// RFC 7662 §2.2: "the authorization server SHOULD NOT include any additional information about
    /// an inactive token, including why the token is inactive."
    pub fn inactive() -> Self {
        Self::default()
    }
}

/// The kind `token-introspection+jwt`: never to be taken for an access token.
#[derive(Clone, Copy, Debug)]
pub struct SignedIntrospection;

/// RFC 9701 §5. "The JWT SHOULD NOT include the sub and exp claims".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIntrospectionClaims {
    pub iss: Issuer,
    /// The resource server that asked.
    pub aud: Audience,
    pub iat: NumericDate,
    pub token_introspection: Introspection,
}

impl Kind for SignedIntrospection {
    // RFC 9701 §5 types it explicitly.
    const TYPES: &'static [&'static str] = &["token-introspection+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = false;
    type Claims = SignedIntrospectionClaims;
    type Hint = Issuer;

    fn hint(claims: &SignedIntrospectionClaims) -> Issuer {
        claims.iss.clone()
    }

    fn window(claims: &SignedIntrospectionClaims) -> Window {
        Window { exp: None, nbf: None, iat: Some(claims.iat) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7662 §2.2, less its extension.
    /// req: AUTHZ-04 (part)
    #[test]
    fn rfc7662_2_2_answers() {
        let text = r#"{"active":true,"scope":"dolphin read write","client_id":"l238j323ds-23ij4","username":"jdoe","exp":1419356238,"iat":1419350238,"sub":"Z5O3upPC88QrAjx00dis","aud":"https://protected.example.net/resource","iss":"https://server.example.com/"}"#;
        let read: Introspection = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let inactive = serde_json::to_string(&Introspection::inactive()).unwrap();
        assert_eq!(inactive, r#"{"active":false}"#);
        assert!(serde_json::from_str::<Introspection>(r#"{"scope":"a"}"#).is_err());
        assert!(serde_json::from_str::<Introspection>(r#"{"active":"true"}"#).is_err());
        // A binding that is not known is never ignored.
        let foreign = r#"{"active":true,"cnf":{"kid":"a"}}"#;
        assert!(serde_json::from_str::<Introspection>(foreign).is_err());
    }

    #[test]
    fn rfc7662_2_1_requests() {
        let read = |body: &str| IntrospectionRequest::parse(&Form::parse(body.as_bytes()).unwrap());
        let request = read("token=mF_9.B5f-4.1JqM&token_type_hint=access_token").unwrap();
        assert_eq!(request.token.as_str(), "mF_9.B5f-4.1JqM");
        assert_eq!(request.hint, Some(TokenHint::AccessToken));
        assert_eq!(read("token=a&token_type_hint=x").unwrap().hint, None);
        assert_eq!(read("token="), Err(Refused::missing("token", "RFC 7662 §2.1")));
        assert_eq!(read("token=%0A").unwrap_err().name, "token");
    }
}

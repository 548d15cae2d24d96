//! Error answers (RFC 6749 §5.2 and what extends it). Which failure becomes which of them, and
//! with what status, is one table in `edge/api`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 512;

/// The registered names that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    // RFC 6749 §5.2
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    // RFC 6749 §4.1.2.1
    AccessDenied,
    UnsupportedResponseType,
    ServerError,
    TemporarilyUnavailable,
    // RFC 6750 §3.1
    InvalidToken,
    InsufficientScope,
    // RFC 7009 §2.2.1
    UnsupportedTokenType,
    // RFC 7591 §3.2.2
    InvalidRedirectUri,
    InvalidClientMetadata,
    InvalidSoftwareStatement,
    UnapprovedSoftwareStatement,
    // RFC 8628 §3.5
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    // RFC 8707 §2
    InvalidTarget,
    // RFC 9396 §5
    InvalidAuthorizationDetails,
    // RFC 9449 §5, §8
    InvalidDpopProof,
    UseDpopNonce,
    // RFC 9470 §3
    InsufficientUserAuthentication,
    // draft-ietf-oauth-attestation-based-client-auth §6.2, §7.4
    UseAttestationChallenge,
    UseFreshAttestation,
    InvalidClientAttestation,
    // RFC 9101 §7
    InvalidRequestUri,
    InvalidRequestObject,
    RequestNotSupported,
    RequestUriNotSupported,
    // OpenID Connect Core 1.0 §3.1.2.6
    InteractionRequired,
    LoginRequired,
    AccountSelectionRequired,
    ConsentRequired,
    RegistrationNotSupported,
    // OpenID Connect Core Error Code unmet_authentication_requirements 1.0 §2
    UnmetAuthenticationRequirements,
    // CIBA Core 1.0 §12, §13
    ExpiredLoginHintToken,
    UnknownUserId,
    MissingUserCode,
    InvalidUserCode,
    InvalidBindingMessage,
    TransactionFailed,
}

impl ErrorCode {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::UseAttestationChallenge => "use_attestation_challenge",
            Self::UseFreshAttestation => "use_fresh_attestation",
            Self::InvalidClientAttestation => "invalid_client_attestation",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::InteractionRequired => "interaction_required",
            Self::LoginRequired => "login_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::ConsentRequired => "consent_required",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::ExpiredLoginHintToken => "expired_login_hint_token",
            Self::UnknownUserId => "unknown_user_id",
            Self::MissingUserCode => "missing_user_code",
            Self::InvalidUserCode => "invalid_user_code",
            Self::InvalidBindingMessage => "invalid_binding_message",
            Self::TransactionFailed => "transaction_failed",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of an error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenError {
    pub error: ErrorCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<Description>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_uri: Option<String>,
}

impl TokenError {
    /// The code alone.
    pub const fn new(error: ErrorCode) -> Self {
        Self { error, error_description: None, error_uri: None }
    }

    /// The same with words for whoever develops the client.
    #[must_use]
    pub fn with_description(self, text: &str) -> Self {
        Self { error_description: Some(Description::of(text)), ..self }
    }
}

/// `error_description`: short text in the characters that it may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description(String);

impl Description {
    /// The text, with a `'` for each quotation mark, `section ` for its sign, and a `?` for what
    /// else must not stand there.
    pub fn of(text: &str) -> Self {
        // RFC 6749 §5.2: "Values for the "error_description" parameter MUST NOT include
        // characters outside the set %x20-21 / %x23-5B / %x5D-7E."
        let allowed = |character| match character {
            '"' => '\'',
            ' '..='!' | '#'..='[' | ']'..='~' => character,
            _ => '?',
        };
        let text = text.replace('§', "section ");
        Self(text.chars().map(allowed).take(MAX_DESCRIPTION_BYTES).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_5_2_names_are_those_on_the_wire() {
        for code in [
            ErrorCode::InvalidRequest,
            ErrorCode::UnsupportedGrantType,
            ErrorCode::InvalidDpopProof,
            ErrorCode::UseDpopNonce,
            ErrorCode::InsufficientUserAuthentication,
            ErrorCode::InvalidRedirectUri,
            ErrorCode::InvalidTarget,
            ErrorCode::InvalidRequestUri,
            ErrorCode::InvalidRequestObject,
            ErrorCode::RequestNotSupported,
            ErrorCode::RequestUriNotSupported,
            ErrorCode::InteractionRequired,
            ErrorCode::LoginRequired,
            ErrorCode::AccountSelectionRequired,
            ErrorCode::ConsentRequired,
            ErrorCode::RegistrationNotSupported,
            ErrorCode::UnmetAuthenticationRequirements,
            ErrorCode::ExpiredLoginHintToken,
            ErrorCode::UnknownUserId,
            ErrorCode::MissingUserCode,
            ErrorCode::InvalidUserCode,
            ErrorCode::InvalidBindingMessage,
            ErrorCode::TransactionFailed,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn rfc6749_5_2_answer() {
        let error = TokenError::new(ErrorCode::InvalidScope)
            .with_description("scope `a` is \"wider\" than \\ é\r\nSet-Cookie: x (RFC 6749 §3.3)");
        insta::assert_snapshot!(serde_json::to_string_pretty(&error).unwrap(), @r#"
        {
          "error": "invalid_scope",
          "error_description": "scope `a` is 'wider' than ? ???Set-Cookie: x (RFC 6749 section 3.3)"
        }
        "#);
        let bare = serde_json::to_string(&TokenError::new(ErrorCode::InvalidRequest)).unwrap();
        assert_eq!(bare, r#"{"error":"invalid_request"}"#);
        let long = Description::of(&"d".repeat(5_000));
        assert_eq!(long.as_str().len(), MAX_DESCRIPTION_BYTES);
    }
}

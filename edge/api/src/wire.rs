//! The one table (docs/style.md, rule 17) from refusals to what a client of the token endpoint is
//! told: status, error code of RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2 or
//! draft-ietf-oauth-attestation-based-client-auth §7.4, and words for its developer. Whoever reads
//! the audit log gets the variant with its evidence; here the wire gets what helps the caller.

use authentication::{attested_client, spiffe_wit};
use authorization::granted::NotYet;
use authorization::profile::{Demand, Unmet};
use authorization::{grants, presented};
use axum::body::Body;
use flow::token::{ClientRefusal, Refusal, asker};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use oauth::client_assertion::PresentedClientError;
use oauth::error::{ErrorCode, TokenError};
use wimse::WitError;

use crate::answer::{Answer, JSON, NO_STORE, RETRY_AFTER_SECONDS, may_come_again};
use crate::refused::Unread;

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) status: StatusCode,
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
    pub(crate) challenge: Option<HeaderValue>,
    /// After how many seconds it may come again, where that is known.
    pub(crate) wait: Option<u64>,
}

impl Wire {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, text: impl ToString) -> Self {
        Self { status, code, text: text.to_string(), challenge: None, wait: None }
    }

    /// RFC 9126 §2.3: "If the number of requests from a client during a particular time period
    /// exceeds the number the authorization server allows, the authorization server responds with
    /// an HTTP 429 (Too Many Requests) status code."
    pub(crate) fn later(wait: u64, text: impl ToString) -> Self {
        let code = ErrorCode::TemporarilyUnavailable;
        Self { wait: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, text) }
    }

    /// RFC 6749 §5.2: "The authorization server responds with an HTTP 400 (Bad Request) status code
    /// (unless specified otherwise)".
    fn bad(code: ErrorCode, text: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, text)
    }

    /// The answer.
    pub(crate) fn into_answer(self) -> Answer {
        let body = TokenError::new(self.code).with_description(&self.text);
        let mut answer = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
        *answer.status_mut() = self.status;
        answer.extensions_mut().insert(self.code);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        not_kept(headers);
        if may_come_again(self.status) {
            let wait = self.wait.map_or(RETRY_AFTER_SECONDS, HeaderValue::from);
            headers.insert(RETRY_AFTER, wait);
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

/// RFC 6749 §5.1: "The authorization server MUST include the HTTP "Cache-Control" response header
/// field [RFC2616] with a value of "no-store" in any response containing tokens, credentials, or
/// other sensitive information, as well as the "Pragma" response header field [RFC2616] with a
/// value of "no-cache"."
pub(crate) fn not_kept(headers: &mut http::HeaderMap) {
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

/// A request that was not read.
pub(crate) fn of_unread(unread: &Unread) -> Wire {
    let status = match unread {
        Unread::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::SlowBody => StatusCode::REQUEST_TIMEOUT,
        Unread::NotFound => StatusCode::NOT_FOUND,
        Unread::Method => StatusCode::METHOD_NOT_ALLOWED,
        Unread::Requests { .. } | Unread::Connections => StatusCode::SERVICE_UNAVAILABLE,
        Unread::RequestsOfSource { .. } | Unread::ConnectionsOfSource => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Unread::NotAnOperator { .. } => StatusCode::FORBIDDEN,
        // RFC 6749 §5.2: "If the client attempted to authenticate via the "Authorization" request
        // header field, the authorization server MUST respond with an HTTP 401 (Unauthorized)
        // status code and include the "WWW-Authenticate" response header field matching the
        // authentication scheme used by the client."
        Unread::Authorization { .. } | Unread::Basic(_) | Unread::Lookup(_) => {
            StatusCode::UNAUTHORIZED
        }
        _ => StatusCode::BAD_REQUEST,
    };
    let code = match unread {
        Unread::Authorization { .. } | Unread::Basic(_) | Unread::Registration(_) => {
            ErrorCode::InvalidClient
        }
        Unread::Stranger(refusal) => return of_client(refusal),
        Unread::Client(error) => of_presented(error),
        Unread::Request(error) => error.code(),
        Unread::Requests { .. }
        | Unread::RequestsOfSource { .. }
        | Unread::Connections
        | Unread::ConnectionsOfSource => ErrorCode::TemporarilyUnavailable,
        Unread::NotAnOperator { .. } => ErrorCode::AccessDenied,
        Unread::Renew(_) | Unread::Lookup(_) => ErrorCode::InvalidClient,
        _ => ErrorCode::InvalidRequest,
    };
    let challenge = match unread {
        Unread::Authorization { scheme } => challenge(scheme),
        Unread::Basic(_) => challenge("Basic"),
        _ => None,
    };
    Wire { challenge, ..Wire::new(status, code, unread) }
}

fn challenge(scheme: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{scheme} realm=\"token\"")).ok()
}

const fn of_presented(error: &PresentedClientError) -> ErrorCode {
    match error {
        // RFC 6749 §5.2: "invalid_client: Client authentication failed (e.g., unknown client, no
        // client authentication included, or unsupported authentication method)."
        PresentedClientError::Secret | PresentedClientError::UnknownAssertionType { .. } => {
            ErrorCode::InvalidClient
        }
        PresentedClientError::HalfAnAssertion
        | PresentedClientError::ClientId(_)
        | PresentedClientError::Assertion(_) => ErrorCode::InvalidRequest,
    }
}

/// A pushed request that is not kept. RFC 9126 §2.3: "the same format as is specified for error
/// responses from the token endpoint in Section 5.2 of [RFC6749]".
pub(crate) fn of_pushed(refusal: &consent::push::Refusal) -> Wire {
    match refusal {
        consent::push::Refusal::Client(refusal) => of_client(refusal),
        consent::push::Refusal::TooMany { wait } => Wire::later(*wait, refusal),
        other => Wire::bad(other.code(), other),
    }
}

/// A client that is not authenticated.
pub(crate) fn of_client(refusal: &ClientRefusal) -> Wire {
    let code = match refusal {
        // RFC 6749 §5.2: "invalid_request: The request [...] utilizes more than one mechanism for
        // authenticating the client".
        ClientRefusal::Several => ErrorCode::InvalidRequest,
        // draft-ietf-oauth-attestation-based-client-auth §7.4: "use_fresh_attestation MUST be used
        // when the Client Attestation JWT is deemed to be not fresh enough".
        ClientRefusal::SpiffeWit(spiffe_wit::Refusal::Wit(WitError::Refused(
            jose::Refused::Expired { .. },
        ))) => ErrorCode::UseFreshAttestation,
        ClientRefusal::Attested(attested_client::Refusal::Refused(jose::Refused::Expired {
            ..
        })) => ErrorCode::UseFreshAttestation,
        // §7.4: "use_attestation_challenge MUST be used when the Client Attestation PoP JWT is not
        // using an expected server-provided challenge."
        ClientRefusal::Attested(attested_client::Refusal::Pop(pop)) if pop.asks_for_challenge() => {
            ErrorCode::UseAttestationChallenge
        }
        ClientRefusal::Dpop(proof) if proof.asks_for_nonce() => ErrorCode::UseDpopNonce,
        ClientRefusal::Dpop(_) => ErrorCode::InvalidDpopProof,
        _ => ErrorCode::InvalidClient,
    };
    // RFC 6749 §5.2: "If the client attempted to authenticate via the "Authorization" request
    // header field, the authorization server MUST respond with an HTTP 401 (Unauthorized) status
    // code".
    if let ClientRefusal::Basic { .. } = refusal {
        let challenge = challenge("Basic");
        return Wire { challenge, ..Wire::new(StatusCode::UNAUTHORIZED, code, refusal) };
    }
    Wire::bad(code, refusal)
}

/// A decision against an authenticated client.
pub(crate) fn of_refusal(refusal: &Refusal) -> Wire {
    match refusal {
        Refusal::Client(client) => of_client(client),
        Refusal::Replayed => Wire::bad(ErrorCode::InvalidClient, refusal),
        // RFC 9449 §8: "the authorization server can supply a nonce value to be included by the
        // client in DPoP proofs sent", with the error "use_dpop_nonce".
        Refusal::Dpop(proof) if proof.asks_for_nonce() => {
            Wire::bad(ErrorCode::UseDpopNonce, refusal)
        }
        // RFC 9449 §5: "invalid_dpop_proof", "to indicate that the DPoP proof is invalid".
        Refusal::Dpop(_) | Refusal::DpopReplayed => Wire::bad(ErrorCode::InvalidDpopProof, refusal),
        Refusal::AssertionReplayed => Wire::bad(ErrorCode::InvalidGrant, refusal),
        // RFC 8693 §2.2.2: "If the authorization server is unwilling or unable to issue a token for
        // any target service [...] the "invalid_target" error code SHOULD be used".
        Refusal::Subject(presented::Refusal::NotGrantedAt(_)) | Refusal::Target(_) => {
            Wire::bad(ErrorCode::InvalidTarget, refusal)
        }
        // RFC 8693 §2.2.2: "if either the "subject_token" or "actor_token" are invalid for any
        // reason, or are unacceptable based on policy, [...] The value of the "error" parameter
        // MUST be the "invalid_request" error code."
        Refusal::Subject(_) | Refusal::Actor(_) | Refusal::TokenType(_) => {
            Wire::bad(ErrorCode::InvalidRequest, refusal)
        }
        Refusal::GrantType(_) => Wire::bad(ErrorCode::UnsupportedGrantType, refusal),
        Refusal::Grant(grant) => Wire::bad(of_grant(grant), refusal),
        // MCP: `resource` "MUST be included in both authorization requests and token requests".
        Refusal::Profile(Unmet(Demand::NamesResource)) => {
            Wire::bad(ErrorCode::InvalidTarget, refusal)
        }
        // RFC 9449 §5: what the profile wants is a proof.
        Refusal::Profile(Unmet(Demand::BoundTokens)) => {
            Wire::bad(ErrorCode::InvalidDpopProof, refusal)
        }
        Refusal::Profile(_) => Wire::bad(ErrorCode::UnauthorizedClient, refusal),
        // An error inside a decision is a denial, and the operators' to read.
        Refusal::Denied(denial) if !denial.errors.is_empty() && denial.rules.is_empty() => {
            Wire::bad(ErrorCode::InvalidTarget, "policy could not be decided")
        }
        Refusal::Denied(_) | Refusal::Unapproved(_) => Wire::bad(ErrorCode::InvalidTarget, refusal),
        Refusal::Unmakeable(_) => Wire::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::ServerError,
            "the token cannot be made",
        ),
    }
}

fn of_grant(refusal: &grants::Refusal) -> ErrorCode {
    use grants::Refusal as R;
    match refusal {
        R::CallerUnknown(_) => ErrorCode::InvalidClient,
        // RFC 6749 §5.2: "unauthorized_client: The authenticated client is not authorized to use
        // this authorization grant type."
        R::CallerNotInForce(_) | R::CallerDisabled(_) | R::GrantNotAllowed { .. } => {
            ErrorCode::UnauthorizedClient
        }
        // RFC 8707 §2: "invalid_target: The requested resource is invalid, missing, unknown, or
        // malformed."
        R::UnknownTarget
        | R::TargetNotInForce(_)
        | R::TargetNotGranted { .. }
        | R::NoCertificate
        | R::BoundOtherwise(_)
        | R::NoWorkload => ErrorCode::InvalidTarget,
        // RFC 9449 §5: a request without the proof that the token is to be bound by.
        R::NoDpopProof => ErrorCode::InvalidDpopProof,
        // RFC 6749 §5.2: "invalid_grant: The provided authorization grant (e.g., authorization
        // code, resource owner credentials) or refresh token is invalid, expired, revoked, does not
        // match the redirection URI used in the authorization request, or was issued to another
        // client." RFC 7523 §3.1 has it for assertions, RFC 7636 §4.6 for verifiers.
        R::NotHeld
        | R::GrantOfOther
        | R::Code(_)
        | R::OtherRedirectUri
        | R::Verifier(_)
        | R::OtherKey
        | R::Over(_)
        | R::Refresh(_)
        | R::Assertion(_)
        | R::Wait(NotYet::Used { .. }) => ErrorCode::InvalidGrant,
        // RFC 8628 §3.5, CIBA Core 1.0 §11.
        R::Wait(NotYet::Pending) => ErrorCode::AuthorizationPending,
        R::Wait(NotYet::TooSoon { .. }) => ErrorCode::SlowDown,
        R::Wait(NotYet::Denied) => ErrorCode::AccessDenied,
        R::Wait(NotYet::Expired { .. }) => ErrorCode::ExpiredToken,
        // CIBA Core 1.0 §11: "unauthorized_client If the Client is registered to use Push Mode
        // then it MUST NOT call the Token Endpoint with the CIBA Grant Type".
        R::Wait(NotYet::Pushed) => ErrorCode::UnauthorizedClient,
        R::DetailsUnknown(_) | R::DetailsTooWide => ErrorCode::InvalidAuthorizationDetails,
        // RFC 6749 §5.2: "invalid_scope: The requested scope is invalid, unknown, malformed, or
        // exceeds the scope granted by the resource owner."
        R::ScopeUnknown { .. }
        | R::ScopeOfClient { .. }
        | R::ScopeOfSubject { .. }
        | R::ScopeOfGrant { .. } => ErrorCode::InvalidScope,
        R::NoSubject
        | R::Ended { .. }
        | R::SubjectForOther { .. }
        | R::SubjectNotInForce { .. }
        | R::MayNotAct { .. }
        | R::CnfNotAllowed(_)
        | R::CnfUnfit(_)
        | R::CnfIsOther
        | R::ActorIsOther { .. }
        | R::TooDeep { .. }
        | R::NoActor
        | R::NoScope => ErrorCode::InvalidRequest,
    }
}

/// A client that asks about tokens, refused (RFC 7662 §2.3, RFC 7009 §2.2.1).
pub(crate) fn of_asker(refusal: &asker::Refusal) -> Wire {
    use asker::Refusal as R;
    match refusal {
        // RFC 7662 §2.3: "the authorization server responds with an HTTP 401 (Unauthorized) as
        // described in Section 5.2 of OAuth 2.0".
        R::NotInForce(_) | R::Public | R::Replayed => {
            Wire::new(StatusCode::UNAUTHORIZED, ErrorCode::InvalidClient, refusal)
        }
        R::OtherClient | R::OtherKey => Wire::bad(ErrorCode::InvalidGrant, refusal),
        R::Dpop(proof) if proof.asks_for_nonce() => Wire::bad(ErrorCode::UseDpopNonce, refusal),
        R::Dpop(_) => Wire::bad(ErrorCode::InvalidDpopProof, refusal),
    }
}

/// A door to the world that did not answer. What it said is the operators' to read.
pub(crate) fn of_unavailable() -> Wire {
    let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TemporarilyUnavailable);
    Wire::new(status, code, "nothing can be decided or recorded just now")
}

#[cfg(test)]
mod tests {
    use authentication::{private_key_jwt, spiffe_jwt, spiffe_x509};
    use authorization::granted::code::Stale;
    use authorization::granted::{Over, refresh};
    use authorization::grants::jwt_bearer::NotAccepted;
    use authorization::presented;
    use flow::token::TargetRefusal;
    use oauth::dpop::ProofRefused;
    use oauth::form::FormError;
    use oauth::pkce::PkceRefused;
    use oauth::token_request::{GrantType, TokenRequestError};
    use oauth::{NotATokenText, ScopeSet, TokenType};
    use pdp::{Fault, PolicyVersion};
    use provisioning::{Epoch, NotInForce, State};
    use time::UnixTime;

    use super::*;

    fn row(wire: &Wire) -> String {
        let challenge = wire.challenge.as_ref().map(|one| one.to_str().unwrap());
        let challenge = challenge.map(|one| format!(" [{one}]")).unwrap_or_default();
        format!("{} {}{challenge}: {}\n", wire.status.as_u16(), wire.code, wire.text)
    }

    fn scope(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    fn denial(errors: Vec<Fault>, rules: Vec<String>) -> Refusal {
        Refusal::Denied(Box::new(pdp::Denial {
            principal: "spiffe://a.example/agent/a".to_owned(),
            action: "token.issue".to_owned(),
            resource: "https://r.example".to_owned(),
            rules,
            reasons: Vec::new(),
            needs: vec!["a capability".to_owned()],
            errors,
            unmet: Vec::new(),
            version: PolicyVersion::of_digest(&[0; 32]),
        }))
    }

    fn expired() -> jose::Refused {
        jose::Refused::Expired { exp: UnixTime::from_seconds(1), now: UnixTime::from_seconds(2) }
    }

    /// Every variant of what a grant refuses.
    fn grants() -> Vec<grants::Refusal> {
        use grants::Refusal as R;
        let state = NotInForce::State { state: State::Suspended, since: UnixTime::EPOCH };
        let epoch = NotInForce::Epoch { issued: Epoch(1), dead_before: Epoch(2) };
        let text = str::to_owned;
        vec![
            R::CallerNotInForce(state),
            R::CallerDisabled(text("the client is disabled")),
            R::CallerUnknown(text("client-1")),
            R::GrantNotAllowed { grant: GrantType::TokenExchange, allowed: Vec::new() },
            R::UnknownTarget,
            R::TargetNotInForce(epoch),
            R::NoSubject,
            R::SubjectForOther { audience: text("b"), client: text("a") },
            R::SubjectNotInForce { who: text("b"), why: text("it is suspended") },
            R::MayNotAct { allowed: text("b") },
            R::ActorIsOther { actor: text("b"), client: text("a") },
            R::TooDeep { depth: 5, allowed: 4 },
            R::NoActor,
            R::NoScope,
            R::ScopeUnknown { asked: scope("x"), known: scope("y") },
            R::ScopeOfClient { asked: scope("x y"), allowed: scope("y") },
            R::ScopeOfSubject { asked: scope("x y"), held: scope("y") },
            R::NoCertificate,
            R::NoWorkload,
            R::NoDpopProof,
            R::BoundOtherwise("wit"),
            R::Ended { id: text("grant-1"), why: text("enough") },
            R::NotHeld,
            R::GrantOfOther,
            R::Code(Stale::Used { at: UnixTime::EPOCH }),
            R::OtherRedirectUri,
            R::Verifier(PkceRefused::Mismatch),
            R::OtherKey,
            R::Over(Over::Expired { at: UnixTime::EPOCH }),
            R::Refresh(refresh::Refusal::Reused),
            R::TargetNotGranted { target: text("b"), granted: vec![text("a")] },
            R::ScopeOfGrant { asked: scope("x y"), granted: scope("y") },
            R::DetailsUnknown(text("an unknown type")),
            R::DetailsTooWide,
            R::Assertion(NotAccepted::Subject),
        ]
    }

    /// Every variant of a client that is not authenticated.
    fn clients() -> Vec<ClientRefusal> {
        vec![
            ClientRefusal::None,
            ClientRefusal::Several,
            ClientRefusal::Unknown,
            spiffe_jwt::Refusal::NoClientId.into(),
            spiffe_x509::Refusal::NoClientId.into(),
            spiffe_wit::Refusal::NoClientId.into(),
            spiffe_wit::Refusal::Wit(WitError::Refused(expired())).into(),
            private_key_jwt::Refusal::Refused(jose::Refused::Signature).into(),
        ]
    }

    /// The whole table of decisions. What is told helps the caller and shows nothing of the inside.
    #[expect(clippy::too_many_lines, reason = "one table, whole")]
    #[test]
    fn rfc6749_5_2_every_refusal_has_its_code() {
        let subject = || presented::Refusal::SeveralAudiences;
        let fault = Fault::Facts { reason: "an internal text".to_owned() };
        let mut all: Vec<Refusal> = vec![
            Refusal::Client(ClientRefusal::Unknown),
            Refusal::Replayed,
            Refusal::Dpop(ProofRefused::NoNonce),
            Refusal::Dpop(ProofRefused::TokenHash),
            Refusal::DpopReplayed,
            Refusal::AssertionReplayed,
            Refusal::Subject(subject()),
            Refusal::Actor(subject()),
            Refusal::TokenType(TokenType::IdToken),
            Refusal::GrantType(GrantType::RefreshToken),
            Refusal::Target(TargetRefusal::None),
            Refusal::Target(TargetRefusal::Several),
            denial(Vec::new(), Vec::new()),
            denial(Vec::new(), vec!["no-nights".to_owned()]),
            denial(vec![fault], Vec::new()),
            Refusal::Unmakeable("an internal text".to_owned()),
        ];
        all.extend(grants().into_iter().map(Refusal::Grant));
        let mut table: String = all.iter().map(|refusal| row(&of_refusal(refusal))).collect();
        table.extend(clients().iter().map(|refusal| row(&of_client(refusal))));
        table.push_str(&row(&of_unavailable()));
        assert!(!table.contains("an internal text"));
        insta::assert_snapshot!(table, @r#"
        400 invalid_client: the client is not known
        400 invalid_client: the client's proof was used before
        400 use_dpop_nonce: proof without `nonce` (RFC 9449 §8)
        400 invalid_dpop_proof: proof for another access token (RFC 9449 §4.3)
        400 invalid_dpop_proof: the DPoP proof was used before
        400 invalid_grant: the assertion was used before
        400 invalid_request: the subject token: a token with several audiences
        400 invalid_request: the actor token: a token with several audiences
        400 invalid_request: a token of the type `urn:ietf:params:oauth:token-type:id_token` is not taken here
        400 unsupported_grant_type: the grant type `refresh_token` is not served here
        400 invalid_target: no `resource` or `audience`: name the one that the token is for
        400 invalid_target: several of `resource` and `audience`: a token is for one
        400 invalid_target: `token.issue` on `https://r.example` needs a capability (policy sha256:000000000000)
        400 invalid_target: `token.issue` on `https://r.example` is forbidden by `no-nights` (policy sha256:000000000000)
        400 invalid_target: policy could not be decided
        500 server_error: the token cannot be made
        400 unauthorized_client: the client is not in force: the agent is suspended since 1970-01-01T00:00:00.000Z
        400 unauthorized_client: the client is disabled
        400 invalid_client: the client `client-1` is not in the registry
        400 unauthorized_client: the client may not use the grant `urn:ietf:params:oauth:grant-type:token-exchange`; it registered nothing
        400 invalid_target: the target is not known here
        400 invalid_target: the target is not in force: issued under epoch 1; what was issued before epoch 2 was revoked
        400 invalid_request: `subject_token` is missing
        400 invalid_request: the subject token is for `b`, not for the client `a`
        400 invalid_request: the subject token concerns `b`: it is suspended
        400 invalid_request: the subject token lets only `b` act
        400 invalid_request: the actor token is of `b`, not of the client `a`
        400 invalid_request: 5 actors in the chain, policy allows 4
        400 invalid_request: the client's id is too long for a chain of actors
        400 invalid_request: `scope` is missing: a transaction token says its purpose
        400 invalid_scope: scope `x` is not among those of the target: `y`
        400 invalid_scope: scope `x y` is wider than `y`, the widest of this client
        400 invalid_scope: scope `x y` is wider than `y`, that of the subject token
        400 invalid_target: tokens for this target are bound to a certificate: ask for one over mutual TLS
        400 invalid_target: tokens for this target are for workloads with a WIT; this client has none
        400 invalid_dpop_proof: tokens for this target are bound to a DPoP key: send a `DPoP` proof
        400 invalid_target: a DPoP proof, and tokens for this target are bound by `wit`: they are not bound twice
        400 invalid_request: `grant-1`, that it comes from, was ended: enough
        400 invalid_grant: the code or refresh token is not one of this server, or its grant is gone
        400 invalid_grant: the grant is of another client
        400 invalid_grant: the code was used at 1970-01-01T00:00:00.000Z
        400 invalid_grant: `redirect_uri` is not the one of the authorization request
        400 invalid_grant: `code_verifier` does not answer `code_challenge` (RFC 7636 §4.6)
        400 invalid_grant: the grant is bound to a key or certificate, and this request shows another or none
        400 invalid_grant: the grant expired at 1970-01-01T00:00:00.000Z
        400 invalid_grant: the refresh token was used before; its grant has ended
        400 invalid_target: nothing was granted for `b`; granted is `a`
        400 invalid_scope: scope `x y` is wider than `y`, that was granted
        400 invalid_authorization_details: an unknown type
        400 invalid_authorization_details: `authorization_details` are wider than what was granted
        400 invalid_grant: the assertion: its `sub` is nobody that policy knows
        400 invalid_client: no client authentication: a `client_id` alone does for public clients that are registered here; others use a client assertion, a client attestation, or mutual tls
        400 invalid_request: more than one method of client authentication
        400 invalid_client: the client is not known
        400 invalid_client: `client_id` is missing; with `spiffe_jwt` it is required
        400 invalid_client: `client_id` is missing; with `spiffe_x509` it is required
        400 invalid_client: `client_id` is missing; with `spiffe_wit` it is required
        400 use_fresh_attestation: expired at 1970-01-01T00:00:01.000Z, now 1970-01-01T00:00:02.000Z
        400 invalid_client: the signature does not verify
        503 temporarily_unavailable: nothing can be decided or recorded just now
        "#);
    }

    #[test]
    fn rfc6749_5_2_every_request_that_is_not_read_has_its_code() {
        let max = 10;
        let field = NotATokenText::Repeated;
        let all = vec![
            Unread::Connections,
            Unread::ConnectionsOfSource,
            Unread::Handshake,
            Unread::SlowHandshake,
            Unread::NotHttp,
            Unread::Requests { max },
            Unread::RequestsOfSource { max },
            Unread::NotFound,
            Unread::Method,
            Unread::TooLong { max },
            Unread::SlowBody,
            Unread::BrokenBody,
            Unread::ContentType { expected: "application/x-www-form-urlencoded" },
            Unread::ContentEncoding,
            Unread::Query,
            Unread::Authorization { scheme: "Basic" },
            Unread::Authorization { scheme: "Bearer" },
            Unread::Field { name: "OAuth-Client-Attestation", reason: field.clone() },
            FormError::Repeated { name: "scope".to_owned() }.into(),
            PresentedClientError::Secret.into(),
            PresentedClientError::HalfAnAssertion.into(),
            PresentedClientError::UnknownAssertionType { found: "x".to_owned() }.into(),
            PresentedClientError::Assertion(field).into(),
            TokenRequestError::UnsupportedGrantType { found: "password".to_owned() }.into(),
            TokenRequestError::Missing { name: "grant_type" }.into(),
            TokenRequestError::AuthorizationDetails.into(),
            Unread::Stranger(Box::new(ClientRefusal::Unknown)),
            Unread::NotAnOperator { uid: 7 },
        ];
        let table: String = all
            .iter()
            .map(|unread| format!("{} {}", unread.check(), row(&of_unread(unread))))
            .collect();
        insta::assert_snapshot!(table, @r#"
        connections 503 temporarily_unavailable: too many connections
        connections_of_source 429 temporarily_unavailable: too many connections from one address
        handshake 400 invalid_request: the TLS handshake failed
        slow_handshake 400 invalid_request: the TLS handshake took too long
        not_http 400 invalid_request: bytes that are no HTTP request within the bounds
        requests 503 temporarily_unavailable: 10 requests are being decided already
        requests_of_source 429 temporarily_unavailable: 10 requests of this address are being decided already
        not_found 404 invalid_request: nothing is at this path
        method 405 invalid_request: the path does not have this method
        too_long 413 invalid_request: a body of more than 10 bytes
        slow_body 408 invalid_request: the body took too long
        broken_body 400 invalid_request: the body broke off
        content_type 400 invalid_request: the content type must be `application/x-www-form-urlencoded`, once
        content_encoding 400 invalid_request: a content coding, which is not read here
        query 400 invalid_request: parameters in the URL: they belong into the body
        authorization 401 invalid_client [Basic realm="token"]: the client authenticates by HTTP, which no client here does
        authorization 401 invalid_client [Bearer realm="token"]: the client authenticates by HTTP, which no client here does
        field 400 invalid_request: `OAuth-Client-Attestation`: the header field stands there more than once
        form 400 invalid_request: parameter `scope` stands more than once
        client 400 invalid_client: a client secret that is not of the form that secrets have here
        client 400 invalid_request: `client_assertion` and `client_assertion_type` must come together
        client 400 invalid_client: client assertion type `x` is not known
        client 400 invalid_request: the header field stands there more than once
        request 400 unsupported_grant_type: grant type `password` is not supported
        request 400 invalid_request: parameter `grant_type` is absent
        request 400 invalid_authorization_details: no type of `authorization_details` is supported
        client::Unknown 400 invalid_client: the client is not known
        not_an_operator 403 access_denied: uid 7 may give no orders here
        "#);
    }
}

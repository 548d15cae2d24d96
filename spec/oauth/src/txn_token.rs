//! Transaction tokens (draft-ietf-oauth-transaction-tokens §9, §12).
//!
//! In scope: the claims, and the checks of a workload that receives one. Not here: how one is
//! asked for ([`crate::token_request`]) and what goes into it.

use jose::{Audience, Kind, NumericDate, Verified, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::act::Act;
use crate::identifier::{ClientId, LineageId, SubjectText, TokenId, TransactionId};
use crate::issuer::Issuer;
use crate::scope::ScopeSet;

/// The header field that carries it.
// draft-ietf-oauth-transaction-tokens §12.1: "Txn-Token".
pub const FIELD: &str = "txn-token";

/// The kind `txntoken+jwt`: no access token, and no proof of who presents it.
#[derive(Clone, Copy, Debug)]
pub struct TxnToken;

/// draft-ietf-oauth-transaction-tokens §9.2, and the lineage that each token of this system has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnTokenClaims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<Issuer>,
    pub iat: NumericDate,
    /// The trust domain.
    pub aud: Audience,
    pub exp: NumericDate,
    pub txn: TransactionId,
    /// The principal of the transaction, unique in the trust domain.
    pub sub: SubjectText,
    /// What the transaction is for.
    pub scope: ScopeSet,
    /// The workload that asked for it.
    pub req_wl: ClientId,
    /// What stays the same throughout the call chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tctx: Option<Map<String, Value>>,
    /// The environment of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rctx: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// What tokens that come of this one name as their parent.
    pub jti: TokenId,
    /// What this token, and all that came of it, began with.
    pub aims_root: LineageId,
    /// `jti` of the token that it came from; absent at the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aims_parent: Option<TokenId>,
    /// The tokens between the root and that one, the oldest first: to end any of them ends this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aims_above: Vec<TokenId>,
    /// The epoch that it was issued under: dead once a later one concerns it.
    pub aims_epoch: u64,
}

impl Kind for TxnToken {
    // draft-ietf-oauth-transaction-tokens §9.1: "The typ Header Parameter MUST be present and MUST
    // have the value txntoken+jwt."
    const TYPES: &'static [&'static str] = &["txntoken+jwt"];
    const TYPE_MAY_BE_ABSENT: bool = false;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = TxnTokenClaims;
    type Hint = Audience;

    /// The trust domain: "the signing keys are known" by it (§9.2).
    fn hint(claims: &TxnTokenClaims) -> Audience {
        claims.aud.clone()
    }

    fn window(claims: &TxnTokenClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: None, iat: Some(claims.iat) }
    }
}

/// A transaction token of the trust domain that asked.
#[derive(Clone, Debug)]
pub struct InDomain(Verified<TxnToken>);

impl InDomain {
    /// What the service says.
    pub const fn claims(&self) -> &TxnTokenClaims {
        self.0.claims()
    }

    /// The token behind it.
    pub const fn token(&self) -> &Verified<TxnToken> {
        &self.0
    }
}

/// Checks that a token is for `trust_domain` and has a purpose.
pub fn in_domain(token: Verified<TxnToken>, trust_domain: &str) -> Result<InDomain, NotInDomain> {
    // draft-ietf-oauth-transaction-tokens §9.2: "A Txn-Token MUST NOT be accepted outside the
    // Trust Domain identified by the aud claim."
    let claims = token.claims();
    if claims.aud.sole() != Some(trust_domain) {
        let (found, expected) = (claims.aud.clone(), trust_domain.to_owned());
        return Err(NotInDomain::WrongDomain { found, expected });
    }
    // draft-ietf-oauth-transaction-tokens §9.2: "scope: REQUIRED".
    if claims.scope.is_empty() {
        return Err(NotInDomain::NoPurpose);
    }
    Ok(InDomain(token))
}

/// Why a transaction token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInDomain {
    #[error("token for {found}, expected `{expected}` alone")]
    WrongDomain { found: Audience, expected: String },
    #[error("token with an empty `scope`")]
    NoPurpose,
}

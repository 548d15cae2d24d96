//! Access tokens as we issue them (RFC 9068; S4 §10.2; AUTHZ-02, AUTHZ-03): the template, and the
//! check that must pass before one is signed.

use credential::Checked;
use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput, Unsignable};
use oauth::access_token::{AccessToken, AccessTokenClaims};
use oauth::confirmation::{CertificateThumbprint, Confirmation};
use oauth::{ClientId, Issuer, LineageId, NotAnIdentifier, SubjectText, TokenId};
use time::UnixTime;

use crate::policy::Proof;
use crate::proposal::{Lineage, Proposal, Sanctioned, TokenKind};

/// What every token of an issuer gets beside the right itself.
#[derive(Debug)]
pub struct Issuing<'a> {
    /// The issuer.
    pub issuer: &'a Issuer,
    /// The token's id.
    pub jti: String,
    /// The id of a lineage that begins here.
    pub fresh_root: String,
    /// The number of revocations so far.
    pub epoch: u64,
    /// Now.
    pub now: UnixTime,
    /// The signing key's id.
    pub kid: &'a KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
}

impl Issuing<'_> {
    /// Root, parent and epoch of a token of this lineage. A child is never younger than what it
    /// came from, or an exchange would outlive a revocation.
    pub fn lineage<'a>(&'a self, lineage: &'a Lineage) -> (&'a str, Option<&'a str>, u64) {
        match lineage {
            Lineage::Root => (&self.fresh_root, None, self.epoch),
            Lineage::Child { root, parent, epoch, .. } => {
                (root, Some(parent), self.epoch.min(*epoch))
            }
        }
    }
}

/// The claims of a permitted proposal, checked.
pub fn build(
    permitted: &impl Sanctioned,
    issuing: &Issuing<'_>,
) -> Result<Checked<SigningInput<AccessToken>>, Fault> {
    let proposal = permitted.proposal();
    let claims = template(proposal, issuing)?;
    check(&claims, proposal, issuing)?;
    let input = SigningInput::new(issuing.algorithm, Some(issuing.kid), &claims)?;
    Ok(Checked::assertion(input))
}

fn template(proposal: &Proposal, issuing: &Issuing<'_>) -> Result<AccessTokenClaims, Fault> {
    let (root, parent, epoch) = issuing.lineage(&proposal.lineage);
    let cnf = match (proposal.proof, &proposal.certificate) {
        (Proof::Mtls, Some(thumbprint)) => Some(Confirmation::Certificate(
            CertificateThumbprint::parse(thumbprint).map_err(|_| Fault::Binding)?,
        )),
        (Proof::Mtls, None) => return Err(Fault::Binding),
        // Bound to the identity: accepted only with a WIT whose identifier is `client_id`, and a
        // WPT that covers the token. So it survives a renewal of the key (DESIGN §5).
        (Proof::Wit | Proof::Bearer, _) => None,
    };
    Ok(AccessTokenClaims {
        iss: issuing.issuer.clone(),
        exp: NumericDate::from_time(proposal.expires),
        aud: Audience::one(proposal.audience.clone()),
        sub: SubjectText::parse(&proposal.subject)?,
        client_id: ClientId::parse(&proposal.client_id)?,
        iat: NumericDate::from_time(issuing.now),
        nbf: None,
        jti: TokenId::parse(&issuing.jti)?,
        scope: proposal.scope.clone(),
        act: proposal.act.clone(),
        may_act: None,
        cnf,
        txn: None,
        auth_time: None,
        acr: None,
        amr: None,
        aims_root: LineageId::parse(root)?,
        aims_parent: parent.map(TokenId::parse).transpose()?,
        aims_epoch: epoch,
    })
}

fn check(
    claims: &AccessTokenClaims,
    proposal: &Proposal,
    issuing: &Issuing<'_>,
) -> Result<(), Fault> {
    if proposal.kind != TokenKind::Access {
        return Err(Fault::OtherKind);
    }
    // S4 §10.2: the client_id is the agent, the sub is the user or system it acts for.
    if claims.client_id.as_str() != proposal.client_id || claims.sub.as_str() != proposal.subject {
        return Err(Fault::OtherPrincipal);
    }
    // RFC 8693 §4.1: a delegated token says who acts.
    let delegated = claims.client_id.as_str() != claims.sub.as_str();
    let current = claims.act.as_ref().map(|act| act.current().sub.as_str());
    if delegated && current != Some(claims.client_id.as_str()) {
        return Err(Fault::NoActor);
    }
    if claims.exp.time() <= issuing.now {
        return Err(Fault::NoLife);
    }
    if claims.aud.sole() != Some(proposal.audience.as_str()) {
        return Err(Fault::OtherAudience);
    }
    Ok(())
}

/// Why it is not signed: a fault of ours, or a token that would be dead already.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An id is too long for a token.
    #[error(transparent)]
    Identifier(#[from] NotAnIdentifier),
    /// The certificate that it is to be bound to is missing.
    #[error("the token is to be bound to a certificate, and there is none")]
    Binding,
    /// Another kind was permitted.
    #[error("another kind of token was permitted")]
    OtherKind,
    /// Client or subject are not those of the proposal.
    #[error("the token names another client or subject")]
    OtherPrincipal,
    /// It is delegated, and does not say so.
    #[error("the token is delegated and does not name its actor")]
    NoActor,
    /// It would be born dead.
    #[error("the token would end as it begins")]
    NoLife,
    /// Not the one audience of the proposal.
    #[error("the token is for another audience")]
    OtherAudience,
    /// A transaction token without a transaction.
    #[error("a transaction token has a parent")]
    NoTransaction,
    /// It cannot be encoded.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}

//! Transaction tokens as we issue them (draft-ietf-oauth-transaction-tokens §9; S4 §10.4;
//! AUTHZ-12): the template and its check. They are no access tokens, and nobody proves anything by
//! them.

use credential::Checked;
use jose::{Audience, NumericDate, SigningInput};
use oauth::txn_token::{TxnToken, TxnTokenClaims};
use oauth::{ClientId, LineageId, ScopeSet, SubjectText, TokenId, TransactionId};
use time::UnixTime;

use crate::access_token::{Fault, Issuing, above};
use crate::grants::Grant;
use crate::policy::{Format, Proof};
use crate::presented::Presented;
use crate::proposal::{Lineage, Proposal, Sanctioned, TokenKind};

/// A call that a gateway lets through, as its transaction token tells it.
#[derive(Debug)]
pub struct ForCall<'a> {
    /// The access token that came with it.
    pub presented: &'a Presented,
    /// Our trust domain.
    pub trust_domain: &'a str,
    /// The purpose: the scope of the action, or the action itself.
    pub purpose: ScopeSet,
    /// What is done, and to what; the same throughout the chain (`tctx`).
    pub details: serde_json::Map<String, serde_json::Value>,
    /// The circumstances (`rctx`).
    pub context: serde_json::Map<String, serde_json::Value>,
    /// When it ends at the latest.
    pub until: UnixTime,
}

/// What a gateway proposes in place of the access token (S4 §10.7: "exchange", never forward).
pub fn at_gateway(call: ForCall<'_>) -> Proposal {
    let presented = call.presented;
    Proposal {
        kind: TokenKind::Transaction,
        action: Grant::Transaction.action(),
        client_id: presented.client_id().to_owned(),
        subject: presented.subject().to_owned(),
        act: presented.act().cloned(),
        audience: call.trust_domain.to_owned(),
        audience_name: call.trust_domain.to_owned(),
        proof: Proof::Bearer,
        format: Format::Jwt,
        scope: call.purpose,
        expires: call.until.min(presented.expires()),
        lineage: Lineage::below(presented),
        binding: None,
        authorization_details: None,
        authenticated: None,
        impersonation: None,
        details: call.details.into_iter().collect(),
        context: call.context.into_iter().collect(),
    }
}

/// The transaction's id, and the claims of a permitted proposal, checked. `fresh_txn`: the id of a
/// transaction that begins.
pub fn build(
    permitted: &impl Sanctioned,
    issuing: &Issuing<'_>,
    fresh_txn: &str,
) -> Result<(String, Checked<SigningInput<TxnToken>>), Fault> {
    let proposal = permitted.proposal();
    let (root, parent, epoch) = issuing.lineage(&proposal.lineage);
    let Lineage::Child { txn, .. } = &proposal.lineage else { return Err(Fault::NoTransaction) };
    let claims = TxnTokenClaims {
        iss: Some(issuing.issuer.clone()),
        iat: NumericDate::from_time(issuing.now),
        aud: Audience::one(proposal.audience.clone()),
        exp: NumericDate::from_time(proposal.expires),
        txn: TransactionId::parse(txn.as_deref().unwrap_or(fresh_txn))?,
        sub: SubjectText::parse(&proposal.subject)?,
        scope: proposal.scope.clone(),
        req_wl: ClientId::parse(&proposal.client_id)?,
        tctx: filled(&proposal.details),
        rctx: filled(&proposal.context),
        act: proposal.act.clone(),
        jti: TokenId::parse(&issuing.jti)?,
        aims_root: LineageId::parse(root)?,
        aims_parent: parent.map(TokenId::parse).transpose()?,
        aims_above: above(&proposal.lineage)?,
        aims_epoch: epoch,
    };
    check(&claims, proposal, issuing)?;
    let input = SigningInput::new(issuing.algorithm, Some(issuing.kid), &claims)?;
    Ok((claims.txn.as_str().to_owned(), Checked::assertion(input)))
}

fn check(claims: &TxnTokenClaims, proposal: &Proposal, issuing: &Issuing<'_>) -> Result<(), Fault> {
    if proposal.kind != TokenKind::Transaction {
        return Err(Fault::OtherKind);
    }
    // §9.2: "scope: REQUIRED".
    if claims.scope.is_empty() {
        return Err(Fault::NoTransaction);
    }
    if claims.exp.time() <= issuing.now {
        return Err(Fault::NoLife);
    }
    if claims.sub.as_str() != proposal.subject {
        return Err(Fault::OtherPrincipal);
    }
    Ok(())
}

fn filled(
    members: &std::collections::BTreeMap<String, serde_json::Value>,
) -> Option<serde_json::Map<String, serde_json::Value>> {
    let map: serde_json::Map<_, _> =
        members.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    (!map.is_empty()).then_some(map)
}

//! Access tokens as we issue them (RFC 9068; S4 §10.2; AUTHZ-02, AUTHZ-03): the template, and the
//! check that must pass before one is signed.

use credential::Checked;
use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput, Unsignable};
use oauth::access_token::{AccessToken, AccessTokenClaims};
use oauth::confirmation::Confirmation;
use oauth::status::Status;
use oauth::{ClientId, Issuer, LineageId, NotAnIdentifier, SubjectText, TokenId, TransactionId};
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
    /// Its place in a status list, where its audience asks for one.
    pub status: Option<Status>,
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
            Lineage::Grant { root, epoch } => (root, None, self.epoch.min(*epoch)),
            Lineage::Child { root, parent, epoch, .. } => {
                (root, Some(parent), self.epoch.min(*epoch))
            }
        }
    }
}

/// The claims of a permitted proposal, checked: what an opaque token stands for.
pub fn claims(
    permitted: &impl Sanctioned,
    issuing: &Issuing<'_>,
) -> Result<Checked<AccessTokenClaims>, Fault> {
    let proposal = permitted.proposal();
    let claims = template(proposal, issuing)?;
    check(&claims, proposal, issuing)?;
    Ok(Checked::assertion(claims))
}

/// The same as a token to be signed.
pub fn build(
    permitted: &impl Sanctioned,
    issuing: &Issuing<'_>,
) -> Result<Checked<SigningInput<AccessToken>>, Fault> {
    let claims = claims(permitted, issuing)?.into_inner();
    let input = SigningInput::new(issuing.algorithm, Some(issuing.kid), &claims)?;
    Ok(Checked::assertion(input))
}

fn template(proposal: &Proposal, issuing: &Issuing<'_>) -> Result<AccessTokenClaims, Fault> {
    let (root, parent, epoch) = issuing.lineage(&proposal.lineage);
    let cnf = match (proposal.proof, &proposal.binding) {
        (Proof::Mtls, Some(Confirmation::Certificate(_)))
        | (Proof::Dpop, Some(Confirmation::Key(_))) => proposal.binding.clone(),
        (Proof::Mtls | Proof::Dpop, _) => return Err(Fault::Binding),
        // A client that shows a key gets a token that is bound to it, whatever is demanded.
        (Proof::Bearer, binding) => binding.clone(),
        // Bound to the identity: accepted only with a WIT whose identifier is `client_id`, and a
        // WPT that covers the token. So it survives a renewal of the key (docs/design.md §5).
        (Proof::Wit, _) => None,
    };
    let authenticated = proposal.authenticated.as_ref();
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
        txn: transaction(&proposal.lineage)?,
        // RFC 9068 §2.2.1: "The claims listed in this section MAY be issued in the context of
        // authorization grants involving the resource owner".
        auth_time: authenticated.map(|one| NumericDate::from_time(one.at)),
        acr: authenticated.map(|one| one.acr.as_str().to_owned()),
        amr: authenticated.map(|one| one.amr.iter().cloned().collect()),
        authorization_details: proposal.authorization_details.clone(),
        aims_attestation: attested(proposal),
        status: issuing.status.clone(),
        aims_root: LineageId::parse(root)?,
        aims_parent: parent.map(TokenId::parse).transpose()?,
        aims_above: above(&proposal.lineage)?,
        aims_epoch: epoch,
    })
}

/// The tokens between the root and the parent.
pub(crate) fn above(lineage: &Lineage) -> Result<Vec<TokenId>, NotAnIdentifier> {
    let Lineage::Child { above, .. } = lineage else { return Ok(Vec::new()) };
    above.iter().map(|id| TokenId::parse(id)).collect()
}

/// What the attestation of the agent came to, where the resource asks for it.
fn attested(proposal: &Proposal) -> Option<serde_json::Map<String, serde_json::Value>> {
    let members: serde_json::Map<_, _> =
        proposal.details.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    (!members.is_empty()).then_some(members)
}

/// The transaction that it belongs to, where its parent belongs to one.
fn transaction(lineage: &Lineage) -> Result<Option<TransactionId>, NotAnIdentifier> {
    let Lineage::Child { txn: Some(txn), .. } = lineage else { return Ok(None) };
    TransactionId::parse(txn).map(Some)
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
    let named = proposal.impersonation.is_some();
    if delegated && !named && current != Some(claims.client_id.as_str()) {
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
    /// The certificate or key that it is to be bound to is missing.
    #[error("the token is to be bound to a certificate or a key, and there is none")]
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jose::Unsignable;
    use oauth::ScopeSet;
    use oauth::act::Act;
    use oauth::confirmation::CertificateThumbprint;
    use time::Span;

    use super::*;
    use crate::policy::Format;
    use crate::txn_token;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
    const AGENT: &str = "spiffe://demo.example/agent/a";
    const USER: &str = "user:ada";

    struct Allowed(Proposal);

    impl Sanctioned for Allowed {
        fn proposal(&self) -> &Proposal {
            &self.0
        }
    }

    /// The agent's own token for a resource.
    fn proposal() -> Proposal {
        Proposal {
            kind: TokenKind::Access,
            action: "token.issue",
            client_id: AGENT.to_owned(),
            subject: AGENT.to_owned(),
            act: None,
            audience: "https://gateway.example/ledger".to_owned(),
            audience_name: "ledger".to_owned(),
            proof: Proof::Wit,
            format: Format::Jwt,
            scope: ScopeSet::parse("read").unwrap(),
            expires: NOW.plus(Span::from_seconds(300)),
            lineage: Lineage::Root,
            binding: None,
            authorization_details: None,
            authenticated: None,
            impersonation: None,
            details: BTreeMap::new(),
            context: BTreeMap::new(),
        }
    }

    /// The transaction token of a call.
    fn transaction() -> Proposal {
        let (root, parent) = ("root-1".to_owned(), "token-1".to_owned());
        let lineage = Lineage::Child { root, parent, above: Vec::new(), txn: None, epoch: 4 };
        Proposal { kind: TokenKind::Transaction, lineage, ..proposal() }
    }

    fn actor(text: &str) -> Option<Act> {
        Some(Act::new(SubjectText::parse(text).unwrap()))
    }

    /// Runs with what the issuer adds, after `edit`.
    fn issuing<T>(edit: impl FnOnce(&mut Issuing<'_>), run: impl FnOnce(&Issuing<'_>) -> T) -> T {
        let issuer = Issuer::parse("https://issuer.example").unwrap();
        let kid = KeyId::parse("key-1").unwrap();
        let mut issuing = Issuing {
            issuer: &issuer,
            jti: "new-token".to_owned(),
            fresh_root: "new-root".to_owned(),
            status: None,
            epoch: 9,
            now: NOW,
            kid: &kid,
            algorithm: Algorithm::Es256,
        };
        edit(&mut issuing);
        run(&issuing)
    }

    fn access(proposal: Proposal) -> Result<(), Fault> {
        issuing(|_| {}, |issuing| build(&Allowed(proposal), issuing).map(|_| ()))
    }

    fn txn(proposal: Proposal) -> Result<(), Fault> {
        issuing(
            |_| {},
            |issuing| txn_token::build(&Allowed(proposal), issuing, "new-txn").map(|_| ()),
        )
    }

    /// req: AUTHZ-02 (part), AUTHZ-03 (part)
    #[test]
    fn s10_2_a_token_that_would_be_wrong_is_not_signed() {
        assert_eq!(access(proposal()), Ok(()));
        // RFC 8705 §3.1: bound to a certificate, without one or with no hash of one.
        let bound = |certificate: Option<&str>| Proposal {
            proof: Proof::Mtls,
            binding: certificate
                .map(|hash| Confirmation::Certificate(CertificateThumbprint::parse(hash).unwrap())),
            ..proposal()
        };
        let hash = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
        assert_eq!(access(bound(Some(hash))), Ok(()));
        assert_eq!(access(bound(None)), Err(Fault::Binding));
        let other = Proposal { proof: Proof::Dpop, ..bound(Some(hash)) };
        assert_eq!(access(other), Err(Fault::Binding), "a certificate is no DPoP key");
        assert_eq!(access(transaction()), Err(Fault::OtherKind));
        let delegated = |act| Proposal { subject: USER.to_owned(), act, ..proposal() };
        assert_eq!(access(delegated(actor(AGENT))), Ok(()));
        assert_eq!(access(delegated(None)), Err(Fault::NoActor));
        let other = actor("spiffe://demo.example/agent/b");
        assert_eq!(access(delegated(other)), Err(Fault::NoActor));
        assert_eq!(access(Proposal { expires: NOW, ..proposal() }), Err(Fault::NoLife));
        let nameless = access(Proposal { client_id: String::new(), ..proposal() });
        assert!(matches!(nameless, Err(Fault::Identifier(_))), "{nameless:?}");
        let huge = Proposal { audience: "x".repeat(20_000), ..proposal() };
        let huge = access(huge);
        assert!(matches!(huge, Err(Fault::Unsignable(Unsignable::TooLong { .. }))), "{huge:?}");
        let jti = issuing(
            |issuing| issuing.jti = "x".repeat(300),
            |issuing| build(&Allowed(proposal()), issuing).map(|_| ()),
        );
        assert!(matches!(jti, Err(Fault::Identifier(_))), "{jti:?}");
    }

    /// What the template would have to do wrong for each of the checker's words.
    /// req: AUTHZ-02 (part)
    #[test]
    fn s10_2_the_checker_sees_what_the_template_got_wrong() {
        let refused = |edit: &dyn Fn(&mut AccessTokenClaims)| {
            issuing(
                |_| {},
                |issuing| {
                    let mut claims = template(&proposal(), issuing).unwrap();
                    edit(&mut claims);
                    check(&claims, &proposal(), issuing).err()
                },
            )
        };
        assert_eq!(refused(&|_| {}), None);
        let other = || SubjectText::parse(USER).unwrap();
        assert_eq!(refused(&|claims| claims.sub = other()), Some(Fault::OtherPrincipal));
        let client = || ClientId::parse("client-1").unwrap();
        assert_eq!(refused(&|claims| claims.client_id = client()), Some(Fault::OtherPrincipal));
        let own = "https://gateway.example/ledger".to_owned();
        for aud in [
            Audience::one("https://gateway.example/crm"),
            Audience::Several(vec![own, "https://gateway.example/crm".to_owned()]),
        ] {
            assert_eq!(refused(&|claims| claims.aud = aud.clone()), Some(Fault::OtherAudience));
        }
        let dead = refused(&|claims| claims.exp = NumericDate::from_time(NOW));
        assert_eq!(dead, Some(Fault::NoLife));
    }

    /// req: AUTHZ-12 (part)
    #[test]
    fn s10_4_a_transaction_token_that_would_be_wrong_is_not_signed() {
        assert_eq!(txn(transaction()), Ok(()));
        let access = Proposal { kind: TokenKind::Access, ..transaction() };
        assert_eq!(txn(access), Err(Fault::OtherKind));
        let root = Proposal { lineage: Lineage::Root, ..transaction() };
        assert_eq!(txn(root), Err(Fault::NoTransaction));
        let idle = Proposal { scope: ScopeSet::default(), ..transaction() };
        assert_eq!(txn(idle), Err(Fault::NoTransaction));
        assert_eq!(txn(Proposal { expires: NOW, ..transaction() }), Err(Fault::NoLife));
        let nobody = txn(Proposal { subject: String::new(), ..transaction() });
        assert!(matches!(nobody, Err(Fault::Identifier(_))), "{nobody:?}");
    }
}

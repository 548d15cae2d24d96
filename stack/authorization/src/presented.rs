//! A token of ours that somebody presents: verified, and read as the lineage sees it.

use authentication::Caller;
use authentication::session::{Acr, Authenticated};
use credential::{AuthorityKey, KeyRing};
use jose::{Algorithm, Audience, NumericDate, Thumbprint, Unverified, Verified};
use oauth::access_token::{self, AccessToken, AccessTokenClaims};
use oauth::act::Act;
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::Confirmation;
use oauth::txn_token::{self, TxnToken, TxnTokenClaims};
use oauth::{ClientId, Issuer, LineageId, ScopeSet, SubjectText, TokenId};
use provisioning::Epoch;
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::granted::GrantRecord;
use crate::grants::refresh_token;

/// What our own tokens are signed with.
pub const ALGORITHMS: &[Algorithm] = &[Algorithm::Es256];

/// A token of ours that holds now. What it may be used for is not yet decided.
#[derive(Clone, Debug)]
pub struct Presented(Claims);

#[derive(Clone, Debug)]
enum Claims {
    Access(Box<AccessTokenClaims>),
    Transaction(Box<TxnTokenClaims>, Signed),
}

/// By whose key a transaction token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    /// This server's.
    Here,
    /// One that this server delegated to a gateway.
    ByDelegate,
}

impl Presented {
    /// An access token that `ring` signed and `issuer` issued. Its audience is checked by who uses
    /// it: the token endpoint, or a resource ([`Presented::is_for`]).
    pub fn access_token(
        text: &str,
        ring: &KeyRing,
        issuer: &Issuer,
        now: UnixTime,
        skew: Span,
    ) -> Result<Self, Refusal> {
        let token = Unverified::<AccessToken>::parse(text)?;
        let verified = token.verify(&ring.verifiers(now), ALGORITHMS, now, skew)?;
        Self::of_access_token(&verified, issuer)
    }

    /// The same, for a token whose signature was verified before.
    pub fn of_access_token(
        verified: &Verified<AccessToken>,
        issuer: &Issuer,
    ) -> Result<Self, Refusal> {
        Self::of_claims(verified.claims().clone(), issuer)
    }

    /// What an opaque token of ours stands for, as it was stored. Its life is checked here: nobody
    /// verified a signature.
    pub fn of_opaque(
        claims: AccessTokenClaims,
        issuer: &Issuer,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let exp = claims.exp.time();
        if now >= exp {
            return Err(jose::Refused::Expired { exp, now }.into());
        }
        Self::of_claims(claims, issuer)
    }

    /// What a grant stands for at one of its targets, where a refresh token or an ID token of it is
    /// exchanged: the client that holds it, as for a token that was given to it.
    pub fn of_grant(
        held: &GrantRecord,
        target: &str,
        issuer: &Issuer,
        now: UnixTime,
        life: Span,
    ) -> Result<Self, Refusal> {
        held.is_live(now).map_err(|over| Refusal::NoGrant(over.to_string()))?;
        let granted = held.targets.get(target);
        let granted = granted.ok_or_else(|| Refusal::NotGrantedAt(target.to_owned()))?;
        let broken = |error: &dyn std::fmt::Display| Refusal::NoGrant(error.to_string());
        let authenticated = held.authenticated.as_ref();
        Self::of_claims(
            AccessTokenClaims {
                iss: issuer.clone(),
                exp: NumericDate::from_time(now.plus(life).min(held.until)),
                aud: Audience::one(held.client_id.clone()),
                sub: SubjectText::parse(&held.subject).map_err(|error| broken(&error))?,
                client_id: ClientId::parse(&held.client_id).map_err(|error| broken(&error))?,
                iat: NumericDate::from_time(now),
                nbf: None,
                jti: TokenId::parse(&held.id).map_err(|error| broken(&error))?,
                scope: granted.scope.clone(),
                act: None,
                may_act: None,
                cnf: None,
                txn: None,
                auth_time: authenticated.map(|one| NumericDate::from_time(one.at)),
                acr: authenticated.map(|one| one.acr.as_str().to_owned()),
                amr: authenticated.map(|one| one.amr.iter().cloned().collect()),
                authorization_details: refresh_token::stored(&granted.details),
                aims_attestation: None,
                status: None,
                aims_root: LineageId::parse(&held.id).map_err(|error| broken(&error))?,
                aims_parent: None,
                aims_above: Vec::new(),
                aims_epoch: held.epoch.0,
            },
            issuer,
        )
    }

    fn of_claims(claims: AccessTokenClaims, issuer: &Issuer) -> Result<Self, Refusal> {
        if claims.iss != *issuer {
            let (found, expected) = (claims.iss.clone(), issuer.clone());
            return Err(access_token::NotForResource::WrongIssuer { found, expected }.into());
        }
        if claims.aud.sole().is_none() {
            return Err(Refusal::SeveralAudiences);
        }
        Ok(Self(Claims::Access(Box::new(claims))))
    }

    /// A transaction token of our trust domain.
    pub fn txn_token(
        text: &str,
        ring: &KeyRing,
        trust_domain: &str,
        now: UnixTime,
        skew: Span,
    ) -> Result<Self, Refusal> {
        let token = Unverified::<TxnToken>::parse(text)?;
        let kid = token.header().kid().cloned();
        let verified = token.verify(&ring.verifiers(now), ALGORITHMS, now, skew)?;
        let checked = txn_token::in_domain(verified, trust_domain)?;
        // One of an unknown key was not verified.
        let is_ours = |key: &AuthorityKey| Some(&key.kid) == kid.as_ref() && key.holder.is_none();
        let signed = match ring.keys.iter().any(is_ours) {
            true => Signed::Here,
            false => Signed::ByDelegate,
        };
        Ok(Self(Claims::Transaction(Box::new(checked.claims().clone()), signed)))
    }

    /// Whether a gateway says all this by a key that was delegated to it: what it says of the past
    /// is its word alone.
    pub fn is_of_delegate(&self) -> bool {
        matches!(self.0, Claims::Transaction(_, Signed::ByDelegate))
    }

    /// Refuses a token that is for another audience. RFC 9068 §4: "The JWT access token MUST be
    /// rejected if "aud" does not contain a resource indicator of the current resource server".
    pub fn is_for(&self, audience: &str) -> Result<(), Refusal> {
        if self.audience() == audience {
            return Ok(());
        }
        let (found, expected) = (self.audience().to_owned(), audience.to_owned());
        Err(Refusal::OtherAudience { found, expected })
    }

    /// The one audience.
    pub fn audience(&self) -> &str {
        let audience = match &self.0 {
            Claims::Access(claims) => &claims.aud,
            Claims::Transaction(claims, _) => &claims.aud,
        };
        audience.sole().unwrap_or_default()
    }

    /// True for a transaction token: it is for the whole trust domain, so each workload of it may
    /// ask for a narrower one (draft-ietf-oauth-transaction-tokens §11.3).
    pub fn was_shown_to(&self, caller: &Caller) -> bool {
        let workload = matches!(caller.who(), authentication::Who::Workload(_));
        workload && matches!(self.0, Claims::Transaction(..))
    }

    /// On whose behalf.
    pub fn subject(&self) -> &str {
        match &self.0 {
            Claims::Access(claims) => claims.sub.as_str(),
            Claims::Transaction(claims, _) => claims.sub.as_str(),
        }
    }

    /// Who got it.
    pub fn client_id(&self) -> &str {
        match &self.0 {
            Claims::Access(claims) => claims.client_id.as_str(),
            Claims::Transaction(claims, _) => claims.req_wl.as_str(),
        }
    }

    /// The chain of actors.
    pub fn act(&self) -> Option<&Act> {
        match &self.0 {
            Claims::Access(claims) => claims.act.as_ref(),
            Claims::Transaction(claims, _) => claims.act.as_ref(),
        }
    }

    /// Who asked for this transaction token, where its actors do not say so already.
    pub fn requested_by(&self) -> Option<&str> {
        let Claims::Transaction(claims, _) = &self.0 else { return None };
        let last = claims.act.as_ref().map_or(&claims.sub, |act| &act.current().sub);
        Some(claims.req_wl.as_str()).filter(|asked| *asked != last.as_str())
    }

    /// How many actors a token that comes of this one says were there before.
    pub fn depth(&self) -> usize {
        self.act().map_or(0, Act::depth) + usize::from(self.requested_by().is_some())
    }

    /// Who alone may act with it, where it says so and that is not this client of ours. RFC 8693
    /// §4.4: "the combination of the two claims "iss" and "sub" are sometimes necessary to uniquely
    /// identify an authorized actor".
    pub fn bars(&self, client: &str) -> Option<String> {
        let Claims::Access(claims) = &self.0 else { return None };
        let named = claims.may_act.as_ref()?;
        let allowed = SubjectText::parse(client)
            .is_ok_and(|client| named.permits(&client, &claims.iss, &claims.iss));
        let issuer = named.iss.as_ref().filter(|named| **named != claims.iss);
        let whose = issuer.map_or(String::new(), |issuer| format!(" of {}", issuer.as_str()));
        (!allowed).then(|| format!("{}{whose}", named.sub))
    }

    /// What the transaction is about, where it is one: the same throughout its chain.
    pub fn details(&self) -> Option<&Map<String, Value>> {
        match &self.0 {
            Claims::Access(_) => None,
            Claims::Transaction(claims, _) => claims.tctx.as_ref(),
        }
    }

    /// The circumstances in which the transaction began.
    pub fn circumstances(&self) -> Option<&Map<String, Value>> {
        match &self.0 {
            Claims::Access(_) => None,
            Claims::Transaction(claims, _) => claims.rctx.as_ref(),
        }
    }

    /// Its rights.
    pub fn scope(&self) -> &ScopeSet {
        match &self.0 {
            Claims::Access(claims) => &claims.scope,
            Claims::Transaction(claims, _) => &claims.scope,
        }
    }

    /// Its id.
    pub fn jti(&self) -> &str {
        match &self.0 {
            Claims::Access(claims) => claims.jti.as_str(),
            Claims::Transaction(claims, _) => claims.jti.as_str(),
        }
    }

    /// The root of its lineage.
    pub fn root(&self) -> &str {
        match &self.0 {
            Claims::Access(claims) => claims.aims_root.as_str(),
            Claims::Transaction(claims, _) => claims.aims_root.as_str(),
        }
    }

    /// The token that it came from.
    pub fn parent(&self) -> Option<&str> {
        match &self.0 {
            Claims::Access(claims) => claims.aims_parent.as_ref().map(|one| one.as_str()),
            Claims::Transaction(claims, _) => claims.aims_parent.as_ref().map(|one| one.as_str()),
        }
    }

    /// The tokens between its root and its parent, the oldest first.
    pub fn above(&self) -> Vec<String> {
        let above = match &self.0 {
            Claims::Access(claims) => &claims.aims_above,
            Claims::Transaction(claims, _) => &claims.aims_above,
        };
        above.iter().map(|id| id.as_str().to_owned()).collect()
    }

    /// Every id whose end ends it: the root, all that it came from, and its own.
    pub fn lineage(&self) -> Vec<String> {
        let mut ids = vec![self.root().to_owned()];
        ids.extend(self.above());
        ids.extend(self.parent().map(str::to_owned));
        ids.push(self.jti().to_owned());
        ids
    }

    /// The claims of an access token.
    pub fn access_claims(&self) -> Option<&AccessTokenClaims> {
        match &self.0 {
            Claims::Access(claims) => Some(claims),
            Claims::Transaction(..) => None,
        }
    }

    /// RFC 9396: what exactly it permits.
    pub fn authorization_details(&self) -> Option<&AuthorizationDetails> {
        self.access_claims()?.authorization_details.as_ref()
    }

    /// How the user authenticated, where it says so.
    pub fn authenticated(&self) -> Option<Authenticated> {
        let claims = self.access_claims()?;
        let (at, acr) = (claims.auth_time?.time(), Acr::parse(claims.acr.as_deref()?)?);
        Some(Authenticated { at, acr, amr: claims.amr.iter().flatten().cloned().collect() })
    }

    /// The DPoP key that it is bound to (RFC 9449 §6.1).
    pub fn key(&self) -> Option<Thumbprint> {
        match &self.access_claims()?.cnf {
            Some(Confirmation::Key(thumbprint)) => Some(*thumbprint),
            _ => None,
        }
    }

    /// The transaction that it belongs to.
    pub fn txn(&self) -> Option<&str> {
        match &self.0 {
            Claims::Access(claims) => claims.txn.as_ref().map(|one| one.as_str()),
            Claims::Transaction(claims, _) => Some(claims.txn.as_str()),
        }
    }

    /// The epoch that it was issued under.
    pub fn epoch(&self) -> Epoch {
        Epoch(match &self.0 {
            Claims::Access(claims) => claims.aims_epoch,
            Claims::Transaction(claims, _) => claims.aims_epoch,
        })
    }

    /// When it ends.
    pub fn expires(&self) -> UnixTime {
        match &self.0 {
            Claims::Access(claims) => claims.exp.time(),
            Claims::Transaction(claims, _) => claims.exp.time(),
        }
    }

    /// The certificate that it is bound to: SHA-256 of its DER.
    pub fn certificate(&self) -> Option<[u8; 32]> {
        match &self.0 {
            Claims::Access(claims) => match &claims.cnf {
                Some(Confirmation::Certificate(thumbprint)) => Some(*thumbprint.as_bytes()),
                _ => None,
            },
            Claims::Transaction(..) => None,
        }
    }

    /// Every identifier whose suspension ends it: client, subject, actors, and the audience where
    /// that is an agent.
    pub fn concerned(&self) -> Vec<String> {
        let actors = self.act().into_iter().flat_map(Act::iter);
        let mut all: Vec<_> = [self.client_id(), self.subject(), self.audience()]
            .into_iter()
            .chain(actors)
            .map(str::to_owned)
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Why a presented token counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not read as a token of this kind.
    #[error(transparent)]
    Malformed(#[from] jose::Malformed),
    /// It does not hold: signature, key, lifetime.
    #[error(transparent)]
    Refused(#[from] jose::Refused),
    /// It is of another issuer, or not for one audience.
    #[error(transparent)]
    NotForResource(#[from] access_token::NotForResource),
    /// It is of another trust domain.
    #[error(transparent)]
    NotInDomain(#[from] txn_token::NotInDomain),
    /// It has several audiences: ours have one.
    #[error("a token with several audiences")]
    SeveralAudiences,
    /// An opaque token that nobody was given, or whose time is long over.
    #[error("this is no token of this server")]
    Unknown,
    /// It stands for no grant that holds, of this client.
    #[error("it stands for no grant: {0}")]
    NoGrant(String),
    /// What it stands for is not for this target.
    #[error("`{0}` is not among what was granted")]
    NotGrantedAt(String),
    /// A gateway alone says it, of something that the server knows nothing of.
    #[error("a gateway signed it, and this server knows of nothing that it could come from: {0}")]
    Unvouched(String),
    /// It is for somebody else.
    #[error("token for `{found}`, not for `{expected}`")]
    OtherAudience {
        /// Its audience.
        found: String,
        /// The one that was expected.
        expected: String,
    },
}

impl Refusal {
    /// True when the text bears no signature of ours, so that anybody may have written it. What is
    /// wrong with a token of ours, such as its end, shows only after its signature.
    pub const fn is_no_token_of_ours(&self) -> bool {
        use jose::Refused as Of;
        matches!(
            self,
            Self::Malformed(_)
                | Self::Unknown
                | Self::Refused(
                    Of::AlgorithmNotAccepted { .. }
                        | Of::NoKey(_)
                        | Of::WrongKey { .. }
                        | Of::SignatureLength { .. }
                        | Of::Signature
                )
        )
    }
}

//! Workload identity tokens that are valid as WIT-SVIDs (S1 §6; CRED-04): `kid`, no `aud`, and an
//! algorithm and a key that both profiles take.

use jose::{Algorithm, KeyId, NumericDate, PublicKey, SigningInput, Unsignable};
use spiffe::SpiffeId;
use time::{Span, UnixTime};
use wimse::{Confirmation, Wit, WitClaims, WorkloadId};

use crate::checked::Checked;

/// What a WIT is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Whose it is.
    pub id: &'a SpiffeId,
    /// The key it binds.
    pub key: &'a PublicKey,
    /// Its id, for the log and for revocation.
    pub jti: String,
    /// Now.
    pub now: UnixTime,
    /// How long it lives.
    pub life: Span,
    /// The revocation epoch that it is issued under.
    pub epoch: u64,
    /// Who answers for the agent.
    pub owner: Option<&'a str>,
}

/// The claims, checked, ready to be signed by the key `kid`.
pub fn build(
    order: &Order<'_>,
    algorithm: Algorithm,
    kid: &KeyId,
) -> Result<Checked<SigningInput<Wit>>, Fault> {
    let claims = WitClaims {
        sub: WorkloadId::Spiffe(order.id.clone()),
        exp: NumericDate::from_time(order.now.plus(order.life)),
        iat: Some(NumericDate::from_time(order.now)),
        nbf: None,
        jti: Some(order.jti.clone()),
        iss: None,
        cnf: Confirmation::new(order.key).ok_or(Fault::Algorithm { found: None })?,
        aims_epoch: Some(order.epoch),
        aims_owner: order.owner.map(str::to_owned),
        has_audience: false,
    };
    check(&claims, algorithm, order)?;
    Ok(Checked::assertion(SigningInput::new(algorithm, Some(kid), &claims)?))
}

fn check(claims: &WitClaims, algorithm: Algorithm, order: &Order<'_>) -> Result<(), Fault> {
    // WIT-SVID §2.1: "alg" is one of RS, ES and PS with 256, 384 or 512; so is that of the key.
    let bound = claims.cnf.jwk().alg();
    for found in [Some(algorithm), bound] {
        match found {
            Some(Algorithm::EdDsa) | None => return Err(Fault::Algorithm { found }),
            Some(_) => {}
        }
    }
    // workload-creds §9.4: the key is used with one identifier; a path-less one is no workload's.
    if order.id.path().is_empty() {
        return Err(Fault::NoPath);
    }
    if claims.exp.time() <= order.now {
        return Err(Fault::NoLife);
    }
    Ok(())
}

/// Why it is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An algorithm that WIT-SVID does not take, or a key without one.
    #[error("a wit-svid cannot have the algorithm `{}`", .found.map_or("none", |one| one.as_str()))]
    Algorithm {
        /// What it was.
        found: Option<Algorithm>,
    },
    /// An identifier without a path.
    #[error("the identifier of a workload has a path")]
    NoPath,
    /// It would be born dead.
    #[error("the token would end as it begins")]
    NoLife,
    /// It cannot be encoded.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}

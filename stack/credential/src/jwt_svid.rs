//! JWT-SVIDs (SPIFFE JWT-SVID; S1 §6; CRED-03): bearer, minutes, for named audiences.

use jose::{Algorithm, Audience, KeyId, NumericDate, SigningInput, Unsignable};
use spiffe::{Attributes, JwtSvid, JwtSvidClaims, SpiffeId};
use time::{Span, UnixTime};

use crate::checked::Checked;

/// The most audiences of one token. JWT-SVID §3.2 advises one.
pub const AUDIENCES_MAX: usize = 8;
/// The longest audience, in bytes.
pub const AUDIENCE_BYTES_MAX: usize = 512;

/// What a JWT-SVID is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Whose it is.
    pub id: &'a SpiffeId,
    /// Whom it is for.
    pub audiences: &'a [String],
    /// Its id, for the log.
    pub jti: String,
    /// Where relying parties of OpenID Connect find its keys, if policy says so.
    pub issuer: Option<String>,
    /// Now.
    pub now: UnixTime,
    /// How long it lives.
    pub life: Span,
    /// The revocation epoch that it is issued under.
    pub epoch: u64,
    /// What it says about the agent.
    pub attributes: &'a Attributes,
}

/// The claims, checked, ready to be signed by the key `kid`.
pub fn build(
    order: &Order<'_>,
    algorithm: Algorithm,
    kid: &KeyId,
) -> Result<Checked<SigningInput<JwtSvid>>, Fault> {
    check(order, algorithm)?;
    let aud = match order.audiences {
        [one] => Audience::one(one.clone()),
        several => Audience::Several(several.to_vec()),
    };
    let claims = JwtSvidClaims {
        sub: order.id.clone(),
        aud,
        exp: NumericDate::from_time(order.now.plus(order.life)),
        iat: Some(NumericDate::from_time(order.now)),
        nbf: None,
        jti: Some(order.jti.clone()),
        iss: order.issuer.clone(),
        aims_epoch: Some(order.epoch),
        aims_attributes: (!order.attributes.is_empty()).then(|| order.attributes.clone()),
    };
    Ok(Checked::assertion(SigningInput::new(algorithm, Some(kid), &claims)?))
}

fn check(order: &Order<'_>, algorithm: Algorithm) -> Result<(), Fault> {
    // JWT-SVID §2.1: "alg" is one of RS, ES and PS with 256, 384 or 512.
    if algorithm == Algorithm::EdDsa {
        return Err(Fault::Algorithm { found: algorithm });
    }
    // JWT-SVID §3.2: "The aud claim MUST be present, containing one or more values."
    let count = order.audiences.len();
    if !(1..=AUDIENCES_MAX).contains(&count) {
        return Err(Fault::Audiences { count });
    }
    let fits = |text: &String| (1..=AUDIENCE_BYTES_MAX).contains(&text.len());
    if !order.audiences.iter().all(fits) {
        return Err(Fault::AudienceLength);
    }
    if order.id.path().is_empty() {
        return Err(Fault::NoPath);
    }
    if order.life == Span::ZERO {
        return Err(Fault::NoLife);
    }
    Ok(())
}

/// Why it is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An algorithm that JWT-SVID does not take.
    #[error("a jwt-svid cannot have the algorithm `{}`", .found.as_str())]
    Algorithm {
        /// What it was.
        found: Algorithm,
    },
    /// None, or over [`AUDIENCES_MAX`].
    #[error("{count} audiences, 1 to {AUDIENCES_MAX} are allowed")]
    Audiences {
        /// How many.
        count: usize,
    },
    /// An empty or very long one.
    #[error("an audience has 1 to {AUDIENCE_BYTES_MAX} bytes")]
    AudienceLength,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn made(order: &Order<'_>, algorithm: Algorithm) -> Result<(), Fault> {
        build(order, algorithm, &KeyId::parse("jwt-key").unwrap()).map(|_| ())
    }

    /// req: CRED-03 (part)
    #[test]
    fn s6_what_is_no_jwt_svid_is_not_signed() {
        let id = SpiffeId::parse("spiffe://demo.example/agent/a").unwrap();
        let audiences = ["https://issuer.example".to_owned()];
        let attributes = Attributes::default();
        let base = || Order {
            id: &id,
            audiences: &audiences,
            jti: "jwt-1".to_owned(),
            issuer: None,
            now: UnixTime::from_seconds(1_700_000_000),
            life: Span::from_seconds(300),
            epoch: 7,
            attributes: &attributes,
        };
        let check = |order: &Order<'_>, expect| assert_eq!(made(order, Algorithm::Es256), expect);
        check(&base(), Ok(()));
        let found = Algorithm::EdDsa;
        assert_eq!(made(&base(), found), Err(Fault::Algorithm { found }));
        for (count, expect) in [
            (0, Err(Fault::Audiences { count: 0 })),
            (AUDIENCES_MAX, Ok(())),
            (AUDIENCES_MAX + 1, Err(Fault::Audiences { count: AUDIENCES_MAX + 1 })),
        ] {
            check(&Order { audiences: &vec!["a".to_owned(); count], ..base() }, expect);
        }
        for (length, expect) in [
            (0, Err(Fault::AudienceLength)),
            (AUDIENCE_BYTES_MAX, Ok(())),
            (AUDIENCE_BYTES_MAX + 1, Err(Fault::AudienceLength)),
        ] {
            check(&Order { audiences: &["x".repeat(length)], ..base() }, expect);
        }
        let root = SpiffeId::parse("spiffe://demo.example").unwrap();
        check(&Order { id: &root, ..base() }, Err(Fault::NoPath));
        check(&Order { life: Span::ZERO, ..base() }, Err(Fault::NoLife));
        let long = made(&Order { jti: "x".repeat(20_000), ..base() }, Algorithm::Es256);
        assert!(matches!(long, Err(Fault::Unsignable(Unsignable::TooLong { .. }))), "{long:?}");
    }
}

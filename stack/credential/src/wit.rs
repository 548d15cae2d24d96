//! Workload identity tokens that are valid as WIT-SVIDs (S1 §6; CRED-04): `kid`, no `aud`, and an
//! algorithm and a key that both profiles take.

use jose::{Algorithm, KeyId, NumericDate, PublicKey, SigningInput, Unsignable};
use spiffe::Attributes;
use time::{Span, UnixTime};
use wimse::{Confirmation, Wit, WitClaims, WorkloadId};

use crate::checked::Checked;

/// What a WIT is made of.
#[derive(Debug)]
pub struct Order<'a> {
    /// Whose it is.
    pub id: &'a WorkloadId,
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
    /// What it says about the agent.
    pub attributes: &'a Attributes,
}

/// The claims, checked, ready to be signed by the key `kid`.
pub fn build(
    order: &Order<'_>,
    algorithm: Algorithm,
    kid: &KeyId,
) -> Result<Checked<SigningInput<Wit>>, Fault> {
    let claims = WitClaims {
        sub: order.id.clone(),
        exp: NumericDate::from_time(order.now.plus(order.life)),
        iat: Some(NumericDate::from_time(order.now)),
        nbf: None,
        jti: Some(order.jti.clone()),
        iss: None,
        cnf: Confirmation::new(order.key).ok_or(Fault::Algorithm { found: None })?,
        aims_epoch: Some(order.epoch),
        aims_attributes: (!order.attributes.is_empty()).then(|| order.attributes.clone()),
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

#[cfg(test)]
mod tests {
    use jose::PrivateKey;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
    /// RFC 7515 §A.3.
    const P256: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    /// RFC 8037 §A.1.
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// RFC 7515 §A.2: the public half. It fits several algorithms.
    const RSA: &str = concat!(
        r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx"#,
        "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo",
        "9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4",
        r#"uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW"#,
        r#"9gb54h4FRWyuXpoQ"}"#,
    );

    fn made(order: &Order<'_>, algorithm: Algorithm) -> Result<(), Fault> {
        build(order, algorithm, &KeyId::parse("wit-key").unwrap()).map(|_| ())
    }

    /// req: CRED-04 (part)
    #[test]
    fn s6_what_is_no_wit_svid_is_not_signed() {
        let id = WorkloadId::parse("spiffe://demo.example/agent/a").unwrap();
        let key = PrivateKey::from_jwk_private_text(P256).unwrap();
        let attributes =
            |owner: &str| Attributes { owner: Some(owner.to_owned()), ..Attributes::default() };
        let some = attributes("team-a");
        let base = || Order {
            id: &id,
            key: key.public(),
            jti: "wit-1".to_owned(),
            now: NOW,
            life: Span::from_seconds(3_600),
            epoch: 7,
            attributes: &some,
        };
        let check = |order: &Order<'_>, expect| assert_eq!(made(order, Algorithm::Es256), expect);
        check(&base(), Ok(()));
        let found = Some(Algorithm::EdDsa);
        assert_eq!(made(&base(), Algorithm::EdDsa), Err(Fault::Algorithm { found }));
        let ed25519 = PrivateKey::from_jwk_private_text(ED25519).unwrap();
        check(&Order { key: ed25519.public(), ..base() }, Err(Fault::Algorithm { found }));
        let rsa = PublicKey::from_jwk(&jose::Jwk::parse(RSA).unwrap()).unwrap();
        check(&Order { key: &rsa, ..base() }, Err(Fault::Algorithm { found: None }));
        let root = WorkloadId::parse("spiffe://demo.example").unwrap();
        check(&Order { id: &root, ..base() }, Err(Fault::NoPath));
        check(&Order { life: Span::ZERO, ..base() }, Err(Fault::NoLife));
        let huge = attributes(&"x".repeat(20_000));
        let long = made(&Order { attributes: &huge, ..base() }, Algorithm::Es256);
        assert!(matches!(long, Err(Fault::Unsignable(Unsignable::TooLong { .. }))), "{long:?}");
    }
}

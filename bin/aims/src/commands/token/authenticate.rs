//! How the caller proves to the token endpoint who it is: with one of its SVIDs
//! (draft-ietf-oauth-spiffe-client-auth §3).

use http::HeaderValue;
use jose::{Audience, NumericDate, PrivateKey, SigningInput};
use oauth::client_assertion::AssertionType;
use oauth::client_attestation_pop::{
    ATTESTATION_FIELD, ClientAttestationPop, ClientAttestationPopClaims, POP_FIELD,
};
use oauth::{Issuer, TokenId};
use spiffe::SpiffeId;
use workload::SecretText;

use crate::commands::token::Auth;
use crate::exit::Failure;
use crate::https;
use crate::identity::Identity;
use wiring::world::{SystemClock, SystemEntropy};

/// What a request carries of its client.
pub(crate) struct Proof {
    /// `client_id`: the identifier of the caller.
    pub(crate) client_id: String,
    /// Further parameters.
    pub(crate) parameters: Vec<(&'static str, SecretText)>,
    /// Header fields.
    pub(crate) fields: Vec<(&'static str, HeaderValue)>,
    /// The certificate to show.
    pub(crate) certificate: Option<https::Identity>,
}

/// Proves who the caller is, to this issuer, now.
pub(crate) async fn proof(
    identity: &Identity,
    auth: Auth,
    id: Option<&SpiffeId>,
    issuer: &Issuer,
) -> Result<Proof, Failure> {
    match auth {
        Auth::SpiffeJwt => by_jwt(identity, id, issuer).await,
        Auth::SpiffeWit => by_wit(identity, id, issuer).await,
        Auth::SpiffeX509 => by_x509(identity, id).await,
    }
}

async fn by_jwt(
    identity: &Identity,
    id: Option<&SpiffeId>,
    issuer: &Issuer,
) -> Result<Proof, Failure> {
    // oauth-spiffe-client-auth §3.1: "aud" has the issuer identifier as its sole value.
    let svid = identity.jwt(&[issuer.as_str()], id).await?;
    let kind = SecretText::new(AssertionType::SpiffeJwt.as_str().to_owned());
    Ok(Proof {
        client_id: svid.spiffe_id.to_string(),
        parameters: vec![("client_assertion_type", kind), ("client_assertion", svid.token)],
        fields: Vec::new(),
        certificate: None,
    })
}

async fn by_wit(
    identity: &Identity,
    id: Option<&SpiffeId>,
    issuer: &Issuer,
) -> Result<Proof, Failure> {
    let svid = identity.wit(id).await?;
    let key = PrivateKey::from_jwk_private_text(svid.key.expose());
    let key = key.map_err(|error| unusable("the key of the WIT", &error))?;
    let jti = uuid::Uuid::from_bytes(env::Entropy::public(&SystemEntropy::default()));
    let proof = pop(&key, &jti.to_string(), issuer)?;
    Ok(Proof {
        client_id: svid.spiffe_id.to_string(),
        parameters: Vec::new(),
        fields: vec![(ATTESTATION_FIELD, field(svid.token.expose())?), (POP_FIELD, field(&proof)?)],
        certificate: None,
    })
}

async fn by_x509(identity: &Identity, id: Option<&SpiffeId>) -> Result<Proof, Failure> {
    let svid = identity.x509(id).await?;
    let chain = workload::pem::split(&svid.chain);
    let chain = chain.map_err(|error| unusable("the chain of the X.509-SVID", &error))?;
    let chain = chain.into_iter().map(<[u8]>::to_vec).collect();
    Ok(Proof {
        client_id: svid.spiffe_id.to_string(),
        parameters: Vec::new(),
        fields: Vec::new(),
        certificate: Some(https::Identity { chain, key: svid.key }),
    })
}

/// A proof of the WIT's key, for this issuer and this request
/// (draft-ietf-oauth-attestation-based-client-auth §5.1).
fn pop(key: &PrivateKey, jti: &str, issuer: &Issuer) -> Result<String, Failure> {
    let refused = |error: &dyn std::fmt::Display| unusable("the proof of the WIT's key", error);
    let claims = ClientAttestationPopClaims {
        aud: Audience::one(issuer.as_str()),
        jti: TokenId::parse(jti).map_err(|error| refused(&error))?,
        iat: NumericDate::from_time(SystemClock::read()),
        challenge: None,
        exp: None,
        nbf: None,
    };
    let input = SigningInput::<ClientAttestationPop>::new(key.algorithm(), None, &claims);
    let input = input.map_err(|error| refused(&error))?;
    let signature = key.sign(input.bytes());
    Ok(input.attach(signature).into_string())
}

fn field(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|error| unusable("the WIT", &error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable(what: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::refused("workload::Unusable", format!("{what}: {why}"))
        .hint("what the Workload API sent cannot be used: is it of another version?")
}

#[cfg(test)]
mod tests {
    use jose::Unverified;
    use time::Span;

    use super::*;

    #[test]
    fn a_proof_of_the_key_is_for_the_issuer_and_of_now() {
        // RFC 7517 Appendix A.2.
        let key = PrivateKey::from_jwk_private_text(
            r#"{"kty":"EC","crv":"P-256",
             "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
             "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
             "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#,
        )
        .unwrap();
        let issuer = Issuer::parse("https://as.example").unwrap();
        let text = pop(&key, "7f3c", &issuer).unwrap();
        let token = Unverified::<ClientAttestationPop>::parse(&text).unwrap();
        let (now, skew) = (SystemClock::read(), Span::from_seconds(5));
        let verified = token.verify(key.public(), &[key.algorithm()], now, skew).unwrap();
        assert_eq!(verified.claims().aud.sole(), Some("https://as.example"));
        assert_eq!(verified.claims().jti.as_str(), "7f3c");
    }
}

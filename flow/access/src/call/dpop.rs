//! The DPoP proof of a call (RFC 9449 §7): that whoever sends the token has the key which it is
//! bound to, on this very request.

use authentication::Once;
use env::{Unavailable, World};
use gateway::Refusal;
use oauth::dpop::{Expected, FIELD, Freshness, NonceKey, Proof, target};

use super::Asked;
use super::caller::{Beside, Scheme, Verified};
use crate::secret;
use crate::token::DPOP_ALGORITHMS;

/// How records name the proof.
pub(super) const NAME: &str = "dpop";

/// Verifies it.
pub(super) async fn proof<W: World>(
    world: &W,
    asked: &Asked<'_>,
    beside: &Beside<'_>,
    transport: Option<(String, Option<u64>)>,
) -> Result<Result<Verified, Refusal>, Unavailable> {
    let Some(key) = beside.presented.key() else {
        let why = "the resource takes tokens that are bound to a DPoP key, and this one is not";
        return Ok(Err(Refusal::Scheme { why }));
    };
    // RFC 9449 §7.1: "the DPoP authentication scheme MUST be used"; a bound token that comes as a
    // bearer token is what a thief would send.
    if beside.scheme != Scheme::Dpop {
        let why = "the token is bound to a DPoP key, and came with the scheme `Bearer`";
        return Ok(Err(Refusal::Scheme { why }));
    }
    let bounds = &asked.facts.set().domain().bounds;
    let nonces = match bounds.dpop_nonces {
        true => Some(NonceKey::of(secret::of(world).await?.expose())),
        false => None,
    };
    let freshness = match &nonces {
        Some(key) => Freshness::Nonce { key, max_age: bounds.proof_lifetime },
        None => Freshness::Clock { max_age: bounds.proof_lifetime, skew: bounds.clock_skew },
    };
    // Our own authority comes from configuration, never from the request.
    let uri = target(&format!("{}{}", world.site().gateway, asked.call.target.path));
    let uri = uri.ok_or_else(|| Unavailable::of("settings", "the gateway's URL is none"))?;
    let (method, access_token) = (asked.call.method.as_str(), Some((beside.text, &key)));
    let expected = Expected { method, uri: &uri, freshness, access_token };
    let algorithms = beside.audience.proof_algorithms(DPOP_ALGORITHMS);
    let proven = Proof::of_field(asked.call.values(FIELD), algorithms)
        .and_then(|proof| proof.verify(&expected, asked.now));
    Ok(match proven {
        Ok(proven) => {
            // Two keys may use one `jti`: each has a window of its own.
            let once = Some(Once {
                space: format!("dpop {}", proven.thumbprint()),
                value: proven.jti().as_str().to_owned(),
                until: proven.remember_until(),
            });
            let transport = transport.map(|one| one.0);
            Ok(Verified { name: NAME, transport, issued: None, once })
        }
        Err(refused) => Err(Refusal::Dpop(refused)),
    })
}

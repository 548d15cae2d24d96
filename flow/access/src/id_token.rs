//! ID tokens (OpenID Connect Core 1.0 §2), and whom a client or a resource is told that a user is
//! (§8).

use authorization::client::Facet;
use authorization::granted::GrantRecord;
use authorization::id_token::{self, Order, Pushed};
use authorization::pairwise;
use authorization::profile::STRONG;
use credential::TokenText;
use env::rows::ServerSecret;
use env::{Unavailable, World};

use crate::facts::Basis;
use crate::for_clients;
use crate::sign::{self, ALGORITHM};
use crate::token::Asked;
use crate::token::brought::Brought;

/// The ID token beside an access token, where the user was signed in for the client (`openid`);
/// why there can be none.
pub(crate) async fn beside<W: World>(
    world: &W,
    facts: &Basis,
    (asked, brought): (&Asked<'_>, &Brought),
    (held, facet): (&GrantRecord, &Facet),
    (access_token, refresh_token): (&TokenText, Option<&str>),
) -> Result<Result<Option<String>, String>, Unavailable> {
    if !id_token::is_wanted(held) {
        return Ok(Ok(None));
    }
    // FAPI 2.0 SP §5.4.1: no RS256. Registered clients were held to that by their profile.
    let fapi = facts.set().domain().approvals.fapi.contains(&held.client_id);
    let named = facet.id_token_signed_response_alg;
    let algorithm = named.filter(|one| !fapi || STRONG.contains(one)).unwrap_or(ALGORITHM);
    let signer = for_clients::signer(world, &facts.rows, algorithm, asked.now).await?;
    let secret = crate::secret::of(world).await?;
    let checked = id_token::build(&Order {
        issuer: asked.issuer,
        held,
        subject: &told_subject(facts, &secret, &held.client_id, &held.subject),
        // Core 1.0 §12.2: "it SHOULD NOT have a nonce Claim, even when the ID Token issued at the
        // time of the original authentication contained nonce".
        nonce: brought.code.as_ref().and_then(|code| code.nonce.as_deref()),
        access_token: access_token.expose(),
        pushed: brought.pushed().map(|auth_req_id| Pushed { auth_req_id, refresh_token }),
        now: asked.now,
        life: facts.set().domain().lifetimes.access_token,
        kid: &signer.kid,
        algorithm: signer.algorithm,
    });
    match checked {
        Ok(checked) => {
            let token = sign::token(world, &signer.handle, checked).await?;
            Ok(Ok(Some(token.expose().to_owned())))
        }
        Err(fault) => Ok(Err(fault.to_string())),
    }
}

/// Whom a client is told that the user is: `[openid] pairwise` of policy lists those that get an
/// identifier of their own.
pub fn told_subject(
    facts: &Basis,
    secret: &ServerSecret,
    client_id: &str,
    subject: &str,
) -> String {
    if facts.set().domain().openid.pairwise.contains(client_id) {
        return pairwise::subject(secret.expose(), client_id, subject);
    }
    subject.to_owned()
}

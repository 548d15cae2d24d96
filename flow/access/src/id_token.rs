//! ID tokens (OpenID Connect Core 1.0 §2), and whom a client or a resource is told that a user is
//! (§8).

use authorization::granted::GrantRecord;
use authorization::id_token::{self, Order, Pushed};
use authorization::pairwise;
use credential::{Purpose, TokenText};
use env::rows::ServerSecret;
use env::{Unavailable, World};

use crate::facts::Basis;
use crate::sign::{self, ALGORITHM};
use crate::token::brought::Brought;
use crate::token::{Asked, ring};

/// The ID token beside an access token, where the user was signed in for the client (`openid`);
/// why there can be none.
pub(crate) async fn beside<W: World>(
    world: &W,
    facts: &Basis,
    (asked, brought): (&Asked<'_>, &Brought),
    held: &GrantRecord,
    (access_token, refresh_token): (&TokenText, Option<&str>),
) -> Result<Result<Option<String>, String>, Unavailable> {
    if !id_token::is_wanted(held) {
        return Ok(Ok(None));
    }
    let ring = ring(facts, Purpose::IdToken)?;
    let key = sign::signer(&ring, asked.now)?;
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
        kid: &key.kid,
        algorithm: ALGORITHM,
    });
    match checked {
        Ok(checked) => {
            let handle = sign::handle(Purpose::IdToken, key);
            let token = sign::token(world, &handle, checked).await?;
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

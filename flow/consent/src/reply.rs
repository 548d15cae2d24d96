//! The answer to the client, through the user's browser.

use authorization::signed_response;
use credential::{KeyRing, Purpose};
use env::{Key, Unavailable, World};
use oauth::authorization_response::{AuthorizationResponse, Delivery, Outcome, deliver};
use oauth::error::Description;
use oauth::{Issuer, TokenText};
use time::UnixTime;

use crate::client::Client;
use crate::facts::Basis;
use crate::for_clients;
use crate::pose::To;
use crate::refusal::Refusal;
use crate::sign;

/// What is sent back, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it leaves.
    pub delivery: Delivery,
    /// The endpoint, checked: where a form of ours may lead.
    pub to: String,
}

/// The row that a signed answer needs.
pub(crate) fn key() -> Key {
    Key::of::<KeyRing>(Purpose::IdToken.name())
}

/// The issuer of this installation.
pub(crate) fn issuer<W: World>(world: &W) -> Result<Issuer, Unavailable> {
    Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))
}

/// The answer with a code.
pub(crate) async fn with_code<W: World>(
    world: &W,
    facts: &Basis,
    client: &Client,
    to: &To,
    code: &str,
    now: UnixTime,
) -> Result<Reply, Unavailable> {
    let code = TokenText::parse(code).map_err(|error| Unavailable::of("settings", error))?;
    make(world, facts, client, to, Outcome::Code(code), now).await
}

/// The answer with an error.
pub(crate) async fn with_error<W: World>(
    world: &W,
    facts: &Basis,
    client: &Client,
    to: &To,
    refusal: &Refusal,
    now: UnixTime,
) -> Result<Reply, Unavailable> {
    let description = Some(Description::of(&refusal.to_string()));
    let outcome = Outcome::Error { error: refusal.code(), description };
    make(world, facts, client, to, outcome, now).await
}

async fn make<W: World>(
    world: &W,
    facts: &Basis,
    client: &Client,
    to: &To,
    outcome: Outcome,
    now: UnixTime,
) -> Result<Reply, Unavailable> {
    // RFC 9207 §2: "authorization responses to the client MUST contain the issuer identifier".
    let answer = AuthorizationResponse { outcome, state: to.state.clone(), iss: issuer(world)? };
    let parameters = match to.mode.is_signed() {
        true => vec![("response", signed(world, facts, client, &answer, now).await?)],
        false => answer.parameters(),
    };
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let delivery = deliver(&to.uri, to.mode, &pairs);
    Ok(Reply { delivery, to: to.uri.as_str().to_owned() })
}

/// JARM §2.1.
async fn signed<W: World>(
    world: &W,
    facts: &Basis,
    client: &Client,
    answer: &AuthorizationResponse,
    now: UnixTime,
) -> Result<String, Unavailable> {
    let signer = for_clients::signer(world, &facts.rows, client.signed_by, now).await?;
    let built = signed_response::build(answer, &client.id, signer.algorithm, &signer.kid, now);
    let checked = built.map_err(|error| Unavailable::of("keys", error))?;
    Ok(sign::token(world, &signer.handle, checked).await?.expose().to_owned())
}

//! Signing out: asked for by a client (OpenID Connect RP-Initiated Logout 1.0), and told to clients
//! (Back-Channel Logout 1.0 §2.5).

use authentication::logout_token;
use authentication::notice::Notice;
use credential::{KeyRing, Purpose};
use env::{
    Asks, Change, Clock, Entity, Expect, Index, Key, Outbound, Reach, Store, Stored, Unavailable,
    World, Write,
};
use jose::{Algorithm, Jwk, KeySet, Unverified};
use monitoring::{Event, Outcome, Why};
use oauth::{ClientId, Issuer, TokenId};
use openid::id_token::{IdToken, IdTokenClaims};
use openid::logout::LogoutRequest;
use registry::ClientRecord;
use time::Span;

use crate::browser::Browser;
use crate::ending::every;
use crate::facts::{basis, one};
use crate::for_clients;
use crate::issuing;
use crate::record::{begin, public_id};
use crate::sessions::{self, Signed};
use crate::sign::{self, ALGORITHM};
use crate::turns::settled;

/// How long ago an ID token may have ended that says who leaves: RP-Initiated Logout 1.0 §2, "The
/// OP SHOULD accept ID Tokens when the RP identified by the ID Token's aud claim and/or sid claim
/// has a current session or had a recent session at the OP, even when the exp time has passed."
const HINT_AGE_MAX: Span = Span::from_seconds(30 * 86_400);
/// Notices that are looked at in one go.
const NOTICES_MAX: usize = 256;

/// Somebody comes by way of a client, to leave.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Who is signed in; with nobody there is nothing to end.
    pub signed: Option<Signed>,
    /// Whether they are to be asked first: the client did not show that it means this session.
    pub confirm: bool,
    /// Where the browser goes on, if the client registered that place.
    pub to: Option<String>,
}

/// Why a client's request to leave is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The ID token is none of ours.
    #[error("`id_token_hint` is no ID token of this server: {0}")]
    Hint(String),
    /// It is another client's.
    #[error("`id_token_hint` was issued to another client than `client_id`")]
    OtherClient,
    /// Nobody registered that place.
    ///
    /// RP-Initiated Logout 1.0 §3: "the OP MUST NOT perform post-logout redirection if the
    /// post_logout_redirect_uri value supplied does not exactly match one of the previously
    /// registered post_logout_redirect_uris values."
    #[error("`post_logout_redirect_uri` is not one that the client registered")]
    RedirectUri,
}

/// What a client asks for, and whether it may.
pub async fn asked<W: World>(
    world: &W,
    browser: &Browser<'_>,
    request: &LogoutRequest,
) -> Result<Result<Leaving, Refusal>, Unavailable> {
    let signed = match browser.session {
        Some(cookie) => sessions::of_cookie(world, cookie).await?.ok(),
        None => None,
    };
    let hint = match &request.id_token_hint {
        Some(text) => match hinted(world, text.as_str()).await? {
            Ok(claims) => Some(claims),
            Err(refusal) => return Ok(Err(refusal)),
        },
        None => None,
    };
    let of_hint = hint.as_ref().and_then(|claims| claims.aud.sole());
    let named = request.client_id.as_ref().map(ClientId::as_str);
    // §2: "When both client_id and id_token_hint are present, the OP MUST verify that the Client
    // Identifier matches the one used when issuing the ID Token."
    if named.is_some() && of_hint.is_some() && named != of_hint {
        return Ok(Err(Refusal::OtherClient));
    }
    let client = match of_hint.or(named) {
        Some(id) => one::<W, ClientRecord>(world, id).await?,
        None => None,
    };
    let to = match destination(request, client.as_deref()) {
        // §3: without a hint only where the request is known to be meant "by other means": by
        // somebody who is signed in, and is asked.
        Ok(to) => to.filter(|_| hint.is_some() || signed.is_some()),
        Err(refusal) => return Ok(Err(refusal)),
    };
    // §2: the provider "MUST ask the End-User this question if an id_token_hint was not provided or
    // if the supplied ID Token does not belong to the current OP session with the RP".
    let sid = hint.as_ref().and_then(|claims| claims.sid.as_deref());
    let means = signed.as_ref().is_some_and(|signed| Some(signed.session.id.as_str()) == sid);
    Ok(Ok(Leaving { confirm: signed.is_some() && !means, signed, to }))
}

fn destination(
    request: &LogoutRequest,
    client: Option<&ClientRecord>,
) -> Result<Option<String>, Refusal> {
    let Some(wanted) = &request.post_logout_redirect_uri else { return Ok(None) };
    let registered = client.filter(|client| client.is_enabled().is_ok());
    let registered = registered.is_some_and(|one| one.logout.redirect_uris.contains(wanted));
    if !registered {
        return Err(Refusal::RedirectUri);
    }
    let Some(state) = &request.state else { return Ok(Some(wanted.clone())) };
    let joint = if wanted.contains('?') { '&' } else { '?' };
    Ok(Some(format!("{wanted}{joint}state={}", encoded(state))))
}

/// RFC 3986 §2.1: all but unreserved characters.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

async fn hinted<W: World>(
    world: &W,
    text: &str,
) -> Result<Result<IdTokenClaims, Refusal>, Unavailable> {
    let wrong = |why: &dyn std::fmt::Display| Ok(Err(Refusal::Hint(why.to_string())));
    let token = match Unverified::<IdToken>::parse(text) {
        Ok(token) => token,
        Err(error) => return wrong(&error),
    };
    let ring = for_clients::ring(world, token.header().algorithm()).await?;
    let keys: Vec<Jwk> = ring.keys.iter().map(|key| key.public.clone()).collect();
    let keys = KeySet::new(keys).map_err(|error| Unavailable::of("keys", error))?;
    let now = world.clock().now();
    match token.verify(&keys, &for_clients::ALGORITHMS, now, HINT_AGE_MAX) {
        Ok(token) if token.claims().iss.as_str() == world.site().issuer => {
            Ok(Ok(token.into_claims()))
        }
        Ok(_) => wrong(&"another issuer"),
        Err(error) => wrong(&error),
    }
}

/// What is to be told to clients.
pub type Agenda = basis::agenda::Agenda<Stored<Notice>>;

/// What is due. It needs no lease: two servers that both tell a client tell it the same.
pub async fn agenda<W: World>(world: &W) -> Result<Agenda, Unavailable> {
    let now = world.clock().now();
    let page = world.store().scan(Notice::TABLE, Index::All, "", None, 1).await?;
    let all = every::<W, Notice>(world, Index::All, "").await?;
    let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.next <= now);
    let next = later.iter().map(|one| one.next).min();
    Ok(Agenda { due: due.into_iter().take(NOTICES_MAX).collect(), next, seq: page.seq })
}

/// What came of telling a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It knows.
    Done,
    /// It is told again later.
    Again,
    /// It does not answer, and is told no more.
    GivenUp,
    /// It wants to be told nothing.
    Nobody,
}

/// Tells a client that a session ended. That it is told is in the record of that end, which is
/// durable; what came of it is recorded here.
pub async fn tell<W: World>(world: &W, notice: &Stored<Notice>) -> Result<Told, Unavailable> {
    let client = one::<W, ClientRecord>(world, &notice.client_id).await?;
    let algorithm = client.as_ref().map(|client| client.signed_by(registry::Signed::IdToken));
    let algorithm = algorithm.unwrap_or(ALGORITHM);
    let uri = client.and_then(|client| client.logout.backchannel.clone());
    let answer = match &uri {
        Some(uri) => sent(world, notice, algorithm, uri).await,
        None => Ok(()),
    };
    let now = world.clock().now();
    let mut record = begin(world, Event::SessionEnded);
    record.action = "logout.told".to_owned();
    record.subject = Some(notice.user.clone());
    record.agent = Some(notice.client_id.clone());
    record.resource = Some(format!("session {}", notice.sid));
    let expect = Expect::Version(notice.version);
    let gone = || Write::delete::<Notice>(notice.row(), expect);
    let (write, told) = match &answer {
        Ok(()) if uri.is_none() => (gone(), Told::Nobody),
        Ok(()) => (gone(), Told::Done),
        Err(why) => {
            record.outcome = Outcome::Failed;
            let (check, message) = ("logout::Undelivered".to_owned(), why.to_string());
            record.why = Some(Why { check, message, needs: None });
            match notice.after_failure(now) {
                Some(later) => (Write::put(&later, expect), Told::Again),
                None => (gone(), Told::GivenUp),
            }
        }
    };
    record.facts = serde_json::json!({ "tries": notice.tries.saturating_add(1) });
    let change = Change { writes: vec![write], uses: Vec::new(), records: vec![record] };
    // Another server was first: it knows what came of it.
    settled(world.store().commit(change).await)?;
    Ok(told)
}

async fn sent<W: World>(
    world: &W,
    notice: &Notice,
    algorithm: Algorithm,
    uri: &str,
) -> Result<(), Unavailable> {
    let facts = basis(world, vec![Key::of::<KeyRing>(Purpose::IdToken.name())]).await?;
    let now = issuing::now(world, &facts)?;
    let signer = for_clients::signer(world, &facts.rows, algorithm, now).await?;
    let fault = |error: &dyn std::fmt::Display| Unavailable::of("logout", error);
    let order = logout_token::Order {
        issuer: &Issuer::parse(&world.site().issuer).map_err(|error| fault(&error))?,
        client_id: &ClientId::parse(&notice.client_id).map_err(|error| fault(&error))?,
        sid: &notice.sid,
        jti: TokenId::parse(&public_id(world)).map_err(|error| fault(&error))?,
        now,
        kid: &signer.kid,
        algorithm: signer.algorithm,
    };
    let checked = logout_token::build(&order).map_err(|error| fault(&error))?;
    let token = sign::token(world, &signer.handle, checked).await?;
    let outside = world.outside();
    let outside = outside.ok_or_else(|| fault(&"there is no client for that here"))?;
    // Back-Channel Logout 1.0 §2.5: "The POST body uses the "application/x-www-form-urlencoded"
    // encoding and must include a "logout_token" parameter".
    let body = format!("logout_token={}", token.expose());
    let what = Asks::Form { body, secret: None };
    let question = Outbound { url: uri.to_owned(), reach: Reach::default(), what };
    outside.ask(&question).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3986_2_1_a_state_stays_one_parameter() {
        assert_eq!(encoded("a b&c=d#e"), "a%20b%26c%3Dd%23e");
    }
}

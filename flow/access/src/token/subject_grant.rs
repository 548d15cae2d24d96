//! Refresh tokens and ID tokens of ours as subject tokens (RFC 8693 §3; AUTHZ-11): they stand for a
//! grant, and give of it what a refresh would. Only where policy lets them be exchanged.

use authentication::Method;
use authorization::granted::refresh::{Shown, Text};
use authorization::granted::{Binding, GrantRecord};
use authorization::id_token::ROOT;
use authorization::policy::SubjectToken;
use authorization::presented::{self, Presented};
use env::{Entropy, Unavailable, World};
use jose::{KeySet, Unverified};
use oauth::TokenType;
use oauth::token_request::TokenExchange;
use openid::id_token::IdToken;

use super::{Asked, Refusal};
use crate::facts::{Basis, one};
use crate::for_clients;

/// What such a token stands for; `None` where it is of another type.
pub(super) async fn read<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    exchange: &TokenExchange,
) -> Result<Option<Result<Presented, Refusal>>, Unavailable> {
    let kind = match exchange.subject.token_type {
        TokenType::RefreshToken => SubjectToken::RefreshToken,
        TokenType::IdToken => SubjectToken::IdToken,
        _ => return Ok(None),
    };
    let domain = facts.set().domain();
    if !domain.delegation.subject_tokens.contains(&kind) {
        return Ok(Some(Err(Refusal::TokenType(exchange.subject.token_type))));
    }
    let named = exchange.resources.first().map(oauth::Resource::as_str);
    let named = named.or_else(|| exchange.audiences.first().map(|one| one.as_str()));
    let target = named.unwrap_or_default();
    let text = exchange.subject.token.as_str();
    let held = match kind {
        SubjectToken::RefreshToken => of_refresh_token(world, asked, text).await?,
        SubjectToken::IdToken => of_id_token(world, facts, asked, text).await?,
    };
    let life = domain.lifetimes.access_token;
    let read =
        held.and_then(|held| Presented::of_grant(&held, target, asked.issuer, asked.now, life));
    Ok(Some(read.map_err(Refusal::Subject)))
}

type Held = Result<GrantRecord, presented::Refusal>;

fn no(why: &str) -> Held {
    Err(presented::Refusal::NoGrant(why.to_owned()))
}

/// The grant of a refresh token, by the checks of a refresh.
async fn of_refresh_token<W: World>(
    world: &W,
    asked: &Asked<'_>,
    text: &str,
) -> Result<Held, Unavailable> {
    let Ok(text) = Text::parse(text) else { return Ok(Err(presented::Refusal::Unknown)) };
    let Some(held) = one::<W, GrantRecord>(world, text.grant()).await? else {
        return Ok(Err(presented::Refusal::Unknown));
    };
    if held.client_id != asked.caller.client_id() {
        return Ok(no("it is of another client"));
    }
    let Some(refresh) = &held.refresh else { return Ok(no("the grant has no refresh token")) };
    match refresh.show(&text, &world.entropy().secret(), held.until, asked.now) {
        Ok(Shown::Kept) => {}
        // Its use would make the next one, and an exchange gives none.
        Ok(Shown::Rotated { .. } | Shown::Again { .. }) => {
            return Ok(no("a refresh token that is rotated is used at the grant of its own alone"));
        }
        Err(why) => return Ok(no(&why.to_string())),
    }
    let shown = asked.key.map(|key| key.to_base64url());
    Ok(match &held.binding {
        // RFC 9449 §5: "the refresh token MUST be bound to the respective public key."
        Some(Binding::Dpop(key)) if shown.as_ref() != Some(key) => {
            no("it is bound to a key that was not shown")
        }
        Some(Binding::Dpop(_)) => Ok((*held.value).clone()),
        Some(Binding::Certificate(_) | Binding::Instance(_)) => {
            no("it is bound to what is not shown here")
        }
        None if asked.caller.method() == Method::None => no("nothing binds it to the client"),
        None => Ok((*held.value).clone()),
    })
}

/// The grant that an ID token of the client came of.
async fn of_id_token<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    text: &str,
) -> Result<Held, Unavailable> {
    let token = match Unverified::<IdToken>::parse(text) {
        Ok(token) => token,
        Err(error) => return Ok(Err(error.into())),
    };
    let ring = for_clients::ring(world, token.header().algorithm()).await?;
    let keys: Vec<_> = ring.published(asked.now).map(|key| key.public.clone()).collect();
    let keys = KeySet::new(keys).map_err(|error| Unavailable::of("keys", error))?;
    let skew = facts.set().domain().bounds.clock_skew;
    let verified = match token.verify(&keys, &for_clients::ALGORITHMS, asked.now, skew) {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error.into())),
    };
    let (claims, client) = (verified.claims(), asked.caller.client_id());
    // draft-ietf-oauth-identity-assertion-authz-grant: the audience of the assertion is the client
    // that brings it.
    if claims.iss != *asked.issuer || claims.aud.sole() != Some(client) {
        return Ok(no("it was given to another client"));
    }
    let Some(id) = claims.more.get(ROOT).and_then(serde_json::Value::as_str) else {
        return Ok(no("it does not say of which grant it is"));
    };
    let Some(grant) = one::<W, GrantRecord>(world, id).await? else {
        return Ok(no("its grant is not there any more"));
    };
    let secret = crate::secret::of(world).await?;
    let told = crate::id_token::told_subject(facts, &secret, client, &grant.subject);
    if grant.client_id != client || told != claims.sub.as_str() {
        return Ok(no("its grant is of somebody else"));
    }
    // That it holds still, and is for the target, is looked at with the grant.
    Ok(Ok((*grant.value).clone()))
}

//! Whom a backchannel request means (CIBA Core 1.0 §7.1): a name, an ID token of ours, or the word
//! of somebody whom policy trusts.

use authorization::granted::GrantRecord;
use authorization::grants::jwt_bearer::{self, NotAccepted, Ours, Said};
use basis::for_clients;
use env::{Entity, Index, Store, Unavailable, World};
use jose::{Algorithm, KeySet, Unverified};
use oauth::TokenText;
use openid::ciba::{Hint, LoginHint};
use openid::id_token::IdToken;
use registry::UserRecord;
use time::Span;

use crate::Refusal;
use crate::caller::{Asker, Known};
use crate::whom;

/// How old an ID token may be that is a hint: it is no proof of anything.
const HINT_AGE_MAX: Span = Span::from_seconds(30 * 86_400);
/// What hints of others may be signed with.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];
/// Grants of a client that are looked at for the person whom it knows by a name of its own.
const GRANTS_MAX: usize = 1_024;

/// The person, if they can be asked.
pub(crate) async fn user<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    hint: &Hint,
) -> Result<Result<UserRecord, Refusal>, Unavailable> {
    let unknown = |why: &str| Ok(Err(Refusal::UnknownUser(why.to_owned())));
    match hint {
        Hint::Login(hint) => whom::hinted(world, hint).await,
        Hint::IdToken(text) => match of_id_token(world, known, asker, text).await? {
            None => unknown("it is no ID token of ours for this client"),
            Some(subject) => match own(world, known, asker, subject).await? {
                Some(subject) => whom::person(world, &subject).await,
                None => unknown("the client has no grant of whom it knows by that name"),
            },
        },
        Hint::LoginToken(text) => match of_others(world, known, asker, text) {
            Ok(subject) => whom::person(world, &subject).await,
            // §13: "expired_login_hint_token The login_hint_token provided in the authentication
            // request is not valid because it has expired."
            Err(NotAccepted::Refused(jose::Refused::Expired { .. })) => {
                Ok(Err(Refusal::HintExpired))
            }
            Err(why) => unknown(&why.to_string()),
        },
    }
}

/// Whom an ID token of ours is about. §7.1: "An ID Token previously issued to the Client by the
/// OpenID Provider": one of another client is none.
async fn of_id_token<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    text: &TokenText,
) -> Result<Option<String>, Unavailable> {
    let Ok(token) = Unverified::<IdToken>::parse(text.as_str()) else { return Ok(None) };
    let ring = for_clients::ring(world, token.header().algorithm()).await?;
    let keys: Vec<_> = ring.published(known.now).map(|key| key.public.clone()).collect();
    let Ok(keys) = KeySet::new(keys) else { return Ok(None) };
    let verified = token.verify(&keys, &for_clients::ALGORITHMS, known.now, HINT_AGE_MAX).ok();
    let theirs = verified.filter(|token| token.claims().aud.contains(&asker.id));
    Ok(theirs.map(|token| token.claims().sub.as_str().to_owned()))
}

/// Who that is here, where the client knows people by names of its own (OpenID Connect Core 1.0
/// §8.1): somebody who granted it something.
async fn own<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    subject: String,
) -> Result<Option<String>, Unavailable> {
    if !known.facts.set().domain().openid.pairwise.contains(&asker.id) {
        return Ok(Some(subject));
    }
    let secret = access::secret::of(world).await?;
    let (table, index) = (GrantRecord::TABLE, Index::Client);
    let page = world.store().scan(table, index, &asker.id, None, GRANTS_MAX).await?;
    for row in &page.rows {
        let read = row.value::<GrantRecord>().map_err(|error| Unavailable::of("store", error))?;
        let Some(grant) = read else { continue };
        let told = access::id_token::told_subject(&known.facts, &secret, &asker.id, &grant.subject);
        if told == subject {
            return Ok(Some(grant.subject.clone()));
        }
    }
    Ok(None)
}

/// Whom an issuer of `[[delegation.issuer]]` means. The type of the token says that it is a hint:
/// no assertion is taken for one, and it is no assertion.
fn of_others<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    text: &TokenText,
) -> Result<String, NotAccepted> {
    let domain = known.facts.set().domain();
    let token = Unverified::<LoginHint>::parse(text.as_str()).map_err(NotAccepted::Malformed)?;
    let issuer = token.hint();
    let rule = domain.delegation.issuers.iter().find(|rule| rule.issuer == issuer);
    let rule = rule.ok_or_else(|| NotAccepted::Issuer(issuer.chars().take(256).collect()))?;
    let verified = token.verify(&rule.jwks, ALGORITHMS, known.now, domain.bounds.clock_skew)?;
    let claims = verified.claims();
    let said = Said {
        issuer: &claims.iss,
        subject: &claims.sub,
        audiences: claims.aud.iter().collect(),
        expires: claims.exp.time(),
        issued: claims.iat.map(|iat| iat.time()),
        more: &claims.more,
    };
    let endpoint = format!("{}/token", world.site().issuer);
    let ours = Ours { issuer: known.issuer.as_str(), token_endpoint: &endpoint };
    jwt_bearer::accept(&said, rule, &asker.id, ours, known.now).map(|asserted| asserted.subject)
}

//! Introspection (RFC 7662; RFC 9701; AUTHZ-04): what a token means, told to the resource server
//! that it is for, and to nobody else (docs/past-defects.md 12).

use authentication::Method;
use authorization::introspection;
use authorization::policy::SubjectKind;
use authorization::presented::Presented;
use env::{Change, Unavailable, World};
use oauth::introspection::{Introspection, IntrospectionRequest};
use registry::{ClientRecord, Signed};

use crate::facts::Basis;
use crate::for_clients;
use crate::sign::{self, ALGORITHM};
use crate::token::asker::{Asker, Asking, End, Refusal};
use crate::turns::overtaken;
use crate::{secret, shown};

/// A question about a token.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who asks.
    pub asker: Asker,
    /// About what.
    pub request: IntrospectionRequest,
    /// Whether the answer is to be signed (RFC 9701 §4).
    pub signed: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// RFC 7662 §2.2.
    Plain(Box<Introspection>),
    /// RFC 9701 §5: a JWT.
    Signed(String),
}

/// Answers one question.
pub async fn answer<W: World>(world: &W, asked: Question) -> Result<End<Answer>, Unavailable> {
    let text = asked.request.token.as_str();
    let begun = Asking::begin(world, &asked.asker, shown::keys(text)).await?;
    let mut asking = match begun {
        Ok(asking) => asking,
        Err(stranger) => return Ok(End::Stranger(stranger)),
    };
    asking.record.action = "token.introspect".to_owned();
    let answer = match asking.in_force(world).await? {
        Err(refusal) => Err(refusal),
        // RFC 7662 §2.1: "To prevent token scanning attacks, the endpoint MUST also require some
        // form of authorization to access this endpoint".
        Ok(()) if asking.caller.method() == Method::None => Err(Refusal::Public),
        Ok(()) => {
            let told = told(world, &mut asking, text).await?;
            Ok(match asked.signed {
                true => Answer::Signed(signed(world, &asking, told).await?),
                false => Answer::Plain(Box::new(told)),
            })
        }
    };
    asking.settle(world, answer, Change::default()).await?.ok_or_else(overtaken)
}

/// What this caller is told of the token. Whatever is in the way, it is told the same.
async fn told<W: World>(
    world: &W,
    asking: &mut Asking,
    text: &str,
) -> Result<Introspection, Unavailable> {
    let Ok(token) = shown::read(&asking.facts, &asking.issuer, text, asking.now)? else {
        return Ok(Introspection::inactive());
    };
    asking.record.jti = Some(token.jti().to_owned());
    asking.record.root = Some(token.root().to_owned());
    asking.record.resource = Some(token.audience().to_owned());
    asking.record.subject = Some(token.subject().to_owned());
    // RFC 7662 §2.2: "If the introspection call is properly authorized but the token is not active,
    // does not exist on this server, or the protected resource is not allowed to introspect this
    // particular token, then the authorization server MUST return an introspection response with
    // the "active" field set to "false"."
    let Some(kind) = may_ask(&asking.facts, world, asking.caller.client_id(), &token) else {
        return Ok(Introspection::inactive());
    };
    if shown::still_counts(world, &token).await?.is_err() {
        return Ok(Introspection::inactive());
    }
    let pairwise = match kind {
        SubjectKind::Public => None,
        SubjectKind::Pairwise => Some(secret::of(world).await?),
    };
    let told = introspection::of(&token, pairwise.as_ref().map(|secret| secret.expose()));
    Ok(told.unwrap_or_else(Introspection::inactive))
}

/// Whether the caller is a resource server of the token's audience, and whom that one is told of.
fn may_ask<W: World>(
    facts: &Basis,
    world: &W,
    caller: &str,
    token: &Presented,
) -> Option<SubjectKind> {
    // An agent that is itself a resource asks about tokens for it.
    if token.audience() == caller {
        return Some(SubjectKind::Public);
    }
    let gateway = &world.site().gateway;
    let mut resources = facts.set().resources().iter();
    let resource = resources.find(|one| one.audience(gateway) == token.audience())?;
    resource.introspect.contains(caller).then_some(resource.subject)
}

/// RFC 9701 §5: the answer as a JWT that is no access token.
async fn signed<W: World>(
    world: &W,
    asking: &Asking,
    told: Introspection,
) -> Result<String, Unavailable> {
    let (issuer, audience) = (asking.issuer.clone(), asking.caller.client_id());
    let rows = &asking.facts.rows;
    let client = rows.get::<ClientRecord>(audience)?;
    let algorithm = client.map_or(ALGORITHM, |client| client.signed_by(Signed::Introspection));
    let signer = for_clients::signer(world, rows, algorithm, asking.now).await?;
    let (kid, now) = (&signer.kid, asking.now);
    let checked = introspection::signed(issuer, audience, told, now, kid, signer.algorithm);
    let checked = checked.map_err(|fault| Unavailable::of("keys", fault))?;
    let token = sign::token(world, &signer.handle, checked).await?;
    Ok(token.expose().to_owned())
}

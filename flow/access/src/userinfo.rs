//! The UserInfo endpoint (OpenID Connect Core 1.0 §5.3): what a client that a user allowed it to
//! may know of them. It is a resource of our own, and takes only tokens that are for it.

use authorization::Audience;
use env::{Change, Key, Recorded, Store, Unavailable, World};
use gateway::Refusal;
use monitoring::{Event, Outcome};
use oauth::{Issuer, Scope, SubjectText, TokenText};
use openid::userinfo::Userinfo;
use registry::UserRecord;
use serde_json::{Map, Value};

use crate::facts::basis;
use crate::record::{begin, refused, single_use};
use crate::token::proof::{self, At};
use crate::turns::{overtaken, settled};
use crate::{id_token, secret, shown};

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The token.
    pub token: TokenText,
    /// Whether it came with the scheme `DPoP`.
    pub is_dpop: bool,
    /// The values of the `DPoP` field.
    pub dpop: Vec<Vec<u8>>,
    /// `GET` or `POST`.
    pub method: &'static str,
}

/// The end of a request.
#[derive(Debug)]
pub enum End {
    /// The token is one of ours: decided, and recorded.
    Decided(Recorded<Result<Userinfo, Refusal>>),
    /// Nobody proved anything: count it.
    Stranger(Refusal),
}

/// Answers one request.
pub async fn answer<W: World>(world: &W, asked: Asked) -> Result<End, Unavailable> {
    let text = asked.token.as_str();
    let facts = basis(world, shown::keys(text)).await?;
    let now = crate::issuing::now(world, &facts)?;
    let issuer =
        Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))?;
    let token = match shown::read(&facts, &issuer, text, now)? {
        Ok(token) => token,
        Err(error) => {
            return Ok(End::Stranger(Refusal::ForeignToken { why: error.to_string() }));
        }
    };
    let mut record = begin(world, Event::TokenRead);
    record.action = "userinfo".to_owned();
    record.policy = Some(facts.version());
    record.agent = Some(token.client_id().to_owned());
    record.subject = Some(token.subject().to_owned());
    record.root = Some(token.root().to_owned());
    record.jti = Some(token.jti().to_owned());
    record.resource = Some(token.audience().to_owned());
    let mut change = Change::default();
    let key = token.key();
    let at = At {
        method: asked.method,
        path: authorization::audience::USERINFO_PATH,
        access_token: key.as_ref().map(|key| (&asked.token, key)),
    };
    let proved = proof::of(world, &facts, &asked.dpop, at, now).await?;
    let told = match proved {
        Err(refused) => Err(Refusal::Dpop(refused)),
        Ok(proved) if proved.is_some() != key.is_some() || asked.is_dpop != key.is_some() => {
            let why = "a token that is bound to a key comes with the scheme `DPoP` and its proof, \
                       and no other does";
            Err(Refusal::Scheme { why })
        }
        Ok(proved) => {
            if let Some(proved) = proved {
                let once = proved.once;
                let (use_, used) = single_use(&once.space, &once.value, once.until);
                change.uses.push(use_);
                record.used.push(used);
            }
            told(world, &facts, &token).await?
        }
    };
    match &told {
        Ok(_) => record.outcome = Outcome::Permitted,
        Err(refusal) => refused(&mut record, refusal.check(), refusal, None),
    }
    change.records.push(record.clone());
    let told = match world.store().commit(change).await {
        Err(env::CommitFault::Used(_)) => {
            let mut replay = begin(world, Event::TokenRead);
            (replay.agent, replay.root, replay.jti) = (record.agent, record.root, record.jti);
            let refusal = Refusal::Replayed;
            refused(&mut replay, refusal.check(), &refusal, None);
            let commit = world.store().commit(Change::record(replay)).await;
            let receipt = settled(commit)?.ok_or_else(overtaken)?;
            Recorded::new(Err(refusal), &receipt)
        }
        commit => {
            let receipt = settled(commit)?.ok_or_else(overtaken)?;
            Recorded::new(told, &receipt)
        }
    };
    Ok(End::Decided(told))
}

/// What the token's scopes let its client know.
async fn told<W: World>(
    world: &W,
    facts: &crate::facts::Basis,
    token: &authorization::presented::Presented,
) -> Result<Result<Userinfo, Refusal>, Unavailable> {
    let userinfo = Audience::userinfo(&world.site().issuer);
    if let Err(error) = token.is_for(&userinfo.id) {
        return Ok(Err(Refusal::Token { why: error.to_string() }));
    }
    if let Err(refusal) = shown::still_counts(world, token).await? {
        return Ok(Err(refusal));
    }
    let has = |name: &str| token.scope().iter().any(|scope| scope.as_str() == name);
    let openid = Scope::parse("openid").map_err(|error| Unavailable::of("settings", error))?;
    if !has(openid.as_str()) {
        return Ok(Err(Refusal::Scope { scope: openid }));
    }
    let who = token.subject();
    let rows = world.store().snapshot(&[Key::of::<UserRecord>(who)]).await?;
    let Some(user) = rows.get::<UserRecord>(who)? else {
        return Ok(Err(Refusal::NotRegistered { who: who.to_owned() }));
    };
    let secret = secret::of(world).await?;
    let sub = id_token::told_subject(facts, &secret, token.client_id(), who);
    let pairwise = sub != who;
    let sub = SubjectText::parse(&sub).map_err(|error| Unavailable::of("store", error))?;
    let mut claims = Map::new();
    let mut put = |name: &str, value: &str| claims.insert(name.to_owned(), Value::from(value));
    if has("profile") {
        put("name", &user.display_name);
        // A name is the same everywhere: who is told a `sub` of its own is not told it.
        if !pairwise {
            put("preferred_username", user.name.as_str());
        }
    }
    if let Some(email) = user.email.as_deref().filter(|_| has("email")) {
        put("email", email);
        // OpenID Connect Core 1.0 §5.1, `email_verified`: "When this Claim Value is true, this means
        // that the OP took affirmative steps to ensure that this e-mail address was controlled by
        // the End-User": of another provider's word it is said that we did not.
        if user.known_email().is_none() {
            claims.insert("email_verified".to_owned(), Value::from(false));
        }
    }
    Ok(Ok(Userinfo { sub, claims }))
}

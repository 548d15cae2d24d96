//! `GET /authorize` (RFC 6749 §4.1.1): a client sends a user here.

use access::documents;
use authentication::private_key_jwt;
use authorization::interaction::{self, Pushed, PushedRefusal};
use authorization::interaction::{
    CameBy, INTERACTION_LIFE, Interaction, PARAMETERS_BYTES_MAX, UNPROVED_BYTES_MAX,
};
use basis::shares::Shares;
use env::{Change, Entropy, Expect, Key, Store, Stored, Unavailable, World, Write};
use jose::TokenHash;
use oauth::authorization_request::{Arrived, By, PARAMETERS};
use oauth::form::Form;
use people::browser::Browser;
use people::sessions::{self, Signed};
use time::UnixTime;

use crate::answer::{Refused, refuse};
use crate::client::{self, Client, Unfit};
use crate::facts::{Basis, basis};
use crate::interaction::{Next, next};
use crate::pose::{self, Posed, Unposed, pose};
use crate::refusal::{PageFault, Refusal};
use crate::reply::{self, Reply};
use crate::turns::settled;

/// The hash by which a pushed request is known.
pub(crate) fn pushed_hash(uri: &str) -> String {
    TokenHash::of(uri).to_base64url()
}

/// How the authorization endpoint answers.
#[derive(Debug)]
pub enum Begun {
    /// The user is to be asked: the name of the interaction.
    Interaction(String),
    /// The client is answered at once.
    Reply(Reply),
    /// The client is told why not; `counted` names the check where nobody is known who could stand
    /// in a record.
    Refused {
        /// What it is told.
        reply: Reply,
        /// The check, to be counted.
        counted: Option<&'static str>,
    },
    /// The user alone is told, and it is counted.
    Page(PageFault),
}

/// The facts about a client, read again where it publishes who it is, and what it pushed; its keys
/// where it signed the request.
async fn known<W: World>(
    world: &W,
    arrived: &Arrived,
    pushed: Option<&str>,
    source: &str,
) -> Result<Result<Basis, Unfit>, Unavailable> {
    let id = arrived.client_id.as_str();
    let published = match &arrived.by {
        By::Value(text) => {
            let kid = private_key_jwt::named_key(text.as_str());
            documents::ready(world, id, kid.as_ref(), source).await?
        }
        By::Parameters | By::Reference(_) => {
            documents::known(world, id, source).await?.map(|()| None)
        }
    };
    let mut keys = client::keys(id).to_vec();
    match published {
        Ok(row) => keys.extend(row),
        Err(unread) => return Ok(Err(Unfit::Published(unread))),
    }
    keys.extend(pushed.map(Key::of::<Pushed>));
    keys.push(reply::key());
    basis(world, keys).await.map(Ok)
}

/// Begins with the query of the request. `shares` counts what strangers leave here.
pub async fn begin<W: World>(
    world: &W,
    shares: &Shares,
    browser: &Browser<'_>,
    query: &[u8],
) -> Result<Begun, Unavailable> {
    let arrived = match read(query) {
        Ok(arrived) => arrived,
        Err(fault) => return Ok(Begun::Page(fault)),
    };
    let (form, arrived) = arrived;
    let pushed = match &arrived.by {
        By::Reference(uri) => Some(pushed_hash(uri.as_str())),
        By::Parameters | By::Value(_) => None,
    };
    let facts = match known(world, &arrived, pushed.as_deref(), browser.source).await? {
        Ok(facts) => facts,
        Err(unfit) => return Ok(Begun::Page(unfit.into())),
    };
    let now = crate::issuing::now(world, &facts)?;
    let client = match Client::find(&arrived.client_id, &facts.rows)? {
        Ok(client) => client,
        Err(unfit) => return Ok(Begun::Page(unfit.into())),
    };
    let (form, by) = match parameters(world, &facts, &client, &arrived, form, pushed, now)? {
        Ok(read) => read,
        Err(fault) => return Ok(Begun::Page(fault)),
    };
    let signed = signed(world, browser).await?;
    let posed = match posed(world, &facts, client, (&by, &form), now).await? {
        Ok(posed) => posed,
        Err(Unposed::Page(fault)) => return Ok(Begun::Page(fault)),
        Err(Unposed::Client(to, refusal)) => {
            let (client, to) = *to;
            let refused = Refused { client: &client, to: &to, facts: &facts, now };
            let user = signed.as_ref().map(|signed| signed.user.id());
            return tell(world, refused, refusal, user).await;
        }
    };
    let body = match kept(&form, &by) {
        Ok(body) => body,
        Err(fault) => return Ok(Begun::Page(fault)),
    };
    let pushed = match &by {
        CameBy::Pushed { hash, .. } => facts.rows.get(hash)?,
        CameBy::Parameters | CameBy::Object => None,
    };
    let name = interaction::name(&world.entropy().secret());
    let begun = Interaction {
        // INVARIANT: `name` is the name of an interaction.
        hash: interaction::hash_of(&name).unwrap_or_default(),
        browser: interaction_browser(browser),
        client_id: posed.client.id.to_string(),
        parameters: body,
        by,
        began: now,
        until: now.plus(INTERACTION_LIFE),
        answered: None,
    };
    if posed.request.prompt.none {
        let step = next(world, &facts, &posed, &begun, signed.as_ref(), now).await?;
        let begun = (&begun, name.as_str(), pushed);
        return silently(world, shares, browser, begun, (&facts, &posed), step, signed).await;
    }
    if let Err(many) = share(shares, browser, signed.as_ref(), now) {
        return Ok(Begun::Page(many));
    }
    store(world, &begun, pushed).await?;
    Ok(Begun::Interaction(name))
}

/// The question, if it can be put, for somebody who can be told: a stranger hears at once that it
/// cannot, and nothing of it is kept or recorded.
async fn posed<W: World>(
    world: &W,
    facts: &Basis,
    client: Client,
    (by, form): (&CameBy, &Form),
    now: UnixTime,
) -> Result<Result<Posed, Unposed>, Unavailable> {
    let posed = match pose(facts, world.site(), client, by, form) {
        Ok(posed) => posed,
        Err(refused) => return Ok(Err(refused)),
    };
    let posed = match pose::handed(world, posed).await? {
        Ok(posed) => posed,
        Err(refused) => return Ok(Err(refused)),
    };
    Ok(match crate::interaction::named(world, &posed, now).await? {
        Ok(_) => Ok(posed),
        Err(refusal) => Err(Unposed::Client(Box::new((posed.client, posed.to)), refusal)),
    })
}

/// What is kept of a request: what is read, and no more than its bound.
fn kept(form: &Form, by: &CameBy) -> Result<String, PageFault> {
    let body = form.only(PARAMETERS).to_body();
    // What was pushed was bounded then, by what its client proved.
    let max = if by.is_pushed() { PARAMETERS_BYTES_MAX } else { UNPROVED_BYTES_MAX };
    match body.len() {
        length if length > max => Err(PageFault::TooLong { length, max }),
        _ => Ok(body),
    }
}

/// Refuses one request too many: of a person, or of a source where nobody is signed in.
fn share(
    shares: &Shares,
    browser: &Browser<'_>,
    signed: Option<&Signed>,
    now: UnixTime,
) -> Result<(), PageFault> {
    let person = signed.map(|signed| signed.user.id());
    let taken = shares.begin(browser.source, person.as_deref(), now);
    taken.map_err(|many| PageFault::TooMany { wait: many.wait(now) })
}

/// OpenID Connect Core 1.0 §3.1.2.1: with `none` "The Authorization Server MUST NOT display any
/// authentication or consent user interface pages."
async fn silently<W: World>(
    world: &W,
    shares: &Shares,
    browser: &Browser<'_>,
    (begun, name, pushed): (&Interaction, &str, Option<Stored<Pushed>>),
    (facts, posed): (&Basis, &Posed),
    step: Next,
    signed: Option<Signed>,
) -> Result<Begun, Unavailable> {
    let now = begun.began;
    let refused = Refused { client: &posed.client, to: &posed.to, facts, now };
    let user = signed.as_ref().map(|signed| signed.user.id());
    match (step, &signed) {
        (Next::SignIn { .. }, _) | (_, None) => {
            tell(world, refused, Refusal::LoginRequired, user).await
        }
        (Next::Ask(_), _) => tell(world, refused, Refusal::ConsentRequired, user).await,
        (Next::Refuse(refusal), _) => tell(world, refused, refusal, user).await,
        (Next::Remembered(..), Some(_)) => {
            if let Err(many) = share(shares, browser, signed.as_ref(), now) {
                return Ok(Begun::Page(many));
            }
            store(world, begun, pushed).await?;
            crate::interaction::at_once(world, browser, name).await
        }
    }
}

fn read(query: &[u8]) -> Result<(Form, Arrived), PageFault> {
    // RFC 6749 §3.1: "Request and response parameters MUST NOT be included more than once."
    let form = Form::parse(query)?;
    let arrived = Arrived::read(&form)?;
    Ok((form, arrived))
}

/// The parameters that count, and how they came.
fn parameters<W: World>(
    world: &W,
    facts: &Basis,
    client: &Client,
    arrived: &Arrived,
    outside: Form,
    pushed: Option<String>,
    now: UnixTime,
) -> Result<Result<(Form, CameBy), PageFault>, Unavailable> {
    Ok(match (&arrived.by, pushed) {
        (By::Value(text), _) => {
            let inside = pose::object(facts, world.site(), client, text, now)?;
            inside.map(|form| (form, CameBy::Object)).map_err(PageFault::from)
        }
        (By::Reference(_), Some(hash)) => match facts.rows.get::<Pushed>(&hash)? {
            None => Err(PushedRefusal::Unknown.into()),
            Some(found) => of_pushed(&found, client, hash, now),
        },
        (By::Parameters | By::Reference(_), _) => Ok((outside, CameBy::Parameters)),
    })
}

fn of_pushed(
    found: &Pushed,
    client: &Client,
    hash: String,
    now: UnixTime,
) -> Result<(Form, CameBy), PageFault> {
    found.admits(client.id.as_str(), now)?;
    let form = Form::parse(found.parameters.as_bytes())?;
    Ok((form, CameBy::Pushed { hash, signed: found.signed }))
}

/// The name of a browser as interactions are bound to it.
pub(crate) fn interaction_browser(browser: &Browser<'_>) -> String {
    TokenHash::of(&format!("browser {}", browser.name)).to_base64url()
}

/// Who is signed in.
pub(crate) async fn signed<W: World>(
    world: &W,
    browser: &Browser<'_>,
) -> Result<Option<Signed>, Unavailable> {
    match browser.session {
        Some(cookie) => Ok(sessions::of_cookie(world, cookie).await?.ok()),
        None => Ok(None),
    }
}

/// A refusal that the client is told: recorded where a user is signed in, and otherwise counted,
/// for anybody can send a browser here.
async fn tell<W: World>(
    world: &W,
    refused: Refused<'_>,
    refusal: Refusal,
    user: Option<String>,
) -> Result<Begun, Unavailable> {
    let Some(user) = user else {
        let Refused { client, to, facts, now } = refused;
        // RFC 9700 §4.11.2: the server "MUST take precautions": whoever registers itself is sent
        // nobody who does not show that they are a user here, or this is an open redirector.
        if !client.is_known {
            return Ok(Begun::Page(PageFault::Stranger(Box::new(refusal))));
        }
        let reply = reply::with_error(world, facts, client, to, &refusal, now).await?;
        return Ok(Begun::Refused { reply, counted: Some(refusal.check()) });
    };
    let recorded = refuse(world, refused, &refusal, &user, None).await?;
    let reply = recorded.ok_or_else(crate::turns::overtaken)?.into_value();
    Ok(Begun::Refused { reply, counted: None })
}

/// It decides nothing, so nothing is recorded: a stranger cannot fill the log. What was pushed for
/// it is kept from now on for as long as it may be answered.
async fn store<W: World>(
    world: &W,
    begun: &Interaction,
    pushed: Option<Stored<Pushed>>,
) -> Result<(), Unavailable> {
    let begins = |pushed: &Stored<Pushed>| {
        let next = pushed.after_begin(begun.began)?;
        Some(Write::put(&next, Expect::Version(pushed.version)))
    };
    let mut last = pushed.as_ref().and_then(begins);
    loop {
        let is_last = last.is_none();
        let writes = std::iter::once(Write::put(begun, Expect::Absent)).chain(last.take());
        let change = Change { writes: writes.collect(), ..Change::default() };
        match settled(world.store().commit(change).await)? {
            Some(_) => return Ok(()),
            None if is_last => return Err(crate::turns::overtaken()),
            // Another tab was first with it.
            None => {}
        }
    }
}

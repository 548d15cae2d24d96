//! An interaction in the user's browser: what is to be done next.

use authentication::session::Acr;
use authorization::interaction::{self, CameBy, Interaction, Over, Pushed};
use env::{Key, Stored, Unavailable, World};
use jose::Unverified;
use oauth::form::Form;
use openid::id_token::IdToken;
use people::browser::Browser;
use people::sessions::Signed;
use registry::UserName;
use time::{Span, UnixTime};

use crate::answer::{self, Refused, Settled};
use crate::ask::{self, Asking, Permitted};
use crate::begin::{Begun, interaction_browser, signed};
use crate::client::{self, Client};
use crate::facts::{Basis, basis};
use crate::for_clients;
use crate::pose::{Posed, Unposed, pose};
use crate::refusal::{PageFault, Refusal};
use crate::reply::{self, Reply};

/// How old an `id_token_hint` may be: it names somebody, and proves nothing.
const HINT_AGE_MAX: Span = Span::from_seconds(366 * 86_400);

/// What the page of an interaction is.
#[derive(Debug)]
pub enum Shown {
    /// It cannot be answered any more, or not here.
    Over(Over),
    /// Somebody has to sign in first, or anew.
    SignIn {
        /// Whom the client thinks that the user is.
        hint: Option<UserName>,
        /// Why somebody who is signed in has to do it again.
        why: Option<&'static str>,
    },
    /// The question.
    Ask(Box<Asking>, Ending),
    /// The client is answered.
    Reply(Reply),
    /// The question cannot be put any more, and the client cannot be told.
    Page(PageFault),
}

/// Where the answer to a question will lead: browsers hold a form to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending(pub String);

/// What is to be done next.
pub(crate) enum Next {
    SignIn { hint: Option<UserName>, why: Option<&'static str> },
    Ask(Box<Asking>),
    Remembered(Box<Asking>, UnixTime),
    Refuse(Refusal),
}

/// All that an interaction is decided by, as of one instant.
pub(crate) struct Loaded {
    pub(crate) facts: Basis,
    pub(crate) found: Stored<Interaction>,
    pub(crate) pushed: Option<Stored<Pushed>>,
    pub(crate) signed: Option<Signed>,
    pub(crate) now: UnixTime,
}

/// What keeps an interaction from being loaded.
pub(crate) enum NotLoaded {
    Over(Over),
    Page(PageFault),
    Unposed(Box<Loaded>, Box<(Client, crate::pose::To)>, Refusal),
}

/// Loads the interaction of that name for this browser.
pub(crate) async fn load<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
) -> Result<Result<(Loaded, Posed), NotLoaded>, Unavailable> {
    let Some(hash) = interaction::hash_of(name) else {
        return Ok(Err(NotLoaded::Over(Over::Unknown)));
    };
    let Some(found) = crate::facts::one::<W, Interaction>(world, &hash).await? else {
        return Ok(Err(NotLoaded::Over(Over::Unknown)));
    };
    let signed = signed(world, browser).await?;
    let mut keys = client::keys(&found.client_id).to_vec();
    keys.extend([Key::of::<Interaction>(&hash), reply::key()]);
    if let CameBy::Pushed { hash, .. } = &found.by {
        keys.push(Key::of::<Pushed>(hash));
    }
    let facts = basis(world, keys).await?;
    let now = crate::issuing::now(world, &facts)?;
    let Some(found) = facts.rows.get::<Interaction>(&hash)? else {
        return Ok(Err(NotLoaded::Over(Over::Unknown)));
    };
    if let Err(over) = found.admits(&interaction_browser(browser), now) {
        return Ok(Err(NotLoaded::Over(over)));
    }
    let pushed = match &found.by {
        CameBy::Pushed { hash, .. } => facts.rows.get::<Pushed>(hash)?,
        CameBy::Parameters | CameBy::Object => None,
    };
    // RFC 9126 §7.3: one request, one answer, in however many tabs it was opened. It had to be
    // begun in time, not to be answered in time.
    if let Some(at) = pushed.as_ref().and_then(|pushed| pushed.used) {
        return Ok(Err(NotLoaded::Over(Over::Answered { at, allowed: true })));
    }
    let client = oauth::ClientId::parse(&found.client_id);
    let client = client.map_err(|error| Unavailable::of("store", error))?;
    let client = match Client::find(&client, &facts.rows)? {
        Ok(client) => client,
        Err(unfit) => return Ok(Err(NotLoaded::Page(unfit.into()))),
    };
    let form = match Form::parse(found.parameters.as_bytes()) {
        Ok(form) => form,
        Err(fault) => return Ok(Err(NotLoaded::Page(fault.into()))),
    };
    let by = found.by.clone();
    let posed = pose(&facts, world.site(), client, &by, &form);
    let loaded = Loaded { facts, found, pushed, signed, now };
    Ok(match posed {
        Ok(posed) => Ok((loaded, posed)),
        Err(Unposed::Page(fault)) => Err(NotLoaded::Page(fault)),
        Err(Unposed::Client(to, refusal)) => Err(NotLoaded::Unposed(Box::new(loaded), to, refusal)),
    })
}

/// Shows the interaction of that name.
pub async fn show<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
) -> Result<Shown, Unavailable> {
    let (loaded, posed) = match load(world, browser, name).await? {
        Ok(loaded) => loaded,
        Err(not) => return not_loaded(world, not).await,
    };
    let Loaded { facts, found, signed, now, .. } = &loaded;
    match next(world, facts, &posed, found, signed.as_ref(), *now).await? {
        Next::SignIn { hint, why } => Ok(Shown::SignIn { hint, why }),
        Next::Ask(asking) => {
            let ending = Ending(posed.to.uri.as_str().to_owned());
            Ok(Shown::Ask(asking, ending))
        }
        Next::Refuse(refusal) => {
            let settled = answer::close(world, &loaded, &posed, &refusal).await?;
            Ok(shown(settled))
        }
        Next::Remembered(..) => Ok(shown(answer::remembered(world, browser, name).await?)),
    }
}

/// Where an interaction of this browser will lead, as long as it is open: a form that is answered
/// by a redirect to it must be let go there.
pub async fn leads_to<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
) -> Result<Option<String>, Unavailable> {
    Ok(match load(world, browser, name).await? {
        Ok((_, posed)) => Some(posed.to.uri.as_str().to_owned()),
        Err(NotLoaded::Unposed(_, to, _)) => Some(to.1.uri.as_str().to_owned()),
        Err(NotLoaded::Over(_) | NotLoaded::Page(_)) => None,
    })
}

/// The same for a request that lets nothing be shown.
pub(crate) async fn at_once<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
) -> Result<Begun, Unavailable> {
    match answer::remembered(world, browser, name).await? {
        Settled::Reply(reply) => Ok(Begun::Reply(reply)),
        Settled::Page(fault) => Ok(Begun::Page(fault)),
        // What was so a moment ago is so no more.
        Settled::Over(_) | Settled::SignIn | Settled::Changed | Settled::Nothing => {
            Err(crate::turns::overtaken())
        }
    }
}

fn shown(settled: Settled) -> Shown {
    match settled {
        Settled::Reply(reply) => Shown::Reply(reply),
        Settled::Over(over) => Shown::Over(over),
        Settled::Page(fault) => Shown::Page(fault),
        Settled::SignIn | Settled::Changed | Settled::Nothing => {
            Shown::SignIn { hint: None, why: None }
        }
    }
}

async fn not_loaded<W: World>(world: &W, not: NotLoaded) -> Result<Shown, Unavailable> {
    Ok(match not {
        NotLoaded::Over(over) => Shown::Over(over),
        NotLoaded::Page(fault) => Shown::Page(fault),
        NotLoaded::Unposed(loaded, to, refusal) => {
            Shown::Reply(answer::unposed(world, &loaded, &to, &refusal).await?)
        }
    })
}

/// How long ago whoever signs in for an interaction of this browser may have proved who they are,
/// where its client asks for that: another provider is asked for the same.
pub async fn age_asked<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
) -> Result<Option<Span>, Unavailable> {
    let Ok((_, posed)) = load(world, browser, name).await? else { return Ok(None) };
    let prompt = &posed.request.prompt;
    if prompt.login || prompt.select_account {
        return Ok(Some(Span::ZERO));
    }
    Ok(posed.request.max_age.map(Span::from_seconds))
}

/// What is to be done next about `posed`: sign in, ask, answer by what was allowed before, refuse.
pub(crate) async fn next<W: World>(
    world: &W,
    facts: &Basis,
    posed: &Posed,
    begun: &Interaction,
    signed: Option<&Signed>,
    now: UnixTime,
) -> Result<Next, Unavailable> {
    let hint = hinted(world, posed, now).await?;
    let Some(signed) = signed else {
        let hint = hint.or_else(|| posed.request.login_hint.as_deref().and_then(user_name));
        return Ok(Next::SignIn { hint, why: None });
    };
    let permitted = ask::permit(facts, posed, &signed.user, now);
    let acr = posed.acr.max(permitted.acr);
    if let Some(step) = authenticate(posed, begun, signed, acr, hint, now) {
        return Ok(step);
    }
    let mut asking = Asking::of(facts, posed, &permitted, &signed.user);
    if asking.is_empty() {
        return Ok(Next::Refuse(Refusal::Policy));
    }
    let until = ask::remembered(world, facts, posed, &permitted, &signed.user, now).await?;
    if let Some(until) = until {
        return Ok(Next::Remembered(Box::new(asking), until));
    }
    asking.attested = ask::attested(world, posed.client.id.as_str(), now).await?;
    Ok(Next::Ask(Box::new(asking)))
}

/// Whether whoever is signed in has to prove it anew.
fn authenticate(
    posed: &Posed,
    begun: &Interaction,
    signed: &Signed,
    acr: Option<Acr>,
    hint: Option<UserName>,
    now: UnixTime,
) -> Option<Next> {
    let authenticated = &signed.session.authenticated;
    let anew = signed.session.proved_since(begun.began);
    let again = |why| Some(Next::SignIn { hint: Some(signed.user.name.clone()), why: Some(why) });
    // OpenID Connect Core 1.0 §3.1.2.1: "If the End-User identified by the ID Token is not [...]
    // logged in [...] the Authorization Server [...] SHOULD return an error, such as
    // login_required" with `none`; otherwise it asks for that user.
    if hint.as_ref().is_some_and(|hint| *hint != signed.user.name) {
        let why = Some("The application asks for somebody else than who is signed in here.");
        return Some(Next::SignIn { hint, why });
    }
    let prompt = &posed.request.prompt;
    if (prompt.login || prompt.select_account) && !anew {
        return again("The application asks that you sign in again.");
    }
    let max_age = posed.request.max_age.map(Span::from_seconds);
    let fresh = max_age.is_none_or(|most| signed.session.proved_within(most, now));
    if !fresh && !anew {
        return again("You signed in too long ago for this application.");
    }
    match acr {
        Some(wanted) if !authenticated.acr.satisfies(wanted) => {
            // RFC 9470 §5: where the requirements cannot be met,
            // "unmet_authentication_requirements".
            if signed.session.entered_since(begun.began) {
                return Some(Next::Refuse(Refusal::too_weak(authenticated.acr, wanted)));
            }
            again("This application needs you to sign in by a stronger means, such as a passkey.")
        }
        _ => None,
    }
}

/// Whom an `id_token_hint` names: one of our own ID tokens, however old.
async fn hinted<W: World>(
    world: &W,
    posed: &Posed,
    now: UnixTime,
) -> Result<Option<UserName>, Unavailable> {
    let Some(text) = &posed.request.id_token_hint else { return Ok(None) };
    let Ok(token) = Unverified::<IdToken>::parse(text.as_str()) else { return Ok(None) };
    let ring = for_clients::ring(world, token.header().algorithm()).await?;
    let keys = ring.published(now).map(|key| key.public.clone());
    let Ok(keys) = jose::KeySet::new(keys.collect::<Vec<_>>()) else { return Ok(None) };
    let verified = token.verify(&keys, &for_clients::ALGORITHMS, now, HINT_AGE_MAX).ok();
    Ok(verified.and_then(|token| UserName::of_id(token.claims().sub.as_str())))
}

/// A `login_hint`: a name, or an identifier.
fn user_name(hint: &str) -> Option<UserName> {
    UserName::of_id(hint).or_else(|| UserName::parse(hint).ok())
}

/// What is asked and permitted now, of a question that was loaded for a user who is signed in.
pub(crate) fn current(loaded: &Loaded, posed: &Posed, signed: &Signed) -> (Permitted, Asking) {
    let permitted = ask::permit(&loaded.facts, posed, &signed.user, loaded.now);
    let asking = Asking::of(&loaded.facts, posed, &permitted, &signed.user);
    (permitted, asking)
}

impl<'a> Refused<'a> {
    pub(crate) fn of(loaded: &'a Loaded, posed: &'a Posed) -> Self {
        let (client, to) = (&posed.client, &posed.to);
        Self { client, to, facts: &loaded.facts, now: loaded.now }
    }
}

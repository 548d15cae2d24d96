//! An interaction in the user's browser: what is to be done next.

use std::fmt::Display;

use authentication::session::Acr;
use authorization::granted::GrantRecord;
use authorization::interaction::{self, CameBy, Interaction, Over, Pushed};
use env::{Key, Stored, Unavailable, World};
use jose::Unverified;
use oauth::TokenText;
use oauth::form::Form;
use openid::id_token::IdToken;
use people::browser::Browser;
use people::sessions::Signed;
use registry::{UserName, UserRecord};
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
    SignIn {
        hint: Option<UserName>,
        why: Option<&'static str>,
    },
    Ask(Box<Asking>),
    /// By the grants that cover it.
    Remembered(Box<Asking>, Vec<Stored<GrantRecord>>),
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
    if let Some(pushed) = &pushed
        && let Some(at) = pushed.used
    {
        let allowed = !pushed.refused;
        return Ok(Err(NotLoaded::Over(Over::Answered { at, allowed })));
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
    let named = match named(world, posed, now).await? {
        Ok(named) => named,
        Err(refusal) => return Ok(Next::Refuse(refusal)),
    };
    let hint = named.iter().find_map(Named::user);
    let Some(signed) = signed else {
        let hint = hint.or_else(|| posed.request.login_hint.as_deref().and_then(user_name));
        return Ok(Next::SignIn { hint, why: None });
    };
    if !are_all(world, facts, posed, &named, &signed.user).await? {
        return Ok(Next::SignIn { hint, why: Some(OTHER) });
    }
    let permitted = ask::permit(facts, posed, &signed.user, now);
    let acr = posed.acr.max(permitted.acr);
    if let Some(step) = authenticate(posed, begun, signed, acr, now) {
        return Ok(step);
    }
    let mut asking = Asking::of(facts, posed, &permitted, &signed.user);
    if asking.is_empty() {
        return Ok(Next::Refuse(Refusal::Policy));
    }
    let before = ask::remembered(world, facts, posed, &permitted, &signed.user, now).await?;
    if !before.is_empty() {
        return Ok(Next::Remembered(Box::new(asking), before));
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
    now: UnixTime,
) -> Option<Next> {
    let authenticated = &signed.session.authenticated;
    let anew = signed.session.proved_since(begun.began);
    let again = |why| Some(Next::SignIn { hint: Some(signed.user.name.clone()), why: Some(why) });
    // OpenID Connect Core 1.0 §3.1.2.1: `login_hint` is a "Hint to the Authorization Server about
    // the login identifier the End-User might use": who signed in since is who the user is.
    if let Some(hint) = posed.request.login_hint.as_deref()
        && !anew
        && is_another(hint, &signed.user)
    {
        return Some(Next::SignIn { hint: user_name(hint), why: Some(OTHER) });
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

/// What the sign-in page says where somebody else is signed in than is asked for.
const OTHER: &str = "The application asks for somebody else than who is signed in here.";

/// The user that a request is for, by `sub`: one of these.
pub(crate) struct Named(Vec<String>);

impl Named {
    /// Their name, where it says that.
    fn user(&self) -> Option<UserName> {
        self.0.iter().find_map(|sub| UserName::of_id(sub))
    }
}

/// Whom a request names that it is for: nobody else is answered for.
pub(crate) async fn named<W: World>(
    world: &W,
    posed: &Posed,
    now: UnixTime,
) -> Result<Result<Vec<Named>, Refusal>, Unavailable> {
    let mut all = Vec::new();
    if let Some(text) = &posed.request.id_token_hint {
        match hinted(world, posed, text, now).await? {
            Ok(sub) => all.push(Named(vec![sub])),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    // OpenID Connect Core 1.0 §3.1.2.2: "If the sub (subject) Claim is requested with a specific
    // value for the ID Token, the Authorization Server MUST only send a positive response if the
    // End-User identified by that sub value has an active session with the Authorization Server
    // or has been Authenticated as a result of the request."
    for claims in posed.request.claims.iter().flat_map(|one| [&one.id_token, &one.userinfo]) {
        let Some(Some(sub)) = claims.get("sub") else { continue };
        let values: Vec<_> = sub.value.iter().chain(&sub.values).collect();
        if !values.is_empty() {
            let texts = values.into_iter().filter_map(|value| value.as_str());
            all.push(Named(texts.map(str::to_owned).collect()));
        }
    }
    Ok(Ok(all))
}

/// Whom an `id_token_hint` names: one of our own ID tokens, however old. OpenID Connect Core 1.0
/// §3.1.2.1: "If the End-User identified by the ID Token is already logged in or is logged in as a
/// result of the request [...], then the Authorization Server returns a positive response;
/// otherwise, it MUST return an error, such as login_required."
async fn hinted<W: World>(
    world: &W,
    posed: &Posed,
    text: &TokenText,
    now: UnixTime,
) -> Result<Result<String, Refusal>, Unavailable> {
    let not = |why: &dyn Display| Ok(Err(Refusal::Hint(why.to_string())));
    let token = match Unverified::<IdToken>::parse(text.as_str()) {
        Ok(token) => token,
        Err(why) => return not(&why),
    };
    let ring = for_clients::ring(world, token.header().algorithm()).await?;
    let keys = ring.published(now).map(|key| key.public.clone());
    let keys = match jose::KeySet::new(keys.collect::<Vec<_>>()) {
        Ok(keys) => keys,
        Err(why) => return not(&why),
    };
    let verified = match token.verify(&keys, &for_clients::ALGORITHMS, now, HINT_AGE_MAX) {
        Ok(verified) => verified,
        Err(why) => return not(&why),
    };
    let claims = verified.claims();
    let sub = claims.sub.as_str();
    // §8.1: what another client knows somebody by says nothing here.
    if UserName::of_id(sub).is_none() && !claims.aud.contains(posed.client.id.as_str()) {
        return not(&"it is about somebody whom another client knows by a name of its own");
    }
    Ok(Ok(sub.to_owned()))
}

/// Whether `user` is who each of them means, by their identifier or as the client knows them.
async fn are_all<W: World>(
    world: &W,
    facts: &Basis,
    posed: &Posed,
    named: &[Named],
    user: &UserRecord,
) -> Result<bool, Unavailable> {
    if named.is_empty() {
        return Ok(true);
    }
    let (secret, id) = (access::secret::of(world).await?, user.id());
    let told = access::id_token::told_subject(facts, &secret, posed.client.id.as_str(), &id);
    Ok(named.iter().all(|Named(subs)| subs.iter().any(|sub| *sub == id || *sub == told)))
}

/// Whether a `login_hint` means somebody else, as far as one can tell.
fn is_another(hint: &str, user: &UserRecord) -> bool {
    match (user_name(hint), &user.email) {
        (Some(name), _) => name != user.name,
        (None, Some(email)) => hint.contains('@') && !hint.eq_ignore_ascii_case(email),
        (None, None) => false,
    }
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

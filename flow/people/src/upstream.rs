//! By the company's identity provider (OpenID Connect Core 1.0 §3.1, as its client): code flow with
//! PKCE, `state`, `nonce` and `iss`.
//!
//! An account is a pair of issuer and `sub`, and no address: who may set an address there could be
//! anybody here, so addresses count only where policy says so of that provider.

mod carried;
mod left;
mod provider;
mod refusal;

use std::collections::BTreeSet;

use authentication::policy::Upstream;
use authentication::session::{Acr, Authenticated, Session};
use env::rows::{account_handle, email_handle};
use env::{
    Change, Clock, Entropy, Expect, Index, Key, Recorded, Stored, Unavailable, World, Write,
};
use monitoring::{Event, Record};
use oauth::authorization_response::{Received, receive};
use oauth::form::Form;
use oauth::pkce::CodeVerifier;
use oauth::redirect_uri::RedirectUri;
use oauth::{ScopeSet, TokenText};
use openid::id_token::{self, CheckedIdToken, Expected, IdToken};
use openid::relying_party::SignIn;
use provisioning::Lifecycle;
use registry::user::{ACCOUNTS_MAX, Account};
use registry::{UserName, UserRecord};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use crate::browser::{Browser, Place};
use crate::ceremony::{Ceremonies, Ceremony, NotOurs, once};
use crate::end::{End, Once, commit, commit_once};
use crate::ending::every;
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::passkeys::{account_id, id_of, is_fresh};
use crate::record::{begin as begin_record, public_id};
use crate::secrets::session_hash;
use crate::sessions::Signed;
use crate::sign_in::{Entering, SignedIn};
use crate::standing;
use crate::strength;
use crate::throttle::Throttle;
use crate::turns::{TRIES_MAX, overtaken, pause};

use carried::{carried, carry, earliest};
pub use left::left;
use provider::Provider;
pub use refusal::Refusal;

/// Below which path providers send browsers back, each under its name.
pub const PATH: &str = "/sign-in/upstream";
/// How old an ID token may be that comes straight from the token endpoint.
const TOKEN_AGE_MAX: Span = Span::from_seconds(600);
/// What is asked of a provider where any age will do, so that it tells one.
const ANY_AGE: Span = Span::from_seconds(366 * 86_400);
/// Methods of authentication that a provider may tell.
const AMR_MAX: usize = 8;
/// Bytes of a text of a provider that is kept or told.
const TEXT_BYTES_MAX: usize = 256;

/// A provider, for the page that offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its name, as in paths.
    pub name: String,
    /// What the button says.
    pub title: String,
    /// Whom accounts there are of.
    pub issuer: String,
}

/// The providers that people may sign in by.
pub async fn offered<W: World>(world: &W) -> Result<Vec<Offered>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let all = facts.set().domain().sign_in.upstream.iter();
    let offered = |one: &Upstream| Offered {
        name: one.name.clone(),
        title: one.title().to_owned(),
        issuer: one.issuer.as_str().to_owned(),
    };
    Ok(all.map(offered).collect())
}

/// Where the provider of that name sends browsers back.
pub fn redirect_uri<W: World>(world: &W, name: &str) -> Result<RedirectUri, Unavailable> {
    let text = format!("{}{PATH}/{name}", world.site().issuer.trim_end_matches('/'));
    RedirectUri::parse(&text).map_err(|error| Unavailable::of("settings", error))
}

/// Begins: the URL that the browser is sent to. `signed` is who adds an account of theirs; without
/// it somebody signs in, and goes on at `to`, which may ask for a sign-in not older than that.
pub async fn begin<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    name: &str,
    (to, max_age): (&Place, Option<Span>),
    signed: Option<&Signed>,
) -> Result<Result<String, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let policy = match named(&facts, name) {
        Ok(policy) => policy,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(Err(refusal)) = signed.map(|signed| may_add(signed, &facts, world.clock().now())) {
        return Ok(Err(refusal));
    }
    let provider = match Provider::find(world, policy).await? {
        Ok(provider) => provider,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (random, now) = (world.entropy().public(), world.clock().now());
    let carried = carry(signed, max_age, to);
    let begun = ceremonies.begin(&purpose(name), browser.name, &carried, random, now);
    let endpoint = match provider.authorization_endpoint() {
        Ok(endpoint) => endpoint,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let sign_in = SignIn {
        client_id: &provider.client_id,
        redirect_uri: &redirect_uri(world, name)?,
        scope: &ScopeSet::parse(&policy.scope())
            .map_err(|error| Unavailable::of("policy", error))?,
        state: begun.text(),
        nonce: &derived(ceremonies, NONCE, &begun),
        verifier: &verifier(ceremonies, &begun)?,
        // OpenID Connect Core 1.0 §3.1.2.1: "When max_age is used, the ID Token returned MUST include
        // an auth_time Claim Value." So it is always asked for, if only for that.
        max_age: Some(max_age.unwrap_or(ANY_AGE).seconds()),
        acr_values: &[],
        login_hint: None,
    };
    Ok(Ok(sign_in.url(endpoint)))
}

/// Whether somebody may add an account: whoever sits at an open browser must not stay in for good,
/// nor whoever came by what is weaker.
fn may_add(signed: &Signed, facts: &Basis, now: UnixTime) -> Result<(), Refusal> {
    if !is_fresh(signed, now) {
        return Err(Refusal::NotFresh);
    }
    strength::adds_account(&signed.session.authenticated, &signed.user, facts)?;
    Ok(())
}

const NONCE: &str = "upstream nonce";
const VERIFIER: &str = "upstream verifier";

fn purpose(name: &str) -> String {
    format!("upstream {name}")
}

fn named<'a>(facts: &'a Basis, name: &str) -> Result<&'a Upstream, Refusal> {
    let unknown = || Refusal::Unknown(name.chars().take(TEXT_BYTES_MAX).collect());
    facts.set().domain().sign_in.named(name).ok_or_else(unknown)
}

fn derived(ceremonies: &Ceremonies, of: &str, begun: &Ceremony) -> String {
    jose::TokenHash::from_bytes(ceremonies.derive(of, begun)).to_base64url()
}

fn verifier(ceremonies: &Ceremonies, begun: &Ceremony) -> Result<CodeVerifier, Unavailable> {
    CodeVerifier::parse(&derived(ceremonies, VERIFIER, begun))
        .map_err(|error| Unavailable::of("entropy", error))
}

/// What came of an answer of a provider.
#[derive(Debug)]
pub enum Came {
    /// Somebody is signed in.
    In(Box<SignedIn>),
    /// Somebody who was signed in has another account.
    Linked(Box<UserRecord>),
}

/// The end of it, and where the browser goes on.
pub type Ended = Result<End<(Came, Place), Refusal>, Unavailable>;

/// Takes the answer that a browser brings back from a provider.
pub async fn finish<W: World>(
    world: &W,
    throttle: &Throttle,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    name: &str,
    form: &Form,
) -> Ended {
    let now = world.clock().now();
    if let Err(many) = throttle.check(browser.source, "", now) {
        return Ok(End::Stranger(many.into()));
    }
    let ended = match prove(world, ceremonies, browser, name, form).await? {
        Ok(proved) => settle(world, browser, &proved).await?,
        Err(refusal) => End::Stranger(refusal),
    };
    // A `state` that is none of this browser's is no guess, and costs next to nothing: any page may
    // have its visitors' browsers bring one.
    let is_try = |why: &Refusal| !matches!(why, Refusal::NotOurs(_) | Refusal::Unknown(_));
    if matches!(&ended, End::Stranger(why) if is_try(why)) {
        throttle.failed(browser.source, "", now);
    }
    Ok(ended)
}

/// Somebody, as a provider says in an ID token that holds.
struct Proved {
    begun: Ceremony,
    policy: Upstream,
    issuer: String,
    subject: String,
    sid: Option<String>,
    /// When they proved it there, if that was said.
    at: Option<UnixTime>,
    amr: BTreeSet<String>,
    claims: Map<String, Value>,
}

/// Everything up to who it is: each step has a refusal of its own, and none of them is recorded,
/// since nobody is proved.
async fn prove<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    name: &str,
    form: &Form,
) -> Result<Result<Proved, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let now = issuing::now(world, &facts)?;
    let (policy, begun) = match begun(&facts, ceremonies, browser, name, form, now) {
        Ok(both) => both,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let provider = match Provider::find(world, policy).await? {
        Ok(provider) => provider,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let promised = provider.discovery.metadata.authorization_response_iss_parameter_supported;
    let code = match receive(form, begun.text(), policy.issuer.as_str(), promised) {
        Ok(Received::Code(code)) => code,
        Ok(Received::Error(error)) => return Ok(Err(Refusal::Denied(error))),
        Err(refused) => return Ok(Err(refused.into())),
    };
    let redeemed = redeem(world, ceremonies, &provider, name, (&begun, &code), now).await?;
    let (token, access_token) = match redeemed {
        Ok((response, access_token)) => {
            let skew = facts.set().domain().bounds.clock_skew;
            let verified = provider.verify::<IdToken>(&response, now, skew).await?;
            let expected = Expected {
                issuer: &policy.issuer,
                client_id: &provider.client_id,
                nonce: Some(&derived(ceremonies, NONCE, &begun)),
                max_token_age: TOKEN_AGE_MAX,
                acr_values: &[],
                max_age: earliest(&begun).map(|earliest| now.since(earliest)),
                skew,
                access_token: Some(&access_token),
            };
            let checked =
                verified.and_then(|verified| Ok(id_token::check(verified, &expected, now)?));
            match checked {
                Ok(token) => (token, access_token),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    let claims = provider.claims(&token, &access_token).await?;
    Ok(claims.map(|claims| proved(begun, policy, &token, claims)))
}

fn begun<'a>(
    facts: &'a Basis,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    name: &str,
    form: &Form,
    now: UnixTime,
) -> Result<(&'a Upstream, Ceremony), Refusal> {
    let policy = named(facts, name)?;
    let state = form.get("state").unwrap_or_default();
    let begun = ceremonies.accept(state, &purpose(name), browser.name, now)?;
    Ok((policy, begun))
}

/// ID token and access token of a code.
async fn redeem<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    provider: &Provider<'_, W>,
    name: &str,
    (begun, code): (&Ceremony, &TokenText),
    now: UnixTime,
) -> Result<Result<(String, String), Refusal>, Unavailable> {
    let verifier = verifier(ceremonies, begun)?;
    let uri = redirect_uri(world, name)?;
    let response = provider.redeem(code, &uri, &verifier, now).await?;
    Ok(response.and_then(|response| {
        let id_token = response.id_token.ok_or(Refusal::NoIdToken)?;
        Ok((id_token, response.access_token))
    }))
}

fn proved(
    begun: Ceremony,
    policy: &Upstream,
    token: &CheckedIdToken,
    claims: Map<String, Value>,
) -> Proved {
    let said = token.claims();
    let short = |text: &String| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    // The check of its age let clocks differ; from here on ours counts.
    let earliest = earliest(&begun).unwrap_or(UnixTime::EPOCH);
    let amr = said.amr.iter().flatten().filter(|one| short(one)).take(AMR_MAX);
    Proved {
        begun,
        policy: policy.clone(),
        issuer: said.iss.as_str().to_owned(),
        subject: said.sub.as_str().to_owned(),
        sid: said.sid.clone().filter(short),
        at: said.auth_time.map(|told| told.time().max(earliest)),
        amr: amr.cloned().collect(),
        claims,
    }
}

/// From here on it is recorded: somebody proved an account.
async fn settle<W: World>(
    world: &W,
    browser: &Browser<'_>,
    proved: &Proved,
) -> Result<End<(Came, Place), Refusal>, Unavailable> {
    let (whose, _, to) = carried(&proved.begun);
    let Ok(to) = Place::parse(to) else { return Ok(End::Stranger(NotOurs::Unknown.into())) };
    for turn in 0..TRIES_MAX {
        let ended = if whose.is_empty() {
            let ended = enter(world, browser, proved).await?;
            ended.map(|end| end.map(|end| end.map(|signed| Came::In(Box::new(signed)))))
        } else {
            let ended = link(world, browser, proved, whose).await?;
            ended.map(|end| end.map(|end| end.map(|user| Came::Linked(Box::new(user)))))
        };
        if let Some(recorded) = ended {
            return Ok(End::Decided(recorded.map(|came| came.map(|came| (came, to)))));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Whom an account leads to, and what of them is to be written.
enum Found {
    Known(Stored<UserRecord>),
    /// By their address: the account is added.
    ByEmail(Stored<UserRecord>),
    New,
}

async fn find<W: World>(world: &W, proved: &Proved) -> Result<Option<Found>, Unavailable> {
    let handle = account_handle(&proved.issuer, &proved.subject);
    let known = every::<W, UserRecord>(world, Index::Handle, &handle).await?;
    let is_theirs = |user: &Stored<UserRecord>| {
        let mut accounts = user.accounts.iter();
        accounts.any(|one| one.issuer == proved.issuer && one.subject == proved.subject)
    };
    if let Some(user) = known.into_iter().find(is_theirs) {
        return Ok(Some(Found::Known(user)));
    }
    // Core 1.0 §5.7: "The sub (subject) and iss (issuer) Claims from the ID Token, used together,
    // are the only Claims that an RP can rely upon as a stable identifier": an address only where
    // policy takes this provider's word for it, and the provider verified it.
    if let Some(email) = email(proved).filter(|_| proved.policy.link_by_email) {
        let found = every::<W, UserRecord>(world, Index::Handle, &email_handle(email)).await?;
        let mut found = found.into_iter();
        // Whom they took the account away from it leads to by their own word alone.
        let left = |one: &Stored<UserRecord>| one.left.contains(&id_of(&handle));
        if let (Some(one), None) = (found.next(), found.next())
            && !left(&one)
        {
            return Ok(Some(Found::ByEmail(one)));
        }
    }
    Ok(proved.policy.create.then_some(Found::New))
}

/// An address that the provider verified.
fn email(proved: &Proved) -> Option<&str> {
    let is_verified = proved.claims.get("email_verified") == Some(&Value::Bool(true));
    text(proved, "email").filter(|_| is_verified)
}

fn text<'a>(proved: &'a Proved, claim: &str) -> Option<&'a str> {
    let text = proved.claims.get(claim)?.as_str()?;
    let fits = text.len() <= TEXT_BYTES_MAX && letters::name(text).is_ok();
    fits.then_some(text)
}

async fn enter<W: World>(
    world: &W,
    browser: &Browser<'_>,
    proved: &Proved,
) -> Result<Option<Recorded<Result<SignedIn, Refusal>>>, Unavailable> {
    let found = find(world, proved).await?;
    let before = browser.session.and_then(session_hash).unwrap_or_default();
    let mut keys = vec![Key::of::<Session>(&before)];
    if let Some(Found::Known(user) | Found::ByEmail(user)) = &found {
        keys.push(Key::of::<UserRecord>(user.id()));
    }
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let account =
        Account { issuer: proved.issuer.clone(), subject: proved.subject.clone(), since: now };
    let mut change = Change::default();
    let user = match &found {
        Some(Found::Known(user)) => Ok((*user.value).clone()),
        Some(Found::ByEmail(user)) => with_account(user, &account).inspect(|linked| {
            change.writes.push(Write::put(linked, Expect::Version(user.version)));
        }),
        Some(Found::New) => {
            let user = new_user(world, proved, &facts, account, now).await?;
            change.writes.push(Write::put(&user, Expect::Absent));
            Ok(user)
        }
        None => Err(Refusal::NoAccount {
            issuer: proved.issuer.clone(),
            subject: proved.subject.chars().take(TEXT_BYTES_MAX).collect(),
        }),
    };
    let user = match user {
        Ok(user) => user,
        Err(refusal) => {
            let record = record_of(world, &facts, browser, proved);
            return commit(world, Change::default(), record, Err(refusal)).await;
        }
    };
    let decided = standing::active(&user).map_err(Refusal::from);
    if matches!(found, Some(Found::New)) && decided.is_ok() {
        change.records.push(added(world, proved, &user, &facts));
    }
    let entering = Entering {
        facts: &facts,
        browser,
        user: &user,
        before: facts.rows.get::<Session>(&before)?,
        authenticated: Authenticated {
            // Core 1.0 §2: "auth_time: Time when the End-User authentication occurred": there, not
            // here, where an old session there may be all that there is.
            at: proved.at.unwrap_or(now).min(now),
            acr: Acr::Federated,
            amr: proved.amr.clone(),
        },
        upstream: Some((proved.issuer.clone(), proved.sid.clone())),
        is_dated: proved.at.is_some(),
        now,
    };
    let mut record = entering.record(world, "upstream");
    record.attestation.insert("issuer".to_owned(), proved.issuer.clone());
    if decided.is_err() {
        change = Change::default();
    }
    let single = Some(Once { used: once(&proved.begun), spent: Refusal::Used });
    entering.enter(world, change, record, decided, single).await
}

fn with_account(user: &UserRecord, account: &Account) -> Result<UserRecord, Refusal> {
    if user.accounts.len() >= ACCOUNTS_MAX {
        return Err(Refusal::TooManyAccounts);
    }
    let mut user = user.clone();
    user.left.retain(|left| *left != account_id(account));
    user.accounts.push(account.clone());
    Ok(user)
}

/// The attempt of somebody who is nobody here.
fn record_of<W: World>(world: &W, facts: &Basis, browser: &Browser<'_>, proved: &Proved) -> Record {
    let mut record = begin_record(world, Event::SignedIn);
    record.action = "sign_in.upstream".to_owned();
    record.proof = Some("upstream".to_owned());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.attestation.insert("issuer".to_owned(), proved.issuer.clone());
    record.attestation.insert("source".to_owned(), browser.source.to_owned());
    record
}

/// The record of somebody whom a provider brought.
fn added<W: World>(world: &W, proved: &Proved, user: &UserRecord, facts: &Basis) -> Record {
    let mut record = begin_record(world, Event::UserRegistered);
    record.action = "user.add".to_owned();
    record.subject = Some(user.id());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.facts = serde_json::json!({
        "display_name": user.display_name, "upstream": proved.policy.name,
    });
    record
}

/// Whether the address of somebody new leads to them from now on: where policy takes this
/// provider's word for it, and nobody has it already.
async fn leads<W: World>(world: &W, proved: &Proved, email: &str) -> Result<bool, Unavailable> {
    if !proved.policy.link_by_email {
        return Ok(false);
    }
    Ok(every::<W, UserRecord>(world, Index::Handle, &email_handle(email)).await?.is_empty())
}

/// A new person, under a name that was never given: what they are called there, if that is a name
/// and free, else one with random letters. Roles they get from nobody but an operator.
async fn new_user<W: World>(
    world: &W,
    proved: &Proved,
    facts: &Basis,
    account: Account,
    now: UnixTime,
) -> Result<UserRecord, Unavailable> {
    let email = email(proved);
    let called = text(proved, "preferred_username").or(email);
    let local = called.and_then(|one| one.split('@').next()).unwrap_or_default();
    let mut name = UserName::parse(&local.to_lowercase()).ok();
    if let Some(wanted) = &name
        && crate::facts::one::<W, UserRecord>(world, &wanted.id()).await?.is_some()
    {
        name = None;
    }
    let drawn = || {
        let letters: String =
            public_id(world).chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        UserName::parse(&format!("u-{}0", letters.to_lowercase()))
    };
    let name = match name {
        Some(name) => name,
        None => drawn().map_err(|error| Unavailable::of("entropy", error))?,
    };
    let said_by = match email {
        Some(email) if !leads(world, proved, email).await? => Some(proved.issuer.clone()),
        _ => None,
    };
    let display_name = text(proved, "name").map_or_else(|| name.to_string(), str::to_owned);
    Ok(UserRecord {
        name,
        display_name,
        email_said_by: said_by,
        email: email.map(str::to_owned),
        roles: BTreeSet::new(),
        lifecycle: Lifecycle::begin(facts.epoch, now),
        registered: now,
        passkeys: Vec::new(),
        accounts: vec![account],
        left: Vec::new(),
        user_code: None,
    })
}

/// Adds the account to the one who began it, if they are signed in there still.
async fn link<W: World>(
    world: &W,
    browser: &Browser<'_>,
    proved: &Proved,
    whose: &str,
) -> Result<Option<Recorded<Result<UserRecord, Refusal>>>, Unavailable> {
    let taken = matches!(find(world, proved).await?, Some(Found::Known(_)));
    let signed = match browser.session {
        Some(cookie) => crate::sessions::of_cookie(world, cookie).await?.ok(),
        None => None,
    };
    let signed = signed.filter(|signed| signed.session.id == whose);
    let facts = basis(world, Vec::new()).await?;
    let mut record = record_of(world, &facts, browser, proved);
    record.event = Event::UserChanged;
    record.action = "account.add".to_owned();
    record.subject = signed.as_ref().map(|signed| signed.user.id());
    let account = Account {
        issuer: proved.issuer.clone(),
        subject: proved.subject.clone(),
        since: issuing::now(world, &facts)?,
    };
    let mut change = Change::default();
    let decided = match &signed {
        None => Err(Refusal::NotSigned),
        Some(_) if taken => Err(Refusal::Taken),
        // They may have signed in otherwise since they began.
        Some(signed) => {
            let by = &signed.session.authenticated;
            let strong = strength::adds_account(by, &signed.user, &facts).map_err(Refusal::from);
            strong.and_then(|()| with_account(&signed.user, &account)).inspect(|user| {
                change.writes.push(Write::put(user, Expect::Version(signed.user.version)));
            })
        }
    };
    let single = Once { used: once(&proved.begun), spent: Refusal::Used };
    commit_once(world, change, record, decided, single).await
}

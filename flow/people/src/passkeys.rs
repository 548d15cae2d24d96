//! How a person who is signed in signs in: adding a passkey, naming it, taking it away (WebAuthn
//! Level 3 §7.1), and taking an account at another provider away.

use authentication::session::Session;
use env::rows::{account_handle, passkey_handle};
use env::{
    Change, Clock, Entropy, Expect, Index, Key, Recorded, Stored, Unavailable, World, Write,
};
use jose::TokenHash;
use monitoring::{Event, Record};
use registry::UserRecord;
use registry::user::{Account, LEFT_MAX, PASSKEYS_MAX, Passkey};
use serde_json::{Value, json};
use time::{Span, UnixTime};
use webauthn::{
    Algorithm, AttestationPolicy, Challenge, CreationOptions, CredentialRecord, Origin,
    Registration, RegistrationResponse, RelyingParty, ResponseError, RpId, User,
};

use crate::browser::Browser;
use crate::ceremony::{Ceremonies, NotOurs, once};
use crate::end::{Check, Once, commit, commit_once};
use crate::ending::every;
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::orders::fits;
use crate::record::begin as begin_record;
use crate::sessions::Signed;
use crate::standing::{NotAdmitted, admits};
use crate::strength::{self, TooWeak};
use crate::turns::{TRIES_MAX, overtaken, pause};

/// How long ago somebody may have signed in who changes how they sign in.
pub const FRESH: Span = Span::from_seconds(600);
/// What authenticators call us.
const RP_NAME: &str = "AIMS";
/// Bytes of a display name that authenticators show.
const SHOWN_BYTES_MAX: usize = 64;

/// What a browser is asked, and what it brings back beside its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// To be brought back.
    pub ceremony: String,
    /// The options, for `PublicKeyCredential.parse…OptionsFromJSON()`.
    pub options: Value,
}

/// Why a passkey is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The session ended meanwhile, or its owner gets nothing.
    #[error("nobody is signed in")]
    NotSigned,
    /// They get nothing.
    #[error(transparent)]
    Standing(#[from] NotAdmitted),
    /// Whoever sits at an open browser must not stay in for good.
    #[error("sign in again: this needs a sign-in of the last {} s", FRESH.seconds())]
    NotFresh,
    /// A way in that is weaker must not lead to one that is stronger.
    #[error(transparent)]
    TooWeak(#[from] TooWeak),
    /// There are [`PASSKEYS_MAX`].
    #[error("there are {PASSKEYS_MAX} passkeys already")]
    TooMany,
    /// There is none of that id.
    #[error("no passkey `{0}`")]
    Unknown(String),
    /// They have no such account.
    #[error("no account `{0}` at another provider")]
    NoAccount(String),
    /// Nothing else would let them in.
    #[error("this is the last way in, and there are no codes here")]
    Last,
    /// Nothing of their own would let them in, and they were not told so.
    #[error("this is the last way in of your own: only an operator could let you in again")]
    LastOwn,
    /// Its name cannot stand.
    #[error("a name of 1 to 256 bytes is needed, without letters that are not seen")]
    Name,
    /// Passkeys need a name of this server.
    #[error("there are no passkeys here: {0}")]
    NoPasskeys(String),
    /// What came back was not begun here.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// It came back twice.
    #[error("this was used already")]
    Used,
    /// It does not read.
    #[error("what the browser gave back does not read: {0}")]
    Response(#[from] ResponseError),
    /// A step of the ceremony failed.
    #[error(transparent)]
    Ceremony(#[from] webauthn::Refusal),
}

impl Check for Refusal {
    fn check(&self) -> &'static str {
        match self {
            Self::NotSigned => "passkey::NotSigned",
            Self::Standing(_) => "passkey::Standing",
            Self::NotFresh => "passkey::NotFresh",
            Self::TooWeak(_) => "passkey::TooWeak",
            Self::TooMany => "passkey::TooMany",
            Self::Unknown(_) => "passkey::Unknown",
            Self::NoAccount(_) => "passkey::NoAccount",
            Self::Last => "passkey::Last",
            Self::LastOwn => "passkey::LastOwn",
            Self::Name => "passkey::Name",
            Self::NoPasskeys(_) => "passkey::NoPasskeys",
            Self::NotOurs(_) => "passkey::NotOurs",
            Self::Used => "passkey::Used",
            Self::Response(_) => "passkey::Response",
            Self::Ceremony(_) => "passkey::Ceremony",
        }
    }
}

/// A change's end: what the person is from now on, or why not; recorded either way.
pub type Done = Result<Recorded<Result<UserRecord, Refusal>>, Unavailable>;

/// Begins to add a passkey.
pub async fn begin<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    signed: &Signed,
) -> Result<Result<Asked, Refusal>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    Ok(begun(world, ceremonies, browser, signed, &facts))
}

fn begun<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    signed: &Signed,
    facts: &Basis,
) -> Result<Asked, Refusal> {
    let now = world.clock().now();
    may_add(signed, facts, now)?;
    let party = relying_party(world).map_err(Refusal::NoPasskeys)?;
    let purpose = purpose_of(&signed.session);
    let begun = ceremonies.begin(&purpose, browser.name, "", world.entropy().public(), now);
    let user = &signed.user;
    let shown = &user.display_name;
    let shown = shown.get(..shown.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default();
    let named = User::new(user.handle(), user.name.as_str(), shown);
    let named = named.map_err(|error| Refusal::NoPasskeys(error.to_string()))?;
    let exclude: Vec<_> = user.passkeys.iter().filter_map(Passkey::descriptor).collect();
    let options = CreationOptions {
        relying_party: &party,
        user: &named,
        challenge: &Challenge::of(ceremonies.derive(CHALLENGE, &begun)),
        algorithms: &Algorithm::ALL,
        exclude: &exclude,
        hints: &[],
    };
    Ok(Asked { ceremony: begun.text().to_owned(), options: options.to_json() })
}

/// What challenges are derived for.
pub(crate) const CHALLENGE: &str = "passkey challenge";

fn purpose_of(session: &Session) -> String {
    format!("passkey.add {} {}", session.user, session.id)
}

fn may_add(signed: &Signed, facts: &Basis, now: UnixTime) -> Result<(), Refusal> {
    fresh(signed, now)?;
    strength::adds_passkey(&signed.session.authenticated, &signed.user, facts)?;
    if signed.user.passkeys.len() >= PASSKEYS_MAX {
        return Err(Refusal::TooMany);
    }
    Ok(())
}

/// Whether somebody signed in so lately that they may change how they sign in.
pub(crate) fn is_fresh(signed: &Signed, now: UnixTime) -> bool {
    signed.satisfies(None, Some(FRESH), now)
}

fn fresh(signed: &Signed, now: UnixTime) -> Result<(), Refusal> {
    if is_fresh(signed, now) { Ok(()) } else { Err(Refusal::NotFresh) }
}

/// Adds the passkey that a browser made.
pub async fn add<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    signed: &Signed,
    (ceremony, response): (&str, &[u8]),
    name: &str,
) -> Done {
    for turn in 0..TRIES_MAX {
        let now = world.clock().now();
        let (facts, current) = again(world, signed).await?;
        let mut record = changed(world, "passkey.add", signed, browser, &facts);
        let begun = ceremonies.accept(ceremony, &purpose_of(&signed.session), browser.name, now);
        let single =
            begun.as_ref().ok().map(|begun| Once { used: once(begun), spent: Refusal::Used });
        let decided = match (current, begun) {
            (Ok(current), Ok(begun)) => {
                let challenge = Challenge::of(ceremonies.derive(CHALLENGE, &begun));
                let with = (&facts, &challenge);
                let made = made(world, &current, with, response, now).await?;
                made.and_then(|made| added(&current, &made, name, now).map(|user| (user, current)))
            }
            (Err(refusal), _) => Err(refusal),
            (_, Err(why)) => Err(why.into()),
        };
        let mut change = Change::default();
        let decided = decided.map(|(user, current)| {
            change.writes.push(Write::put(&user, Expect::Version(current.user.version)));
            user
        });
        if let Ok(user) = &decided {
            let id = user.passkeys.last().map(|passkey| &passkey.id);
            record.facts = json!({ "passkey": id, "name": name });
        }
        let ended = match single {
            Some(once) => commit_once(world, change, record, decided, once).await?,
            None => commit(world, change, record, decided).await?,
        };
        if let Some(recorded) = ended {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn made<W: World>(
    world: &W,
    current: &Signed,
    (facts, challenge): (&Basis, &Challenge),
    response: &[u8],
    now: UnixTime,
) -> Result<Result<CredentialRecord, Refusal>, Unavailable> {
    if let Err(refusal) = may_add(current, facts, now) {
        return Ok(Err(refusal));
    }
    let party = match relying_party(world) {
        Ok(party) => party,
        Err(why) => return Ok(Err(Refusal::NoPasskeys(why))),
    };
    let response = match RegistrationResponse::parse(response) {
        Ok(response) => response,
        Err(error) => return Ok(Err(error.into())),
    };
    let known = owner(world, &response.id().to_base64url()).await?.is_some();
    let user = current.user.handle();
    let registration = Registration {
        relying_party: &party,
        challenge,
        user: &user,
        algorithms: &Algorithm::ALL,
        // WebAuthn §13.4.1 and §14.4: which model it is of tells more about a person than it tells
        // us; we ask for none, and what is sent all the same is believed in nothing.
        attestation: AttestationPolicy::AnyUnbelieved,
    };
    let registered = registration.verify(&response, |_| known);
    Ok(registered.map(webauthn::Registered::into_record).map_err(Refusal::from))
}

fn added(
    current: &Signed,
    made: &CredentialRecord,
    name: &str,
    now: UnixTime,
) -> Result<UserRecord, Refusal> {
    fits("name", name).map_err(|_| Refusal::Name)?;
    let mut user = (*current.user.value).clone();
    user.passkeys.push(Passkey::of(made, name, now));
    Ok(user)
}

/// Gives a passkey another name.
pub async fn rename<W: World>(
    world: &W,
    browser: &Browser<'_>,
    signed: &Signed,
    id: &str,
    name: &str,
) -> Done {
    alter(world, browser, signed, "passkey.rename", |current, _| {
        fits("name", name).map_err(|_| Refusal::Name)?;
        let mut user = (*current.user.value).clone();
        let found = user.passkeys.iter_mut().find(|passkey| passkey.id == id);
        let found = found.ok_or_else(|| unknown(id))?;
        name.clone_into(&mut found.name);
        Ok((user, json!({ "passkey": id, "name": name })))
    })
    .await
}

/// What somebody who takes a way in away was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warned {
    /// Nothing.
    Not,
    /// That it is the last of their own, and that only an operator lets them in afterwards.
    OfTheLast,
}

/// Takes a passkey away, by a sign-in that is as strong: not the last way in, and the last of their
/// own after a warning alone.
pub async fn remove<W: World>(
    world: &W,
    browser: &Browser<'_>,
    signed: &Signed,
    id: &str,
    warned: Warned,
) -> Done {
    alter(world, browser, signed, "passkey.remove", |current, facts| {
        fresh(current, world.clock().now())?;
        let mut user = (*current.user.value).clone();
        let found = user.passkeys.iter().position(|passkey| passkey.id == id);
        let removed = user.passkeys.remove(found.ok_or_else(|| unknown(id))?);
        strength::removes_passkey(&current.session.authenticated, &removed)?;
        leaves_a_way_in(&current.user, &user, facts, warned)?;
        Ok((user, json!({ "passkey": id })))
    })
    .await
}

/// What an account is called in addresses and orders: the hash of its issuer and `sub`.
pub fn account_id(account: &Account) -> String {
    id_of(&account_handle(&account.issuer, &account.subject))
}

/// The same of what the account is found by.
pub(crate) fn id_of(handle: &str) -> String {
    TokenHash::of(handle).to_base64url()
}

/// Takes an account at another provider away, under the same rules.
pub async fn remove_account<W: World>(
    world: &W,
    browser: &Browser<'_>,
    signed: &Signed,
    id: &str,
    warned: Warned,
) -> Done {
    alter(world, browser, signed, "account.remove", |current, facts| {
        fresh(current, world.clock().now())?;
        let mut user = (*current.user.value).clone();
        let found = user.accounts.iter().position(|account| account_id(account) == id);
        let at = found.ok_or_else(|| Refusal::NoAccount(cut(id)))?;
        let removed = user.accounts.remove(at);
        strength::removes_account(&current.session.authenticated, &removed, facts)?;
        leaves_a_way_in(&current.user, &user, facts, warned)?;
        let all = user.left.len();
        user.left.drain(..(all + 1).saturating_sub(LEFT_MAX));
        user.left.push(id.to_owned());
        Ok((user, json!({ "issuer": removed.issuer, "account": id })))
    })
    .await
}

/// Refuses to take the last way in. Where codes are on an operator can let them in still, and they
/// go on if they were told that it comes to that.
fn leaves_a_way_in(
    before: &UserRecord,
    after: &UserRecord,
    facts: &Basis,
    warned: Warned,
) -> Result<(), Refusal> {
    let sign_in = &facts.set().domain().sign_in;
    let is_linked = |account: &&Account| strength::is_linked(facts, account);
    let ways =
        |user: &UserRecord| user.passkeys.len() + user.accounts.iter().filter(is_linked).count();
    match (ways(before), ways(after)) {
        // What goes let nobody in: an account at a provider that policy names no more.
        (0, _) | (_, 1..) => Ok(()),
        _ if !sign_in.codes => Err(Refusal::Last),
        _ if warned == Warned::Not => Err(Refusal::LastOwn),
        _ => Ok(()),
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::Unknown(cut(id))
}

fn cut(id: &str) -> String {
    id.chars().take(SHOWN_BYTES_MAX).collect()
}

/// A change of a person's own record that they order themselves.
async fn alter<W: World>(
    world: &W,
    browser: &Browser<'_>,
    signed: &Signed,
    action: &str,
    make: impl Fn(&Signed, &Basis) -> Result<(UserRecord, Value), Refusal>,
) -> Done {
    for turn in 0..TRIES_MAX {
        let (facts, current) = again(world, signed).await?;
        let mut record = changed(world, action, signed, browser, &facts);
        let mut change = Change::default();
        let decided = current.and_then(|current| {
            let (user, told) = make(&current, &facts)?;
            record.facts = told;
            change.writes.push(Write::put(&user, Expect::Version(current.user.version)));
            Ok(user)
        });
        if let Some(recorded) = commit(world, change, record, decided).await? {
            return Ok(recorded);
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Session and person as they are now: much may have ended since the page was shown.
async fn again<W: World>(
    world: &W,
    signed: &Signed,
) -> Result<(Basis, Result<Signed, Refusal>), Unavailable> {
    let (hash, id) = (&signed.session.hash, signed.user.id());
    let facts = basis(world, vec![Key::of::<Session>(hash), Key::of::<UserRecord>(&id)]).await?;
    let now = issuing::now(world, &facts)?;
    let rows = (facts.rows.get::<Session>(hash)?, facts.rows.get::<UserRecord>(&id)?);
    let current = match rows {
        (Some(session), Some(user)) if session.is_live(now).is_ok() => {
            admits(&user, session.epoch).map_err(Refusal::from).map(|()| Signed { session, user })
        }
        _ => Err(Refusal::NotSigned),
    };
    Ok((facts, current))
}

fn changed<W: World>(
    world: &W,
    action: &str,
    signed: &Signed,
    browser: &Browser<'_>,
    facts: &Basis,
) -> Record {
    let mut record = begin_record(world, Event::UserChanged);
    record.action = action.to_owned();
    record.subject = Some(signed.user.id());
    record.resource = Some(format!("session {}", signed.session.id));
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    record.attestation.insert("source".to_owned(), browser.source.to_owned());
    record
}

/// Whose a passkey is.
pub(crate) async fn owner<W: World>(
    world: &W,
    id: &str,
) -> Result<Option<Stored<UserRecord>>, Unavailable> {
    let found = every::<W, UserRecord>(world, Index::Handle, &passkey_handle(id)).await?;
    Ok(found.into_iter().find(|user| user.passkey(id).is_some()))
}

/// Who asks: the host of the issuer, and its origin.
pub(crate) fn relying_party<W: World>(world: &W) -> Result<RelyingParty, String> {
    let issuer = &world.site().issuer;
    let (scheme, rest) = issuer.split_once("://").unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.split(':').next().unwrap_or_default();
    let origin = Origin::parse(&format!("{scheme}://{authority}")).map_err(|e| e.to_string())?;
    let id = RpId::parse(host).map_err(|error| error.to_string())?;
    RelyingParty::new(id, RP_NAME, origin).map_err(|error| error.to_string())
}

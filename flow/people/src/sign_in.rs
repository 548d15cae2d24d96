//! Signing in: by code and by link here, by passkey and by another provider in files of their own.
//! What all have in common is the end: a session, new each time.

use std::collections::BTreeSet;

use authentication::session::{Acr, Authenticated, CodePurpose, Session, SignInCode};
use env::{Change, Clock, Entropy, Expect, Key, Recorded, Stored, Unavailable, World, Write};
use monitoring::{Event, Outcome, Record};
use registry::{UserName, UserRecord};
use time::UnixTime;
use webauthn::ResponseError;

use crate::browser::Browser;
use crate::ceremony::NotOurs;
use crate::end::{Check, End, Once, commit, commit_once};
use crate::ending::Because;
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::record::{begin, public_id};
use crate::secrets::{self, Secret, session_hash};
use crate::sessions::with_grants;
use crate::standing::{self, NotAdmitted};
use crate::throttle::{Throttle, TooMany};
use crate::turns::{TRIES_MAX, overtaken, pause};

pub mod passkey;

/// RFC 8176 §2: `otp`, "One-time password".
pub const AMR_OTP: &str = "otp";
/// Of our own: by a link of an operator, which is what leads to a new passkey.
pub const AMR_LINK: &str = "link";

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The cookie: the only time that it is known.
    pub cookie: Secret,
    /// The session.
    pub session: Session,
    /// Whose.
    pub user: UserRecord,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Policy has codes switched off.
    #[error("policy lets nobody in by a code")]
    CodesOff,
    /// Too much failed before.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// No such code of no such person; which of both is not told.
    #[error("no such user name with this code")]
    Code,
    /// No such link.
    #[error("no such link")]
    Link,
    /// It came too late.
    #[error("the {what} expired at {at}")]
    Expired {
        /// `code` or `link`.
        what: &'static str,
        /// When.
        at: UnixTime,
    },
    /// It was used as often as it may be.
    #[error("the {what} was used already")]
    Used {
        /// `code`, `link` or `ceremony`.
        what: &'static str,
    },
    /// Who they are is known, and they get nothing.
    #[error(transparent)]
    Standing(#[from] NotAdmitted),
    /// What came back was not begun here.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// Passkeys need a name of this server.
    #[error("there are no passkeys here: {0}")]
    NoPasskeys(String),
    /// What the browser gave back does not read.
    #[error("what the browser gave back does not read: {0}")]
    Response(#[from] ResponseError),
    /// Nobody has that passkey.
    #[error("no such passkey")]
    Passkey,
    /// A step of the ceremony failed.
    #[error(transparent)]
    Ceremony(#[from] webauthn::Refusal),
}

impl Check for Refusal {
    fn check(&self) -> &'static str {
        match self {
            Self::CodesOff => "sign_in::CodesOff",
            Self::TooMany(_) => "sign_in::TooMany",
            Self::Code => "sign_in::Code",
            Self::Link => "sign_in::Link",
            Self::Expired { .. } => "sign_in::Expired",
            Self::Used { .. } => "sign_in::Used",
            Self::Standing(_) => "sign_in::Standing",
            Self::NotOurs(_) => "sign_in::NotOurs",
            Self::NoPasskeys(_) => "sign_in::NoPasskeys",
            Self::Response(_) => "sign_in::Response",
            Self::Passkey => "sign_in::Passkey",
            Self::Ceremony(_) => "sign_in::Ceremony",
        }
    }
}

/// How such an attempt ends.
pub type Ended = Result<End<SignedIn, Refusal>, Unavailable>;

/// A user name, and a code that an operator gave.
pub async fn by_code<W: World>(
    world: &W,
    throttle: &Throttle,
    browser: &Browser<'_>,
    name: &str,
    code: &str,
) -> Ended {
    // What is typed with a capital or a blank is the same name.
    let name = name.trim().to_ascii_lowercase();
    let now = world.clock().now();
    if let Err(many) = throttle.check(browser.source, &name, now) {
        return Ok(End::Stranger(many.into()));
    }
    let id = UserName::parse(&name).ok().map(|name| name.id());
    let hash = id.as_deref().and_then(|id| secrets::code_hash(id, code));
    let shown = Shown { purpose: CodePurpose::SignIn, hash, what: "code" };
    let ended = once_each(world, browser, &shown).await?;
    match &ended {
        End::Stranger(Refusal::Code) => throttle.failed(browser.source, &name, now),
        End::Decided(recorded) if recorded.value().is_ok() => {
            throttle.passed(browser.source, &name, now);
        }
        _ => {}
    }
    Ok(ended)
}

/// A link that an operator gave, to add a passkey.
pub async fn by_link<W: World>(
    world: &W,
    throttle: &Throttle,
    browser: &Browser<'_>,
    secret: &str,
) -> Ended {
    let now = world.clock().now();
    if let Err(many) = throttle.check(browser.source, "", now) {
        return Ok(End::Stranger(many.into()));
    }
    let hash = secrets::link_hash(secret);
    let shown = Shown { purpose: CodePurpose::AddPasskey, hash, what: "link" };
    let ended = once_each(world, browser, &shown).await?;
    if matches!(ended, End::Stranger(Refusal::Link)) {
        throttle.failed(browser.source, "", now);
    }
    Ok(ended)
}

/// Whose a link is, for the page that asks whether to go on: that page uses nothing up, since
/// programs follow links too.
pub async fn link_of<W: World>(
    world: &W,
    secret: &str,
) -> Result<Result<UserRecord, Refusal>, Unavailable> {
    let hash = secrets::link_hash(secret);
    let shown = Shown { purpose: CodePurpose::AddPasskey, hash, what: "link" };
    let Some((row, user)) = shown.find(world).await? else { return Ok(Err(Refusal::Link)) };
    let now = world.clock().now();
    Ok(shown.decide(&row, &user, now).map(|()| (*user.value).clone()))
}

/// A code or link that somebody shows.
struct Shown {
    purpose: CodePurpose,
    hash: Option<String>,
    what: &'static str,
}

impl Shown {
    fn unknown(&self) -> Refusal {
        match self.purpose {
            CodePurpose::SignIn => Refusal::Code,
            CodePurpose::AddPasskey => Refusal::Link,
        }
    }

    async fn find<W: World>(
        &self,
        world: &W,
    ) -> Result<Option<(Stored<SignInCode>, Stored<UserRecord>)>, Unavailable> {
        let Some(hash) = &self.hash else { return Ok(None) };
        let row = crate::facts::one::<W, SignInCode>(world, hash).await?;
        let Some(row) = row.filter(|row| row.purpose == self.purpose) else { return Ok(None) };
        let user = crate::facts::one::<W, UserRecord>(world, &row.user).await?;
        Ok(user.map(|user| (row, user)))
    }

    /// Whoever shows a code that exists has proved something: from here on it is recorded.
    fn decide(&self, row: &SignInCode, user: &UserRecord, now: UnixTime) -> Result<(), Refusal> {
        standing::active(user)?;
        if now >= row.until {
            return Err(Refusal::Expired { what: self.what, at: row.until });
        }
        if row.uses_left == 0 {
            return Err(Refusal::Used { what: self.what });
        }
        Ok(())
    }

    fn amr(&self) -> BTreeSet<String> {
        let link = (self.purpose == CodePurpose::AddPasskey).then_some(AMR_LINK);
        [AMR_OTP].into_iter().chain(link).map(str::to_owned).collect()
    }
}

async fn once_each<W: World>(world: &W, browser: &Browser<'_>, shown: &Shown) -> Ended {
    for turn in 0..TRIES_MAX {
        let Some((row, _)) = shown.find(world).await? else {
            return Ok(End::Stranger(shown.unknown()));
        };
        // All that it is decided by, as of one instant.
        let before = browser.session.and_then(session_hash).unwrap_or_default();
        let keys = vec![
            Key::of::<SignInCode>(&row.hash),
            Key::of::<UserRecord>(&row.user),
            Key::of::<Session>(&before),
        ];
        let facts = basis(world, keys).await?;
        if shown.purpose == CodePurpose::SignIn && !facts.set().domain().sign_in.codes {
            return Ok(End::Stranger(Refusal::CodesOff));
        }
        let now = issuing::now(world, &facts)?;
        let rows = (facts.rows.get::<SignInCode>(&row.hash)?, facts.rows.get(&row.user)?);
        let (Some(row), Some(user)) = rows else { return Ok(End::Stranger(shown.unknown())) };
        let decided = shown.decide(&row, &user, now);
        let entering = Entering {
            facts: &facts,
            browser,
            user: &user,
            before: facts.rows.get::<Session>(&before)?,
            authenticated: Authenticated { at: now, acr: Acr::Code, amr: shown.amr() },
            upstream: None,
            is_dated: true,
            now,
        };
        let mut change = Change::default();
        let record = entering.record(world, shown.what);
        if decided.is_ok() {
            let left =
                SignInCode { uses_left: row.uses_left.saturating_sub(1), ..(*row.value).clone() };
            change.writes.push(Write::put(&left, Expect::Version(row.version)));
        }
        if let Some(recorded) = entering.enter(world, change, record, decided, None).await? {
            return Ok(End::Decided(recorded));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// Somebody who proved who they are, and the browser that they did it in.
pub(crate) struct Entering<'a> {
    pub(crate) facts: &'a Basis,
    pub(crate) browser: &'a Browser<'a>,
    pub(crate) user: &'a UserRecord,
    /// The session that the browser has, whosever it is.
    pub(crate) before: Option<Stored<Session>>,
    pub(crate) authenticated: Authenticated,
    pub(crate) upstream: Option<(String, Option<String>)>,
    /// Whether it is known when they proved it.
    pub(crate) is_dated: bool,
    pub(crate) now: UnixTime,
}

impl Entering<'_> {
    /// The record of the attempt.
    pub(crate) fn record<W: World>(&self, world: &W, how: &str) -> Record {
        let mut record = begin(world, Event::SignedIn);
        record.action = format!("sign_in.{how}");
        record.subject = Some(self.user.id());
        record.proof = Some(how.to_owned());
        record.policy = Some(self.facts.version());
        record.epoch = Some(self.facts.epoch.0);
        record.attestation.insert("source".to_owned(), self.browser.source.to_owned());
        record
    }

    /// Lets them in, if that was decided: sign, record, release.
    pub(crate) async fn enter<W: World, R: Check>(
        self,
        world: &W,
        mut change: Change,
        mut record: Record,
        decided: Result<(), R>,
        once: Option<Once<R>>,
    ) -> Result<Option<Recorded<Result<SignedIn, R>>>, Unavailable> {
        let signed = match decided {
            Ok(()) => Ok(self.begin(world, &mut change).await?),
            Err(refusal) => Err(refusal),
        };
        if let Ok(SignedIn { session, .. }) = &signed {
            record.outcome = Outcome::Permitted;
            record.resource = Some(format!("session {}", session.id));
            record.facts = serde_json::json!({
                "acr": session.authenticated.acr, "amr": session.authenticated.amr,
                "until": session.until.to_string(),
            });
        }
        match once {
            Some(once) => commit_once(world, change, record, signed, once).await,
            None => commit(world, change, record, signed).await,
        }
    }

    /// The session. Its secret is new whatever the browser had before: a cookie that somebody
    /// planted there is worth nothing (docs/past-defects.md 15).
    async fn begin<W: World>(
        &self,
        world: &W,
        change: &mut Change,
    ) -> Result<SignedIn, Unavailable> {
        let now = self.now;
        let cookie = secrets::session(&world.entropy().secret());
        let bounds = &self.facts.set().domain().sessions;
        let live = self.before.as_ref().filter(|before| {
            let admitted = standing::admits(self.user, before.epoch).is_ok();
            before.user != self.user.id() || admitted
        });
        let live = live.filter(|before| before.is_live(now).is_ok());
        // Step-up: the same person again goes on with the same session, under another secret.
        let (same, other) = match live {
            Some(before) if before.user == self.user.id() => (Some(before), None),
            other => (None, other),
        };
        if let Some(same) = same {
            let expect = Expect::Version(same.version);
            change.writes.push(Write::delete::<Session>(same.hash.clone(), expect));
        }
        if let Some(other) = other {
            let why = "somebody else signed in in this browser";
            let because = Because { by: &self.user.id(), operator: None, why, now };
            with_grants(world, std::slice::from_ref(other), &because, change).await?;
        }
        let session = Session {
            // INVARIANT: `cookie` is the text of a session.
            hash: session_hash(cookie.expose()).unwrap_or_default(),
            id: same.map_or_else(|| public_id(world), |same| same.id.clone()),
            user: self.user.id(),
            authenticated: self.authenticated.clone(),
            began: same.map_or(now, |same| same.began),
            seen: now,
            idle: bounds.idle,
            until: now.plus(bounds.absolute),
            epoch: self.facts.epoch,
            browser: self.browser.called(),
            upstream: self.upstream.clone().or_else(|| same.and_then(|same| same.upstream.clone())),
            entered: (self.authenticated.at != now).then_some(now),
            undated: !self.is_dated,
            clients: same.map_or_else(BTreeSet::new, |same| same.clients.clone()),
        };
        change.writes.push(Write::put(&session, Expect::Absent));
        Ok(SignedIn { cookie, session, user: self.user.clone() })
    }
}

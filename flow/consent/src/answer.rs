//! The answer to an interaction: grant, code and record in one commit, or neither (RFC 6749 §4.1.2;
//! AUTHZ-06, AUTHZ-18).

use std::collections::BTreeMap;

use authentication::session::Session;
use authorization::granted::{Code, GrantRecord, Way, code};
use authorization::interaction::{Answered, CameBy, Interaction, Over, Pushed};
use env::{Change, Entropy, Expect, Key, Recorded, Store, Stored, Unavailable, World, Write};
use monitoring::{Event, Outcome, Record};
use people::browser::Browser;
use people::sessions::Signed;
use time::{Span, UnixTime};
use zeroize::Zeroizing;

use crate::ask::{Asking, Choice, Permitted, Taken};
use crate::client::Client;
use crate::facts::Basis;
use crate::interaction::{Loaded, Next, NotLoaded, current, load, next};
use crate::pose::{Posed, To};
use crate::record::{begin, public_id, refused};
use crate::refusal::{PageFault, Refusal};
use crate::reply::{self, Reply};
use crate::turns::{TRIES_MAX, overtaken, pause, settled};

/// How long a code lives. RFC 6749 §4.1.2: "A maximum authorization code lifetime of 10 minutes is
/// RECOMMENDED"; FAPI 2.0 §5.3.2.1: "a maximum lifetime of 60 seconds".
pub const CODE_LIFE: Span = Span::from_seconds(60);

/// What a user says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether they allow anything; then what of it.
    pub allow: Option<Choice>,
    /// What they saw: [`Asking::seen`].
    pub seen: String,
}

/// What comes of it.
#[derive(Debug)]
pub enum Settled {
    /// The client is answered.
    Reply(Reply),
    /// It cannot be answered any more, or not here.
    Over(Over),
    /// Somebody has to sign in first, or anew.
    SignIn,
    /// What is asked is not what was seen: it is to be shown anew.
    Changed,
    /// Allowed, and nothing ticked: it is to be shown anew.
    Nothing,
    /// The question cannot be put any more, and the client cannot be told.
    Page(PageFault),
}

/// Answers the interaction of that name. Of many answers at once, one counts.
pub async fn answer<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
    answer: &Answer,
) -> Result<Settled, Unavailable> {
    for turn in 0..TRIES_MAX {
        let (loaded, posed) = match load(world, browser, name).await? {
            Ok(loaded) => loaded,
            Err(not) => return not_loaded(world, not).await,
        };
        let Some(signed) = loaded.signed.clone() else { return Ok(Settled::SignIn) };
        // Policy, client and user are looked at anew: what was shown must still be so.
        let step = next(world, &loaded.facts, &posed, &loaded.found, Some(&signed), loaded.now);
        match step.await? {
            Next::SignIn { .. } => return Ok(Settled::SignIn),
            Next::Refuse(refusal) => return close(world, &loaded, &posed, &refusal).await,
            Next::Ask(_) | Next::Remembered(..) => {}
        }
        let (permitted, asking) = current(&loaded, &posed, &signed);
        let Some(choice) = &answer.allow else {
            return close(world, &loaded, &posed, &Refusal::Denied).await;
        };
        if answer.seen != asking.seen() {
            return Ok(Settled::Changed);
        }
        let taken = asking.take(choice);
        if taken.is_empty() {
            return Ok(Settled::Nothing);
        }
        let giving = Giving { loaded: &loaded, posed: &posed, signed: &signed, how: HOW_ASKED };
        let most = loaded.now.plus(taken.life);
        let given = (taken, most, &[][..]);
        if let Some(reply) = giving.give(world, &permitted, &asking, given).await? {
            return Ok(Settled::Reply(reply));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

/// The user was asked.
const HOW_ASKED: &str = "asked";
/// The user allowed it before.
const HOW_REMEMBERED: &str = "remembered";

/// Answers by what the user allowed before, where that covers all of it.
pub(crate) async fn remembered<W: World>(
    world: &W,
    browser: &Browser<'_>,
    name: &str,
) -> Result<Settled, Unavailable> {
    for turn in 0..TRIES_MAX {
        let (loaded, posed) = match load(world, browser, name).await? {
            Ok(loaded) => loaded,
            Err(not) => return not_loaded(world, not).await,
        };
        let Some(signed) = loaded.signed.clone() else { return Ok(Settled::SignIn) };
        let step = next(world, &loaded.facts, &posed, &loaded.found, Some(&signed), loaded.now);
        let Next::Remembered(asking, before) = step.await? else { return Ok(Settled::Changed) };
        let (permitted, _) = current(&loaded, &posed, &signed);
        let taken = asking.take(&asking.whole());
        let giving =
            Giving { loaded: &loaded, posed: &posed, signed: &signed, how: HOW_REMEMBERED };
        let until = before.first().map_or(loaded.now, |grant| grant.until);
        let given = (taken, until, before.as_slice());
        if let Some(reply) = giving.give(world, &permitted, &asking, given).await? {
            return Ok(Settled::Reply(reply));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn not_loaded<W: World>(world: &W, not: NotLoaded) -> Result<Settled, Unavailable> {
    Ok(match not {
        NotLoaded::Over(over) => Settled::Over(over),
        NotLoaded::Page(fault) => Settled::Page(fault),
        NotLoaded::Unposed(loaded, to, refusal) => {
            Settled::Reply(unposed(world, &loaded, &to, &refusal).await?)
        }
    })
}

/// A grant that is about to be given.
struct Giving<'a> {
    loaded: &'a Loaded,
    posed: &'a Posed,
    signed: &'a Signed,
    how: &'static str,
}

impl Giving<'_> {
    /// Grant, code and record in one commit; `None` where another commit came first. `before`: what
    /// the user allowed the client before, and covers it.
    async fn give<W: World>(
        &self,
        world: &W,
        permitted: &Permitted,
        asking: &Asking,
        (taken, most, before): (Taken, UnixTime, &[Stored<GrantRecord>]),
    ) -> Result<Option<Reply>, Unavailable> {
        let Self { loaded, posed, .. } = self;
        let now = loaded.now;
        let secret = Zeroizing::new(world.entropy().secret());
        let text = Zeroizing::new(code::text(&secret));
        let made = self.grant(world, &taken, most);
        // One grant that is there, and says the same, goes on: nobody ends an application by ending
        // one of a hundred. It must still be as it was read.
        let (grant, put) = match before.iter().find(|grant| says_the_same(grant, &made)) {
            Some(grant) => {
                let put = Write::put(&*grant.value, Expect::Version(grant.version));
                ((*grant.value).clone(), put)
            }
            None => {
                let put = Write::put(&made, Expect::Absent);
                (made, put)
            }
        };
        let code = self.code(&text, &grant);
        // Signed, where it is to be signed, before it is committed.
        let reply =
            reply::with_code(world, &loaded.facts, &posed.client, &posed.to, &text, now).await?;
        let mut change = Change::default();
        change.writes.push(put);
        change.writes.push(Write::put(&code, Expect::Absent));
        over(loaded, Some(grant.id.clone()), &mut change);
        if posed.asked.signs_in() {
            self.tell_later(&mut change);
        }
        let mut record = self.record(world, permitted, asking, &grant);
        record.outcome = Outcome::Permitted;
        change.records.push(record);
        Ok(settled(world.store().commit(change).await)?.map(|_| reply))
    }

    fn grant<W: World>(&self, world: &W, taken: &Taken, most: UnixTime) -> GrantRecord {
        let (loaded, session) = (self.loaded, &self.signed.session);
        let granted = most.min(loaded.now.plus(loaded.facts.set().domain().consent.grant_life));
        GrantRecord {
            id: public_id(world),
            client_id: self.posed.client.id.to_string(),
            subject: self.signed.user.id(),
            way: Way::Code,
            targets: taken.targets.clone(),
            openid: taken.openid.clone(),
            authenticated: Some(session.authenticated.clone()),
            session: Some(session.id.clone()),
            binding: None,
            epoch: loaded.facts.epoch,
            created: loaded.now,
            // What does not outlast the session ends with it at the latest.
            until: match taken.is_offline() {
                true => granted,
                false => granted.min(session.until),
            },
            ended: None,
            used: None,
            refresh: None,
        }
    }

    fn code(&self, text: &str, grant: &GrantRecord) -> Code {
        let request = &self.posed.request;
        Code {
            // INVARIANT: `text` is the text of a code.
            hash: code::hash_of(text).unwrap_or_default(),
            grant: grant.id.clone(),
            client_id: grant.client_id.clone(),
            redirect_uri: self.posed.to.named.clone(),
            // INVARIANT: a question without a challenge is not posed.
            challenge: request.code_challenge.map(|one| one.to_base64url()).unwrap_or_default(),
            dpop_jkt: request.dpop_jkt.as_ref().map(|key| key.to_base64url()),
            nonce: request.nonce.clone(),
            resources: grant.targets.keys().cloned().collect(),
            until: self.loaded.now.plus(CODE_LIFE),
            used: None,
        }
    }

    /// The client will be told when the session ends (OpenID Connect Back-Channel Logout 1.0 §2.3).
    fn tell_later(&self, change: &mut Change) {
        let session = &self.signed.session;
        let client = self.posed.client.id.to_string();
        if !session.clients.contains(&client) {
            let mut clients = session.clients.clone();
            clients.insert(client);
            let told = Session { clients, ..(*session.value).clone() };
            change.writes.push(Write::put(&told, Expect::Version(session.version)));
        }
    }

    fn record<W: World>(
        &self,
        world: &W,
        permitted: &Permitted,
        asking: &Asking,
        grant: &GrantRecord,
    ) -> Record {
        let mut record = begin(world, Event::ConsentAnswered);
        describe(&mut record, &self.loaded.facts, &self.posed.client, &grant.subject);
        record.root = Some(grant.id.clone());
        record.resource = resource(grant.targets.keys());
        record.rules = permitted.rules.iter().cloned().collect();
        let targets: BTreeMap<_, _> =
            grant.targets.iter().map(|(id, one)| (id, (&one.scope, &one.details))).collect();
        record.facts = serde_json::json!({
            "how": self.how, "seen": asking.seen(), "targets": targets, "openid": grant.openid,
            "until": grant.until.to_string(), "questions": permitted.questions,
        });
        record
    }
}

/// Whether a grant gives what another would: in the same session, by the same sign-in, and with no
/// refresh token that a code would give anew.
fn says_the_same(grant: &GrantRecord, other: &GrantRecord) -> bool {
    grant.session == other.session
        && grant.authenticated == other.authenticated
        && grant.targets == other.targets
        && grant.openid == other.openid
        && grant.refresh.is_none()
        && grant.binding.is_none()
}

fn describe(record: &mut Record, facts: &Basis, client: &Client, user: &str) {
    record.action = "consent".to_owned();
    record.agent = Some(client.id.to_string());
    record.subject = Some(user.to_owned()).filter(|user| !user.is_empty());
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
}

fn resource<'a>(targets: impl Iterator<Item = &'a String>) -> Option<String> {
    let all: Vec<_> = targets.map(String::as_str).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// The interaction is answered, and with it the request that was pushed for it.
fn over(loaded: &Loaded, grant: Option<String>, change: &mut Change) {
    let found = &loaded.found;
    let answered = found.after_answer(Answered { at: loaded.now, grant });
    change.writes.push(Write::put(&answered, Expect::Version(found.version)));
    if let Some(pushed) = &loaded.pushed {
        let used = pushed.after_use(loaded.now, answered.answered.as_ref().is_some_and(allows));
        change.writes.push(Write::put(&used, Expect::Version(pushed.version)));
    }
}

fn allows(answered: &Answered) -> bool {
    answered.grant.is_some()
}

/// How it was answered that another answer came first to.
async fn answered<W: World>(world: &W, loaded: &Loaded) -> Result<Over, Unavailable> {
    let hash = &loaded.found.hash;
    let mut keys = vec![Key::of::<Interaction>(hash)];
    if let CameBy::Pushed { hash, .. } = &loaded.found.by {
        keys.push(Key::of::<Pushed>(hash));
    }
    let rows = world.store().snapshot(&keys).await?;
    let own = rows.get::<Interaction>(hash)?.and_then(|one| one.answered.clone());
    let pushed = match &loaded.found.by {
        CameBy::Pushed { hash, .. } => rows.get::<Pushed>(hash)?,
        CameBy::Parameters | CameBy::Object => None,
    };
    let pushed = pushed.and_then(|one| Some((one.used?, !one.refused)));
    let own = own.map(|one| (one.at, allows(&one)));
    let (at, allowed) = own.or(pushed).unwrap_or((loaded.now, false));
    Ok(Over::Answered { at, allowed })
}

/// A client that is told why it gets nothing.
pub(crate) struct Refused<'a> {
    pub(crate) client: &'a Client,
    pub(crate) to: &'a To,
    pub(crate) facts: &'a Basis,
    pub(crate) now: UnixTime,
}

/// Records a refusal for a user who is known; `None` where another commit came first.
pub(crate) async fn refuse<W: World>(
    world: &W,
    what: Refused<'_>,
    refusal: &Refusal,
    user: &str,
    loaded: Option<&Loaded>,
) -> Result<Option<Recorded<Reply>>, Unavailable> {
    let Refused { client, to, facts, now } = what;
    let reply = reply::with_error(world, facts, client, to, refusal, now).await?;
    let event = match refusal {
        Refusal::Denied => Event::ConsentAnswered,
        _ => Event::AuthorizationRequested,
    };
    let mut record = begin(world, event);
    describe(&mut record, facts, client, user);
    refused(&mut record, refusal.check(), refusal, None);
    let mut change = Change::record(record);
    if let Some(loaded) = loaded {
        over(loaded, None, &mut change);
    }
    let receipt = settled(world.store().commit(change).await)?;
    Ok(receipt.map(|receipt| Recorded::new(reply, &receipt)))
}

/// Ends an interaction with a refusal.
pub(crate) async fn close<W: World>(
    world: &W,
    loaded: &Loaded,
    posed: &Posed,
    refusal: &Refusal,
) -> Result<Settled, Unavailable> {
    let user = loaded.signed.as_ref().map(|signed| signed.user.id()).unwrap_or_default();
    let what = Refused::of(loaded, posed);
    match refuse(world, what, refusal, &user, Some(loaded)).await? {
        Some(recorded) => Ok(Settled::Reply(recorded.into_value())),
        // It was answered meanwhile.
        None => answered(world, loaded).await.map(Settled::Over),
    }
}

/// Ends an interaction whose question does not stand any more.
pub(crate) async fn unposed<W: World>(
    world: &W,
    loaded: &Loaded,
    to: &(Client, To),
    refusal: &Refusal,
) -> Result<Reply, Unavailable> {
    let (client, to) = to;
    let what = Refused { client, to, facts: &loaded.facts, now: loaded.now };
    let user = loaded.signed.as_ref().map(|signed| signed.user.id()).unwrap_or_default();
    let recorded = refuse(world, what, refusal, &user, Some(loaded)).await?;
    Ok(recorded.ok_or_else(overtaken)?.into_value())
}

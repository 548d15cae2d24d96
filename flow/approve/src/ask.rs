//! Making the one record that stands behind every way to ask.

use std::collections::BTreeSet;

use approval::{
    Approval, Ask, Asks, Bound, Front, Kind, Queue, Sought, State, Ticket, Whom, ticket,
};
use authentication::session::Acr;
use authorization::asked::Asked;
use authorization::granted::{Binding, Granted};
use authorization::profile::{Demand, of_asker};
use env::rows::waits_handle;
use env::{Change, Entity, Entropy, Expect, Index, Key, Store, Unavailable, World, Write};
use monitoring::Record;
use oauth::ScopeSet;
use pdp::{Circumstances, Decision, Fact, Obligation, Principal, Question, Resource};
use registry::ClientRecord;
use registry::client::Origin;
use time::{Span, UnixTime};

use crate::Refusal;
use crate::caller::{Asker, Known};
use crate::facts::Basis;
use crate::record::public_id;
use crate::whom;

/// Questions that wait for one person, or for the people of one role: more would teach them to
/// click.
pub(crate) const WAITING_MAX: usize = 32;
/// Of these, how many one client may have put: the others can still ask.
pub(crate) const OF_CLIENT_MAX: usize = 8;
/// The same of all clients together that nobody here let in: they are as many as they like.
pub(crate) const OF_STRANGERS_MAX: usize = 8;
/// Rows that are looked at to count them.
const LOOKED_AT_MAX: usize = 1_024;

/// A question, before it is put.
pub struct Posed {
    /// Who is asked.
    pub whom: Whom,
    /// Whether the person in whose name it is may allow it.
    pub by_subject: bool,
    /// How strongly who allows it must have authenticated.
    pub acr: Option<Acr>,
    /// Who asks.
    pub asks: Asks,
    /// What for.
    pub sought: Sought,
    /// By which way.
    pub front: Front,
    /// The lineage that it belongs to, where it begins none.
    pub root: Option<String>,
    /// The token that it came from.
    pub parent: Option<String>,
    /// The tokens between.
    pub above: Vec<String>,
    /// How long it waits for an answer.
    pub wait: Span,
    /// Until when the grant may be used that it gives.
    pub grant_until: Option<UnixTime>,
    /// What the question is bound to that was asked about before (AuthZEN).
    pub bound: Option<Bound>,
}

/// A question that may be put, and the place that it takes among those of whoever is asked: who
/// counted the same ones meanwhile is overtaken by whoever commits first.
pub struct Placed {
    /// The question.
    pub approval: Approval,
    place: Option<Write>,
}

/// The approval of a question, if it can be put.
pub async fn approval<W: World>(
    world: &W,
    (facts, now): (&Basis, UnixTime),
    posed: Posed,
) -> Result<Result<Placed, Refusal>, Unavailable> {
    if let Err(much) = posed.sought.fits() {
        return Ok(Err(much.into()));
    }
    let mut place = None;
    if let Some(who) = whom::handle(&posed.whom) {
        // INVARIANT: the row is read before the questions are counted that it stands for.
        let rows = world.store().snapshot(&[Key::of::<Queue>(&who)]).await?;
        let before = rows.get::<Queue>(&who)?;
        let next = Queue::after(before.as_ref().map(|one| &*one.value), &who, now.plus(posed.wait));
        let expect = before.map_or(Expect::Absent, |one| Expect::Version(one.version));
        place = Some(Write::put(&next, expect));
        let found = waiting(world, &who, &posed, now).await?;
        if found.is_full() {
            return Ok(Err(Refusal::TooManyWait { who, found: found.all }));
        }
    }
    let id = public_id(world);
    let [low, high, ..] = world.entropy().public();
    let one = Approval {
        root: posed.root.unwrap_or_else(|| id.clone()),
        id,
        whom: posed.whom,
        by_subject: posed.by_subject,
        acr: posed.acr,
        asks: posed.asks,
        sought: posed.sought,
        hash: String::new(),
        number: Approval::number_of([low, high]),
        policy: facts.version(),
        front: posed.front,
        parent: posed.parent,
        above: posed.above,
        epoch: facts.epoch,
        created: now,
        until: now.plus(posed.wait),
        grant_until: posed.grant_until,
        state: State::Pending,
        answered: None,
        grant: None,
        used: None,
        bound: posed.bound,
    };
    Ok(Ok(Placed { approval: one.sealed(), place }))
}

/// Questions that wait.
struct Waiting {
    all: usize,
    /// Of the same client.
    of_client: usize,
    /// Of clients that nobody let in, where this is one of them.
    of_strangers: usize,
}

impl Waiting {
    const fn is_full(&self) -> bool {
        self.all >= WAITING_MAX
            || self.of_client >= OF_CLIENT_MAX
            || self.of_strangers >= OF_STRANGERS_MAX
    }
}

/// Those of these clients that nobody here let in: they registered themselves, or are known by a
/// document.
async fn strangers<'a, W: World>(
    world: &W,
    clients: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<String>, Unavailable> {
    let clients: BTreeSet<&str> = clients.collect();
    let keys: Vec<_> = clients.iter().map(|id| Key::of::<ClientRecord>(*id)).collect();
    let rows = world.store().snapshot(&keys).await?;
    let mut found = BTreeSet::new();
    for id in clients {
        let client = rows.get::<ClientRecord>(id)?;
        let let_in = |one: &ClientRecord| matches!(one.origin, Origin::Operator | Origin::Invited);
        if client.is_some_and(|client| !let_in(&client)) {
            found.insert(id.to_owned());
        }
    }
    Ok(found)
}

/// The questions that wait there, of all clients and of this one. What was answered or ended before
/// is not looked at: nobody is silenced by what is over.
async fn waiting<W: World>(
    world: &W,
    who: &str,
    posed: &Posed,
    now: UnixTime,
) -> Result<Waiting, Unavailable> {
    let (table, index) = (Approval::TABLE, Index::Handle);
    let page = world.store().scan(table, index, &waits_handle(who), None, LOOKED_AT_MAX).await?;
    let mut waits = Vec::new();
    for row in &page.rows {
        let read = row.value::<Approval>().map_err(|error| Unavailable::of("store", error))?;
        waits.extend(read.filter(|one| one.state_at(now) == State::Pending));
    }
    let own = posed.asks.client_id.as_str();
    let clients = waits.iter().map(|one| one.asks.client_id.as_str());
    let strangers = strangers(world, clients.chain([own])).await?;
    let of_strangers = waits.iter().filter(|one| strangers.contains(&one.asks.client_id)).count();
    // More than are looked at wait to be ended, in a moment.
    let all = if page.next.is_some() { WAITING_MAX.max(waits.len()) } else { waits.len() };
    Ok(Waiting {
        all,
        of_client: waits.iter().filter(|one| is_of_same(one, posed)).count(),
        of_strangers: if strangers.contains(own) { of_strangers } else { 0 },
    })
}

/// Whether the same client put both, or asks for itself by another that puts its questions.
fn is_of_same(one: &Approval, posed: &Posed) -> bool {
    let by = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.pep.clone());
    let (found, now) = (by(&one.bound), by(&posed.bound));
    one.asks.client_id == posed.asks.client_id || (found.is_some() && found == now)
}

/// What the client waits with.
pub struct Waits {
    /// The text that the client keeps.
    pub text: String,
    /// The row.
    pub ticket: Ticket,
}

/// A ticket for the answer to `approval`.
pub fn ticket<W: World>(
    world: &W,
    kind: Kind,
    approval: &Approval,
    binding: Option<Binding>,
) -> Waits {
    let text = kind.text(&world.entropy().secret());
    let ticket = Ticket {
        // INVARIANT: `text` is a text of this kind.
        hash: kind.hash_of(&text).unwrap_or_default(),
        kind,
        client_id: approval.asks.client_id.clone(),
        approval: approval.id.clone(),
        resources: approval.sought.targets.keys().cloned().collect(),
        binding,
        user_code: None,
        notify: None,
        interval: ticket::INTERVAL,
        asked: None,
        until: approval.until,
        used: None,
        body: None,
    };
    Waits { text, ticket }
}

/// Puts both into the change, and says so in the record.
pub fn put(placed: Placed, ticket: &Ticket, change: &mut Change, record: &mut Record) {
    let Placed { approval, place } = placed;
    change.writes.push(Write::put(&approval, Expect::Absent));
    change.writes.push(Write::put(ticket, Expect::Absent));
    change.writes.extend(place);
    describe(record, &approval);
}

/// One more fact of a record that [`describe`] began.
pub fn tell(record: &mut Record, name: &str, value: &str) {
    if let Some(facts) = record.facts.as_object_mut() {
        facts.insert(name.to_owned(), value.into());
    }
}

/// What records say of an approval: what was shown by its hash, the rest by names.
pub fn describe(record: &mut Record, approval: &Approval) {
    let asks = &approval.asks;
    record.agent = Some(asks.client_id.clone());
    record.actors.clone_from(&asks.actors);
    record.resource = Some(format!("approval {}", approval.id));
    record.root = Some(approval.root.clone());
    record.parent.clone_from(&approval.parent);
    record.txn.clone_from(&approval.sought.txn);
    record.subject = match (&approval.whom, asks.subject.is_empty()) {
        (_, false) => Some(asks.subject.clone()),
        (Whom::User(user), true) => Some(user.clone()),
        _ => None,
    };
    record.facts = serde_json::json!({
        "approval": approval.id, "front": approval.front.name(), "asked": approval.whom,
        "shown": approval.text(), "shown_sha256": approval.hash, "number": approval.number,
        "state": approval.state.name(), "acr": approval.acr.map(Acr::as_str),
        "asked_under": approval.policy,
    });
}

/// Who asks policy for something to be asked of a user.
pub(crate) struct For<'a> {
    pub(crate) facts: &'a Basis,
    pub(crate) principal: &'a Principal,
    pub(crate) client_id: &'a str,
    /// The user; empty, where nobody knows yet who it is.
    pub(crate) user: &'a str,
    pub(crate) now: UnixTime,
}

/// What the resources demand that are asked for; refused, where the client registered otherwise.
pub(crate) fn demanded<W: World>(
    world: &W,
    known: &Known,
    asker: &Asker,
    asked: &Asked,
) -> Result<BTreeSet<Demand>, Refusal> {
    let targets = asked.targets.iter().map(|target| target.audience.as_str());
    let wants = known.facts.set().demands(targets, &world.site().gateway);
    of_asker(&wants, &asker.lacks)?;
    Ok(wants)
}

/// Asks policy about each target, for this user: what is left of it, and how strongly they must
/// authenticate.
pub(crate) fn permit(
    known: &Known,
    asker: &Asker,
    user: &str,
    asked: &Asked,
) -> Result<(Sought, Option<Acr>), Refusal> {
    let (facts, now) = (&known.facts, known.now);
    let by = For { facts, principal: &asker.principal, client_id: &asker.id, user, now };
    let mut sought = Sought { openid: asked.openid.clone(), ..Sought::default() };
    let (mut acr, alone) = (None, asked.targets.len() == 1);
    for target in &asked.targets {
        let wanted = target.granted();
        let (granted, stepped) = of_target(&by, &target.audience, &target.name, &wanted, alone)?;
        acr = acr.max(stepped);
        sought.targets.insert(target.audience.clone(), granted);
    }
    Ok((sought, acr))
}

/// The same of one target. `alone`: whether nothing else is asked beside it.
pub(crate) fn of_target(
    by: &For<'_>,
    audience: &str,
    name: &str,
    wanted: &Granted,
    alone: bool,
) -> Result<(Granted, Option<Acr>), Refusal> {
    let mut resource = Resource::audience(audience);
    resource.attributes.insert("name".to_owned(), Fact::Text(name.to_owned()));
    let circumstances = Circumstances {
        scope: wanted.scope.iter().map(ToString::to_string).collect(),
        subject: by.user.to_owned(),
        actors: vec![by.client_id.to_owned()],
        autonomous: false,
        // What is asked here is asked of a human; whether of the right one stands below.
        approved: true,
        ..Circumstances::at(by.now)
    };
    let question = Question {
        principal: by.principal.clone(),
        action: "token.issue".to_owned(),
        resource,
        context: circumstances.into(),
    };
    let decide = |approved| by.facts.set().pdp().decide(&question).after(approved, None);
    let permit = match decide(true) {
        Decision::Permit(permit) => permit,
        Decision::Deny(denial) => return Err(Refusal::Denied(Box::new(denial))),
    };
    let (mut granted, mut acr) = (wanted.clone(), None);
    // What policy demands an approval for, the user alone is asked for; and only for that.
    let duty = match decide(false) {
        Decision::Permit(permit) => permit.obligations().contains(&Obligation::Approval),
        Decision::Deny(_) => true,
    };
    if duty {
        let rule = by.facts.set().domain().approvals.at(Some(name));
        if rule.ask != Ask::Subject || !rule.by_subject {
            return Err(Refusal::OtherIsAsked { name: name.to_owned(), ask: rule.ask });
        }
        if !alone {
            return Err(Refusal::NotAlone { name: name.to_owned() });
        }
        acr = rule.acr;
    }
    for obligation in permit.obligations() {
        match obligation {
            Obligation::NarrowScope(most) => {
                let most = ScopeSet::parse(most).unwrap_or_default();
                granted.scope = granted.scope.intersection(&most);
            }
            // A class that is not known cannot be met: then the strongest is asked for.
            Obligation::StepUp(wanted) => {
                acr = acr.max(Some(Acr::parse(wanted).unwrap_or(Acr::HardwarePasskey)));
            }
            Obligation::Approval | Obligation::Redact(_) | Obligation::RecordFully => {}
        }
    }
    Ok((granted, acr))
}

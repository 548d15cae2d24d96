//! A request for access that was denied (Access Request and Approval Profile, Access Request
//! Endpoint): bound to its denial, put to the human whom policy names, and a task to wait with.

use access::secret;
use approval::bound::{self, Bound};
use approval::{Asks, Front, Kind, Ticket};
use approve::ask::{self, Placed, Posed};
use approve::whom;
use authzen::access_request::{Answer, Submission};
use env::{Change, Key, Store, Unavailable, World};
use monitoring::{Event, Outcome, Record};
use pdp::{Asked, PrincipalKind};
use time::Span;

use crate::Refusal;
use crate::approved::Brought;
use crate::evaluate::{self, approval, describe, describe_arguments};
use crate::pep::{End, Pep, Shown, refuse};
use crate::subject::{self, Known, behalf};
use crate::task::told;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// What the record says of what was handed in before.
const AGAIN: &str = "access_request.again";

/// What is handed in.
#[derive(Clone, Debug)]
pub struct HandedIn {
    /// The submission.
    pub submission: Submission,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// SHA-256 of the body, base64url, over its canonical form.
    pub body: String,
}

/// Takes one in. The same again is the same task.
pub async fn submit<W: World>(
    world: &W,
    shown: &Shown,
    handed: &HandedIn,
) -> Result<End<Answer>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(end) = attempt(world, shown, handed).await? {
            return Ok(end);
        }
        // The same was handed in at the same time: there is one task.
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn attempt<W: World>(
    world: &W,
    shown: &Shown,
    handed: &HandedIn,
) -> Result<Option<End<Answer>>, Unavailable> {
    let pep = match Pep::of(world, shown).await? {
        Ok(pep) => pep,
        Err(stranger) => return Ok(Some(End::Stranger(stranger))),
    };
    let mut record = pep.record(world, Event::ApprovalAsked, "access_request.ask");
    let mut change = Change::default();
    let decided = match pep.may_ask() {
        Ok(()) => take(world, &pep, handed, (&mut record, &mut change)).await?,
        Err(refusal) => Err(refusal),
    };
    match &decided {
        Ok(_) => record.outcome = Outcome::Done,
        Err(refusal) => refuse(&mut record, refusal),
    }
    change.records.push(record);
    pep.commit(world, change, decided).await
}

type Taken = Result<Answer, Refusal>;

/// The checks, in order: what it is about, whether it came before, its denial, policy, who is
/// asked.
async fn take<W: World>(
    world: &W,
    pep: &Pep,
    handed: &HandedIn,
    (record, change): (&mut Record, &mut Change),
) -> Result<Taken, Unavailable> {
    let request = &handed.submission.request;
    let site = world.site();
    let place = (site.issuer.as_str(), site.gateway.as_str());
    let asked = match subject::read(&pep.facts, pep, place, request) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    describe(record, &asked);
    let secret = secret::of(world).await?;
    let text = handle(secret.expose(), pep, handed);
    let hash = Kind::AccessRequest.hash_of(&text).unwrap_or_default();
    let rows = world.store().snapshot(&[Key::of::<Ticket>(&hash)]).await?;
    if let Some(ticket) = rows.get::<Ticket>(&hash)? {
        // "A submission with the same `Idempotency-Key` and authenticated requester but a
        // materially different submission body MUST be rejected".
        if ticket.body.as_deref() != Some(handed.body.as_str()) {
            return Ok(Err(Refusal::Duplicate));
        }
        record.action = AGAIN.to_owned();
        let found = approval(world, &ticket.approval).await?;
        let again = found.map(|found| {
            ask::describe(record, &found);
            told(world, &text, &ticket, &found, pep.now)
        });
        return Ok(again.ok_or(Refusal::UnknownTask));
    }
    let bound = match denial(secret.expose(), pep, &asked, &handed.submission) {
        Ok(bound) => bound,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let placed = match pose(world, pep, &asked, &handed.submission, bound).await? {
        Ok(placed) => placed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let ticket = Ticket {
        hash,
        client_id: pep.client_id().to_owned(),
        body: Some(handed.body.clone()),
        ..ask::ticket(world, Kind::AccessRequest, &placed.approval, None).ticket
    };
    describe_arguments(record, &placed.approval.sought);
    let answer = told(world, &text, &ticket, &placed.approval, pep.now);
    ask::put(placed, &ticket, change, record);
    Ok(Ok(answer))
}

/// The handle of the task: the same for the same key of the same client; without a key, for the
/// same text about the same denial.
fn handle(secret: &[u8; 32], pep: &Pep, handed: &HandedIn) -> String {
    let denial = handed.submission.evaluation_id.as_deref().unwrap_or_default();
    let key = match &handed.key {
        Some(key) => format!("key {key}"),
        None => format!("denial {denial} {}", handed.body),
    };
    Kind::AccessRequest.text(&bound::task_secret(secret, pep.client_id(), &key))
}

/// Access Request Service Processing Rules: "MUST verify the denial-binding material".
fn denial(
    secret: &[u8; 32],
    pep: &Pep,
    asked: &Asked<'_>,
    submission: &Submission,
) -> Result<Bound, Refusal> {
    if submission.has_binding_token {
        return Err(Refusal::BindingToken);
    }
    let id = submission.evaluation_id.as_deref().ok_or(Refusal::NoDenial)?;
    let question = asked.bound(&submission.request);
    let hash = bound::hash_of(&question).map_err(|_| bound::NotBound)?;
    let (bound, until) = bound::read_denial(secret, id, (pep.client_id(), &hash))?;
    // "enforce freshness against the recorded `expires_at` rather than the PEP-echoed
    // `denial.expires_at`".
    if pep.now >= until {
        return Err(Refusal::ExpiredDenial { until });
    }
    if submission.expires_at != until {
        return Err(Refusal::OtherEnd);
    }
    Ok(bound)
}

/// The question to the human whom policy names, if an approval is still all that is missing.
async fn pose<W: World>(
    world: &W,
    pep: &Pep,
    asked: &Asked<'_>,
    submission: &Submission,
    bound: Bound,
) -> Result<Result<Placed, Refusal>, Unavailable> {
    let rows = world.store().snapshot(&subject::keys(asked)).await?;
    let verdict = evaluate::judge(pep, &rows, asked, &Brought::Nothing)?;
    let nothing = |why: &str| Ok(Err(Refusal::NotRequestable(why.to_owned())));
    let known = match (verdict.outcome, verdict.known) {
        (Err(no), Some(known)) if no.requestable => known,
        (Ok(_), _) => return nothing("it is permitted now"),
        (Err(_), _) => return nothing("an approval would not permit it"),
    };
    let message = submission.justification.clone();
    let Some(sought) = subject::sought(asked, &submission.request, message) else {
        return nothing("its arguments have no one text");
    };
    let approvals = &pep.facts.set().domain().approvals;
    let rule = approvals.at(Some(&asked.resource.name));
    let whom = match whom::of_policy(world, &rule.ask, behalf(asked), &known.owner).await? {
        Ok(whom) => whom,
        Err(refusal) => return Ok(Err(Refusal::NotRequestable(refusal.to_string()))),
    };
    let wait = match submission.requested_until {
        Some(until) if until <= pep.now => return Ok(Err(Refusal::UntilOver)),
        Some(until) => approvals.wait.min(until.since(pep.now)).max(Span::from_seconds(1)),
        None => approvals.wait,
    };
    let asks = asks(world, pep, asked, known).await?;
    let posed = Posed {
        whom,
        by_subject: rule.by_subject,
        acr: rule.acr,
        asks,
        sought,
        front: Front::AccessRequest,
        // All of it, from the denial to the permit, is one story.
        root: Some(bound.evaluation.clone()),
        parent: None,
        above: Vec::new(),
        wait,
        grant_until: None,
        bound: Some(bound),
    };
    Ok(ask::approval(world, (&pep.facts, pep.now), posed).await?.map_err(|refusal| match refusal {
        approve::Refusal::TooManyWait { .. } => Refusal::TooManyWait,
        other => Refusal::NotRequestable(other.to_string()),
    }))
}

/// Who would act; for a person who acts by themselves, whoever asks for them.
async fn asks<W: World>(
    world: &W,
    pep: &Pep,
    asked: &Asked<'_>,
    known: Known,
) -> Result<Asks, Unavailable> {
    let is_person = known.principal.kind == PrincipalKind::User;
    let (client_id, (name, owner)) = if is_person {
        // The name beside an identifier is its own.
        (pep.client_id(), subject::named(world, pep.client_id()).await?)
    } else {
        (asked.principal.as_str(), (known.name, known.owner))
    };
    Ok(Asks {
        client_id: client_id.to_owned(),
        name,
        owner,
        subject: behalf(asked).to_owned(),
        actors: asked.actors.clone(),
    })
}

//! One decision, or several (AuthZEN §6, §7): asked by somebody else's gateway or service, and
//! answered as our own gateway would answer the call.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;

use access::call::standing;
use access::secret;
use approval::bound::{self, DENIAL_LIFE};
use approval::{Approval, Bound, Sought};
use approve::whom;
use authzen::access_request::{Display, Hint, NextAction, approval_id};
use authzen::{Evaluations, Malformed, Request, Response, Responses, Semantic};
use env::{Change, Expect, Key, Snapshot, Store, Stored, Unavailable, World, Write};
use monitoring::{Event, Outcome, Record};
use pdp::{Asked, Decision, Denial, Permit, Question};
use serde_json::{Value, json};

use crate::Refusal;
use crate::approved::{self, Brought, Shows};
use crate::metadata::REQUESTS_PATH;
use crate::pep::{End, Pep, Shown, refuse};
use crate::record::refused;
use crate::subject::{self, Known, behalf};
use crate::turns::{TRIES_MAX, overtaken, pause};

/// What is told.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// One decision.
    One(Response),
    /// Several.
    Many(Responses),
}

/// Answers one request.
pub async fn answer<W: World>(
    world: &W,
    shown: &Shown,
    asks: &Evaluations,
) -> Result<End<Told>, Unavailable> {
    for turn in 0..TRIES_MAX {
        if let Some(end) = attempt(world, shown, asks).await? {
            return Ok(end);
        }
        // Another request used the same approval: decided again, by what that left.
        pause(world, turn).await;
    }
    Err(overtaken())
}

async fn attempt<W: World>(
    world: &W,
    shown: &Shown,
    asks: &Evaluations,
) -> Result<Option<End<Told>>, Unavailable> {
    let pep = match Pep::of(world, shown).await? {
        Ok(pep) => pep,
        Err(stranger) => return Ok(Some(End::Stranger(stranger))),
    };
    let mut desk = Desk { world, pep: &pep, change: Change::default(), spent: BTreeSet::new() };
    let decided = match (pep.may_ask(), asks) {
        (Err(refusal), _) => {
            desk.refuse(None, &refusal);
            Err(refusal)
        }
        (Ok(()), Evaluations::Single(request)) => desk.single(request).await?.map(Told::One),
        (Ok(()), Evaluations::Many { requests, semantic }) => {
            Ok(Told::Many(desk.many(requests, *semantic).await?))
        }
    };
    let change = std::mem::take(&mut desk.change);
    pep.commit(world, change, decided).await
}

/// Where the questions of one request are decided, one after the other.
struct Desk<'a, W> {
    world: &'a W,
    pep: &'a Pep,
    change: Change,
    /// The approvals that this request used up already.
    spent: BTreeSet<String>,
}

impl<W: World> Desk<'_, W> {
    async fn single(
        &mut self,
        request: &Request,
    ) -> Result<Result<Response, Refusal>, Unavailable> {
        let rows = self.load(std::iter::once(request)).await?;
        self.one(request, &rows).await
    }

    async fn many(
        &mut self,
        requests: &[Result<Request, Malformed>],
        semantic: Semantic,
    ) -> Result<Responses, Unavailable> {
        let rows = self.load(requests.iter().flatten()).await?;
        let mut evaluations = Vec::with_capacity(requests.len());
        for request in requests {
            // A long message leaves others their turn.
            yielded().await;
            let response = match request {
                Ok(request) => match self.one(request, &rows).await? {
                    Ok(response) => response,
                    Err(refusal) => failed(refusal.status(), &refusal),
                },
                Err(malformed) => {
                    let mut record = self.record();
                    refused(&mut record, "decide::Malformed", malformed, None);
                    self.change.records.push(record);
                    failed(400, malformed)
                }
            };
            let ends = semantic.ends_with(&response);
            evaluations.push(response);
            if ends {
                break;
            }
        }
        Ok(Responses { evaluations })
    }

    /// The rows of everybody whom these concern, and the approvals that come with them, as of one
    /// instant.
    async fn load(
        &self,
        requests: impl Iterator<Item = &Request>,
    ) -> Result<Snapshot, Unavailable> {
        let mut keys = Vec::new();
        for request in requests {
            yielded().await;
            if let Ok(asked) = self.read(request) {
                keys.extend(subject::keys(&asked));
            }
            keys.extend(shown_id(request).map(|id| approved::key(&id)));
        }
        self.world.store().snapshot(&keys).await
    }

    fn read(&self, request: &Request) -> Result<Asked<'_>, Refusal> {
        let site = self.world.site();
        subject::read(&self.pep.facts, self.pep, (&site.issuer, &site.gateway), request)
    }

    fn record(&self) -> Record {
        self.pep.record(self.world, Event::AccessDecided, "access.evaluate")
    }

    /// Records a refusal; under which id.
    fn refuse(&mut self, resource: Option<&str>, refusal: &Refusal) -> String {
        let mut record = self.record();
        record.resource = resource.map(str::to_owned);
        refuse(&mut record, refusal);
        let id = record.id.to_string();
        self.change.records.push(record);
        id
    }

    async fn one(
        &mut self,
        request: &Request,
        rows: &Snapshot,
    ) -> Result<Result<Response, Refusal>, Unavailable> {
        let pep = self.pep;
        let site = self.world.site();
        let place = (site.issuer.as_str(), site.gateway.as_str());
        let asked = match subject::read(&pep.facts, pep, place, request) {
            Ok(asked) => asked,
            Err(refusal) if refused_by_policy(&refusal) => {
                let id = self.refuse(Some(&request.resource.id), &refusal);
                return Ok(Ok(denied_at_once(&pep.facts, &refusal, &id)));
            }
            Err(refusal) => {
                self.refuse(Some(&request.resource.id), &refusal);
                return Ok(Err(refusal));
            }
        };
        let mut record = self.record();
        record.action = asked.action().to_owned();
        describe(&mut record, &asked);
        let shown = shown_id(request);
        // What all of it is counts where an approval comes with it, or is wanted.
        let mut hash = shown.as_ref().and_then(|_| hash_of(&asked, request));
        let shows =
            Shows { pep: pep.client_id(), asked: &asked, hash: hash.as_deref(), now: pep.now };
        let id = shown.clone().filter(|id| !self.spent.contains(id));
        let brought = match (shown.is_some(), &id) {
            // Used by another question of the same request.
            (true, None) => Brought::Bad(approved::USED),
            _ => approved::of(self.world, rows, id.as_deref(), &shows).await?,
        };
        let verdict = judge(pep, rows, &asked, &brought)?;
        record.facts = serde_json::to_value(&verdict.question).unwrap_or_default();
        let mut response = match verdict.outcome {
            Ok(permit) => self.permitted(&mut record, &permit, brought),
            Err(no) => {
                if no.requestable {
                    hash = hash.or_else(|| hash_of(&asked, request));
                }
                let question = (&asked, request, hash);
                self.denied(&mut record, question, no, verdict.known).await?
            }
        };
        let context = &mut response.context;
        let id = record.id.to_string();
        context.entry("evaluation_id".to_owned()).or_insert_with(|| id.into());
        context.insert("evaluated_at".to_owned(), record.time.to_string().into());
        self.change.records.push(record);
        Ok(Ok(response))
    }

    /// A permit uses its approval up, in the commit of its record.
    fn permitted(&mut self, record: &mut Record, permit: &Permit, brought: Brought) -> Response {
        record.outcome = Outcome::Permitted;
        record.rules = permit.rules().to_vec();
        let mut response = Decision::Permit(permit.clone()).to_authzen();
        if let Brought::Good(found) = brought
            && let Ok(used) = found.after_use(self.pep.now)
        {
            let told = json!({ "id": used.id, "approved_until": used.until.to_string() });
            response.context.insert("approval".to_owned(), told);
            record.root = Some(used.root.clone());
            record.attestation.insert("approved".to_owned(), used.id.clone());
            self.spent.insert(used.id.clone());
            self.change.writes.push(Write::put(&used, Expect::Version(found.version)));
        }
        response
    }

    async fn denied(
        &self,
        record: &mut Record,
        (asked, request, hash): (&Asked<'_>, &Request, Option<String>),
        no: No,
        known: Option<Known>,
    ) -> Result<Response, Unavailable> {
        record.rules.clone_from(&no.rules);
        refused(record, no.check, &no.message, no.needs.clone());
        let mut response = Response { decision: false, context: no.told };
        let context = &mut response.context;
        let policy = self.pep.facts.version();
        context.entry("policy".to_owned()).or_insert_with(|| policy.into());
        context.insert("reason".to_owned(), no.reason.into());
        context.insert("message".to_owned(), no.message.into());
        let mut next = no.next;
        let mut offered = None;
        if let (true, Some(hash), Some(known)) = (no.requestable, hash, known) {
            offered = self.offer(record, (asked, request, hash), &known).await?;
        }
        match offered {
            Some((id, hint)) => {
                record.root = Some(record.id.to_string());
                context.insert("evaluation_id".to_owned(), id.into());
                let hint = serde_json::to_value(&hint).unwrap_or(Value::Null);
                context.insert("access_request".to_owned(), hint);
            }
            // "When `request` […] The PDP MUST also include a fresh `context.access_request`".
            None => next = next.map(|_| NextAction::None),
        }
        if let Some(next) = next {
            context.insert("next_action".to_owned(), json!(next));
        }
        Ok(response)
    }

    /// "The PDP MUST include this object only when the denied access is eligible for submission":
    /// somebody is there who is asked, and it can be shown whole.
    async fn offer(
        &self,
        record: &mut Record,
        (asked, request, hash): (&Asked<'_>, &Request, String),
        known: &Known,
    ) -> Result<Option<(String, Hint)>, Unavailable> {
        let domain = self.pep.facts.set().domain();
        let rule = domain.approvals.at(Some(&asked.resource.name));
        let whom = whom::of_policy(self.world, &rule.ask, behalf(asked), &known.owner).await?;
        let sought = subject::sought(asked, request, None);
        let Some(sought) = sought.filter(|sought| whom.is_ok() && sought.fits().is_ok()) else {
            return Ok(None);
        };
        describe_arguments(record, &sought);
        let (pep, evaluation) = (self.pep.client_id().to_owned(), record.id.to_string());
        let bound = Bound { pep, evaluation, hash };
        let until = time::UnixTime::from_seconds(self.pep.now.plus(DENIAL_LIFE).seconds());
        let secret = secret::of(self.world).await?;
        let hint = Hint {
            endpoint: format!("{}{REQUESTS_PATH}", self.world.site().issuer),
            expires_at: until.to_string(),
            display: Display {
                title: "A human must approve this".to_owned(),
                description: format!("`{}` of `{}`", asked.below(), asked.resource.name),
            },
        };
        Ok(Some((bound::denial_id(secret.expose(), &bound, until), hint)))
    }
}

/// The approval that comes with a question, by its id. What does not read as one is none.
fn shown_id(request: &Request) -> Option<String> {
    match approval_id(&request.context) {
        Ok(id) => id,
        Err(_) => Some(String::new()),
    }
}

/// What is decided of a question, and what was asked of policy for it.
pub(crate) struct Verdict {
    pub(crate) outcome: Result<Permit, No>,
    question: Option<Question>,
    pub(crate) known: Option<Known>,
}

/// A denial, before it is told.
pub(crate) struct No {
    check: &'static str,
    reason: &'static str,
    message: String,
    needs: Option<String>,
    rules: Vec<String>,
    told: authzen::Properties,
    /// Whether an approval is all that is missing.
    pub(crate) requestable: bool,
    next: Option<NextAction>,
}

impl No {
    fn new(check: &'static str, reason: &'static str, message: String) -> Self {
        let (told, rules) = (authzen::Properties::new(), Vec::new());
        let (needs, requestable, next) = (None, false, None);
        Self { check, reason, message, needs, rules, told, requestable, next }
    }

    fn of(denial: &Denial) -> Self {
        let message = denial.to_string();
        let told = Decision::Deny(denial.clone()).to_authzen().context;
        let needs = (!denial.needs.is_empty()).then(|| denial.needs.join("; or "));
        let requestable = denial.reason() == "approval_required";
        let rules = denial.rules.clone();
        let one = Self::new("pdp::Denied", denial.reason(), message);
        Self { needs, rules, told, requestable, ..one }
    }
}

/// The decision, as the gateway makes it of a call: standing, scope, what was approved, policy.
pub(crate) fn judge(
    pep: &Pep,
    rows: &Snapshot,
    asked: &Asked<'_>,
    brought: &Brought,
) -> Result<Verdict, Unavailable> {
    let no = |no: No| Verdict { outcome: Err(no), question: None, known: None };
    let concerned = asked.concerned();
    if let Err(refusal) = standing::check(rows, &concerned, &[], |_| pep.facts.epoch)? {
        return Ok(no(No::new(refusal.check(), "not_in_force", refusal.to_string())));
    }
    let known = Known::of(rows, asked)?;
    let unknown = subject::unknown(rows, asked)?;
    let (Some(known), None) = (known, &unknown) else {
        let who = unknown.as_deref().unwrap_or(&asked.principal);
        let message = format!("`{who}` is not in the registry as that");
        return Ok(no(No::new("decide::UnknownPrincipal", "unknown_principal", message)));
    };
    let wanted = asked.listed.and_then(|action| action.scope.as_ref());
    if let (Some(granted), Some(scope)) = (&asked.granted, wanted)
        && !granted.contains(scope.as_str())
    {
        let needs = Some(format!("a token with the scope `{scope}`"));
        let message = format!("the access token lacks the scope `{scope}`");
        let lacking = No::new("decide::Scope", "insufficient_scope", message);
        return Ok(no(No { needs, ..lacking }));
    }
    let approved = matches!(brought, Brought::Good(_));
    let question = asked.question(known.principal.clone(), approved, pep.now);
    let decision = pep.facts.set().pdp().decide(&question);
    let outcome = match decision.after(approved, asked.acr.as_deref()).without_obligations() {
        Decision::Permit(permit) => Ok(permit),
        Decision::Deny(denial) => Err(with(No::of(&denial), brought)),
    };
    Ok(Verdict { outcome, question: Some(question), known: Some(known) })
}

/// The denial, by what became of the approval that came with the question: "it SHOULD tell the PEP
/// what to do next so the PEP reacts correctly instead of blindly retrying".
fn with(no: No, brought: &Brought) -> No {
    match brought {
        Brought::Nothing => no,
        Brought::Good(_) => {
            No { reason: "policy_denied", next: Some(NextAction::None), requestable: false, ..no }
        }
        Brought::Bad(bad) if no.requestable => {
            let requestable = bad.next == NextAction::Request;
            let message = format!("{}: {}", no.message, bad.message);
            No { reason: bad.reason, next: Some(bad.next), requestable, message, ..no }
        }
        Brought::Bad(_) => No { next: Some(NextAction::None), ..no },
    }
}

/// What policy or the registry has no answer for is denied; what cannot be read is refused.
fn refused_by_policy(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Misfit(misfit) if !misfit.is_malformed())
}

fn denied_at_once(facts: &crate::facts::Basis, refusal: &Refusal, id: &str) -> Response {
    let context = json!({
        "reason": "not_permitted", "message": refusal.to_string(), "policy": facts.version(),
        "evaluation_id": id,
    });
    let context = context.as_object().cloned().unwrap_or_default();
    Response { decision: false, context }
}

/// AuthZEN §7.2.1: "Decisions default to *closed* (i.e. `false`), but the `context` field can
/// include errors that are specific to that request."
fn failed(status: u16, why: &impl ToString) -> Response {
    let error = json!({ "status": status, "message": why.to_string() });
    let context = authzen::Properties::from_iter([("error".to_owned(), error)]);
    Response { decision: false, context }
}

/// What the record says of the question.
pub(crate) fn describe(record: &mut Record, asked: &Asked<'_>) {
    record.agent = Some(asked.principal.clone());
    record.subject = Some(behalf(asked).to_owned()).filter(|subject| !subject.is_empty());
    record.actors.clone_from(&asked.actors);
    record.resource = Some(match &asked.what {
        pdp::What::Tool { name } => format!("{}#{name}", asked.audience),
        pdp::What::Session => asked.audience.clone(),
        pdp::What::Request { method, path, .. } => format!("{method} {}{path}", asked.audience),
    });
}

/// What the record says of what a human is asked about.
pub(crate) fn describe_arguments(record: &mut Record, sought: &Sought) {
    let hash = sought.act.as_ref().map(|act| act.arguments_hash.clone());
    record.attestation.extend(hash.map(|hash| ("arguments_sha256".to_owned(), hash)));
}

/// What an approval of the question is bound to.
fn hash_of(asked: &Asked<'_>, request: &Request) -> Option<String> {
    bound::hash_of(&asked.bound(request)).ok()
}

/// Goes on when everybody else had a turn.
async fn yielded() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The approval of an id, with the version of its row.
pub(crate) async fn approval<W: World>(
    world: &W,
    id: &str,
) -> Result<Option<Stored<Approval>>, Unavailable> {
    world.store().snapshot(&[Key::of::<Approval>(id)]).await?.get::<Approval>(id)
}

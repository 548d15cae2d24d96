//! What policy is told of a request, and what its record says.

use authentication::{Caller, Method, Who};
use authorization::Proposal;
use monitoring::{Outcome, Record};
use oauth::ScopeSet;
use pdp::Circumstances;

use super::brought::{Brought, Waiting};
use super::{Asked, Refusal, Verdict};
use crate::facts::Basis;
use crate::record::refused;

pub(super) fn circumstances(
    proposal: &Proposal,
    brought: &Brought,
    asked: &Asked<'_>,
    facts: &Basis,
) -> Circumstances {
    let rule = facts.set().domain().approvals.at(Some(proposal.audience_name()));
    let meets = |waiting: &Waiting| {
        waiting.approval().meets(&rule, proposal.audience(), proposal.subject())
    };
    let names = |scope: &ScopeSet| scope.iter().map(ToString::to_string).collect();
    let own = proposal.subject() == proposal.client_id();
    let granted = match (&brought.subject, &brought.held) {
        (Some(subject), _) => names(subject.scope()),
        (None, Some(held)) => {
            let granted = held.targets.get(proposal.audience());
            granted.map(|granted| names(&granted.scope)).unwrap_or_default()
        }
        (None, None) => brought.assertion.as_ref().map(|one| names(&one.scope)).unwrap_or_default(),
    };
    Circumstances {
        scope: names(proposal.scope()),
        granted,
        subject: if own { String::new() } else { proposal.subject().to_owned() },
        actors: proposal.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect(),
        proof: asked.caller.method().name().to_owned(),
        transport: asked.caller.transport().map(ToString::to_string).unwrap_or_default(),
        autonomous: own,
        approved: brought.waiting.as_ref().is_some_and(meets),
        acr: proposal.authenticated().map(|one| one.acr.as_str().to_owned()),
        ..Circumstances::at(asked.now)
    }
}

pub(super) fn describe_caller(record: &mut Record, caller: &Caller, facts: &Basis) {
    record.agent = Some(caller.client_id().to_owned());
    record.proof = Some(caller.method().name().to_owned());
    record.transport = caller.transport().map(ToString::to_string);
    record.policy = Some(facts.version());
    record.epoch = Some(facts.epoch.0);
    if let Who::Client(_) = caller.who() {
        record.attestation.insert("client".to_owned(), "registered key".to_owned());
    }
}

pub(super) fn describe_brought(record: &mut Record, brought: &Brought) {
    record.action = brought.grant.action().to_owned();
    if let Some(subject) = &brought.subject {
        record.root = Some(subject.root().to_owned());
        record.parent = Some(subject.jti().to_owned());
        record.subject = Some(subject.subject().to_owned());
        record.txn = subject.txn().map(str::to_owned);
    }
    if let Some(held) = &brought.held {
        record.root = Some(held.id.clone());
        record.subject = Some(held.subject.clone());
    }
    if let Some(waiting) = &brought.waiting {
        let approval = waiting.approval();
        record.root = Some(approval.root.clone());
        record.txn.clone_from(&approval.sought.txn);
        record.attestation.insert("approval".to_owned(), approval.id.clone());
    }
}

pub(super) fn describe_proposal(record: &mut Record, proposal: &Proposal) {
    record.subject = Some(proposal.subject().to_owned());
    record.actors = proposal.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect();
    record.resource = Some(proposal.audience().to_owned());
}

/// The verdict, unless it is a refusal of a client that proved nothing and brought nothing that is
/// ours, nor the word of somebody whom we believe. docs/design.md §2, idea 3: who says the name of
/// a public client, and a code that is none, is a stranger.
pub(super) fn unproved(
    verdict: Verdict,
    asked: &Asked<'_>,
    record: &Record,
) -> Result<Verdict, Refusal> {
    let nobody = record.root.is_none() && record.subject.is_none();
    match verdict {
        (Err(no), _) if nobody && asked.caller.method() == Method::None => Err(no.refusal),
        verdict => Ok(verdict),
    }
}

/// Whether it was permitted.
pub(super) fn conclude(record: &mut Record, refusal: Option<&Refusal>) {
    match refusal {
        None => record.outcome = Outcome::Permitted,
        Some(refusal) => refuse(record, refusal),
    }
}

pub(super) fn refuse(record: &mut Record, refusal: &Refusal) {
    let needs = match refusal {
        Refusal::Denied(denial) => Some(&**denial),
        Refusal::Unapproved(wanting) => Some(&wanting.denial),
        _ => None,
    };
    let needs = needs.and_then(|denial| {
        record.rules.clone_from(&denial.rules);
        (!denial.needs.is_empty()).then(|| denial.needs.join("; or "))
    });
    refused(record, refusal.check(), refusal, needs);
}

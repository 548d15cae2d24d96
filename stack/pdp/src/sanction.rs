//! A proposal of a grant becomes a right: the one way to a token.

use authorization::{Proposal, Sanctioned};

use crate::decide::Pdp;
use crate::decision::{Decision, Denial, Permit};
use crate::question::{Circumstances, Fact, Principal, Question, Resource};

/// A proposal and the permit behind it. Made here alone.
#[derive(Clone, Debug)]
pub struct Permitted {
    proposal: Proposal,
    permit: Permit,
}

impl Permitted {
    /// The permit.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The transaction token of a call that was permitted: the call's own permit stands behind it.
    /// `None` when the permit is of somebody else than the proposal names, or has duties that
    /// nobody has met.
    pub fn by_call(permit: Permit, proposal: Proposal) -> Option<Self> {
        let same = permit.principal() == proposal.client_id();
        let transaction = proposal.kind() == authorization::TokenKind::Transaction;
        let free = permit.obligations().is_empty();
        (same && transaction && free).then_some(Self { proposal, permit })
    }
}

impl Sanctioned for Permitted {
    fn proposal(&self) -> &Proposal {
        &self.proposal
    }
}

impl Pdp {
    /// Asks whether the client of `proposal` may have what it would give. `principal` says what
    /// that client is; who it is, the proposal says. The answer comes with the question, so that it
    /// can be recorded and asked again.
    pub fn sanction(
        &self,
        proposal: Proposal,
        principal: Principal,
        circumstances: Circumstances,
    ) -> (Result<Permitted, Denial>, Question) {
        let mut resource = Resource::audience(proposal.audience());
        let name = Fact::Text(proposal.audience_name().to_owned());
        resource.attributes.insert("name".to_owned(), name);
        let principal = Principal { id: proposal.client_id().to_owned(), ..principal };
        let (approved, acr) = (circumstances.approved, circumstances.acr.clone());
        let question = Question {
            principal,
            action: proposal.action().to_owned(),
            resource,
            context: circumstances.into(),
        };
        // What is left to be done, the caller's flow asks for: this one gives nothing before.
        let decision = self.decide(&question).after(approved, acr.as_deref());
        let answer = match decision.without_obligations() {
            Decision::Permit(permit) => Ok(Permitted { proposal, permit }),
            Decision::Deny(denial) => Err(denial),
        };
        (answer, question)
    }
}

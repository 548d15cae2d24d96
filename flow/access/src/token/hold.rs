//! A request for the answer to a backchannel request that came too early is held open for a while,
//! where policy says so (CIBA Core 1.0 §10.1): "the OP responds to the token request only when the
//! authentication result has become available or a timeout has occurred."

use approval::{Approval, State};
use authorization::granted::NotYet;
use authorization::grants;
use env::{Clock, Key, Store, Unavailable, World};
use oauth::token_request::TokenRequest;
use time::{Span, UnixTime};

use super::{Asked, Refusal, Verdict};
use crate::facts::Basis;

/// How often one looks whether somebody answered.
const LOOK: Span = Span::from_millis(250);

/// A request that came too early.
pub(super) struct Early {
    question: String,
    arrived: UnixTime,
    until: UnixTime,
}

impl Early {
    /// The request of that verdict, if it is to be held. One that came sooner than it may is told
    /// so at once.
    pub(super) fn of(verdict: &Verdict, asked: &Asked<'_>, facts: &Basis) -> Option<Self> {
        let patience = facts.set().domain().approvals.long_poll;
        let (Err(no), TokenRequest::Ciba(_)) = (&verdict.0, &asked.call.request) else {
            return None;
        };
        let pending = Refusal::Grant(grants::Refusal::Wait(NotYet::Pending));
        let question = no.question.clone().filter(|_| no.refusal == pending)?;
        let (arrived, until) = (asked.arrived, asked.now.plus(patience));
        (patience > Span::ZERO).then_some(Self { question, arrived, until })
    }

    /// Waits for the answer, not for longer than policy says. When the request came.
    pub(super) async fn hold<W: World>(self, world: &W) -> Result<UnixTime, Unavailable> {
        loop {
            let now = world.clock().now();
            let key = Key::of::<Approval>(&self.question);
            let found = world.store().snapshot(&[key]).await?.get::<Approval>(&self.question)?;
            let waits = found.is_some_and(|one| one.state_at(now) == State::Pending);
            if !waits || now >= self.until {
                return Ok(self.arrived);
            }
            world.clock().sleep(LOOK).await;
        }
    }
}

//! The one approval record: who was asked, exactly what was shown, what was answered, and the one
//! thing that it serves (docs/design.md §2, idea 7).

use std::collections::BTreeSet;

use authentication::session::Acr;
use jose::TokenHash;
use provisioning::Epoch;
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::bound::Bound;
use crate::policy::{Ask, Rule};
use crate::sought::{Asks, Line, Sought};
use crate::state::{State, Step, Unmoved};

/// How long an approval that is over is kept, so that its owner can still see it.
pub const KEPT: Span = Span::from_seconds(30 * 86_400);
/// The same of what a device asked and nobody answered: it was nobody's.
pub const UNANSWERED_KEPT: Span = Span::from_seconds(600);
/// The first of the numbers that are compared.
const NUMBER_MIN: u8 = 10;
/// How many there are: each has two digits.
const NUMBERS: u8 = 90;

/// A question to a human, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id. No secret.
    pub id: String,
    /// Who is asked.
    pub whom: Whom,
    /// Whether the person in whose name it is asked may allow it.
    pub by_subject: bool,
    /// How strongly who allows it must have authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<Acr>,
    /// Who asks.
    pub asks: Asks,
    /// What for.
    pub sought: Sought,
    /// SHA-256 of [`Approval::text`], base64url: what was answered is what was shown.
    pub hash: String,
    /// Two digits, shown where it is asked and where it is answered.
    pub number: u8,
    /// The policy version that it was asked under.
    pub policy: String,
    /// By which way it was asked.
    pub front: Front,
    /// The root of the lineage that it belongs to: its own id, where it begins one.
    pub root: String,
    /// The token that what was asked came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The tokens between the root and that one, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<String>,
    /// The epoch that it was asked under.
    pub epoch: Epoch,
    /// When it was asked.
    pub created: UnixTime,
    /// Until when it may be answered; what was allowed may be used so long, too.
    pub until: UnixTime,
    /// Until when the grant may be used that it gives; `None` where it gives no lasting one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_until: Option<UnixTime>,
    /// How it stands.
    pub state: State,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
    /// The grant that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixTime>,
    /// The question of somebody else that it answers, and no other (AuthZEN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// This person, by identifier.
    User(String),
    /// Whoever has this role.
    Role(String),
    /// Whoever types the code that the device shows (RFC 8628 §3.3).
    Typed,
}

/// By which way it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Front {
    /// RFC 8628.
    Device,
    /// CIBA Core 1.0.
    Ciba,
    /// Deferred token response.
    Deferred,
    /// A challenge of a resource (draft-rosomakho-oauth-txn-challenge).
    Challenge,
    /// AuthZEN access request.
    AccessRequest,
}

impl Front {
    /// The name on pages and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Ciba => "ciba",
            Self::Deferred => "deferred",
            Self::Challenge => "challenge",
            Self::AccessRequest => "access_request",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// When.
    pub at: UnixTime,
    /// By whom: an identifier of a user, or an operator.
    pub by: String,
    /// In which session, by its public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How strongly they had authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<Acr>,
}

/// Who answers, as their session says.
#[derive(Clone, Copy, Debug)]
pub struct Answerer<'a> {
    /// The identifier.
    pub user: &'a str,
    /// Their roles.
    pub roles: &'a BTreeSet<String>,
    /// How strongly they authenticated.
    pub acr: Acr,
}

impl Approval {
    /// The number that these random bytes make.
    pub fn number_of(random: [u8; 2]) -> u8 {
        let drawn = u16::from_le_bytes(random) % u16::from(NUMBERS);
        NUMBER_MIN + u8::try_from(drawn).unwrap_or_default()
    }

    /// What is shown, line by line.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.asks.lines();
        let pep = self.bound.iter().map(|bound| ("enforced by".to_owned(), bound.pep.clone()));
        lines.extend(pep);
        lines.extend(self.sought.lines());
        let until = |name: &str, at: UnixTime| (name.to_owned(), at.to_string());
        match self.grant_until {
            Some(at) => lines.push(until("gives this until", at)),
            None => lines.push(("serves".to_owned(), "once".to_owned())),
        }
        lines.push(until("answer before", self.until));
        lines.push(("number".to_owned(), self.number.to_string()));
        // What is not seen, or turns its neighbours, is written out: what is read is what is bound.
        for text in lines.iter_mut().flat_map(|(name, value)| [name, value]) {
            if letters::plain(text).is_err() {
                *text = letters::written_out(text);
            }
        }
        lines
    }

    /// The canonical text of what is shown: a line each, the value as a JSON string, so that none
    /// can look like two.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.lines() {
            let value = serde_json::Value::String(value);
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }

    /// The approval with the hash of what it shows.
    #[must_use]
    pub fn sealed(self) -> Self {
        let hash = TokenHash::of(&self.text()).to_base64url();
        Self { hash, ..self }
    }

    /// How it stands at `now`: what nobody answered in time is expired, written or not.
    pub fn state_at(&self, now: UnixTime) -> State {
        match self.state {
            State::Pending if now >= self.until => State::Expired,
            state => state,
        }
    }

    /// Whether this person is asked: it is on their page.
    pub fn is_asked(&self, answerer: &Answerer<'_>) -> Result<(), NotAllowed> {
        let fits = match &self.whom {
            Whom::User(user) => user == answerer.user,
            Whom::Role(role) => answerer.roles.contains(role),
            Whom::Typed => true,
        };
        if fits { Ok(()) } else { Err(NotAllowed::NotAsked { who: answerer.user.to_owned() }) }
    }

    /// The approval, allowed. S4 §10.6: a click counts when it is an authenticated user's, bound to
    /// exactly what they were shown.
    pub fn allow(
        &self,
        answerer: &Answerer<'_>,
        shown: &str,
        answered: Answered,
    ) -> Result<Self, NotAllowed> {
        self.is_asked(answerer)?;
        if !self.by_subject && self.asks.subject == answerer.user {
            return Err(NotAllowed::Barred { who: answerer.user.to_owned() });
        }
        if let Some(wanted) = self.acr.filter(|wanted| !answerer.acr.satisfies(*wanted)) {
            return Err(NotAllowed::TooWeak { found: answerer.acr, wanted });
        }
        // The page may be an old one, or of another approval.
        if shown != self.hash || *self != self.clone().sealed() {
            return Err(NotAllowed::NotAsShown);
        }
        let state = self.step(Step::Allow, answered.at)?;
        Ok(Self { state, answered: Some(answered), ..self.clone() })
    }

    /// The approval, denied: that takes no more than being asked.
    pub fn deny(&self, answerer: &Answerer<'_>, answered: Answered) -> Result<Self, NotAllowed> {
        self.is_asked(answerer)?;
        let state = self.step(Step::Deny, answered.at)?;
        Ok(Self { state, answered: Some(answered), ..self.clone() })
    }

    /// The approval whose time is over, where nobody answered.
    pub fn expire(&self, now: UnixTime) -> Option<Self> {
        let over = self.state == State::Pending && now >= self.until;
        let state = self.state.after(Step::Expire).ok().filter(|_| over)?;
        Some(Self { state, ..self.clone() })
    }

    /// The approval that whoever asked took back.
    pub fn cancel(&self, now: UnixTime) -> Result<Self, NotAllowed> {
        let state = self.step(Step::Cancel, now)?;
        Ok(Self { state, ..self.clone() })
    }

    /// The approval after what it was for.
    pub fn after_use(&self, now: UnixTime) -> Result<Self, Unmoved> {
        let state = self.state.after(Step::Use)?;
        Ok(Self { state, used: Some(now), ..self.clone() })
    }

    /// Whether it is the approval that policy demands for a token for `audience`, given in the name
    /// of `subject`: of whom policy names, as strongly as it says, and about nothing else. That
    /// somebody allowed a device or a client something is none by itself.
    pub fn meets(&self, rule: &Rule, audience: &str, subject: &str) -> bool {
        let Some(answered) = &self.answered else { return false };
        if !matches!(self.state, State::Allowed | State::Used) {
            return false;
        }
        let asked = match &rule.ask {
            Ask::Subject => answered.by == subject,
            Ask::Owner => match &self.whom {
                Whom::User(name) | Whom::Role(name) => *name == self.asks.owner,
                Whom::Typed => false,
            },
            Ask::Role(role) => self.whom == Whom::Role(role.clone()),
        };
        let strong = match (rule.acr, answered.acr) {
            (None, _) => true,
            (Some(wanted), Some(found)) => found.satisfies(wanted),
            // An operator of the machine has no session.
            (Some(_), None) => answered.session.is_none(),
        };
        let barred = !rule.by_subject && answered.by == subject;
        let alone = self.sought.targets.keys().eq([audience]);
        asked && strong && !barred && alone
    }

    fn step(&self, step: Step, now: UnixTime) -> Result<State, Unmoved> {
        self.state_at(now).after(step)
    }

    /// When its row may be swept.
    pub fn kept_until(&self) -> UnixTime {
        let nobodys = self.whom == Whom::Typed && self.answered.is_none();
        self.until.plus(if nobodys { UNANSWERED_KEPT } else { KEPT })
    }
}

/// Why an answer does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Somebody else is asked.
    #[error("`{who}` is not asked")]
    NotAsked {
        /// Who answered.
        who: String,
    },
    /// Policy wants somebody else than the one in whose name it is.
    #[error("policy wants somebody else than `{who}`, in whose name it is, to allow this")]
    Barred {
        /// Who answered.
        who: String,
    },
    /// Their sign-in is too weak (RFC 9470).
    #[error("signed in as `{}`, policy wants `{}`", .found.as_str(), .wanted.as_str())]
    TooWeak {
        /// How they signed in.
        found: Acr,
        /// How they must.
        wanted: Acr,
    },
    /// What was answered is not what is asked.
    #[error("what was shown is not what is asked")]
    NotAsShown,
    /// It is answered, or its time is over.
    #[error(transparent)]
    Unmoved(#[from] Unmoved),
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    fn approval() -> Approval {
        let act = crate::sought::Act {
            action: "tool.call".to_owned(),
            what: "pay".to_owned(),
            arguments: serde_json::json!({ "to": "Bob\nscope: \"all\"", "sum": { "eur": 5 } }),
            arguments_hash: "h".to_owned(),
        };
        Approval {
            id: "approval-1".to_owned(),
            whom: Whom::User("user:ada".to_owned()),
            by_subject: true,
            acr: Some(Acr::Passkey),
            asks: Asks {
                client_id: "spiffe://a.example/agent/x".to_owned(),
                subject: "user:ada".to_owned(),
                actors: vec!["spiffe://a.example/agent/x".to_owned()],
                ..Asks::default()
            },
            sought: Sought { act: Some(act), ..Sought::default() },
            hash: String::new(),
            number: 42,
            policy: "sha256:00".to_owned(),
            front: Front::Challenge,
            root: "root-1".to_owned(),
            parent: None,
            above: Vec::new(),
            epoch: Epoch(1),
            created: NOW,
            until: NOW.plus(Span::from_seconds(300)),
            grant_until: None,
            state: State::Pending,
            answered: None,
            grant: None,
            used: None,
            bound: None,
        }
        .sealed()
    }

    fn answered(at: UnixTime) -> Answered {
        Answered { at, by: "user:ada".to_owned(), session: None, acr: None }
    }

    fn ada(acr: Acr, roles: &BTreeSet<String>) -> Answerer<'_> {
        Answerer { user: "user:ada", roles, acr }
    }

    /// req: AUTHZ-31 (part)
    #[test]
    fn s10_6_what_is_shown_has_one_text() {
        insta::assert_snapshot!(approval().text(), @r#"
        asked by: "spiffe://a.example/agent/x"
        acting for: "user:ada"
        through: "spiffe://a.example/agent/x"
        action: "tool.call"
        on: "pay"
        with.sum.eur: "5"
        with.to: "Bob\\u{a}scope: \"all\""
        sha-256 of the arguments: "h"
        serves: "once"
        answer before: "2023-11-14T22:18:20.000Z"
        number: "42"
        "#);
    }

    /// What the one who asks chose to call an argument looks like nothing else on the page.
    /// req: AUTHZ-31 (part)
    #[test]
    fn s10_6_a_name_of_an_argument_is_shown_as_one() {
        for (name, shown) in [
            ("to", "with.to"),
            ("größe_2", "with.größe_2"),
            ("sum.eur", r#"with["sum.eur"]"#),
            ("serves: \"often\"\nnumber", r#"with["serves: \"often\"\nnumber"]"#),
            ("For how long", r#"with["For how long"]"#),
            ("", r#"with[""]"#),
            ("a\u{202e}b", "with[\"a\\u{202e}b\"]"),
            ("a\u{200b}", "with[\"a\\u{200b}\"]"),
        ] {
            let mut one = approval();
            let arguments = [(name.to_owned(), "x".into())].into_iter();
            let arguments = serde_json::Value::Object(arguments.collect());
            let act = one.sought.act.take().unwrap();
            one.sought.act = Some(crate::sought::Act { arguments, ..act });
            let lines = one.lines();
            assert!(lines.contains(&(shown.to_owned(), "x".to_owned())), "{name}: {lines:?}");
        }
    }

    /// req: AUTHZ-18 (part)
    #[test]
    fn s10_6_an_answer_counts_of_whom_was_asked_for_what_was_shown() {
        let none = BTreeSet::new();
        let check = |change: &dyn Fn(&mut Approval), acr, shown: &str, expect: NotAllowed| {
            let mut one = approval();
            change(&mut one);
            let found = one.allow(&ada(acr, &none), shown, answered(NOW));
            assert_eq!(found, Err(expect));
        };
        let hash = approval().hash;
        let who = || "user:ada".to_owned();
        let strong = Acr::Passkey;
        let bob = |one: &mut Approval| one.whom = Whom::User("user:bob".to_owned());
        check(&bob, strong, &hash, NotAllowed::NotAsked { who: who() });
        let role = |one: &mut Approval| one.whom = Whom::Role("finance".to_owned());
        check(&role, strong, &hash, NotAllowed::NotAsked { who: who() });
        check(&|one| one.by_subject = false, strong, &hash, NotAllowed::Barred { who: who() });
        let weak = NotAllowed::TooWeak { found: Acr::Code, wanted: strong };
        check(&|_| {}, Acr::Code, &hash, weak);
        check(&|_| {}, strong, "another", NotAllowed::NotAsShown);
        // A row that was changed behind our back is not what was shown.
        check(&|one| one.asks.actors.clear(), strong, &hash, NotAllowed::NotAsShown);
        check(&|one| one.number = 10, strong, &hash, NotAllowed::NotAsShown);
        let over = Unmoved { state: State::Expired, step: Step::Allow };
        check(
            &|one| {
                one.until = NOW;
                *one = one.clone().sealed();
            },
            strong,
            &hash,
            NotAllowed::NotAsShown,
        );
        let mut late = approval();
        late.until = NOW;
        let late = late.sealed();
        let found = late.allow(&ada(strong, &none), &late.hash, answered(NOW));
        assert_eq!(found, Err(NotAllowed::Unmoved(over)));
        let allowed = approval().allow(&ada(strong, &none), &hash, answered(NOW)).unwrap();
        assert_eq!(allowed.state, State::Allowed);
        let used = allowed.after_use(NOW).unwrap();
        let again = Unmoved { state: State::Used, step: Step::Use };
        assert_eq!(used.after_use(NOW), Err(again));
        // To say no takes no strong sign-in.
        let denied = approval().deny(&ada(Acr::Code, &none), answered(NOW)).unwrap();
        assert_eq!(denied.state, State::Denied);
    }

    /// req: AUTHZ-31 (part)
    #[test]
    fn s10_6_a_duty_is_met_by_an_approval_of_just_that() {
        let none = BTreeSet::new();
        let mut asked = approval();
        asked.sought.targets = [("https://bank.example".to_owned(), Default::default())].into();
        let asked = asked.sealed();
        let hash = asked.hash.clone();
        let mut by = answered(NOW);
        (by.acr, by.session) = (Some(Acr::Passkey), Some("s".to_owned()));
        let yes = asked.allow(&ada(Acr::Passkey, &none), &hash, by).unwrap();
        let rule = Rule { ask: Ask::Subject, by_subject: true, acr: Some(Acr::Passkey) };
        let check = |edit: &dyn Fn(&mut Approval, &mut Rule), audience: &str, expect: bool| {
            let (mut one, mut rule) = (yes.clone(), rule.clone());
            edit(&mut one, &mut rule);
            assert_eq!(one.meets(&rule, audience, "user:ada"), expect, "{rule:?} {one:?}");
        };
        let bank = "https://bank.example";
        check(&|_, _| {}, bank, true);
        check(&|one, _| one.state = State::Used, bank, true);
        check(&|one, _| one.state = State::Pending, bank, false);
        check(&|one, _| one.answered = None, bank, false);
        check(&|_, _| {}, "https://other.example", false);
        let more = ("https://other.example".to_owned(), Default::default());
        check(&|one, _| one.sought.targets.extend([more.clone()]), bank, false);
        check(&|_, rule| rule.acr = Some(Acr::HardwarePasskey), bank, false);
        check(&|_, rule| rule.by_subject = false, bank, false);
        check(&|_, rule| rule.ask = Ask::Owner, bank, false);
        let finance = || Ask::Role("finance".to_owned());
        check(&|_, rule| rule.ask = finance(), bank, false);
        let of_role = |one: &mut Approval, rule: &mut Rule| {
            one.whom = Whom::Role("finance".to_owned());
            one.answered.as_mut().unwrap().by = "user:bob".to_owned();
            (rule.ask, rule.by_subject) = (finance(), false);
        };
        check(&of_role, bank, true);
    }

    #[test]
    fn s10_6_what_nobody_answered_is_over() {
        let one = approval();
        assert_eq!(one.state_at(NOW), State::Pending);
        assert_eq!(one.expire(NOW), None);
        assert_eq!(one.state_at(one.until), State::Expired);
        assert_eq!(one.expire(one.until).map(|one| one.state), Some(State::Expired));
        for random in [[0, 0], [255, 255], [89, 0], [90, 0]] {
            assert!((10..=99).contains(&Approval::number_of(random)));
        }
    }
}

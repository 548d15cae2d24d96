//! What is put to the user: what the client asks for, less what policy does not permit it for this
//! user, in words; and what the user takes of it.

use std::collections::{BTreeMap, BTreeSet};

use authentication::session::Acr;
use authorization::asked::{AskedScope, OFFLINE, OPENID, SIGN_IN, Target};
use authorization::granted::{GrantRecord, Granted, Way};
use env::rows::ResultRow;
use env::{Entity, Index, Store, Stored, Unavailable, World};
use jose::TokenHash;
use oauth::redirect_uri::RedirectKind;
use oauth::{Scope, ScopeSet};
use pdp::{Circumstances, Decision, Denial, Fact, Obligation, Question, Resource};
use provisioning::Epoch;
use registry::{AgentRecord, ClientRecord, UserRecord};
use serde::Serialize;
use time::{Span, UnixTime};

use crate::client::Asker;
use crate::facts::Basis;
use crate::pose::Posed;

/// How long a user may let a grant last, in seconds: as far as policy goes.
const LIVES: &[u64] =
    &[3_600, 8 * 3_600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400, 366 * 86_400];
/// From which of them on one may be chosen for the user.
const DAY_SECONDS: u64 = 86_400;
/// What the PDP is asked about.
const ACTION: &str = "token.issue";
/// Grants of one user and client that live, with which somebody is not asked again.
const REMEMBERED_MAX: usize = 32;
/// Attestation results that are looked at for one agent.
const RESULTS_MAX: usize = 16;

/// The page, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asking {
    /// Who asks.
    pub asker: Asker,
    /// Who is asked, as pages call them.
    pub user: String,
    /// Who that is: two people may be called the same.
    pub subject: String,
    /// What is asked for and permitted, resource by resource.
    pub targets: Vec<Target>,
    /// What is asked for and not permitted.
    pub withheld: Vec<Withheld>,
    /// Scopes of OpenID Connect, each with what it means; the first of them cannot be left out
    /// where it is `openid`.
    pub openid: Vec<(Scope, String)>,
    /// How long it may last: the choices, the longest last.
    pub lives: Vec<Span>,
    /// Whether it ends with the user's session.
    pub ends_with_session: bool,
    /// Where the browser goes afterwards: a host, or the scheme of an app.
    pub back_to: String,
    /// Whether another program on the user's device could pretend to be this client (RFC 8252
    /// §8.6).
    pub may_be_another: bool,
    /// What is known about the agent, part by part; it says nothing of what is asked.
    #[serde(skip)]
    pub attested: BTreeMap<String, String>,
}

/// Something that policy takes out of what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// The resource, as people call it.
    pub title: String,
    /// The scopes.
    pub scopes: Vec<String>,
    /// Why, in the words of policy.
    pub why: Vec<String>,
}

/// What policy permits of a question, and by which rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permitted {
    pub(crate) targets: Vec<Target>,
    pub(crate) withheld: Vec<Withheld>,
    pub(crate) rules: BTreeSet<String>,
    pub(crate) acr: Option<Acr>,
    pub(crate) questions: Vec<Question>,
}

/// What the user takes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The boxes that were ticked.
    pub taken: BTreeSet<String>,
    /// For how long.
    pub life: Option<Span>,
}

/// The name of the box of a scope at the target of that place.
pub fn scope_box(target: usize, scope: &Scope) -> String {
    format!("scope.{target}.{scope}")
}

/// The name of the box of an object of `authorization_details`.
pub fn detail_box(target: usize, detail: usize) -> String {
    format!("detail.{target}.{detail}")
}

/// The name of the box of a scope of OpenID Connect.
pub fn openid_box(scope: &Scope) -> String {
    format!("openid.{scope}")
}

/// Asks policy about the client, for this user, resource by resource; and where that is denied,
/// scope by scope.
pub(crate) fn permit(facts: &Basis, posed: &Posed, user: &UserRecord, now: UnixTime) -> Permitted {
    let mut permitted = Permitted::default();
    for target in &posed.asked.targets {
        let whole = permitted.ask(facts, posed, user, target, &target.scope_set(), now);
        // Policy knows nothing of details: where it permits less than all that was asked, none of
        // them is put to the user.
        let is_whole = matches!(&whole, Ok(Some(scope)) if *scope == target.scope_set());
        let (kept, denials) = match whole {
            Ok(scope) => (scope, Vec::new()),
            Err(denial) => one_by_one(&mut permitted, facts, posed, user, target, *denial, now),
        };
        let (scopes, left): (Vec<AskedScope>, Vec<AskedScope>) = target
            .scopes
            .iter()
            .cloned()
            .partition(|one| kept.as_ref().is_some_and(|kept| kept.contains(&one.scope)));
        let (details, undetailed) = match is_whole {
            true => (target.details.clone(), Vec::new()),
            false => (Vec::new(), target.details.clone()),
        };
        if !is_whole {
            let exactly = undetailed.iter().map(|one| format!("exactly: {}", one.type_));
            permitted.withheld.push(Withheld {
                title: target.title.clone(),
                scopes: left.iter().map(|one| one.words.clone()).chain(exactly).collect(),
                why: reasons(&denials),
            });
        }
        if kept.is_some() && (!scopes.is_empty() || !details.is_empty() || target.scopes.is_empty())
        {
            permitted.targets.push(Target { scopes, details, ..target.clone() });
        }
    }
    permitted
}

type Kept = (Option<ScopeSet>, Vec<Denial>);

/// Where all of it is denied, the scopes that are permitted alone.
fn one_by_one(
    permitted: &mut Permitted,
    facts: &Basis,
    posed: &Posed,
    user: &UserRecord,
    target: &Target,
    whole: Denial,
    now: UnixTime,
) -> Kept {
    let (mut kept, mut denials): (Vec<Scope>, Vec<Denial>) = (Vec::new(), Vec::new());
    if target.scopes.len() < 2 {
        return (None, vec![whole]);
    }
    for one in &target.scopes {
        let alone: ScopeSet = [one.scope.clone()].into_iter().collect();
        match permitted.ask(facts, posed, user, target, &alone, now) {
            Ok(Some(scope)) => kept.extend(scope.iter().cloned()),
            Ok(None) => {}
            Err(denial) => denials.push(*denial),
        }
    }
    let kept = (!kept.is_empty()).then(|| kept.into_iter().collect());
    (kept, denials)
}

/// Why something is withheld, each reason once. Nothing is withheld without one.
fn reasons(denials: &[Denial]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for reason in denials.iter().flat_map(words) {
        if !all.contains(&reason) {
            all.push(reason);
        }
    }
    // Nothing was denied: a rule that permits it says that it permits less.
    if all.is_empty() {
        all.push("its rules allow less than is asked for".to_owned());
    }
    all
}

/// What a denial says to people.
fn words(denial: &Denial) -> Vec<String> {
    let needs = denial.needs.iter().map(|needs| format!("it needs {needs}"));
    let mut told: Vec<_> = denial.reasons.iter().cloned().chain(needs).collect();
    if told.is_empty() {
        told.push(match (denial.errors.is_empty(), denial.rules.is_empty()) {
            (false, _) => "a rule could not be read".to_owned(),
            (true, true) => "no rule allows it".to_owned(),
            (true, false) => format!("forbidden by {}", denial.rules.join(", ")),
        });
    }
    told
}

impl Permitted {
    /// One question to policy: the scope that it leaves.
    fn ask(
        &mut self,
        facts: &Basis,
        posed: &Posed,
        user: &UserRecord,
        target: &Target,
        scope: &ScopeSet,
        now: UnixTime,
    ) -> Result<Option<ScopeSet>, Box<Denial>> {
        let mut resource = Resource::audience(&target.audience);
        resource.attributes.insert("name".to_owned(), Fact::Text(target.name.clone()));
        let circumstances = Circumstances {
            scope: scope.iter().map(ToString::to_string).collect(),
            subject: user.id(),
            actors: vec![posed.client.id.to_string()],
            autonomous: false,
            ..Circumstances::at(now)
        };
        let question = Question {
            principal: posed.client.principal.clone(),
            action: ACTION.to_owned(),
            resource,
            context: circumstances.into(),
        };
        let decision = facts.set().pdp().decide(&question);
        self.questions.push(question);
        let permit = match decision {
            Decision::Permit(permit) => permit,
            Decision::Deny(denial) => return Err(Box::new(denial)),
        };
        self.rules.extend(permit.rules().iter().cloned());
        let mut left = scope.clone();
        for obligation in permit.obligations() {
            match obligation {
                Obligation::NarrowScope(most) => {
                    let most = ScopeSet::parse(most).unwrap_or_default();
                    left = left.intersection(&most);
                }
                // A class that is not known cannot be met: then the strongest is asked for.
                Obligation::StepUp(acr) => {
                    let wanted = Acr::parse(acr).unwrap_or(Acr::HardwarePasskey);
                    self.acr = self.acr.max(Some(wanted));
                }
                // What a token is asked for is decided again then, with these duties.
                Obligation::Approval | Obligation::Redact(_) | Obligation::RecordFully => {}
            }
        }
        Ok(Some(left).filter(|left| !left.is_empty() || scope.is_empty()))
    }
}

impl Asking {
    /// What is put to `user`.
    pub(crate) fn of(
        facts: &Basis,
        posed: &Posed,
        permitted: &Permitted,
        user: &UserRecord,
    ) -> Self {
        let is_asked = |name: &str| posed.asked.openid.iter().find(|one| one.as_str() == name);
        let openid = OPENID
            .iter()
            .filter_map(|(name, words)| Some((is_asked(name)?.clone(), (*words).to_owned())))
            .collect();
        let most = facts.set().domain().consent.grant_life;
        let mut lives: Vec<_> = LIVES
            .iter()
            .map(|life| Span::from_seconds(*life))
            .filter(|life| *life < most)
            .collect();
        lives.push(most);
        let uri = &posed.to.uri;
        Self {
            asker: posed.client.asker.clone(),
            user: user.display_name.clone(),
            subject: user.id(),
            targets: permitted.targets.clone(),
            withheld: permitted.withheld.clone(),
            openid,
            lives,
            ends_with_session: !posed.asked.is_offline(),
            back_to: match uri.kind() {
                RedirectKind::PrivateUse => {
                    uri.as_str().split(':').next().unwrap_or_default().to_owned()
                }
                _ => uri.host().unwrap_or_default(),
            },
            may_be_another: posed.client.redirects.may_be_another(uri),
            attested: BTreeMap::new(),
        }
    }

    /// What the page shows, as one value: an answer counts for what was seen alone.
    pub fn seen(&self) -> String {
        TokenHash::of(&serde_json::to_string(self).unwrap_or_default()).to_base64url()
    }

    /// Whether there is anything that can be allowed.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.openid.is_empty()
    }

    /// What of it the user takes; a box that was not shown is nothing.
    pub fn take(&self, choice: &Choice) -> Taken {
        let ticked = |name: &str| choice.taken.contains(name);
        let mut targets = BTreeMap::new();
        for (at, target) in self.targets.iter().enumerate() {
            let scope = target.scopes.iter().map(|one| &one.scope);
            let scope: ScopeSet =
                scope.filter(|scope| ticked(&scope_box(at, scope))).cloned().collect();
            let details = target.details.iter().enumerate();
            let details: Vec<_> = details
                .filter(|(which, _)| ticked(&detail_box(at, *which)))
                .map(|(_, one)| one.value.clone())
                .collect();
            let bare = target.scopes.is_empty() && target.details.is_empty();
            if !scope.is_empty() || !details.is_empty() || bare {
                targets.insert(target.audience.clone(), Granted { scope, details });
            }
        }
        let signs_in = |scope: &Scope| scope.as_str() == SIGN_IN;
        let openid = self.openid.iter().map(|(scope, _)| scope);
        let openid: ScopeSet =
            openid.filter(|scope| signs_in(scope) || ticked(&openid_box(scope))).cloned().collect();
        let life = choice.life.filter(|life| self.lives.contains(life)).unwrap_or(self.preset());
        Taken { targets, openid, life }
    }

    /// How long it lasts unless somebody says otherwise: the shortest of a day or more, so that
    /// nobody grants longest by not looking.
    pub fn preset(&self) -> Span {
        let is_day = |life: &&Span| life.seconds() >= DAY_SECONDS;
        let found = self.lives.iter().find(is_day).or(self.lives.last());
        found.copied().unwrap_or(Span::from_seconds(0))
    }

    /// All of it.
    pub fn whole(&self) -> Choice {
        let mut taken = BTreeSet::new();
        for (at, target) in self.targets.iter().enumerate() {
            taken.extend(target.scopes.iter().map(|one| scope_box(at, &one.scope)));
            taken.extend((0..target.details.len()).map(|which| detail_box(at, which)));
        }
        taken.extend(self.openid.iter().map(|(scope, _)| openid_box(scope)));
        Choice { taken, life: None }
    }
}

/// What the user took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub(crate) targets: BTreeMap<String, Granted>,
    pub(crate) openid: ScopeSet,
    pub(crate) life: Span,
}

impl Taken {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.openid.is_empty()
    }

    /// Whether the client may go on without the user.
    pub fn is_offline(&self) -> bool {
        self.openid.iter().any(|scope| scope.as_str() == OFFLINE)
    }
}

/// What is known about an agent, part by part, by its best result that still counts.
pub(crate) async fn attested<W: World>(
    world: &W,
    agent: &str,
    now: UnixTime,
) -> Result<BTreeMap<String, String>, Unavailable> {
    let store = world.store();
    let page = store.scan(ResultRow::TABLE, Index::Agent, agent, None, RESULTS_MAX).await?;
    let mut best: Option<std::sync::Arc<ResultRow>> = None;
    for row in &page.rows {
        let read = row.value::<ResultRow>().map_err(|error| Unavailable::of("store", error))?;
        let newer = |one: &std::sync::Arc<ResultRow>| {
            one.until > now && best.as_ref().is_none_or(|best| best.until < one.until)
        };
        if let Some(one) = read.filter(newer) {
            best = Some(one);
        }
    }
    Ok(best.map(|one| one.told.clone()).unwrap_or_default())
}

/// What was given under an earlier epoch ended with the client.
fn dead_before(facts: &Basis, id: &str) -> Result<Epoch, Unavailable> {
    let client = facts.rows.get::<ClientRecord>(id)?.map(|client| client.dead_before);
    let agent = facts.rows.get::<AgentRecord>(id)?.map(|agent| agent.lifecycle.dead_before);
    Ok(client.max(agent).unwrap_or_default())
}

/// What the user allowed this client before that covers all that is asked now: none, if they are to
/// be asked.
pub(crate) async fn remembered<W: World>(
    world: &W,
    facts: &Basis,
    posed: &Posed,
    permitted: &Permitted,
    user: &UserRecord,
    now: UnixTime,
) -> Result<Vec<Stored<GrantRecord>>, Unavailable> {
    // OpenID Connect Core 1.0 §3.1.2.1: with `prompt=consent` "The Authorization Server SHOULD
    // prompt the End-User for consent before returning information to the Client." §11: for
    // `offline_access` the server "MUST always obtain consent".
    let asks_anyhow = posed.request.prompt.consent || posed.asked.is_offline();
    if asks_anyhow || !posed.client.is_assured(&posed.to.uri) || !permitted.withheld.is_empty() {
        return Ok(Vec::new());
    }
    let (mut found, mut live) = (Vec::new(), 0_usize);
    let dead_before = dead_before(facts, posed.client.id.as_str())?;
    for grant in crate::acting::grants_of(world, &user.id()).await? {
        let is_live = grant.is_live(now).is_ok()
            && user.lifecycle.admits(Some(grant.epoch)).is_ok()
            && dead_before <= grant.epoch;
        let same = grant.client_id == posed.client.id.as_str() && grant.way == Way::Code;
        let covered = permitted.targets.iter().all(|target| {
            let audience = facts.set().audience(&target.audience, &world.site().gateway);
            match (grant.targets.get(&target.audience), audience) {
                (Some(held), Some(audience)) => target.is_within(held, &audience),
                _ => false,
            }
        });
        live += usize::from(is_live && same);
        if is_live && same && covered && posed.asked.openid.is_within(&grant.openid) {
            found.push(grant);
        }
    }
    // A client that asks for ever other parts of what it has asks the user again.
    Ok(if live > REMEMBERED_MAX { Vec::new() } else { found })
}

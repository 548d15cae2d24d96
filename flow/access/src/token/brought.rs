//! What a request brings: a token, a code, a refresh token, an assertion. It is read and verified
//! here, and looked up where it leads to something that is stored.

use std::collections::BTreeSet;

use approval::{Approval, Front, Kind, Ticket, Unmoved};
use authentication::Once;
use authorization::client::Facet;
use authorization::granted::refresh::{self, Shown};
use authorization::granted::{Branch, Code, Ended, GrantRecord, Waited, code};
use authorization::grants::jwt_bearer::{self, NotAccepted, Ours, Said};
use authorization::grants::{Asserted, Context, Grant};
use authorization::presented::{self, Presented};
use credential::Purpose;
use env::rows::OpaqueToken;
use env::{Entropy, Expect, Key, Store, Stored, Unavailable, World, Write};
use jose::{Algorithm, Unverified};
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::Confirmation;
use oauth::jwt_grant::JwtGrant;
use oauth::token_request::{Asked as Wanted, TokenExchange, TokenRequest, TypedToken};
use oauth::{Resource, ScopeSet, TokenType};
use time::UnixTime;

use super::{Asked, Endpoint, Refusal, ring, subject_grant, vouched};
use crate::facts::Basis;
use crate::{ends, opaque};

/// What assertions of other issuers may be signed with.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// What the request brings with it, verified.
pub(crate) struct Brought {
    pub(crate) grant: Grant,
    pub(crate) scope: Option<ScopeSet>,
    pub(crate) details: Option<AuthorizationDetails>,
    pub(crate) subject: Option<Presented>,
    pub(crate) actor: Option<Presented>,
    pub(crate) code: Option<Stored<Code>>,
    pub(crate) held: Option<Stored<GrantRecord>>,
    pub(crate) refresh: Option<Result<Shown, refresh::Refusal>>,
    pub(crate) assertion: Option<Asserted>,
    pub(crate) requested_cnf: Option<Confirmation>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) ended: Option<Ended>,
    pub(crate) once: Option<Once>,
}

/// What a client waits with, the question, and what this request makes of them.
pub(crate) struct Waiting {
    ticket: Stored<Ticket>,
    approval: Stored<Approval>,
    next: Option<Ticket>,
    /// Whether the tokens are sent to the client, which does not ask for them.
    pushed: bool,
    pub(crate) waited: Waited,
}

impl Waiting {
    fn of(ticket: Stored<Ticket>, approval: Stored<Approval>, asked: &Asked<'_>) -> Self {
        let now = asked.now;
        let pushed = asked.endpoint == Endpoint::Push;
        let (next, polled) = match pushed {
            true => (None, ticket.push(&approval, now)),
            false => ticket.poll(&approval, asked.arrived, now),
        };
        let branches = matches!(approval.front, Front::Challenge | Front::Deferred);
        let waited = Waited {
            client_id: ticket.client_id.clone(),
            binding: ticket.binding.clone(),
            polled,
            branch: branches.then(|| Branch {
                root: approval.root.clone(),
                parent: approval.parent.clone(),
                above: approval.above.clone(),
                txn: approval.sought.txn.clone(),
                actors: approval.asks.actors.clone(),
            }),
        };
        Self { ticket, approval, next, pushed, waited }
    }

    /// What asking changes where nothing is given: how long to wait until the next time.
    pub(super) fn asked(&self) -> Option<Write> {
        let next = self.next.as_ref().filter(|_| self.waited.polled.is_err())?;
        Some(Write::put(next, Expect::Version(self.ticket.version)))
    }

    /// Both serve once: whoever commits first has them.
    pub(super) fn used(&self, now: UnixTime) -> Result<Vec<Write>, Unmoved> {
        let ticket = match self.pushed {
            true => self.ticket.after_push(now),
            false => self.ticket.after_use(now),
        };
        let mut writes = vec![Write::put(&ticket, Expect::Version(self.ticket.version))];
        // What could not be delivered is made again: both are used already.
        if self.ticket.used.is_none() {
            let approval = self.approval.after_use(now)?;
            writes.push(Write::put(&approval, Expect::Version(self.approval.version)));
        }
        Ok(writes)
    }

    /// The question, for records.
    pub(super) fn approval(&self) -> &Approval {
        &self.approval
    }
}

impl Brought {
    fn bare(grant: Grant, scope: Option<ScopeSet>) -> Self {
        Self {
            grant,
            scope,
            details: None,
            subject: None,
            actor: None,
            code: None,
            held: None,
            refresh: None,
            assertion: None,
            requested_cnf: None,
            waiting: None,
            ended: None,
            once: None,
        }
    }

    fn asking(grant: Grant, wanted: &Wanted) -> Self {
        let details = wanted.authorization_details.clone();
        Self { details, ..Self::bare(grant, wanted.scope.clone()) }
    }

    /// What a grant may look at of it.
    pub(super) fn context<'a>(
        &'a self,
        asked: &Asked<'a>,
        facet: &'a Facet,
        facts: &'a Basis,
    ) -> Context<'a> {
        let domain = facts.set().domain();
        let (delegation, lifetimes) = (&domain.delegation, &domain.lifetimes);
        Context {
            scope: self.scope.as_ref(),
            subject: self.subject.as_ref(),
            actor: self.actor.as_ref(),
            ended: self.ended.as_ref(),
            held: self.held.as_deref(),
            refresh: self.refresh.as_ref(),
            waited: self.waiting.as_ref().map(|waiting| &waiting.waited),
            assertion: self.assertion.as_ref(),
            authorization_details: self.details.as_ref(),
            requested_cnf: self.requested_cnf.as_ref(),
            ..Context::bare(self.grant, asked.caller, facet, delegation, lifetimes, asked.now)
        }
    }

    /// `auth_req_id`, where the tokens are pushed to the client.
    pub(crate) fn pushed(&self) -> Option<&str> {
        let waiting = self.waiting.as_ref().filter(|waiting| waiting.pushed)?;
        waiting.ticket.notify.as_ref().map(|notify| notify.auth_req_id.as_str())
    }

    /// Everybody whom the token concerns beside the caller and the target.
    pub(super) fn concerned(&self) -> BTreeSet<String> {
        let mut ids: BTreeSet<String> =
            self.subject.iter().flat_map(Presented::concerned).collect();
        if let Some(held) = &self.held {
            ids.extend([held.subject.clone(), held.client_id.clone()]);
        }
        if let Some(branch) = self.waiting.as_ref().and_then(|one| one.waited.branch.as_ref()) {
            ids.extend(branch.actors.iter().cloned());
        }
        // Whose word it comes of, where that is another than it is for (docs/past-defects.md 8).
        let answered = self.waiting.as_ref().and_then(|one| one.approval.answered.as_ref());
        let people = answered.filter(|one| one.by.starts_with(registry::user::PREFIX));
        ids.extend(people.map(|one| one.by.clone()));
        ids.extend(self.assertion.iter().map(|asserted| asserted.subject.clone()));
        ids
    }
}

type Read = Result<Result<Brought, Refusal>, Unavailable>;

/// Reads it.
pub(super) async fn read<W: World>(world: &W, facts: &Basis, asked: &Asked<'_>) -> Read {
    match &asked.call.request {
        TokenRequest::ClientCredentials(request) => {
            Ok(Ok(Brought::bare(Grant::ClientCredentials, request.scope.clone())))
        }
        TokenRequest::TokenExchange(exchange) => {
            self::exchange(world, facts, asked, exchange).await
        }
        TokenRequest::AuthorizationCode(request) => {
            let mut brought = Brought::asking(Grant::AuthorizationCode, &request.asked);
            let Some(hash) = code::hash_of(request.code.as_str()) else { return Ok(Ok(brought)) };
            brought.code = crate::facts::one::<W, Code>(world, &hash).await?;
            if let Some(grant) = brought.code.as_ref().map(|code| code.grant.clone()) {
                hold(world, &mut brought, &grant).await?;
            }
            Ok(Ok(brought))
        }
        TokenRequest::RefreshToken(request) => {
            let mut brought = Brought::asking(Grant::RefreshToken, &request.asked);
            let Ok(text) = refresh::Text::parse(request.refresh_token.as_str()) else {
                return Ok(Ok(brought));
            };
            hold(world, &mut brought, text.grant()).await?;
            let salt = world.entropy().secret();
            brought.refresh = brought.held.as_ref().and_then(|held| {
                let until = held.until;
                held.refresh.as_ref().map(|one| one.show(&text, &salt, until, asked.now))
            });
            Ok(Ok(brought))
        }
        TokenRequest::JwtBearer(request) => {
            let mut brought = Brought::asking(Grant::JwtBearer, &request.asked);
            match asserted(facts, asked, world, request.assertion.as_str()) {
                Ok((asserted, once)) => {
                    (brought.assertion, brought.once) = (Some(asserted), once);
                    Ok(Ok(brought))
                }
                Err(why) => Ok(Err(authorization::grants::Refusal::Assertion(why).into())),
            }
        }
        TokenRequest::DeviceCode(request) => {
            let text = request.device_code.as_str();
            self::waited(world, asked, Grant::DeviceCode, (Kind::Device, text)).await
        }
        TokenRequest::Ciba(request) => {
            let text = request.auth_req_id.as_str();
            self::waited(world, asked, Grant::Ciba, (Kind::Ciba, text)).await
        }
        TokenRequest::Deferred(request) => {
            let text = request.deferral_code.as_str();
            let challenged = asked.endpoint == Endpoint::Transaction;
            let (grant, kind) = match challenged {
                true => (Grant::Challenge, Kind::Challenge),
                false => (Grant::Deferred, Kind::Deferred),
            };
            self::waited(world, asked, grant, (kind, text)).await
        }
    }
}

/// What the client waits with, the question, and the grant where there is an answer.
async fn waited<W: World>(
    world: &W,
    asked: &Asked<'_>,
    grant: Grant,
    (kind, text): (Kind, &str),
) -> Read {
    let mut brought = Brought::bare(grant, None);
    let Some(hash) = kind.hash_of(text) else { return Ok(Ok(brought)) };
    let Some(ticket) = crate::facts::one::<W, Ticket>(world, &hash).await? else {
        return Ok(Ok(brought));
    };
    // Both as of one instant, after the ticket said which question it is.
    let keys = [Key::of::<Ticket>(&hash), Key::of::<Approval>(&ticket.approval)];
    let rows = world.store().snapshot(&keys).await?;
    let found = (rows.get::<Ticket>(&hash)?, rows.get::<Approval>(&ticket.approval)?);
    let (Some(ticket), Some(approval)) = found else { return Ok(Ok(brought)) };
    if let Some(grant) = approval.grant.clone() {
        hold(world, &mut brought, &grant).await?;
        let between = approval.above.iter().map(String::as_str).chain(approval.parent.as_deref());
        let above = [approval.root.as_str()].into_iter().chain(between);
        let rows = world.store().snapshot(&ends::keys(above.clone())).await?;
        brought.ended = match brought.ended.take() {
            None => ends::first(&rows, above)?,
            ended => ended,
        };
    }
    brought.waiting = Some(Waiting::of(ticket, approval, asked));
    Ok(Ok(brought))
}

/// The grant of that id, and whether it was ended.
async fn hold<W: World>(world: &W, brought: &mut Brought, id: &str) -> Result<(), Unavailable> {
    let rows = world.store().snapshot(&[Key::of::<GrantRecord>(id), Key::of::<Ended>(id)]).await?;
    brought.held = rows.get::<GrantRecord>(id)?;
    brought.ended = ends::first(&rows, [id])?;
    Ok(())
}

async fn exchange<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    exchange: &TokenExchange,
) -> Read {
    let grant = match exchange.requested_token_type {
        None | Some(TokenType::AccessToken) => Grant::Exchange,
        Some(TokenType::TxnToken) => Grant::Transaction,
        Some(other) => return Ok(Err(Refusal::TokenType(other))),
    };
    let mut brought = Brought::bare(grant, exchange.scope.clone());
    brought.requested_cnf.clone_from(&exchange.requested_cnf);
    let of_grant = subject_grant::read(world, facts, asked, exchange).await?;
    let read = match of_grant {
        Some(read) => read.map_err(|refusal| -> Blame { Box::new(move |_| refusal) }),
        None => presented(world, facts, asked, &exchange.subject).await?,
    };
    let subject = match read {
        Ok(subject) => subject,
        Err(refusal) => return Ok(Err(refusal(Refusal::Subject))),
    };
    if let Err(refusal) = vouched::check(world, &subject, asked.now).await? {
        return Ok(Err(Refusal::Subject(refusal)));
    }
    brought.ended = ends::of_token(world, &subject).await?;
    brought.subject = Some(subject);
    if let Some(token) = &exchange.actor {
        let actor = match presented(world, facts, asked, token).await? {
            Ok(actor) => actor,
            Err(refusal) => return Ok(Err(refusal(Refusal::Actor))),
        };
        if let Err(refusal) = vouched::check(world, &actor, asked.now).await? {
            return Ok(Err(Refusal::Actor(refusal)));
        }
        brought.ended = match brought.ended {
            None => ends::of_token(world, &actor).await?,
            ended => ended,
        };
        brought.actor = Some(actor);
    }
    Ok(Ok(brought))
}

/// Lets the caller say which token it was that was refused.
type Blame = Box<dyn FnOnce(fn(presented::Refusal) -> Refusal) -> Refusal + Send>;

async fn presented<W: World>(
    world: &W,
    facts: &Basis,
    asked: &Asked<'_>,
    token: &TypedToken,
) -> Result<Result<Presented, Blame>, Unavailable> {
    let (now, skew) = (asked.now, facts.set().domain().bounds.clock_skew);
    let text = token.token.as_str();
    let read = match token.token_type {
        TokenType::AccessToken if opaque::is_one(text) => {
            match crate::facts::one::<W, OpaqueToken>(world, &opaque::hash_of(text)).await? {
                Some(row) => Presented::of_opaque(row.claims.clone(), asked.issuer, now),
                None => Err(presented::Refusal::Unknown),
            }
        }
        TokenType::AccessToken | TokenType::Jwt => {
            let ring = ring(facts, Purpose::AccessToken)?;
            Presented::access_token(text, &ring, asked.issuer, now, skew)
        }
        TokenType::TxnToken => {
            let ring = ring(facts, Purpose::TxnToken)?;
            let domain = facts.set().domain().trust_domain.as_str();
            Presented::txn_token(text, &ring, domain, now, skew)
        }
        other => return Ok(Err(Box::new(move |_| Refusal::TokenType(other)))),
    };
    Ok(read.map_err(|refusal| -> Blame { Box::new(move |blame| blame(refusal)) }))
}

/// What an assertion of another issuer comes to, and what it uses up.
fn asserted<W: World>(
    facts: &Basis,
    asked: &Asked<'_>,
    world: &W,
    text: &str,
) -> Result<(Asserted, Option<Once>), NotAccepted> {
    let (now, skew) = (asked.now, facts.set().domain().bounds.clock_skew);
    let token = Unverified::<JwtGrant>::parse(text).map_err(NotAccepted::Malformed)?;
    // RFC 7523 §3: "The JWT MUST contain an "iss" (issuer) claim that contains a unique identifier
    // for the entity that issued the JWT." It says whose keys to take, and nothing else yet.
    let issuer = token.hint();
    let issuers = &facts.set().domain().delegation.issuers;
    let rule = issuers.iter().find(|rule| rule.issuer == issuer);
    let rule = rule.ok_or_else(|| NotAccepted::Issuer(issuer.chars().take(256).collect()))?;
    let verified = token.verify(&rule.jwks, ALGORITHMS, now, skew)?;
    let claims = verified.claims();
    let said = Said {
        issuer: &claims.iss,
        subject: &claims.sub,
        audiences: claims.aud.iter().collect(),
        expires: claims.exp.time(),
        issued: claims.iat.map(|iat| iat.time()),
        more: &claims.more,
    };
    let endpoint = format!("{}/token", world.site().issuer);
    let ours = Ours { issuer: asked.issuer.as_str(), token_endpoint: &endpoint };
    let asserted = jwt_bearer::accept(&said, rule, asked.caller.client_id(), ours, now)?;
    // RFC 7523 §3: "The authorization server MAY ensure that JWTs are not replayed by maintaining
    // the set of used "jti" values for the length of time for which the JWT would be considered
    // valid".
    let once = match &claims.jti {
        Some(jti) => Some(Once {
            space: format!("{} assertion of {}", asked.issuer.as_str(), claims.iss),
            value: jti.clone(),
            until: claims.exp.time().plus(skew),
        }),
        None if rule.reusable => None,
        None => return Err(NotAccepted::NoId),
    };
    Ok((asserted, once))
}

/// What the grant is for where the request does not say: the one target that there is.
pub(super) fn default_target(brought: &Brought, userinfo: &str) -> Option<String> {
    let held = brought.held.as_ref()?;
    let of_code = brought.code.as_ref().map(|code| code.resources.as_slice());
    let of_wait = brought.waiting.as_ref().map(|waiting| waiting.ticket.resources.as_slice());
    let named = of_code.or(of_wait).unwrap_or_default();
    let mut targets = held.targets.keys();
    match (named, targets.next(), targets.next()) {
        ([one], ..) => Some(one.clone()),
        (_, Some(only), None) => Some(only.clone()),
        (_, None, _) if !held.openid.is_empty() => Some(userinfo.to_owned()),
        _ => None,
    }
}

/// `resource` of a request, as text.
pub(super) fn resources(resources: &[Resource]) -> Vec<&str> {
    resources.iter().map(Resource::as_str).collect()
}

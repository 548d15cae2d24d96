//! The question that a request puts, as of one instant: who asks, where the answer goes, what for.
//! It is put together anew at each step, so that what changed meanwhile counts.

use std::collections::BTreeSet;

use access::publish::REQUEST_OBJECTS;
use access::{documents, handed};
use authentication::session::Acr;
use authorization::asked::{self, Asked};
use authorization::interaction::CameBy;
use authorization::profile::{AtAuthorization, Demand, STRONG, Unmet, of_asker, of_authorization};
use env::{Site, Unavailable, World};
use jose::{Algorithm, KeySet, Unverified};
use oauth::authorization_request::{AuthorizationRequest, ReplyTo, ResponseMode};
use oauth::form::Form;
use oauth::parameter::Refused;
use oauth::redirect_uri::{RedirectKind, RedirectUri};
use oauth::request_object::{self, Profile, RequestObject};
use oauth::{Issuer, TokenText};
use registry::{ClientRecord, Metadata};
use time::{Span, UnixTime};

use crate::client::Client;
use crate::facts::Basis;
use crate::refusal::{ObjectFault, PageFault, Refusal};

/// A question that reads: it may be put to the user.
#[derive(Clone, Debug)]
pub(crate) struct Posed {
    pub(crate) client: Client,
    pub(crate) to: To,
    pub(crate) request: AuthorizationRequest,
    pub(crate) asked: Asked,
    /// The least authentication that was asked for.
    pub(crate) acr: Option<Acr>,
}

impl Posed {
    /// Refuses a proof that was pushed with it and signed by less than profiles demand.
    pub(crate) fn proved_by(
        &self,
        facts: &Basis,
        site: &Site,
        algorithm: Option<Algorithm>,
    ) -> Result<(), Unmet> {
        // FAPI 2.0 SP §5.4.1: "shall use `PS256`, `ES256`, or `EdDSA`"; the proof is a JWT, too.
        let is_strong = algorithm.is_some_and(|one| STRONG.contains(&one));
        let demand = Demand::StrongAlgorithms;
        let demanded = self.client.demands.contains(&demand)
            || of_targets(facts, site, &self.asked).contains(&demand);
        if demanded && !is_strong { Err(Unmet(demand)) } else { Ok(()) }
    }
}

/// Where the answer goes: checked against what the client registered.
#[derive(Clone, Debug)]
pub(crate) struct To {
    pub(crate) uri: RedirectUri,
    /// As the request named it: the code is bound to that.
    pub(crate) named: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) mode: ResponseMode,
}

/// Why there is no question.
#[derive(Clone, Debug)]
pub(crate) enum Unposed {
    /// The user alone is told.
    Page(PageFault),
    /// The client is told.
    Client(Box<(Client, To)>, Refusal),
}

impl From<PageFault> for Unposed {
    fn from(fault: PageFault) -> Self {
        Self::Page(fault)
    }
}

/// Puts the question of `form`, which came by `by`, for `client`.
pub(crate) fn pose(
    facts: &Basis,
    site: &Site,
    client: Client,
    by: &CameBy,
    form: &Form,
) -> Result<Posed, Unposed> {
    let to = reply_to(&client, form)?;
    match read(facts, site, &client, (by, &to), form) {
        Ok((request, asked, acr)) => Ok(Posed { client, to, request, asked, acr }),
        Err(refusal) => Err(Unposed::Client(Box::new((client, to)), refusal)),
    }
}

/// The question, if the agents that it names may be handed anything.
pub(crate) async fn handed<W: World>(
    world: &W,
    posed: Posed,
) -> Result<Result<Posed, Unposed>, Unavailable> {
    let fit = handed::fit(world, &posed.asked, posed.client.is_workload()).await?;
    Ok(match fit {
        Ok(()) => Ok(posed),
        Err(refused) => {
            Err(Unposed::Client(Box::new((posed.client, posed.to)), Refusal::Request(refused)))
        }
    })
}

/// Where the answer goes. From here on a refusal reaches the client.
fn reply_to(client: &Client, form: &Form) -> Result<To, PageFault> {
    let reply = ReplyTo::read(form)?;
    let uri = client.redirects.find(reply.redirect_uri.as_deref())?;
    Ok(To { uri, named: reply.redirect_uri, state: reply.state, mode: reply.mode })
}

type Read = (AuthorizationRequest, Asked, Option<Acr>);

fn read(
    facts: &Basis,
    site: &Site,
    client: &Client,
    (by, to): (&CameBy, &To),
    form: &Form,
) -> Result<Read, Refusal> {
    // Before all else: what is wrong by its profile is said in the profile's words.
    of_authorization(&client.demands, shown(by, form))?;
    let refused = |why: Refused| Refusal::Request(why.into());
    let demands = &facts.set().domain().consent;
    // RFC 9126 §5: "Boolean parameter indicating whether the authorization server accepts
    // authorization request data only via PAR."
    if (demands.require_pushed || client.redirects.require_pushed) && !by.is_pushed() {
        return Err(refused(Refused::missing("request_uri", "RFC 9126 §5")));
    }
    // RFC 9101 §10.5: "the authorization server MUST reject any authorization request that does not
    // use a Request Object".
    if (demands.require_signed || client.redirects.require_signed) && !by.is_signed() {
        return Err(refused(Refused::missing("request", "RFC 9101 §10.5")));
    }
    let request = AuthorizationRequest::parse(form)?;
    if !client.has_code_grant {
        return Err(Refusal::NoCodeGrant);
    }
    // OAuth 2.1 §7.5.1, RFC 9700 §2.1.1: "For confidential clients, the use of PKCE [RFC7636] is
    // RECOMMENDED"; "Public clients MUST use PKCE". Here all do.
    if request.code_challenge.is_none() {
        return Err(refused(Refused::missing("code_challenge", "RFC 9700 §2.1.1")));
    }
    let asked = asked::asked(&request, facts.set().place(&site.gateway), client.widest.as_ref())?;
    let wants = of_targets(facts, site, &asked);
    of_asker(&wants, &client.lacks)?;
    of_authorization(&wants, shown(by, form))?;
    if wants.contains(&Demand::SecureRedirects) && to.uri.kind() != RedirectKind::Https {
        return Err(Unmet(Demand::SecureRedirects).into());
    }
    // OpenID Connect Core 1.0 §3.1.2.1: "redirect_uri REQUIRED."
    if asked.signs_in() && request.redirect_uri.is_none() {
        let rule = "OpenID Connect Core 1.0 §3.1.2.1";
        return Err(refused(Refused::missing("redirect_uri", rule)));
    }
    let acr = wanted(&request)?;
    Ok((request, asked, acr))
}

/// What the resources that are asked for demand.
fn of_targets(facts: &Basis, site: &Site, asked: &Asked) -> BTreeSet<Demand> {
    let targets = asked.targets.iter().map(|target| target.audience.as_str());
    facts.set().demands(targets, &site.gateway)
}

/// What a request shows to the profiles of its client.
fn shown(by: &CameBy, form: &Form) -> AtAuthorization {
    let mode = form.get("response_mode").and_then(ResponseMode::parse).unwrap_or_default();
    AtAuthorization {
        pushed: by.is_pushed(),
        redirect: form.has("redirect_uri"),
        signed: by.is_signed(),
        signed_response: mode.is_signed(),
        resource: form.has("resource"),
    }
}

/// The least of the classes that were asked for; any of them will do (OpenID Connect Core 1.0
/// §3.1.2.1, `acr_values`).
fn wanted(request: &AuthorizationRequest) -> Result<Option<Acr>, Refusal> {
    if request.acr_values.is_empty() {
        return Ok(None);
    }
    let known = request.acr_values.iter().filter_map(|text| Acr::parse(text)).min();
    known.map(Some).ok_or_else(|| Refusal::NoSuchAcr(request.acr_values.join(" ")))
}

/// The parameters of a request object that `client` signed (RFC 9101 §6.2, §6.3).
pub(crate) fn object(
    facts: &Basis,
    site: &Site,
    client: &Client,
    text: &TokenText,
    now: UnixTime,
) -> Result<Result<Form, ObjectFault>, Unavailable> {
    let issuer = Issuer::parse(&site.issuer).map_err(|error| Unavailable::of("settings", error))?;
    let registered = facts.rows.get::<ClientRecord>(client.id.as_str())?;
    let keys = match &registered {
        Some(registered) => documents::keys_of(registered, &facts.rows, now)?,
        None => None,
    };
    let (Some(keys), Some(registered)) = (keys, registered) else {
        return Ok(Err(ObjectFault::NoKeys));
    };
    let by = (&issuer, client, &registered.metadata, &keys);
    let form = match signed_by(facts, by, &client.demands, text, now) {
        Ok(form) => form,
        Err(fault) => return Ok(Err(fault)),
    };
    // What it is for is known now, and may demand more of how it is signed.
    let request = AuthorizationRequest::parse(&form).ok();
    let (place, widest) = (facts.set().place(&site.gateway), client.widest.as_ref());
    let asked = request.and_then(|one| asked::asked(&one, place, widest).ok());
    let wants = asked.map(|asked| of_targets(facts, site, &asked)).unwrap_or_default();
    if wants.is_subset(&client.demands) {
        return Ok(Ok(form));
    }
    Ok(signed_by(facts, by, &client.demands.union(&wants).copied().collect(), text, now))
}

type Signer<'a> = (&'a Issuer, &'a Client, &'a Metadata, &'a KeySet);

fn signed_by(
    facts: &Basis,
    (issuer, client, metadata, keys): Signer<'_>,
    demanded: &BTreeSet<Demand>,
    text: &TokenText,
    now: UnixTime,
) -> Result<Form, ObjectFault> {
    // OpenID Connect Dynamic Client Registration 1.0 §2, `request_object_signing_alg`: "All Request
    // Objects from this Client MUST be rejected, if not signed with this algorithm."
    let registered = metadata.request_object_signing_alg.as_slice();
    let algorithms = match registered {
        [] if demanded.contains(&Demand::StrongAlgorithms) => STRONG,
        [] => REQUEST_OBJECTS,
        _ => registered,
    };
    let skew: Span = facts.set().domain().bounds.clock_skew;
    let token = Unverified::<RequestObject>::parse(text.as_str())?;
    let verified = token.verify(keys, algorithms, now, skew)?;
    let demands = &facts.set().domain().consent;
    let strict = demands.require_signed
        || client.redirects.require_signed
        || demanded.contains(&Demand::SignedRequests);
    let profile = if strict { Profile::FapiMessageSigning } else { Profile::Jar };
    Ok(request_object::check(&verified, &client.id, issuer, profile, now)?)
}

//! What was permitted becomes tokens: built, checked, signed; and what that writes.

use authentication::Method;
use authorization::access_token::{self, Issuing};
use authorization::granted::refresh::{Refresh, Shown};
use authorization::granted::{Binding, Code, GrantRecord, Way};
use authorization::policy::Format;
use authorization::status::Place;
use authorization::{Proposal, Sanctioned, TokenKind, txn_token};
use credential::{AuthorityKey, Purpose, TokenText};
use env::rows::{OpaqueToken, StatusEntry};
use env::{Entropy, Expect, Stored, Unavailable, World, Write};
use monitoring::Record;
use oauth::TokenType;
use oauth::confirmation::Confirmation;
use oauth::status::{Status, StatusReference};
use oauth::token_request::{GrantType, TokenRequest};
use oauth::token_response::{TokenResponse, TokenUse};
use pdp::Permitted;
use registry::ClientRecord;
use registry::client::Origin;
use time::Span;

use super::brought::Brought;
use super::people::People;
use super::{Asked, Refusal, ring};
use crate::facts::Basis;
use crate::record::public_id;
use crate::sign::{self, ALGORITHM};
use crate::{id_token, opaque, status};

/// An answer, and the rows that are written with its record.
pub(super) struct Made {
    pub(super) response: TokenResponse,
    pub(super) writes: Vec<Write>,
}

/// Builds, checks and signs what was permitted.
pub(super) async fn make<W: World>(
    world: &W,
    facts: &Basis,
    permitted: &Permitted,
    (asked, brought, people): (&Asked<'_>, &Brought, &People),
    record: &mut Record,
) -> Result<Result<Made, Refusal>, Unavailable> {
    let proposal = permitted.proposal();
    record.rules = permitted.permit().rules().to_vec();
    record.rules.extend(proposal.impersonation().map(|rule| format!("impersonation:{rule}")));
    let mut writes = Vec::new();
    let token = match token(world, facts, permitted, asked, record, &mut writes).await? {
        Ok(token) => token,
        Err(fault) => return Ok(Err(Refusal::Unmakeable(fault.to_string()))),
    };
    let (token_type, issued) = match (proposal.kind(), proposal.binding()) {
        (TokenKind::Access, Some(Confirmation::Key(_))) => (TokenUse::Dpop, TokenType::AccessToken),
        (TokenKind::Access, _) => (TokenUse::Bearer, TokenType::AccessToken),
        (TokenKind::Transaction, _) => (TokenUse::NotApplicable, TokenType::TxnToken),
    };
    let exchanged = matches!(asked.call.request, TokenRequest::TokenExchange(_));
    let mut response = TokenResponse {
        expires_in: Some(proposal.expires().since(asked.now).seconds()),
        scope: Some(proposal.scope().clone()).filter(|scope| !scope.is_empty()),
        issued_token_type: exchanged.then_some(issued),
        authorization_details: proposal.authorization_details().cloned(),
        ..TokenResponse::new(token.expose().to_owned(), token_type)
    };
    if let Some(held) = &brought.held {
        let next = next(world, asked, brought, people, held, proposal, &mut response);
        writes.extend(next.map(|next| Write::put(&next, Expect::Version(held.version))));
        writes.extend(brought.code.as_ref().map(|code| used(code, asked)));
        if let Some(waiting) = &brought.waiting {
            match waiting.used(asked.now) {
                Ok(used) => writes.extend(used),
                Err(unmoved) => return Ok(Err(Refusal::Unmakeable(unmoved.to_string()))),
            }
        }
        let refresh_token = response.refresh_token.clone();
        let beside = (&token, refresh_token.as_deref());
        let facet = people.facet(&held.client_id);
        match id_token::beside(world, facts, (asked, brought), (held, &facet), beside).await? {
            Ok(id_token) => response.id_token = id_token,
            Err(fault) => return Ok(Err(Refusal::Unmakeable(fault))),
        }
    }
    writes.extend(kept(facts, asked, people));
    Ok(Ok(Made { response, writes }))
}

/// A client that registered itself stays while it is used: written anew when half of its life is
/// over, or when it is used for the first time.
fn kept(facts: &Basis, asked: &Asked<'_>, people: &People) -> Option<Write> {
    let client = people.client(asked.caller.client_id())?;
    let life = facts.set().domain().registration.stranger_life;
    let half = asked.now.plus(Span::from_seconds(life.seconds() / 2));
    client.until.filter(|until| client.origin == Origin::Open && *until < half)?;
    let kept = ClientRecord { until: Some(asked.now.plus(life)), ..(*client.value).clone() };
    Some(Write::put(&kept, Expect::Version(client.version)))
}

/// The code, used.
fn used(code: &Stored<Code>, asked: &Asked<'_>) -> Write {
    let used = Code { used: Some(asked.now), ..(*code.value).clone() };
    Write::put(&used, Expect::Version(code.version))
}

/// The grant after this use, where that changes it; a refresh token goes into the answer.
fn next<W: World>(
    world: &W,
    asked: &Asked<'_>,
    brought: &Brought,
    people: &People,
    held: &Stored<GrantRecord>,
    proposal: &Proposal,
    response: &mut TokenResponse,
) -> Option<GrantRecord> {
    let used = held.after_use(asked.now, proposal.audience());
    match &brought.refresh {
        Some(Ok(Shown::Rotated { successor, next })) => {
            response.refresh_token = Some(successor.expose().to_owned());
            let grant = used.unwrap_or_else(|| (*held.value).clone());
            return Some(GrantRecord { refresh: Some(next.clone()), ..grant });
        }
        // The same one as a moment ago: there is nothing to write that was not written then.
        Some(Ok(Shown::Again { successor })) => {
            response.refresh_token = Some(successor.expose().to_owned());
            return None;
        }
        Some(_) => return used,
        None => {}
    }
    // What approved one single action gives no second token.
    if held.way == Way::Approval || !gets_refresh_token(people, held) {
        return used;
    }
    let grant = used.unwrap_or_else(|| (*held.value).clone());
    let binding = binding(asked);
    // RFC 9700 §4.14.2: "Authorization servers MUST utilize one of these methods to detect refresh
    // token replay by malicious actors for public clients: Sender-constrained refresh tokens [...]
    // Refresh token rotation". FAPI 2.0 §5.3.2.1: "shall not use refresh token rotation except in
    // extraordinary circumstances".
    let rotates = asked.caller.method() == Method::None && binding.is_none();
    let (secret, tags) = (world.entropy().secret(), world.entropy().secret());
    let (token, refresh) = Refresh::first(&held.id, &secret, &tags, rotates, held.until);
    response.refresh_token = Some(token.expose().to_owned());
    Some(GrantRecord { refresh: Some(refresh), binding, ..grant })
}

/// A refresh token is for clients that registered to use one, and where the user allowed access
/// while they are away.
fn gets_refresh_token(people: &People, held: &GrantRecord) -> bool {
    let offline = held.openid.iter().any(|scope| scope.as_str() == "offline_access");
    let registered = people
        .client(&held.client_id)
        .is_some_and(|client| client.metadata.grant_types.contains(&GrantType::RefreshToken));
    offline || registered
}

/// What the refresh token of this request is bound to. RFC 9449 §5: "a refresh token to a public
/// client that presents a valid DPoP proof at the token endpoint, the refresh token MUST be bound
/// to the respective public key." That of others is bound to how they authenticate: RFC 9449 §5,
/// "they are already sender-constrained with a different existing mechanism."
fn binding(asked: &Asked<'_>) -> Option<Binding> {
    // draft-ietf-oauth-attestation-based-client-auth §9.3 wants those of an attested instance bound
    // to its key, which here is that of the proof.
    let bound = matches!(asked.caller.method(), Method::None | Method::AttestationDpop);
    asked.key.filter(|_| bound).map(|key| Binding::Dpop(key.to_base64url()))
}

/// The token itself.
async fn token<W: World>(
    world: &W,
    facts: &Basis,
    permitted: &Permitted,
    asked: &Asked<'_>,
    record: &mut Record,
    writes: &mut Vec<Write>,
) -> Result<Result<TokenText, access_token::Fault>, Unavailable> {
    let proposal = permitted.proposal();
    let purpose = match proposal.kind() {
        TokenKind::Access => Purpose::AccessToken,
        TokenKind::Transaction => Purpose::TxnToken,
    };
    let ring = ring(facts, purpose)?;
    let key = sign::signer(&ring, asked.now)?;
    let mut issuing = issuing(world, facts, asked, key);
    let place = place(world, facts, proposal, asked);
    issuing.status = place.as_ref().map(|place| {
        let uri = Place::uri(&place.list, asked.issuer.as_str());
        Status { status_list: StatusReference { idx: place.index, uri } }
    });
    let handle = sign::handle(purpose, key);
    let made = match (proposal.kind(), proposal.format()) {
        (TokenKind::Transaction, _) => {
            let fresh = public_id(world);
            match txn_token::build(permitted, &issuing, &fresh) {
                Ok((txn, checked)) => {
                    record.txn = Some(txn);
                    sign::token(world, &handle, checked).await?
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
        (TokenKind::Access, Format::Jwt) => match access_token::build(permitted, &issuing) {
            Ok(checked) => {
                if let Some(place) = place {
                    let claims = match access_token::claims(permitted, &issuing) {
                        Ok(claims) => claims.into_inner(),
                        Err(fault) => return Ok(Err(fault)),
                    };
                    let (row, list, index) = (place.row(), place.list, place.index);
                    let entry = StatusEntry { row, list, index, claims };
                    // Where the place is taken, all is decided again, with another.
                    writes.push(Write::put(&entry, Expect::Absent));
                }
                sign::token(world, &handle, checked).await?
            }
            Err(fault) => return Ok(Err(fault)),
        },
        (TokenKind::Access, Format::Opaque) => match access_token::claims(permitted, &issuing) {
            Ok(claims) => {
                let text = opaque::text(world.entropy().secret());
                let hash = opaque::hash_of(&text);
                let row = OpaqueToken { hash, claims: claims.into_inner() };
                writes.push(Write::put(&row, Expect::Absent));
                TokenText::new(text)
            }
            Err(fault) => return Ok(Err(fault)),
        },
    };
    let (root, parent, epoch) = issuing.lineage(proposal.lineage());
    record.jti = Some(issuing.jti.clone());
    record.root = Some(root.to_owned());
    record.parent = parent.map(str::to_owned);
    record.epoch = Some(epoch);
    Ok(Ok(made))
}

/// The place in a status list, for a signed token whose audience asks for one.
fn place<W: World>(
    world: &W,
    facts: &Basis,
    proposal: &Proposal,
    asked: &Asked<'_>,
) -> Option<Place> {
    let signed = (proposal.kind(), proposal.format()) == (TokenKind::Access, Format::Jwt);
    let audience = facts.set().audience(proposal.audience(), &world.site().gateway);
    let wanted = signed && audience.is_some_and(|audience| audience.status);
    wanted.then(|| status::place(world, asked.now))
}

fn issuing<'a, W: World>(
    world: &W,
    facts: &Basis,
    asked: &'a Asked<'_>,
    key: &'a AuthorityKey,
) -> Issuing<'a> {
    Issuing {
        issuer: asked.issuer,
        jti: public_id(world),
        fresh_root: public_id(world),
        status: None,
        epoch: facts.epoch.0,
        now: asked.now,
        kid: &key.kid,
        algorithm: ALGORITHM,
    }
}

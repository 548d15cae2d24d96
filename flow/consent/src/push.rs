//! `POST /par` (RFC 9126): a client that authenticates leaves its request here, and gets a
//! reference that a browser can carry.

use access::documents;
use access::token::asker::Asker;
use access::token::client::{self as proof, ClientRefusal};
use access::token::{dpop_algorithm, shown_key};
use authentication::{Method, Once, private_key_jwt};
use authorization::interaction::{
    CameBy, PARAMETERS_BYTES_MAX, PUSHED_LIFE, Pushed, UNPROVED_BYTES_MAX,
};
use basis::shares::Shares;
use env::{Change, CommitFault, Entropy, Expect, Recorded, Store, Unavailable, World, Write};
use jose::{Algorithm, Thumbprint};
use monitoring::{Event, Outcome, Record};
use oauth::ClientId;
use oauth::authorization_request::PARAMETERS;
use oauth::dpop::ProofRefused;
use oauth::error::ErrorCode;
use oauth::form::Form;
use oauth::pushed::{Pushed as What, PushedResponse, RequestUri};
use time::UnixTime;

use crate::begin::pushed_hash;
use crate::client::{self, Client, Unfit};
use crate::facts::{Basis, basis};
use crate::issuing;
use crate::pose::{self, Unposed, pose};
use crate::record::{begin, refused, single_use};
use crate::refusal::{PageFault, Refusal as Told};
use crate::reply;
use crate::turns::overtaken;

/// Why nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client is not authenticated.
    #[error(transparent)]
    Client(#[from] ClientRefusal),
    /// What it proved itself with was used before.
    #[error("the client's proof was used before")]
    Replayed,
    /// `client_id` names another client than the one that authenticated.
    #[error("`client_id` is `{asked}`, and `{proved}` authenticated (RFC 9126 §2.1)")]
    OtherClient {
        /// The parameter.
        asked: String,
        /// Who authenticated.
        proved: String,
    },
    /// The DPoP proof (RFC 9449 §10.1).
    #[error(transparent)]
    Dpop(#[from] ProofRefused),
    /// The DPoP proof was used before.
    #[error("the DPoP proof was used before")]
    DpopReplayed,
    /// The proof is by another key than the request names.
    #[error("`dpop_jkt` is `{asked}`, and the DPoP proof is by `{shown}` (RFC 9449 §10.1)")]
    OtherKey {
        /// The parameter.
        asked: String,
        /// The key of the proof.
        shown: String,
    },
    /// Too many are pushed by clients that prove nothing but their name.
    #[error("too many requests are pushed; the next is taken in {wait} s")]
    TooMany {
        /// After how many seconds.
        wait: u64,
    },
    /// What only a browser's user would be told at the authorization endpoint.
    #[error(transparent)]
    Page(#[from] PageFault),
    /// What the client would be told by redirect.
    #[error(transparent)]
    Told(#[from] Told),
}

impl Refusal {
    /// The code on the wire. RFC 9126 §2.3: "The authorization server returns an error response
    /// with the same format as is specified for error responses from the token endpoint".
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Client(_) | Self::Replayed => ErrorCode::InvalidClient,
            Self::OtherClient { .. } => ErrorCode::InvalidRequest,
            Self::Dpop(proof) if proof.asks_for_nonce() => ErrorCode::UseDpopNonce,
            Self::Dpop(_) | Self::DpopReplayed | Self::OtherKey { .. } => {
                ErrorCode::InvalidDpopProof
            }
            Self::TooMany { .. } => ErrorCode::TemporarilyUnavailable,
            Self::Page(PageFault::Client(_)) => ErrorCode::UnauthorizedClient,
            Self::Page(fault) => fault.code(),
            Self::Told(refusal) => refusal.code(),
        }
    }

    /// What records say of it, which may be more than the client is told.
    fn evidence(&self) -> String {
        match self {
            Self::Page(PageFault::Client(Unfit::Published(unread))) => unread.evidence(),
            other => other.to_string(),
        }
    }

    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Client(refusal) => refusal.check(),
            Self::Replayed => "push::Replayed",
            Self::OtherClient { .. } => "push::OtherClient",
            Self::Dpop(_) => "push::Dpop",
            Self::DpopReplayed => "push::DpopReplayed",
            Self::OtherKey { .. } => "push::OtherKey",
            Self::TooMany { .. } => "push::TooMany",
            Self::Page(fault) => fault.check(),
            Self::Told(refusal) => refusal.check(),
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub enum End {
    /// The client is known: decided, and recorded.
    Decided(Recorded<Result<PushedResponse, Refusal>>),
    /// The client is known, and proved nothing but its name: what is kept is not recorded, for it
    /// decides nothing, unless a DPoP proof was used up; what is refused is counted. A stranger
    /// cannot fill the log.
    Unproved(Result<PushedResponse, Refusal>),
    /// Nobody proved anything: count it.
    Stranger(ClientRefusal),
}

/// Answers one request. `shares` counts what clients leave here that prove nothing.
pub async fn push<W: World>(
    world: &W,
    shares: &Shares,
    asker: Asker,
    form: Form,
) -> Result<End, Unavailable> {
    let shown = asker.shown();
    let keys = match proof::keys(world, shown).await? {
        Ok(keys) => keys,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let issuer = reply::issuer(world)?;
    let proved = match proof::authenticate(world, shown, &facts, &issuer, now).await? {
        Ok(proved) => proved,
        Err(refusal) => return Ok(End::Stranger(refusal)),
    };
    let id = proved.caller.client_id().to_owned();
    let unproved = proved.caller.method() == Method::None;
    let mut record = begin(world, Event::AuthorizationRequested);
    record.action = "authorization.push".to_owned();
    record.agent = Some(id.clone());
    record.proof = Some(proved.caller.method().name().to_owned());
    record.policy = Some(facts.version());
    let mut change = Change::default();
    proved.once.as_ref().map(|once| spend(once, &mut change, &mut record));
    let shown = shown_key(world, &facts, &asker.dpop, &asker.path, now).await?;
    let mut key = None;
    let kept = match shown {
        Err(refused) => Err(refused.into()),
        Ok(shown) => {
            // Where it proved the client, it is spent already.
            let spent = proved.caller.method() == Method::AttestationDpop;
            let once = shown.as_ref().filter(|_| !spent).map(|(_, once)| once);
            key = once.map(|once| spend(once, &mut change, &mut record));
            let proof = shown.map(|(key, _)| (key, dpop_algorithm(&asker.dpop)));
            let bytes_max = if unproved { UNPROVED_BYTES_MAX } else { PARAMETERS_BYTES_MAX };
            keep(world, (&id, &asker.source), (&form, bytes_max), proof, now).await?
        }
    };
    let kept = kept.and_then(|kept| {
        let taken = if unproved { shares.push(&asker.source, now) } else { Ok(()) };
        taken.map(|()| kept).map_err(|many| Refusal::TooMany { wait: many.wait(now) })
    });
    if let (Err(refusal), true) = (&kept, unproved) {
        return Ok(End::Unproved(Err(refusal.clone())));
    }
    let decided = put(world, kept, &mut change, &mut record);
    // A proof that serves once is used up by a record alone: replay windows are made of the log.
    if !unproved || !change.uses.is_empty() {
        change.records.push(record);
    }
    match world.store().commit(change).await {
        Ok(_) if unproved => Ok(End::Unproved(decided)),
        Ok(receipt) => Ok(End::Decided(Recorded::new(decided, &receipt))),
        Err(CommitFault::Used(used)) => {
            let of_key = key == Some(used.hash);
            let refusal = if of_key { Refusal::DpopReplayed } else { Refusal::Replayed };
            if unproved {
                return Ok(End::Unproved(Err(refusal)));
            }
            replayed(world, &id, &facts, refusal).await
        }
        Err(CommitFault::Conflict(_)) => Err(overtaken()),
        Err(CommitFault::Unavailable(why)) => Err(why),
    }
}

/// What serves once is used up: its hash.
fn spend(once: &Once, change: &mut Change, record: &mut Record) -> [u8; 32] {
    let (use_, used) = single_use(&once.space, &once.value, once.until);
    let hash = use_.hash;
    change.uses.push(use_);
    record.used.push(used);
    hash
}

/// Keeps it, and says so in the record; or says why not.
fn put<W: World>(
    world: &W,
    kept: Result<Pushed, Refusal>,
    change: &mut Change,
    record: &mut Record,
) -> Result<PushedResponse, Refusal> {
    match kept {
        Ok(pushed) => {
            record.outcome = Outcome::Permitted;
            let uri = RequestUri::of_random(&world.entropy().secret());
            let row = Pushed { hash: pushed_hash(uri.as_str()), ..pushed };
            change.writes.push(Write::put(&row, Expect::Absent));
            Ok(PushedResponse { request_uri: uri, expires_in: PUSHED_LIFE.seconds() })
        }
        Err(refusal) => {
            refused(record, refusal.check(), &refusal.evidence(), None);
            Err(refusal)
        }
    }
}

/// The proof was seen before: nothing is kept, and that is what is recorded.
async fn replayed<W: World>(
    world: &W,
    id: &str,
    facts: &Basis,
    refusal: Refusal,
) -> Result<End, Unavailable> {
    let mut record: Record = begin(world, Event::AuthorizationRequested);
    record.action = "authorization.push".to_owned();
    record.agent = Some(id.to_owned());
    record.policy = Some(facts.version());
    refused(&mut record, refusal.check(), &refusal, None);
    let commit = world.store().commit(Change::record(record)).await;
    let receipt = crate::turns::settled(commit)?.ok_or_else(overtaken)?;
    Ok(End::Decided(Recorded::new(Err(refusal), &receipt)))
}

/// The row to keep, without its name.
///
/// RFC 9126 §2.1: "Validate the pushed request as it would an authorization request sent to the
/// authorization endpoint."
async fn keep<W: World>(
    world: &W,
    (id, source): (&str, &str),
    (outside, bytes_max): (&Form, usize),
    proof: Option<(Thumbprint, Option<Algorithm>)>,
    now: UnixTime,
) -> Result<Result<Pushed, Refusal>, Unavailable> {
    let what = match What::read(outside) {
        Ok(what) => what,
        Err(why) => return Ok(Err(PageFault::from(why).into())),
    };
    let mut keys = client::keys(id).to_vec();
    if let What::Object(text) = &what {
        let kid = private_key_jwt::named_key(text.as_str());
        match documents::ready(world, id, kid.as_ref(), source).await? {
            Ok(row) => keys.extend(row),
            Err(unread) => return Ok(Err(unfit_client(Unfit::Published(unread)))),
        }
    }
    let facts = basis(world, keys).await?;
    let client_id = ClientId::parse(id).map_err(|error| Unavailable::of("store", error))?;
    let client = match Client::find(&client_id, &facts.rows)? {
        Ok(client) => client,
        Err(unfit) => return Ok(Err(unfit_client(unfit))),
    };
    let signed = matches!(what, What::Object(_));
    let form = match &what {
        What::Object(text) => match pose::object(&facts, world.site(), &client, text, now)? {
            Ok(form) => form,
            Err(fault) => return Ok(Err(PageFault::from(fault).into())),
        },
        What::Parameters => without_proof(outside),
    };
    let asked = form.get("client_id").unwrap_or(id).to_owned();
    if asked != id {
        let (asked, proved) = (oauth::parameter::evidence(&asked), id.to_owned());
        return Ok(Err(Refusal::OtherClient { asked, proved }));
    }
    let form = match bound(named(&form, id), proof.map(|proof| proof.0)) {
        Ok(form) => form,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let by = CameBy::Pushed { hash: String::new(), signed };
    let posed = match pose(&facts, world.site(), client, &by, &form) {
        Ok(posed) => pose::handed(world, posed).await?,
        refused => refused,
    };
    match posed {
        Ok(posed) => {
            if let Some((_, algorithm)) = proof
                && let Err(unmet) = posed.proved_by(&facts, world.site(), algorithm)
            {
                return Ok(Err(Told::Profile(unmet).into()));
            }
        }
        Err(Unposed::Page(fault)) => return Ok(Err(fault.into())),
        Err(Unposed::Client(_, refusal)) => return Ok(Err(refusal.into())),
    }
    let parameters = form.only(PARAMETERS).to_body();
    if parameters.len() > bytes_max {
        let (length, max) = (parameters.len(), bytes_max);
        return Ok(Err(PageFault::TooLong { length, max }.into()));
    }
    let (client_id, until) = (id.to_owned(), now.plus(PUSHED_LIFE));
    let (hash, begun, used, refused) = (String::new(), None, None, false);
    Ok(Ok(Pushed { hash, client_id, parameters, signed, until, begun, used, refused }))
}

/// RFC 9449 §10.1: "the DPoP proof is sent in the DPoP header [...] If both mechanisms are used at
/// the same time, the authorization server MUST reject the request if the JWK Thumbprint in
/// dpop_jkt does not match the public key in the DPoP header."
fn bound(form: Form, key: Option<Thumbprint>) -> Result<Form, Refusal> {
    let Some(shown) = key.map(|key| key.to_base64url()) else { return Ok(form) };
    match form.get("dpop_jkt") {
        None => Ok(form.with("dpop_jkt", &shown)),
        Some(asked) if asked == shown => Ok(form),
        Some(asked) => Err(Refusal::OtherKey { asked: oauth::parameter::evidence(asked), shown }),
    }
}

fn unfit_client(unfit: Unfit) -> Refusal {
    PageFault::Client(unfit).into()
}

/// What is pushed beside the request, to prove who pushes it, is no part of it.
const PROOFS: &[&str] = &["client_assertion", "client_assertion_type", "client_secret"];

fn without_proof(form: &Form) -> Form {
    form.without(PROOFS)
}

/// With `client_id`, which who authenticates otherwise may leave out.
fn named(form: &Form, id: &str) -> Form {
    match form.has("client_id") {
        true => form.clone(),
        false => form.with("client_id", id),
    }
}

//! An enrolled agent renews what it has, with a new key (S1 §8; PROV-02, PROV-05, CRED-11), for as
//! long as its attestation result counts; then it must enrol again (PROV-03).
//!
//! It is known by the credential that it holds, never by the handle: that only says which enrolment
//! is meant.

use attestation::mechanism::by_name;
use authentication::{Caller, ProofRefusal, Who, spiffe_x509, wit_wpt};
use credential::{KeyRing, Purpose};
use enrolment::RenewRequest;
use env::rows::{Documents, Enrolment};
use env::{Change, Expect, Key, Recorded, Stored, Unavailable, World, Write};
use flow::appraise::kept_basis;
use flow::facts::{Basis, basis, one};
use flow::turns::{TRIES_MAX, overtaken, pause};
use flow::{issuing, join};
use monitoring::Record;
use provisioning::NotInForce;
use registry::AgentRecord;
use time::UnixTime;
use wimse::TrustAnchors;
use x509::Request;

use crate::enrol::{Enrolled, bindable, hash_of, record_of};
use crate::made::{self, Making};
use crate::settle::{KEY_SPACE, Of, Uses, key_kept, settle};

/// The path of the endpoint: what a proof is made for is an origin of ours and this.
pub const PATH: &str = "/enrol/renew";

/// Who asks for what, by which proof.
#[derive(Clone)]
pub struct Renewal {
    /// The request.
    pub request: RenewRequest,
    /// Every `Workload-Identity-Token` field.
    pub wit: Vec<Vec<u8>>,
    /// Every `Workload-Proof-Token` field.
    pub wpt: Vec<Vec<u8>>,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Where it comes from, for the record.
    pub source: String,
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renewal({:?} from {})", self.request, self.source)
    }
}

/// Why nothing is renewed: one variant a check, in their order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither of the two ways was used.
    #[error("no proof: send a workload identity token and its proof, or use mutual tls")]
    NoProof,
    /// By WIT.
    #[error(transparent)]
    Wit(#[from] ProofRefusal),
    /// By certificate.
    #[error(transparent)]
    X509(#[from] spiffe_x509::Refusal),
    /// The handle is of no enrolment, or of one that ended.
    #[error("no enrolment of that handle; it ended, or never was: enrol again")]
    Unknown,
    /// It is somebody else's.
    #[error("the handle is that of another agent than `{caller}`")]
    OtherAgent {
        /// Who proved itself.
        caller: String,
    },
    /// It is not that of the credential shown, or no longer.
    #[error("the key proved is not the last one of this enrolment")]
    OtherKey,
    /// The agent is suspended, revoked or retired, or the credential is of before that.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// What the result was made of is not the same any more.
    #[error("policy, or what is kept about the agent, changed since; enrol again")]
    Stale,
    /// The request, the record, or policy.
    #[error(transparent)]
    Enrol(#[from] crate::refusal::Refusal),
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NoProof => "renew::NoProof",
            Self::Wit(_) => "renew::Wit",
            Self::X509(_) => "renew::X509",
            Self::Unknown => "renew::Unknown",
            Self::OtherAgent { .. } => "renew::OtherAgent",
            Self::OtherKey => "renew::OtherKey",
            Self::NotInForce(_) => "renew::NotInForce",
            Self::Stale => "renew::Stale",
            Self::Enrol(refusal) => refusal.check(),
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub enum End {
    /// It was decided, and recorded.
    Decided(Recorded<Result<Enrolled, Refusal>>),
    /// The asker proved nothing: count it, tell it no more than that.
    Stranger(Refusal),
}

/// Renews.
pub async fn renew<W: World>(world: &W, renewal: &Renewal) -> Result<End, Unavailable> {
    for turn in 0..TRIES_MAX {
        match once(world, renewal).await? {
            Some(end) => return Ok(end),
            None => pause(world, turn).await,
        }
    }
    Err(overtaken())
}

/// [`renew`], unless another commit came first.
async fn once<W: World>(world: &W, renewal: &Renewal) -> Result<Option<End>, Unavailable> {
    let handle = hash_of(&renewal.request.handle);
    let agent = one::<W, Enrolment>(world, &handle).await?.map(|row| row.agent.clone());
    let agent = agent.unwrap_or_default();
    let mut keys = vec![
        Key::of::<Enrolment>(&handle),
        Key::of::<AgentRecord>(&agent),
        Key::of::<Documents>(&agent),
        Key::of::<KeyRing>(Purpose::AttestationResult.name()),
    ];
    keys.extend(made::rings());
    let facts = basis(world, keys).await?;
    let now = issuing::now(world, &facts)?;
    let mut uses = Uses::default();
    let caller = match authenticate(world, &facts, renewal, &mut uses, now) {
        Ok(caller) => caller,
        Err(refusal) => return Ok(Some(End::Stranger(refusal))),
    };
    let mut record = record_of(world, &facts, caller.method().name(), &renewal.source);
    record.action = "credential.renew".to_owned();
    record.agent = Some(caller.who().to_string());
    record.transport = caller.transport().map(ToString::to_string);
    let mut change = Change::default();
    let made = match admitted(&facts, &handle, &caller, now)? {
        Ok(held) => {
            make(world, &facts, renewal, &held, &mut change, &mut record, &mut uses, now).await?
        }
        Err(refusal) => Err(refusal),
    };
    Ok(settle(world, &facts, change, record, made, &uses).await?.ok().map(End::Decided))
}

/// Who calls: by the two fields if there are any, else by the certificate of the channel.
fn authenticate<W: World>(
    world: &W,
    facts: &Basis,
    renewal: &Renewal,
    uses: &mut Uses,
    now: UnixTime,
) -> Result<Caller, Refusal> {
    let bundles = &facts.trust.bundles;
    if renewal.wit.is_empty() && renewal.wpt.is_empty() {
        if renewal.certificates.is_empty() {
            return Err(Refusal::NoProof);
        }
        return Ok(spiffe_x509::of_channel(&renewal.certificates, bundles, now)?);
    }
    let bounds = &facts.set().domain().bounds;
    let anchors = TrustAnchors::from(bundles);
    // wpt §3.1: our own authority comes from configuration, never from the request.
    let site = world.site();
    let targets = [&site.issuer, &site.mtls_origin].map(|origin| format!("{origin}{PATH}"));
    let audiences: Vec<_> = targets.iter().map(String::as_str).collect();
    let request = wit_wpt::Request {
        wit: renewal.wit.iter().map(Vec::as_slice).collect(),
        wpt: renewal.wpt.iter().map(Vec::as_slice).collect(),
        token: None,
        audiences: &audiences,
        anchors: &anchors,
        now,
        skew: bounds.clock_skew,
        lifetime_max: bounds.proof_lifetime,
    };
    let wit = wit_wpt::wit(wit_wpt::wit_text(&request)?, &request)?;
    let proved = wit_wpt::authenticate(&request, &wit)?;
    if let Some(once) = &proved.once {
        let space = format!("enrol {}", once.space);
        uses.add(Of::Proof, &space, &once.value, once.until);
    }
    Ok(proved.caller)
}

/// An enrolment that counts, and its agent.
struct Held {
    row: Stored<Enrolment>,
    agent: AgentRecord,
}

/// Whether the caller is the one of the enrolment, and everything stands as it did.
fn admitted(
    facts: &Basis,
    handle: &str,
    caller: &Caller,
    now: UnixTime,
) -> Result<Result<Held, Refusal>, Unavailable> {
    let Some(row) = facts.rows.get::<Enrolment>(handle)? else {
        return Ok(Err(Refusal::Unknown));
    };
    let agent = facts.rows.get::<AgentRecord>(&row.agent)?;
    let Some(agent) = agent else { return Ok(Err(Refusal::Unknown)) };
    let is_same = match caller.who() {
        Who::Workload(id) => *id == agent.id,
        Who::Client(_) => false,
    };
    if !is_same {
        return Ok(Err(Refusal::OtherAgent { caller: caller.who().to_string() }));
    }
    // CRED-11: "old keys die with their credential"; of an enrolment the last key speaks alone.
    if caller.key().is_none_or(|key| key.to_base64url() != row.key) {
        return Ok(Err(Refusal::OtherKey));
    }
    if let Err(why) = agent.lifecycle.admits(caller.issued()) {
        return Ok(Err(why.into()));
    }
    if row.until <= now {
        let until = row.until;
        return Ok(Err(crate::refusal::Refusal::Ended { until, now }.into()));
    }
    let rules = &facts.set().attestation().enrol;
    let is_allowed = rules.contains_key(&row.mechanism) && by_name(&row.mechanism).is_some();
    let class = &agent.entry.rule.class;
    let has_class = facts.set().attestation().class.contains_key(class);
    if !is_allowed || !has_class || row.basis != kept_basis(facts, &row.agent) {
        return Ok(Err(Refusal::Stale));
    }
    Ok(Ok(Held { row, agent: (*agent.value).clone() }))
}

#[expect(clippy::too_many_arguments, reason = "what is gathered is three values of its caller")]
async fn make<W: World>(
    world: &W,
    facts: &Basis,
    renewal: &Renewal,
    held: &Held,
    change: &mut Change,
    record: &mut Record,
    uses: &mut Uses,
    now: UnixTime,
) -> Result<Result<Enrolled, Refusal>, Unavailable> {
    let wanted = &renewal.request.wanted;
    let key = Request::verify(&wanted.request)
        .map_err(|error| crate::refusal::Refusal::from(join::Refusal::Request(error)))
        .and_then(|request| bindable(request.spki_der()));
    let key = match key {
        Ok(key) => key.thumbprint().to_base64url(),
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    for (name, told) in &held.row.told {
        record.attestation.insert(format!("part.{name}"), told.clone());
    }
    record.attestation.insert("result".to_owned(), held.row.digest.clone());
    let making = Making::new(facts, &held.agent, &held.row.selectors, wanted, now)?;
    let made = match making.make(world, &held.row, record).await? {
        Ok(made) => made,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    // CRED-11: "Every renewal binds a new key".
    uses.add(Of::Key, KEY_SPACE, &key, key_kept(now));
    let mut given = held.row.given.clone();
    given.retain(|_, end| now < *end);
    for (kind, end) in made.given {
        let last = given.entry(kind).or_insert(end);
        *last = end.max(*last);
    }
    let row = Enrolment { key, given, renewed: now, ..(*held.row.value).clone() };
    change.writes.push(Write::put(&row, Expect::Version(held.row.version)));
    change.records.extend(made.records);
    Ok(Ok(Enrolled {
        id: held.agent.id.clone(),
        credentials: made.credentials,
        expires: made.expires,
        renew_after: made.renew_after,
        until: row.until,
        handle: renewal.request.handle.clone(),
    }))
}

//! Who asks for decisions: a client with a token for [`Audience::access`], proved as tokens are.

use access::shown;
use access::token::proof::{self, At};
use authentication::{Once, ProofRefusal, wit_wpt};
use authorization::presented::Presented;
use authorization::{Audience, Proof};
use env::{Change, CommitFault, Recorded, Store, Unavailable, World};
use gateway::Refusal as Caller;
use monitoring::{Event, Outcome, Record};
use oauth::{Issuer, TokenText};
use time::UnixTime;
use wimse::TrustAnchors;

use crate::Refusal;
use crate::facts::{Basis, basis};
use crate::record::{begin, refused, single_use};
use crate::turns::{overtaken, settled};

/// What a request shows of who asks; nothing in it is believed yet.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The token.
    pub token: TokenText,
    /// Whether it came with the scheme `DPoP`.
    pub is_dpop: bool,
    /// The values of the `DPoP` field.
    pub dpop: Vec<Vec<u8>>,
    /// The values of `Workload-Identity-Token`.
    pub wit: Vec<Vec<u8>>,
    /// The values of `Workload-Proof-Token`.
    pub wpt: Vec<Vec<u8>>,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, below the issuer.
    pub path: String,
}

/// The end of a request.
#[derive(Debug)]
pub enum End<T> {
    /// The token is one of ours: decided, and recorded.
    Decided(Recorded<Result<T, Refusal>>),
    /// Nobody proved anything: count it.
    Stranger(Caller),
}

impl<T> End<T> {
    /// What came of it, the record left aside.
    pub fn into_result(self) -> Result<T, Refusal> {
        match self {
            Self::Decided(recorded) => recorded.into_value(),
            Self::Stranger(refusal) => Err(refusal.into()),
        }
    }
}

/// Who asks, and the facts of the moment.
pub(crate) struct Pep {
    pub(crate) facts: Basis,
    pub(crate) now: UnixTime,
    token: Presented,
    proof: &'static str,
    once: Option<Once>,
    /// Whether they may ask anything.
    standing: Result<(), Caller>,
}

impl Pep {
    /// Who asks. A token that is none of ours proves nothing.
    pub(crate) async fn of<W: World>(
        world: &W,
        shown: &Shown,
    ) -> Result<Result<Self, Caller>, Unavailable> {
        let text = shown.token.as_str();
        let facts = basis(world, shown::keys(text)).await?;
        let now = crate::issuing::now(world, &facts)?;
        let issuer = Issuer::parse(&world.site().issuer)
            .map_err(|error| Unavailable::of("settings", error))?;
        let token = match shown::read(&facts, &issuer, text, now)? {
            Ok(token) => token,
            Err(error) => return Ok(Err(Caller::ForeignToken { why: error.to_string() })),
        };
        let mut pep = Self { facts, now, token, proof: "", once: None, standing: Ok(()) };
        let audience =
            Audience::access(&world.site().issuer, pep.facts.set().domain().decisions.proof);
        if let Err(error) = pep.token.is_for(&audience.id) {
            pep.standing = Err(Caller::Token { why: error.to_string() });
            return Ok(Ok(pep));
        }
        match pep.proved(world, shown, audience.proof).await? {
            Ok((name, once)) => (pep.proof, pep.once) = (name, once),
            Err(refusal) => pep.standing = Err(refusal),
        }
        if pep.standing.is_ok() {
            pep.standing = shown::still_counts(world, &pep.token).await?;
        }
        Ok(Ok(pep))
    }

    /// The client.
    pub(crate) fn client_id(&self) -> &str {
        self.token.client_id()
    }

    /// Refuses who may ask nothing.
    pub(crate) fn may_ask(&self) -> Result<(), Refusal> {
        self.standing.clone().map_err(Refusal::Caller)
    }

    /// The beginning of a record about what they asked.
    pub(crate) fn record<W: World>(&self, world: &W, event: Event, action: &str) -> Record {
        let mut record = begin(world, event);
        record.action = action.to_owned();
        record.agent = Some(self.client_id().to_owned());
        record.proof = Some(self.proof.to_owned()).filter(|proof| !proof.is_empty());
        record.policy = Some(self.facts.version());
        record.epoch = Some(self.facts.epoch.0);
        record.root = Some(self.token.root().to_owned());
        // Whose token it was is beside the story that is told of the question.
        let token = self.token.jti().to_owned();
        record.attestation.insert("asked_by".to_owned(), self.client_id().to_owned());
        record.attestation.insert("asked_with".to_owned(), token);
        record
    }

    /// Commits what was decided; `None` where another commit came first.
    pub(crate) async fn commit<W: World, T>(
        &self,
        world: &W,
        mut change: Change,
        decided: Result<T, Refusal>,
    ) -> Result<Option<End<T>>, Unavailable> {
        if let (Some(once), Some(record)) = (&self.once, change.records.first_mut()) {
            let (use_, used) = single_use(&once.space, &once.value, once.until);
            change.uses.push(use_);
            record.used.push(used);
        }
        match world.store().commit(change).await {
            Err(CommitFault::Used(_)) => {
                let mut record = self.record(world, Event::AccessDecided, "access.evaluate");
                let refusal = Refusal::Caller(Caller::Replayed);
                refuse(&mut record, &refusal);
                let commit = world.store().commit(Change::record(record)).await;
                let receipt = settled(commit)?.ok_or_else(overtaken)?;
                Ok(Some(End::Decided(Recorded::new(Err(refusal), &receipt))))
            }
            commit => {
                let receipt = settled(commit)?;
                Ok(receipt.map(|receipt| End::Decided(Recorded::new(decided, &receipt))))
            }
        }
    }

    /// How the token was proved: by the key it is bound to, whatever policy asks for; else as
    /// policy asks.
    async fn proved<W: World>(
        &self,
        world: &W,
        shown: &Shown,
        demanded: Proof,
    ) -> Result<Result<(&'static str, Option<Once>), Caller>, Unavailable> {
        let (key, certificate) = (self.token.key(), self.token.certificate());
        let at = At {
            method: shown.method,
            path: &shown.path,
            access_token: key.as_ref().map(|key| (&shown.token, key)),
        };
        let dpop = match proof::of(world, &self.facts, &shown.dpop, at, self.now).await? {
            Ok(dpop) => dpop,
            Err(refused) => return Ok(Err(Caller::Dpop(refused))),
        };
        // RFC 9449 §7.1: a bound token that comes as a bearer token is what a thief would send.
        if shown.is_dpop != key.is_some() || dpop.is_some() != key.is_some() {
            let why = "a token that is bound to a key comes with the scheme `DPoP` and its proof, \
                       and no other does";
            return Ok(Err(Caller::Scheme { why }));
        }
        Ok(match (dpop, certificate, demanded) {
            (Some(dpop), _, Proof::Bearer | Proof::Dpop) => Ok(("dpop", Some(dpop.once))),
            (None, Some(bound), Proof::Bearer | Proof::Mtls) => {
                by_certificate(shown, bound).map(|()| ("mtls", None))
            }
            (None, None, Proof::Bearer) => Ok(("bearer", None)),
            (None, None, Proof::Wit) => self.by_wit(world, shown).map(|once| ("wit+wpt", once)),
            (.., demanded) => {
                let why = format!("policy wants tokens with the proof `{}` here", demanded.name());
                Err(Caller::Token { why })
            }
        })
    }

    fn by_wit<W: World>(&self, world: &W, shown: &Shown) -> Result<Option<Once>, Caller> {
        let bounds = &self.facts.set().domain().bounds;
        let anchors = TrustAnchors::from(&self.facts.trust.bundles);
        let site = world.site();
        // wpt §3.1: our own authority comes from configuration, never from the request; the same
        // endpoint is reached in two ways (RFC 8705 §5).
        let at = |origin: &str| format!("{origin}{}", shown.path);
        let (here, twin) = (at(&site.issuer), at(&site.mtls_origin));
        let request = wit_wpt::Request {
            wit: shown.wit.iter().map(Vec::as_slice).collect(),
            wpt: shown.wpt.iter().map(Vec::as_slice).collect(),
            token: Some((shown.token.as_str(), self.client_id())),
            audiences: &[&here, &twin],
            anchors: &anchors,
            now: self.now,
            skew: bounds.clock_skew,
            lifetime_max: bounds.proof_lifetime,
        };
        let wit = wit_wpt::wit(wit_wpt::wit_text(&request)?, &request)?;
        let proved = wit_wpt::authenticate(&request, &wit)?;
        Ok(proved.once.map(|once| {
            let space = format!("{} {}", self.token.audience(), once.space);
            Once { space, ..once }
        }))
    }
}

/// RFC 8705 §3: "the protected resource MUST obtain … the client certificate used for mutual TLS
/// and MUST verify that the certificate matches the certificate associated with the access token".
fn by_certificate(shown: &Shown, bound: [u8; 32]) -> Result<(), Caller> {
    let leaf = shown.certificates.first().ok_or(ProofRefusal::NoCertificate)?;
    let leaf = x509::Certificate::parse(leaf)
        .map_err(|error| Caller::BadRequest { why: error.to_string() })?;
    if leaf.fingerprint_sha256() == bound {
        return Ok(());
    }
    Err(ProofRefusal::OtherCertificate.into())
}

/// Marks a record as that of a refusal.
pub(crate) fn refuse(record: &mut Record, refusal: &Refusal) {
    refused(record, refusal.check(), refusal, None);
    record.outcome = Outcome::Refused;
}

//! Which client asks: the one method it used, verified. The same at every endpoint that clients
//! authenticate at, so that none skips a check (docs/past-defects.md 8, 17).

use authentication::attested_client::Proof;
use authentication::{
    Method, Proved, attested_client, client_secret, private_key_jwt, public, spiffe_jwt,
    spiffe_wit, spiffe_x509, tls_client,
};
use authorization::profile::{self, Demand};
use credential::{KeyRing, Purpose};
use env::{Key, Stored, Unavailable, World};
use jose::KeySet;
use oauth::client_assertion::{AssertionType, PresentedClient, SecretWay};
use oauth::confirmation::CertificateThumbprint;
use oauth::dpop::{NonceKey, ProofRefused};
use oauth::registration::ClientAuthMethod;
use oauth::{ClientId, Issuer, TokenText};
use registry::ClientRecord;
use registry::client::AssertionAudience;
use time::UnixTime;
use wimse::TrustAnchors;

use super::proof;
use crate::documents::{self, Unread};
use crate::facts::Basis;

/// Endpoints that an assertion may be for where the client's record lets it name them.
const ENDPOINTS: &[&str] = &[
    "/token",
    "/par",
    "/introspect",
    "/revoke",
    "/device_authorization",
    "/bc-authorize",
    "/transaction-authorization",
];

/// Why nobody is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// No method was used.
    #[error(
        "no client authentication: a `client_id` alone does for public clients that are registered \
         here; others use a client assertion, a client attestation, or mutual tls"
    )]
    None,
    /// Two were. RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in
    /// each request."
    #[error("more than one method of client authentication")]
    Several,
    /// No such client.
    #[error("the client is not known")]
    Unknown,
    /// The client registered another method than it uses.
    #[error("the client registered `{registered}`, and authenticates by `{used}`")]
    OtherMethod {
        /// What it registered.
        registered: ClientAuthMethod,
        /// What it does.
        used: ClientAuthMethod,
    },
    /// It says who it is by a document or keys that are not to be had.
    #[error(transparent)]
    Published(#[from] Unread),
    /// Whatever is wrong with a client that authenticates by HTTP.
    #[error("{message}")]
    Basic {
        /// The check that fired.
        check: &'static str,
        /// In words.
        message: String,
    },
    /// By JWT-SVID.
    #[error(transparent)]
    SpiffeJwt(#[from] spiffe_jwt::Refusal),
    /// By certificate.
    #[error(transparent)]
    SpiffeX509(#[from] spiffe_x509::Refusal),
    /// By WIT.
    #[error(transparent)]
    SpiffeWit(#[from] spiffe_wit::Refusal),
    /// By registered key.
    #[error(transparent)]
    PrivateKeyJwt(#[from] private_key_jwt::Refusal),
    /// By a certificate of its own.
    #[error(transparent)]
    Tls(#[from] tls_client::Refusal),
    /// By attestation.
    #[error(transparent)]
    Attested(#[from] attested_client::Refusal),
    /// By attestation, and a proof of DPoP.
    #[error(transparent)]
    Dpop(#[from] ProofRefused),
    /// By a shared secret.
    #[error(transparent)]
    Secret(#[from] client_secret::Refusal),
}

impl ClientRefusal {
    /// The variant's name: what records and counters call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::None => "client::None",
            Self::Several => "client::Several",
            Self::Unknown => "client::Unknown",
            Self::OtherMethod { .. } => "client::OtherMethod",
            Self::Published(unread) => unread.check(),
            Self::Basic { check, .. } => check,
            Self::SpiffeJwt(_) => "client::SpiffeJwt",
            Self::SpiffeX509(_) => "client::SpiffeX509",
            Self::SpiffeWit(_) => "client::SpiffeWit",
            Self::PrivateKeyJwt(_) => "client::PrivateKeyJwt",
            Self::Tls(_) => "client::Tls",
            Self::Attested(_) => "client::Attested",
            Self::Dpop(_) => "client::Dpop",
            Self::Secret(_) => "client::Secret",
        }
    }
}

/// What a request shows of its client. Nothing in it is believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// `client_id`, `client_assertion`, and a secret.
    pub client: &'a PresentedClient,
    /// `OAuth-Client-Attestation` and its proof, where that is not one of DPoP.
    pub attestation: Option<&'a (TokenText, Option<TokenText>)>,
    /// The values of the `DPoP` field.
    pub dpop: &'a [Vec<u8>],
    /// The endpoint, below the issuer.
    pub path: &'a str,
    /// The certificates of the channel, in DER, leaf first.
    pub certificates: &'a [Vec<u8>],
    /// Where the request comes from.
    pub source: &'a str,
}

/// Makes ready what a client publishes about itself, and names the rows that authentication needs.
pub async fn keys<W: World>(
    world: &W,
    call: Shown<'_>,
) -> Result<Result<Vec<Key>, ClientRefusal>, Unavailable> {
    let mut keys = vec![
        Key::of::<KeyRing>(Purpose::AccessToken.name()),
        Key::of::<KeyRing>(Purpose::TxnToken.name()),
        Key::of::<KeyRing>(Purpose::IdToken.name()),
    ];
    let named = call.client.client_id.as_ref().map(|id| id.as_str().to_owned());
    keys.extend(named.iter().map(Key::of::<ClientRecord>));
    let claimed = claimed(call);
    keys.extend(claimed.iter().map(Key::of::<ClientRecord>));
    // Workloads publish nothing: the common case reads nothing here.
    let Some(id) = claimed.or(named).filter(|id| may_publish(id)) else { return Ok(Ok(keys)) };
    let kid = match &call.client.assertion {
        Some((AssertionType::Jwt, text)) => private_key_jwt::named_key(text.as_str()),
        _ => None,
    };
    match documents::ready(world, &id, kid.as_ref(), call.source).await? {
        Ok(more) => keys.extend(more),
        Err(unread) => return Ok(Err(unread.into())),
    }
    Ok(Ok(keys))
}

fn may_publish(id: &str) -> bool {
    !id.starts_with("spiffe://") && !id.starts_with("wimse://")
}

/// Whom an assertion claims to be from.
fn claimed(call: Shown<'_>) -> Option<String> {
    match &call.client.assertion {
        Some((AssertionType::Jwt, text)) => {
            private_key_jwt::claimed(text.as_str()).ok().map(|client| client.as_str().to_owned())
        }
        _ => None,
    }
}

/// What all methods are judged by.
struct Judge<'a> {
    facts: &'a Basis,
    issuer: &'a Issuer,
    now: UnixTime,
    /// The proof of DPoP that is also that of an attestation.
    proof: Option<proof::Shown>,
    /// What the challenges of other proofs are made with.
    challenges: Option<NonceKey>,
}

type Judged = Result<Result<Proved, ClientRefusal>, Unavailable>;

/// Verifies the one method that was used. A certificate beside an assertion or attestation is not a
/// method: it is what a token may be bound to.
pub async fn authenticate<W: World>(
    world: &W,
    call: Shown<'_>,
    facts: &Basis,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Result<Proved, ClientRefusal>, Unavailable> {
    let (mut proof, mut challenges) = (None, None);
    match call.attestation {
        None => {}
        Some((_, None)) => {
            let at = proof::At { method: "POST", path: call.path, access_token: None };
            match proof::of(world, facts, call.dpop, at, now).await? {
                Ok(shown) => proof = shown,
                Err(refused) => return Ok(Err(ClientRefusal::Dpop(refused))),
            }
        }
        Some((_, Some(_))) if proof::gives_challenges(facts.set().domain()) => {
            challenges = Some(proof::nonces(world).await?);
        }
        Some((_, Some(_))) => {}
    }
    let once = proof.as_ref().map(|proof| proof.once.clone());
    let judge = Judge { facts, issuer, now, proof, challenges };
    let proved = judge.by_what_was_used(call)?;
    // Where the proof of DPoP is what proves the client, it serves once as that.
    Ok(proved.map(|proved| Proved { once: proved.once.or(once), ..proved }))
}

/// A client that used HTTP authentication is answered in its terms.
fn by_http(way: SecretWay, refusal: ClientRefusal) -> ClientRefusal {
    match way {
        SecretWay::Post => refusal,
        SecretWay::Basic => {
            ClientRefusal::Basic { check: refusal.check(), message: refusal.to_string() }
        }
    }
}

const fn plain(caller: authentication::Caller) -> Proved {
    Proved { caller, once: None }
}

impl Judge<'_> {
    fn by_what_was_used(&self, call: Shown<'_>) -> Judged {
        let client_id = call.client.client_id.as_ref();
        let bundles = &self.facts.trust.bundles;
        Ok(match (&call.client.assertion, call.attestation, &call.client.secret) {
            (Some((AssertionType::SpiffeJwt, text)), None, None) => {
                let (text, bundles) = (text.as_str(), bundles.spiffe());
                let (issuer, now, skew) = (self.issuer, self.now, self.skew());
                spiffe_jwt::authenticate(text, client_id, issuer, bundles, now, skew)
                    .map(plain)
                    .map_err(ClientRefusal::from)
            }
            (Some((AssertionType::Jwt, text)), None, None) => {
                let id = claimed(call);
                return self.by_assertion(id.as_deref(), client_id, text);
            }
            (None, Some((attestation, pop)), None) => {
                let registered = match client_id {
                    Some(id) => {
                        self.facts.rows.get::<ClientRecord>(id.as_str())?.map(|one| (id, one))
                    }
                    None => None,
                };
                match registered {
                    Some((id, client)) => {
                        self.attestation(&client, id, (attestation, pop.as_ref()))
                    }
                    // draft-ietf-oauth-spiffe-client-auth: a WIT comes with a proof of its own.
                    None => match pop {
                        Some(pop) => self.wit(attestation, pop, client_id),
                        None => Err(attested_client::Refusal::NoProof.into()),
                    },
                }
            }
            (None, None, Some((way, secret))) => {
                let proved = self.secret(client_id, *way, secret)?;
                proved.map_err(|refusal| by_http(*way, refusal))
            }
            (None, None, None) => return self.channel(client_id, call.certificates),
            _ => Err(ClientRefusal::Several),
        })
    }

    fn by_assertion(
        &self,
        claimed: Option<&str>,
        client_id: Option<&ClientId>,
        text: &TokenText,
    ) -> Judged {
        let client = match claimed {
            Some(id) => self.facts.rows.get::<ClientRecord>(id)?,
            None => None,
        };
        let Some(client) = client else { return Ok(Err(unknown(text.as_str()))) };
        if let Err(refusal) = registered(&client, ClientAuthMethod::PrivateKeyJwt) {
            return Ok(Err(refusal));
        }
        let Some(keys) = self.keys(&client)? else { return Ok(Err(ClientRefusal::Unknown)) };
        let strong = profile::demands(&client.profiles).contains(&Demand::StrongAlgorithms);
        // OpenID Connect Registration 1.0 §2: "All Token Requests using these authentication
        // methods from this Client MUST be rejected, if the JWT is not signed with this algorithm."
        let sole = client.metadata.token_endpoint_auth_signing_alg;
        let algorithms = match &sole {
            Some(sole) => std::slice::from_ref(sole),
            None if strong => profile::STRONG,
            None => private_key_jwt::Terms::STRICT.algorithms,
        };
        let also: Vec<_> = match client.audience {
            AssertionAudience::Issuer => Vec::new(),
            AssertionAudience::AnyOfOursAndReplayableElsewhere => {
                let of = |path: &&str| format!("{}{path}", self.issuer.as_str());
                ENDPOINTS.iter().map(of).collect()
            }
        };
        let terms = private_key_jwt::Terms { algorithms, also: &also };
        let times = (self.now, self.skew());
        let (text, issuer) = (text.as_str(), self.issuer);
        let proved = private_key_jwt::on_terms(text, client_id, issuer, (&keys, terms), times);
        Ok(proved.map_err(ClientRefusal::from))
    }

    fn wit(
        &self,
        wit: &TokenText,
        pop: &TokenText,
        client_id: Option<&ClientId>,
    ) -> Result<Proved, ClientRefusal> {
        let anchors = TrustAnchors::from(&self.facts.trust.bundles);
        let known = spiffe_wit::Facts {
            anchors: &anchors,
            issuer: self.issuer,
            now: self.now,
            skew: self.skew(),
            max_age: self.facts.set().domain().bounds.proof_lifetime,
        };
        spiffe_wit::authenticate(wit.as_str(), pop.as_str(), client_id, &known)
            .map_err(ClientRefusal::from)
    }

    fn attestation(
        &self,
        client: &ClientRecord,
        id: &ClientId,
        (attestation, pop): (&TokenText, Option<&TokenText>),
    ) -> Result<Proved, ClientRefusal> {
        let (used, proof) = match (pop, &self.proof) {
            (Some(pop), _) => (ClientAuthMethod::Attestation, Proof::Jwt(pop.as_str())),
            (None, Some(shown)) => (ClientAuthMethod::AttestationDpop, Proof::Dpop(&shown.proven)),
            (None, None) => return Err(attested_client::Refusal::NoProof.into()),
        };
        registered(client, used)?;
        let named = attested_client::attester(attestation.as_str())?;
        // Policy names whose word counts, and for whom: never the attestation itself.
        let trusted = self.facts.set().domain().registration.attesters.iter().find(|one| {
            named.as_deref() == Some(one.issuer.as_str())
                && (one.clients.is_empty() || one.clients.contains(id.as_str()))
        });
        let attester = trusted.ok_or_else(|| {
            let named = oauth::parameter::evidence(named.as_deref().unwrap_or_default());
            attested_client::Refusal::Attester(named)
        })?;
        let facts = attested_client::Facts {
            issuer: self.issuer,
            now: self.now,
            skew: self.skew(),
            max_age: self.facts.set().domain().bounds.proof_lifetime,
            challenges: self.challenges.as_ref(),
        };
        let shown = (attestation.as_str(), proof);
        attested_client::authenticate(shown, id, &attester.jwks, facts).map_err(Into::into)
    }

    fn secret(&self, client_id: Option<&ClientId>, way: SecretWay, secret: &TokenText) -> Judged {
        let Some(id) = client_id else { return Ok(Err(ClientRefusal::None)) };
        let Some(client) = self.facts.rows.get::<ClientRecord>(id.as_str())? else {
            return Ok(Err(ClientRefusal::Unknown));
        };
        let (used, method) = match way {
            SecretWay::Basic => (ClientAuthMethod::SecretBasic, Method::SecretBasic),
            SecretWay::Post => (ClientAuthMethod::SecretPost, Method::SecretPost),
        };
        if let Err(refusal) = registered(&client, used) {
            return Ok(Err(refusal));
        }
        // Policy of now: a secret that it no longer allows no longer counts.
        let policy = &self.facts.set().domain().registration;
        let hash = client.secret.as_deref().filter(|_| policy.client_secrets_that_can_be_stolen);
        let Some(hash) = hash else { return Ok(Err(ClientRefusal::Unknown)) };
        let caller = client_secret::authenticate(id, secret, hash, method, self.until());
        Ok(caller.map(plain).map_err(ClientRefusal::from))
    }

    /// By the channel alone, or by nothing.
    fn channel(&self, client_id: Option<&ClientId>, certificates: &[Vec<u8>]) -> Judged {
        let client = match client_id {
            Some(id) => self.facts.rows.get::<ClientRecord>(id.as_str())?.map(|one| (id, one)),
            None => None,
        };
        let Some((id, client)) = client else {
            if certificates.is_empty() {
                return Ok(Err(ClientRefusal::None));
            }
            let bundles = &self.facts.trust.bundles;
            let caller = spiffe_x509::authenticate(certificates, client_id, bundles, self.now);
            return Ok(caller.map(plain).map_err(ClientRefusal::from));
        };
        Ok(match client.metadata.token_endpoint_auth_method {
            ClientAuthMethod::None => Ok(plain(public::identify(id, self.until()))),
            _ if certificates.is_empty() => Err(ClientRefusal::None),
            ClientAuthMethod::TlsClientAuth => {
                let authorities = self.facts.set().domain().registration.authorities();
                let authorities = authorities.map_err(|why| Unavailable::of("policy", why))?;
                let name = client.metadata.tls_client_auth.as_ref();
                let Some((kind, expected)) = name else { return Ok(Err(ClientRefusal::Unknown)) };
                let name = (*kind, expected.as_str());
                tls_client::by_name(certificates, id, name, &authorities, self.now)
                    .map(plain)
                    .map_err(ClientRefusal::from)
            }
            ClientAuthMethod::SelfSignedTlsClientAuth => {
                let Some(keys) = self.keys(&client)? else {
                    return Ok(Err(ClientRefusal::Unknown));
                };
                tls_client::self_signed(certificates, id, &keys, self.now)
                    .map(plain)
                    .map_err(ClientRefusal::from)
            }
            // A certificate is no method for any other: it binds tokens.
            _ => Err(ClientRefusal::None),
        })
    }

    /// The keys that the client registered, or publishes.
    fn keys(&self, client: &Stored<ClientRecord>) -> Result<Option<KeySet>, Unavailable> {
        documents::keys_of(client, &self.facts.rows, self.now)
    }

    fn skew(&self) -> time::Span {
        self.facts.set().domain().bounds.clock_skew
    }

    /// How long the word of a client counts that has nothing that ends.
    fn until(&self) -> UnixTime {
        self.now.plus(self.facts.set().domain().lifetimes.access_token)
    }
}

/// RFC 7591 §2: `token_endpoint_auth_method` is how this client authenticates, and no other way is.
fn registered(client: &ClientRecord, used: ClientAuthMethod) -> Result<(), ClientRefusal> {
    let registered = client.metadata.token_endpoint_auth_method;
    if registered == used {
        return Ok(());
    }
    Err(ClientRefusal::OtherMethod { registered, used })
}

/// An assertion that does not even read says so; one of a client that is not there does not tell
/// which of both is wrong.
fn unknown(assertion: &str) -> ClientRefusal {
    match private_key_jwt::claimed(assertion) {
        Ok(_) => ClientRefusal::Unknown,
        Err(refusal) => refusal.into(),
    }
}

/// RFC 8705 §3.1: the thumbprint of the leaf that the channel showed.
pub(crate) fn certificate(chain: &[Vec<u8>]) -> Option<CertificateThumbprint> {
    let leaf = x509::Certificate::parse(chain.first()?).ok()?;
    Some(CertificateThumbprint::from_bytes(leaf.fingerprint_sha256()))
}

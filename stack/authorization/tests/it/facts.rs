//! Callers that really authenticated, tokens that really were signed, and the facts of a request
//! that is in order, to be changed in one way.

use std::collections::{BTreeMap, BTreeSet};

use authentication::session::{Acr, Authenticated};
use authentication::{Caller, private_key_jwt, spiffe_jwt};
use authorization::access_token::Issuing;
use authorization::client::Facet;
use authorization::granted::refresh::{self, Shown};
use authorization::granted::{Code, Ended, GrantRecord, Granted, Waited, Way};
use authorization::grants::{Asserted, Context, Grant, Redeemed, Refusal, Standing, propose};
use authorization::policy::Delegation;
use authorization::presented::Presented;
use authorization::{Audience, Proof, Proposal, Sanctioned, access_token, txn_token};
use credential::policy::Lifetimes;
use credential::{AuthorityKey, KeyRing, Purpose};
use jose::{Algorithm, KeyId, KeySet, Kind, NumericDate, PrivateKey, SigningInput, Thumbprint};
use oauth::access_token::{AccessToken, AccessTokenClaims};
use oauth::act::Act;
use oauth::authorization_details::{Absent, AuthorizationDetails, Member, Schema, Shape};
use oauth::client_assertion::{ClientAssertion, ClientAssertionClaims};
use oauth::confirmation::{CertificateThumbprint, Confirmation};
use oauth::pkce::CodeVerifier;
use oauth::token_request::GrantType;
use oauth::txn_token::{TxnToken, TxnTokenClaims};
use oauth::{ClientId, Issuer, LineageId, ScopeSet, SubjectText, TokenId, TransactionId};
use provisioning::{Epoch, Lifecycle};
use spiffe::{Bundle, BundleKey, BundleSet, JwtSvid, JwtSvidClaims, SpiffeId, TrustDomain};
use time::{Span, UnixTime};

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const DOMAIN: &str = "demo.example";
/// Who hands over a task.
pub(crate) const BATCH: &str = "spiffe://demo.example/service/nightly";
/// Who got it, and asks.
pub(crate) const AGENT: &str = "spiffe://demo.example/agent/a";
/// Who may be called next.
pub(crate) const NEXT: &str = "spiffe://demo.example/agent/b";
/// For whom the agent acts by consent.
pub(crate) const USER: &str = "user:ada";
pub(crate) const LEDGER: &str = "https://gateway.example/ledger";

/// RFC 7515 §A.3.
const KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 7517 §A.2.
const OTHER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

pub(crate) fn key() -> PrivateKey {
    PrivateKey::from_jwk_private_text(KEY).unwrap()
}

pub(crate) fn other_key() -> PrivateKey {
    PrivateKey::from_jwk_private_text(OTHER_KEY).unwrap()
}

pub(crate) fn kid() -> KeyId {
    KeyId::parse("key-1").unwrap()
}

pub(crate) fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

pub(crate) fn scope(text: &str) -> ScopeSet {
    if text.is_empty() { ScopeSet::default() } else { ScopeSet::parse(text).unwrap() }
}

pub(crate) fn sub(text: &str) -> SubjectText {
    SubjectText::parse(text).unwrap()
}

pub(crate) fn at(seconds: u64) -> NumericDate {
    NumericDate::from_time(NOW.plus(Span::from_seconds(seconds)))
}

/// The chain of these actors, the current one first.
pub(crate) fn chain(actors: &[&str]) -> Option<Act> {
    let mut oldest_first = actors.iter().rev();
    let first = Act::new(sub(oldest_first.next()?));
    Some(oldest_first.fold(first, |chain, actor| chain.wrap(sub(actor)).unwrap()))
}

pub(crate) fn ring(purpose: Purpose) -> KeyRing {
    let until = NOW.plus(Span::from_seconds(86_400));
    let key = AuthorityKey {
        kid: kid(),
        public: key().public().to_jwk().with_kid(kid()),
        certificate: None,
        above: None,
        published: UnixTime::EPOCH,
        signs_from: UnixTime::EPOCH,
        signs_until: until,
        kept_until: until,
        holder: None,
        tainted: None,
    };
    KeyRing { purpose, keys: vec![key] }
}

pub(crate) fn sign<K: Kind>(claims: &K::Claims, key: &PrivateKey) -> String {
    sealed(SigningInput::<K>::new(Algorithm::Es256, Some(&kid()), claims).unwrap(), key)
}

pub(crate) fn sealed<K: Kind>(input: SigningInput<K>, key: &PrivateKey) -> String {
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

/// The token that the batch job got for the agent.
pub(crate) fn access_claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: issuer(),
        exp: at(200),
        aud: jose::Audience::one(AGENT),
        sub: sub(BATCH),
        client_id: ClientId::parse(BATCH).unwrap(),
        iat: at(0),
        nbf: None,
        jti: TokenId::parse("token-1").unwrap(),
        scope: scope("read write"),
        act: None,
        may_act: None,
        cnf: None,
        txn: None,
        auth_time: None,
        acr: None,
        amr: None,
        aims_root: LineageId::parse("root-1").unwrap(),
        aims_parent: None,
        aims_above: Vec::new(),
        authorization_details: None,
        aims_attestation: None,
        status: None,
        aims_epoch: 4,
    }
}

/// The transaction token of a call that the agent made for the batch job.
pub(crate) fn txn_claims() -> TxnTokenClaims {
    let members = |text: &str| Some(serde_json::from_str(text).unwrap());
    TxnTokenClaims {
        iss: Some(issuer()),
        iat: at(0),
        aud: jose::Audience::one(DOMAIN),
        exp: at(50),
        txn: TransactionId::parse("txn-1").unwrap(),
        sub: sub(BATCH),
        scope: scope("read write"),
        req_wl: ClientId::parse(AGENT).unwrap(),
        tctx: members(r#"{"tool":"read_invoice"}"#),
        rctx: members(r#"{"req_ip":"192.0.2.7"}"#),
        act: chain(&[AGENT]),
        jti: TokenId::parse("token-3").unwrap(),
        aims_root: LineageId::parse("root-1").unwrap(),
        aims_parent: Some(TokenId::parse("token-2").unwrap()),
        aims_above: Vec::new(),
        aims_epoch: 4,
    }
}

pub(crate) fn access(claims: &AccessTokenClaims) -> Presented {
    let text = sign::<AccessToken>(claims, &key());
    let ring = ring(Purpose::AccessToken);
    Presented::access_token(&text, &ring, &issuer(), NOW, Span::ZERO).unwrap()
}

pub(crate) fn txn(claims: &TxnTokenClaims) -> Presented {
    let text = sign::<TxnToken>(claims, &key());
    Presented::txn_token(&text, &ring(Purpose::TxnToken), DOMAIN, NOW, Span::ZERO).unwrap()
}

/// A workload that authenticated with a JWT-SVID issued under `epoch`.
pub(crate) fn workload(id: &str, epoch: u64) -> Caller {
    let claims = JwtSvidClaims {
        sub: SpiffeId::parse(id).unwrap(),
        aud: jose::Audience::one(ISSUER),
        exp: at(300),
        nbf: None,
        iat: None,
        jti: None,
        iss: None,
        aims_epoch: Some(epoch),
        aims_attributes: None,
    };
    let jwt = vec![BundleKey { kid: kid(), key: key().public().clone() }];
    let bundle = Bundle::new(1, Span::from_seconds(60), Vec::new(), jwt, Vec::new()).unwrap();
    let mut bundles = BundleSet::new();
    bundles.insert(TrustDomain::parse(DOMAIN).unwrap(), bundle);
    let (text, client) = (sign::<JwtSvid>(&claims, &key()), ClientId::parse(id).unwrap());
    spiffe_jwt::authenticate(&text, Some(&client), &issuer(), &bundles, NOW, Span::ZERO).unwrap()
}

/// A registered client that proved its key.
pub(crate) fn registered(id: &str) -> Caller {
    let client = ClientId::parse(id).unwrap();
    let claims = ClientAssertionClaims {
        iss: client.clone(),
        sub: client,
        aud: jose::Audience::one(ISSUER),
        exp: at(60),
        jti: TokenId::parse("assertion-1").unwrap(),
        iat: None,
        nbf: None,
    };
    let keys = KeySet::new(vec![key().public().to_jwk().with_kid(kid())]).unwrap();
    let text = sign::<ClientAssertion>(&claims, &key());
    let proved = private_key_jwt::authenticate(&text, None, &issuer(), &keys, NOW, Span::ZERO);
    proved.unwrap().caller
}

/// A [`Standing`] that owns what it says.
#[derive(Clone)]
pub(crate) enum Stands {
    Agent(Lifecycle),
    Client(Result<Epoch, String>),
    User(Lifecycle),
    Foreign,
    Unknown,
}

impl Stands {
    fn borrowed(&self) -> Standing<'_> {
        match self {
            Self::Agent(lifecycle) => Standing::Agent(lifecycle),
            Self::Client(enabled) => Standing::Client(enabled.clone()),
            Self::User(lifecycle) => Standing::User(lifecycle),
            Self::Foreign => Standing::Foreign,
            Self::Unknown => Standing::Unknown,
        }
    }
}

pub(crate) fn active() -> Stands {
    Stands::Agent(Lifecycle::begin(Epoch(1), UnixTime::EPOCH))
}

/// A person who is there.
pub(crate) fn person() -> Stands {
    Stands::User(Lifecycle::begin(Epoch(1), UnixTime::EPOCH))
}

/// What a person allowed the agent.
pub(crate) fn user_grant() -> GrantRecord {
    let granted = Granted { scope: scope("read write"), details: Vec::new() };
    GrantRecord {
        id: "grant-1".to_owned(),
        client_id: AGENT.to_owned(),
        subject: USER.to_owned(),
        way: Way::Code,
        targets: BTreeMap::from([(LEDGER.to_owned(), granted)]),
        openid: scope("openid email"),
        authenticated: Some(Authenticated {
            at: NOW,
            acr: Acr::Passkey,
            amr: BTreeSet::from(["hwk".to_owned()]),
        }),
        session: None,
        binding: None,
        epoch: Epoch(4),
        created: NOW,
        until: NOW.plus(Span::from_seconds(86_400)),
        ended: None,
        used: None,
        refresh: None,
    }
}

pub(crate) fn asserted() -> Asserted {
    Asserted {
        rule: "partner".to_owned(),
        subject: USER.to_owned(),
        scope: scope("read write"),
        expires: NOW.plus(Span::from_seconds(60)),
        cnf: None,
    }
}

/// RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const CALLBACK: &str = "https://client.example/callback";

/// A code, and what comes with it.
pub(crate) struct Brought {
    pub(crate) code: Code,
    pub(crate) redirect_uri: Option<String>,
    pub(crate) verifier: Option<CodeVerifier>,
}

impl Brought {
    fn new() -> Self {
        let code = Code {
            hash: "hash".to_owned(),
            grant: "grant-1".to_owned(),
            client_id: AGENT.to_owned(),
            redirect_uri: Some(CALLBACK.to_owned()),
            challenge: CHALLENGE.to_owned(),
            dpop_jkt: None,
            nonce: None,
            resources: vec![LEDGER.to_owned()],
            until: NOW.plus(Span::from_seconds(60)),
            used: None,
        };
        let verifier = Some(CodeVerifier::parse(VERIFIER).unwrap());
        Self { code, redirect_uri: Some(CALLBACK.to_owned()), verifier }
    }
}

/// The facts of one request.
pub(crate) struct Facts {
    pub(crate) grant: Grant,
    pub(crate) caller: Caller,
    pub(crate) standing: Stands,
    pub(crate) facet: Facet,
    pub(crate) allowed: Option<Vec<GrantType>>,
    pub(crate) target: Option<Audience>,
    pub(crate) target_standing: Stands,
    pub(crate) scope: Option<ScopeSet>,
    pub(crate) subject: Option<Presented>,
    pub(crate) concerned: Vec<(String, Stands)>,
    pub(crate) actor: Option<Presented>,
    pub(crate) ended: Option<Ended>,
    pub(crate) held: Option<GrantRecord>,
    pub(crate) code: Option<Brought>,
    pub(crate) refresh: Option<Result<Shown, refresh::Refusal>>,
    pub(crate) waited: Option<Waited>,
    pub(crate) assertion: Option<Asserted>,
    pub(crate) details: Option<AuthorizationDetails>,
    pub(crate) requested_cnf: Option<Confirmation>,
    pub(crate) key: Option<Thumbprint>,
    pub(crate) certificate: Option<CertificateThumbprint>,
    pub(crate) delegation: Delegation,
    pub(crate) lifetimes: Lifetimes,
}

impl Facts {
    /// A request that each grant permits.
    pub(crate) fn of(grant: Grant) -> Self {
        let target = match grant {
            Grant::Transaction => Audience::of_agent(DOMAIN.into(), DOMAIN.into(), known()),
            _ => ledger(Proof::Wit),
        };
        let exchanged = matches!(grant, Grant::Exchange | Grant::Transaction);
        let held = grant.is_of_a_stored_grant();
        let concerned: Vec<_> = match grant {
            Grant::ClientCredentials => Vec::new(),
            Grant::Exchange | Grant::Transaction => {
                [BATCH, AGENT].map(|id| (id.to_owned(), active())).to_vec()
            }
            _ => vec![(USER.to_owned(), person()), (AGENT.to_owned(), active())],
        };
        Self {
            grant,
            caller: workload(AGENT, 4),
            standing: active(),
            facet: Facet::default(),
            allowed: None,
            target: Some(target),
            target_standing: Stands::Foreign,
            scope: Some(scope("read")),
            subject: exchanged.then(|| access(&access_claims())),
            concerned,
            actor: None,
            ended: None,
            held: held.then(user_grant),
            code: (grant == Grant::AuthorizationCode).then(Brought::new),
            refresh: (grant == Grant::RefreshToken).then_some(Ok(Shown::Kept)),
            waited: grant.waits().then(|| Waited {
                client_id: AGENT.to_owned(),
                binding: None,
                polled: Ok(()),
                branch: None,
            }),
            assertion: (grant == Grant::JwtBearer).then(asserted),
            details: None,
            requested_cnf: None,
            key: None,
            certificate: None,
            delegation: Delegation::default(),
            lifetimes: Lifetimes::default(),
        }
    }

    pub(crate) fn context(&self, grant: Grant) -> Context<'_> {
        Context {
            grant,
            caller: &self.caller,
            standing: self.standing.borrowed(),
            facet: &self.facet,
            allowed: self.allowed.as_deref(),
            target: self.target.as_ref(),
            target_standing: self.target_standing.borrowed(),
            scope: self.scope.as_ref(),
            subject: self.subject.as_ref(),
            concerned: self
                .concerned
                .iter()
                .map(|(id, stands)| (id.clone(), stands.borrowed()))
                .collect(),
            actor: self.actor.as_ref(),
            ended: self.ended.as_ref(),
            held: self.held.as_ref(),
            code: self.code.as_ref().map(|one| Redeemed {
                code: &one.code,
                redirect_uri: one.redirect_uri.as_deref(),
                verifier: one.verifier.as_ref(),
            }),
            refresh: self.refresh.as_ref(),
            waited: self.waited.as_ref(),
            assertion: self.assertion.as_ref(),
            authorization_details: self.details.as_ref(),
            requested_cnf: self.requested_cnf.as_ref(),
            key: self.key,
            certificate: self.certificate,
            attested: std::collections::BTreeMap::new(),
            delegation: &self.delegation,
            lifetimes: &self.lifetimes,
            now: NOW,
        }
    }

    pub(crate) fn ask(&self, grant: Grant) -> Result<Proposal, Refusal> {
        propose(&self.context(grant))
    }
}

pub(crate) fn known() -> ScopeSet {
    scope("read write pay")
}

pub(crate) fn ledger(proof: Proof) -> Audience {
    let member =
        |name: &str| Member { name: name.to_owned(), required: true, shape: Shape::Texts(None) };
    let payment = Schema {
        type_: "payment".to_owned(),
        members: vec![member("actions")],
        absent: Absent::Nothing,
    };
    let plain = Audience::of_agent(LEDGER.to_owned(), "ledger".to_owned(), known());
    Audience { proof, schemas: vec![payment], ..plain }
}

/// Stands for the permit of the decision point, which is the only one that gives it elsewhere.
pub(crate) struct Allowed(pub(crate) Proposal);

impl Sanctioned for Allowed {
    fn proposal(&self) -> &Proposal {
        &self.0
    }
}

/// What the issuer adds to a token under `epoch`.
pub(crate) fn issuing<'a>(issuer: &'a Issuer, kid: &'a KeyId, epoch: u64) -> Issuing<'a> {
    Issuing {
        issuer,
        jti: "new-token".to_owned(),
        fresh_root: "new-root".to_owned(),
        status: None,
        epoch,
        now: NOW,
        kid,
        algorithm: Algorithm::Es256,
    }
}

/// The token of a permitted proposal, issued and presented.
pub(crate) fn issued(proposal: Proposal, epoch: u64) -> Presented {
    let (issuer, kid) = (issuer(), kid());
    let checked = access_token::build(&Allowed(proposal), &issuing(&issuer, &kid, epoch)).unwrap();
    let text = sealed(checked.into_inner(), &key());
    Presented::access_token(&text, &ring(Purpose::AccessToken), &issuer, NOW, Span::ZERO).unwrap()
}

/// The same for a transaction token.
pub(crate) fn issued_txn(proposal: Proposal, epoch: u64) -> Presented {
    let (issuer, kid) = (issuer(), kid());
    let made = txn_token::build(&Allowed(proposal), &issuing(&issuer, &kid, epoch), "new-txn");
    let text = sealed(made.unwrap().1.into_inner(), &key());
    Presented::txn_token(&text, &ring(Purpose::TxnToken), DOMAIN, NOW, Span::ZERO).unwrap()
}

//! wimse-wpt: a WIT, a proof of its key over the request, and the token that came with them.

use authentication::wit_wpt::{Request, authenticate, wit as verify_wit, wit_text};
use authentication::{Method, ProofRefusal, Proved, Who};
use jose::{Algorithm, PrivateKey, Refused, TokenHash};
use provisioning::Epoch;
use time::{Span, UnixTime};
use wimse::{HeaderError, Proof, TrustAnchors, WitError, WptError};

use crate::parties::{
    AGENT, HOUR, NOW, SECOND, SKEW, agent_id, anchors, authority, sealed, stranger, wit, workload,
};

const TOKEN: &str = "header.claims.signature";
const TARGET: &str = "https://gateway.example/ledger/mcp";
const LIFETIME_MAX: Span = Span::from_seconds(120);

/// A request that is in order, to be changed in one way.
struct Sent {
    wits: Vec<Vec<u8>>,
    wpts: Vec<Vec<u8>>,
    token: &'static str,
    holder: &'static str,
    target: &'static str,
    now: UnixTime,
    anchors: TrustAnchors,
}

fn proof<'a>(wit: &str) -> Proof<'a> {
    Proof {
        audience: TARGET,
        expires: NOW.plus(Span::from_seconds(60)),
        jti: "jti-1",
        wit: TokenHash::of(wit),
        access_token: Some(TOKEN),
        txn_token: None,
        other: &[],
    }
}

fn wpt(proof: &Proof<'_>, key: &PrivateKey) -> Vec<u8> {
    sealed(proof.signing_input(Algorithm::Es256).unwrap(), key).into_bytes()
}

impl Sent {
    fn new() -> Self {
        let wit = wit(&authority());
        let wpt = wpt(&proof(&wit), &workload());
        let (wits, wpts) = (vec![wit.into_bytes()], vec![wpt]);
        let (token, holder, target) = (TOKEN, AGENT, TARGET);
        Self { wits, wpts, token, holder, target, now: NOW, anchors: anchors() }
    }

    fn present(&self) -> Result<Proved, ProofRefusal> {
        let audiences = [self.target];
        let request = Request {
            wit: self.wits.iter().map(Vec::as_slice).collect(),
            wpt: self.wpts.iter().map(Vec::as_slice).collect(),
            token: Some((self.token, self.holder)),
            audiences: &audiences,
            anchors: &self.anchors,
            now: self.now,
            skew: SKEW,
            lifetime_max: LIFETIME_MAX,
        };
        let wit = verify_wit(wit_text(&request)?, &request)?;
        authenticate(&request, &wit)
    }
}

fn check(edit: impl FnOnce(&mut Sent), expect: ProofRefusal) {
    let mut sent = Sent::new();
    edit(&mut sent);
    assert_eq!(sent.present().err(), Some(expect));
}

/// The proof after `edit`, made by the workload.
fn proved(sent: &mut Sent, edit: impl FnOnce(&mut Proof<'_>)) {
    let wit = String::from_utf8(sent.wits.concat()).unwrap();
    let mut proof = proof(&wit);
    edit(&mut proof);
    sent.wpts = vec![wpt(&proof, &workload())];
}

/// req: AUTHN-02 (part), CRED-01 (part)
#[test]
fn s9_2_1_a_proof_over_the_request_authenticates_the_workload() {
    let Proved { caller, once } = Sent::new().present().unwrap();
    assert_eq!(caller.who(), &Who::Workload(agent_id()));
    assert_eq!((caller.client_id(), caller.method()), (AGENT, Method::WitWpt));
    assert_eq!((caller.issued(), caller.expires()), (Some(Epoch(7)), NOW.plus(HOUR)));
    assert_eq!(caller.key(), Some(&workload().public().thumbprint()));
    assert_eq!(caller.transport(), None, "TLS may have ended elsewhere");
    let once = once.unwrap();
    let key = workload().public().thumbprint();
    assert_eq!(once.value, TokenHash::of(&format!("{key}.jti-1")).to_base64url());
    assert_eq!(once.until, NOW.plus(Span::from_seconds(60)).plus(SKEW));
}

/// req: AUTHN-05 (part)
#[test]
fn s9_2_3_each_proof_has_a_value_of_its_own() {
    let once = |jti: &'static str| {
        let mut sent = Sent::new();
        proved(&mut sent, |proof| proof.jti = jti);
        sent.present().unwrap().once.unwrap().value
    };
    assert_eq!(once("jti-1"), once("jti-1"));
    assert_ne!(once("jti-1"), once("jti-2"));
}

/// The token of one agent, presented by another with its own good proof.
/// req: AUTHN-02 (part), AUTHZ-20 (part)
#[test]
fn s9_2_1_a_token_counts_only_for_whom_it_was_issued_to() {
    for holder in ["spiffe://demo.example/agent/b", "spiffe://demo.example/agent/a/", ""] {
        let refused =
            ProofRefusal::OtherHolder { holder: holder.to_owned(), presenter: agent_id() };
        check(|sent| sent.holder = holder, refused);
    }
}

/// req: AUTHN-02 (part), AUTHN-05 (part)
#[test]
fn s9_2_1_a_proof_that_is_not_of_this_request_is_refused() {
    let wpt = |error| ProofRefusal::Wpt(error);
    check(|sent| sent.token = "a.b.c", wpt(WptError::AccessToken { claimed: true }));
    check(
        |sent| proved(sent, |proof| proof.access_token = None),
        wpt(WptError::AccessToken { claimed: false }),
    );
    check(
        |sent| proved(sent, |proof| proof.txn_token = Some("a.b.c")),
        wpt(WptError::TxnToken { claimed: true }),
    );
    let other = "https://gateway.example/crm/mcp";
    let found = jose::Audience::one(TARGET);
    check(|sent| sent.target = other, wpt(WptError::Audience { found }));
    let found = jose::Audience::one(other);
    check(|sent| proved(sent, |proof| proof.audience = other), wpt(WptError::Audience { found }));
    check(|sent| proved(sent, |proof| proof.wit = TokenHash::of("a.b.c")), wpt(WptError::OtherWit));
    check(|sent| proved(sent, |proof| proof.jti = ""), wpt(WptError::Jti { bytes: 0 }));
    let exp = NOW.plus(LIFETIME_MAX).plus(SKEW).plus(SECOND);
    check(
        |sent| proved(sent, |proof| proof.expires = exp),
        wpt(WptError::TooFarAhead { exp, now: NOW }),
    );
    let (exp, now) = (NOW.plus(Span::from_seconds(60)), NOW.plus(Span::from_seconds(65)));
    check(|sent| sent.now = now, wpt(WptError::Refused(Refused::Expired { exp, now })));
    check(
        |sent| {
            let wit = String::from_utf8(sent.wits.concat()).unwrap();
            sent.wpts = vec![super::wit_wpt::wpt(&proof(&wit), &stranger())];
        },
        wpt(WptError::Refused(Refused::Signature)),
    );
    check(
        |sent| sent.wpts.clone_from(&sent.wits),
        wpt(WptError::Malformed(jose::Malformed::WrongType {
            found: "wit+jwt".to_owned(),
            expected: &["wpt+jwt"],
        })),
    );
}

/// req: CRED-04 (part), CRED-05 (part)
#[test]
fn s9_2_1_a_wit_that_does_not_hold_is_refused() {
    let forged = ProofRefusal::Wit(WitError::Refused(Refused::Signature));
    check(|sent| sent.wits = vec![wit(&stranger()).into_bytes()], forged);
    let unknown = Refused::NoKey(jose::NoKey::UnknownIssuer);
    let unknown = ProofRefusal::Wit(WitError::Refused(unknown));
    check(|sent| sent.anchors = TrustAnchors::new(), unknown);
    let (exp, now) = (NOW.plus(HOUR), NOW.plus(HOUR).plus(SKEW));
    let expired = ProofRefusal::Wit(WitError::Refused(Refused::Expired { exp, now }));
    check(|sent| sent.now = now, expired);
}

/// Two fields: one for us, one for whom we forward to.
#[test]
fn s9_2_1_each_field_is_there_once() {
    let (wit, wpt) = (ProofRefusal::WitHeader, ProofRefusal::WptHeader);
    check(|sent| sent.wits.clear(), wit(HeaderError::Absent));
    check(|sent| sent.wpts.clear(), wpt(HeaderError::Absent));
    check(|sent| sent.wits.extend_from_within(..), wit(HeaderError::Repeated));
    check(|sent| sent.wpts.extend_from_within(..), wpt(HeaderError::Repeated));
    check(|sent| sent.wits = vec![b"a.b".to_vec()], wit(HeaderError::Syntax));
    check(|sent| sent.wpts = vec![b"Bearer a.b.c".to_vec()], wpt(HeaderError::Syntax));
    let not_text = |field| ProofRefusal::NotText { field };
    check(
        |sent| sent.wits = vec!["a.b.ü".as_bytes().to_vec()],
        not_text("Workload-Identity-Token"),
    );
    check(|sent| sent.wpts = vec![b"\xff".to_vec()], not_text("Workload-Proof-Token"));
}

//! A proposal of a real grant, for a caller that really authenticated, becomes a right by policy
//! alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers of tests among it"
)]

use authentication::{Caller, spiffe_jwt};
use authorization::client::Facet;
use authorization::grants::{Context, Grant, Standing, propose};
use authorization::policy::Delegation;
use authorization::presented::Presented;
use authorization::txn_token::{ForCall, at_gateway};
use authorization::{Audience, Proposal, Sanctioned};
use credential::policy::Lifetimes;
use credential::{AuthorityKey, KeyRing, Purpose};
use jose::{Algorithm, KeyId, NumericDate, PrivateKey, SigningInput};
use oauth::access_token::{AccessToken, AccessTokenClaims};
use oauth::{ClientId, Issuer, LineageId, ScopeSet, SubjectText, TokenId};
use pdp::{
    Access, Circumstances, Decision, Denial, Fact, Pdp, Permitted, PolicyVersion, Principal,
    PrincipalKind, Question, Resource,
};
use provisioning::{Epoch, Lifecycle};
use spiffe::{Bundle, BundleKey, BundleSet, JwtSvid, JwtSvidClaims, SpiffeId, TrustDomain};
use time::{Span, UnixTime};

const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);
const ISSUER: &str = "https://issuer.example";
const AGENT: &str = "spiffe://demo.example/agent/a";
const LEDGER: &str = "https://gateway.example/ledger";
/// RFC 7515 §A.3.
const KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

const MAY_ISSUE: &str = r#"@id("may-issue")
    permit(principal is Aims::Agent, action == Aims::Action::"token.issue", resource)
    when { resource has name && resource.name == "ledger" && context.scope.contains("read") };"#;

fn key() -> PrivateKey {
    PrivateKey::from_jwk_private_text(KEY).unwrap()
}

fn kid() -> KeyId {
    KeyId::parse("key-1").unwrap()
}

fn end() -> NumericDate {
    NumericDate::from_time(NOW.plus(Span::from_seconds(300)))
}

fn caller() -> Caller {
    let claims = JwtSvidClaims {
        sub: SpiffeId::parse(AGENT).unwrap(),
        aud: jose::Audience::one(ISSUER),
        exp: end(),
        nbf: None,
        iat: None,
        jti: None,
        iss: None,
        aims_epoch: Some(4),
        aims_attributes: None,
    };
    let input = SigningInput::<JwtSvid>::new(Algorithm::Es256, Some(&kid()), &claims).unwrap();
    let signature = key().sign(input.bytes());
    let text = input.attach(signature).into_string();
    let jwt = vec![BundleKey { kid: kid(), key: key().public().clone() }];
    let bundle = Bundle::new(1, Span::from_seconds(60), Vec::new(), jwt, Vec::new()).unwrap();
    let mut bundles = BundleSet::new();
    bundles.insert(TrustDomain::parse("demo.example").unwrap(), bundle);
    let (client, issuer) = (ClientId::parse(AGENT).unwrap(), Issuer::parse(ISSUER).unwrap());
    spiffe_jwt::authenticate(&text, Some(&client), &issuer, &bundles, NOW, Span::ZERO).unwrap()
}

/// What the client credentials grant would give the agent.
fn proposal() -> Proposal {
    let (caller, lifecycle) = (caller(), Lifecycle::begin(Epoch(1), UnixTime::EPOCH));
    let scope = ScopeSet::parse("read").unwrap();
    let target = Audience::of_agent(LEDGER.to_owned(), "ledger".to_owned(), scope.clone());
    let (facet, delegation) = (Facet::default(), Delegation::default());
    let lifetimes = Lifetimes::default();
    let grant = Grant::ClientCredentials;
    let context = Context {
        standing: Standing::Agent(&lifecycle),
        target: Some(&target),
        target_standing: Standing::Foreign,
        scope: Some(&scope),
        ..Context::bare(grant, &caller, &facet, &delegation, &lifetimes, NOW)
    };
    propose(&context).unwrap()
}

/// What a gateway would make of a call with the agent's token.
fn swapped() -> Proposal {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let claims = AccessTokenClaims {
        iss: issuer.clone(),
        exp: end(),
        aud: jose::Audience::one(LEDGER),
        sub: SubjectText::parse(AGENT).unwrap(),
        client_id: ClientId::parse(AGENT).unwrap(),
        iat: NumericDate::from_time(NOW),
        nbf: None,
        jti: TokenId::parse("token-1").unwrap(),
        scope: ScopeSet::parse("read").unwrap(),
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
    };
    let input = SigningInput::<AccessToken>::new(Algorithm::Es256, Some(&kid()), &claims).unwrap();
    let signature = key().sign(input.bytes());
    let text = input.attach(signature).into_string();
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
    let ring = KeyRing { purpose: Purpose::AccessToken, keys: vec![key] };
    let presented = Presented::access_token(&text, &ring, &issuer, NOW, Span::ZERO).unwrap();
    at_gateway(ForCall {
        presented: &presented,
        trust_domain: "demo.example",
        purpose: ScopeSet::parse("read").unwrap(),
        details: serde_json::Map::new(),
        context: serde_json::Map::new(),
        until: NOW.plus(Span::from_seconds(60)),
    })
}

fn pdp(rules: &str) -> Pdp {
    let access = Access::compile(&[("access/a.cedar", rules)]).unwrap();
    Pdp::new(access, PolicyVersion::of_digest(&[0xab; 32]))
}

fn principal(id: &str) -> Principal {
    Principal::new(PrincipalKind::Agent, id, "a", "team", Vec::new())
}

fn circumstances() -> Circumstances {
    let scope = ["read".to_owned()].into();
    Circumstances { scope, ..Circumstances::at(NOW) }
}

fn sanction(rules: &str) -> (Result<Permitted, Denial>, Question) {
    pdp(rules).sanction(proposal(), principal(AGENT), circumstances())
}

/// req: AUTHZ-01 (part), POL-02 (part)
#[test]
fn s10_a_proposal_becomes_a_right_by_a_rule_that_is_named() {
    let (answer, question) = sanction(MAY_ISSUE);
    let permitted = answer.unwrap();
    assert_eq!(permitted.permit().rules(), ["may-issue"]);
    assert_eq!(permitted.permit().version().as_str(), format!("sha256:{}", "ab".repeat(32)));
    assert_eq!((permitted.permit().principal(), permitted.permit().resource()), (AGENT, LEDGER));
    assert_eq!(permitted.proposal().scope(), proposal().scope(), "what was proposed, no more");
    // The question is all that was decided on: asked again, it is answered alike.
    assert_eq!(question.resource.attributes.get("name"), Some(&Fact::Text("ledger".to_owned())));
    assert!(matches!(pdp(MAY_ISSUE).decide(&question), Decision::Permit(_)));
}

/// req: AUTHZ-01 (part)
#[test]
fn s10_without_a_rule_no_proposal_is_worth_anything() {
    let refused = |rules: &str| sanction(rules).0.map(|_| ()).unwrap_err();
    assert_eq!((refused("").rules, refused("").errors), (Vec::<String>::new(), Vec::new()));
    let exchange = MAY_ISSUE.replace("token.issue", "token.exchange");
    assert_eq!(refused(&exchange).action, "token.issue");
    let closed = format!("{MAY_ISSUE}\n@id(\"closed\") forbid(principal, action, resource);");
    assert_eq!(refused(&closed).rules, ["closed"]);
    // A duty that no grant can meet.
    let duty = MAY_ISSUE.replace("@id", "@obligations(\"approval\") @id");
    assert_eq!(refused(&duty).needs, ["`approval`"]);
}

/// Who it is for, the proposal says: facts about another do not make it another's.
#[test]
fn s10_a_proposal_is_decided_for_its_own_client() {
    let other = "spiffe://demo.example/agent/b";
    let only = MAY_ISSUE
        .replace("principal is Aims::Agent", &format!("principal == Aims::Agent::\"{other}\""));
    let (answer, question) = pdp(&only).sanction(proposal(), principal(other), circumstances());
    assert_eq!(question.principal.id, AGENT);
    assert_eq!(answer.map(|_| ()).unwrap_err().principal, AGENT);
}

/// req: AUTHZ-20 (part), AUTHZ-12 (part)
#[test]
fn s10_7_the_permit_of_a_call_stands_behind_its_transaction_token_alone() {
    let call = |who: &str, rules: &str| {
        let question = Question {
            principal: principal(who),
            action: "tool.call".to_owned(),
            resource: Resource::tool(LEDGER, "read_invoice", true),
            context: circumstances().into(),
        };
        match pdp(rules).decide(&question) {
            Decision::Permit(permit) => permit,
            Decision::Deny(denial) => panic!("{denial}"),
        }
    };
    let all = r#"@id("all") permit(principal, action, resource);"#;
    let permitted = Permitted::by_call(call(AGENT, all), swapped()).unwrap();
    assert_eq!(permitted.proposal().client_id(), AGENT);
    assert_eq!(permitted.permit().rules(), ["all"]);
    let other = call("spiffe://demo.example/agent/b", all);
    assert!(Permitted::by_call(other, swapped()).is_none(), "the permit of another");
    assert!(Permitted::by_call(call(AGENT, all), proposal()).is_none(), "an access token");
    let duty = r#"@id("duty") @obligations("approval") permit(principal, action, resource);"#;
    assert!(Permitted::by_call(call(AGENT, duty), swapped()).is_none(), "an unmet duty");
}

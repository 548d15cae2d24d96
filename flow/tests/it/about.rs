//! What is told of tokens and their users: introspection, revocation, userinfo, in each form of
//! token; assertions of other issuers; rich authorization requests; impersonation.

use authorization::granted::{GrantRecord, Granted};
use env::World;
use flow::introspect::{self, Answer, Question};
use flow::token::Refusal;
use flow::token::asker::{self, Asker};
use flow::{revoke, userinfo};
use jose::{Algorithm, PrivateKey, Unverified};
use oauth::introspection::{Introspection, IntrospectionRequest, SignedIntrospection};
use oauth::revocation::RevocationRequest;
use oauth::token_request::{Asked, GrantType, JwtBearer, TokenRequest, TypedToken};
use oauth::{Resource, ScopeSet, TokenText, TokenType};
use registry::UserRecord;
use serde_json::json;
use testkit::Sim;
use testkit::fixture::{
    ADA, Client, Domain, ISSUER, by_wit, code_request, exchange, files_but, http_call,
    refresh_request, registration, story,
};
use time::Span;

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const VAULT: &str = "https://vault.example";
const BOTH: &[GrantType] = &[GrantType::AuthorizationCode, GrantType::RefreshToken];
/// What its policy says: opaque, pairwise, with payments.
const VAULT_FILE: &str = r#"
    name = "vault"
    audience = "https://vault.example"
    upstream = "http://127.0.0.1:9009"
    protocol = "http"
    proof = "bearer"
    token = "opaque"
    subject = "pairwise"
    introspect = ["spiffe://demo.example/agent/vault"]
    [scopes]
    "vault.read" = "read the vault"
    [[action]]
    method = "GET"
    path = "/*"
    scope = "vault.read"
    [[authorization_details]]
    type = "payment"
    [[authorization_details.member]]
    name = "actions"
    required = true
    shape = "texts"
    [[authorization_details.member]]
    name = "amount"
    shape = "text"
"#;

/// Whose assertions are taken, and for whom.
const PARTNER: &str = r#"
    trust_domain = "demo.example"
    [[delegation.issuer]]
    name = "partner"
    issuer = "https://partner.example"
    scope = "notices.read"
    subjects = { "ada@partner" = "user:ada", "*" = "partner:{sub}" }
    claims = { org = "acme" }
    [[delegation.issuer.jwks.keys]]
    kty = "EC"
    crv = "P-256"
    kid = "key-1"
    x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
    y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
"#;

struct House {
    domain: Domain,
    client: Client,
    grant: GrantRecord,
}

impl House {
    async fn open(_: &Sim, domain: Domain, audience: &str, scope: &str) -> Self {
        domain.person(ADA);
        let client = domain.client(BOTH, false);
        let of = ("grant-1", client.id.as_str(), ADA);
        let mut grant = domain.grant(of, audience, scope, "openid profile email");
        let details = vec![json!({ "type": "payment", "actions": ["pay", "ask"], "amount": "5" })];
        let scope = ScopeSet::parse(scope).unwrap();
        grant.targets.insert(audience.to_owned(), Granted { scope, details });
        domain.server.world().store().put(&grant);
        domain.register(registration("vault", &[])).await;
        Self { domain, client, grant }
    }

    fn asks(&self, request: TokenRequest) -> flow::token::Call {
        self.client.asks(request, self.domain.now())
    }

    async fn tokens(&self) -> (String, String) {
        let code = self.domain.code(&self.grant, |_| ());
        let answer = self.domain.ask(self.asks(code_request(&code))).await.unwrap();
        (answer.access_token, answer.refresh_token.unwrap())
    }

    /// The vault's server asks.
    async fn vault(&self) -> Asker {
        let party = self.domain.party("/opt/vault").await;
        asker(by_wit(&party, code_request("aims_ac_x"), self.domain.now()))
    }

    async fn told(&self, asker: Asker, token: &str) -> Introspection {
        match introspected(&self.domain, asker, token, false).await {
            Ok(Answer::Plain(told)) => *told,
            other => panic!("{other:?}"),
        }
    }

    async fn revoke(&self, asker: Asker, token: &str) -> Result<(), asker::Refusal> {
        let request = RevocationRequest { token: TokenText::parse(token).unwrap(), hint: None };
        let order = revoke::Order { asker, request };
        match revoke::answer(&*self.domain.server.world(), order).await.unwrap() {
            asker::End::Decided(recorded) => recorded.into_value(),
            asker::End::Stranger(why) => panic!("{why}"),
        }
    }
}

/// What a request to the token endpoint shows of its client, for another endpoint.
fn asker(call: flow::token::Call) -> Asker {
    let flow::token::Call { client, attestation, certificates, source, .. } = call;
    let (dpop, path) = (Vec::new(), "/introspect".to_owned());
    Asker { client, attestation, dpop, path, certificates, source }
}

async fn introspected(
    domain: &Domain,
    asker: Asker,
    token: &str,
    signed: bool,
) -> Result<Answer, asker::Refusal> {
    let request = IntrospectionRequest { token: TokenText::parse(token).unwrap(), hint: None };
    let asked = Question { asker, request, signed };
    match introspect::answer(&*domain.server.world(), asked).await.unwrap() {
        asker::End::Decided(recorded) => recorded.into_value(),
        asker::End::Stranger(why) => panic!("{why}"),
    }
}

/// req: AUTHZ-04 (part), AUTHZ-21 (part)
#[test]
fn rfc7662_2_2_an_opaque_token_is_told_to_its_resource_alone() {
    story(|sim| async move {
        let files = files_but(&[("resources/vault.toml", VAULT_FILE)]);
        let domain = Domain::start_with(&sim, files).await;
        let house = House::open(&sim, domain, VAULT, "vault.read").await;
        let (token, _) = house.tokens().await;
        assert!(!token.contains('.') && token.starts_with("aims_at_"), "it says nothing");
        let told = house.told(house.vault().await, &token).await;
        assert!(told.active);
        assert_eq!(told.client_id.as_ref().unwrap().as_str(), house.client.id);
        assert_eq!(told.scope.as_ref().unwrap().to_string(), "vault.read");
        assert_eq!(told.aud.as_ref().unwrap().sole(), Some(VAULT));
        // docs/past-defects.md 34: `act` lost at introspection.
        assert_eq!(told.act.as_ref().unwrap().current().sub.as_str(), house.client.id);
        assert_eq!(told.acr.as_deref(), Some("phr"));
        let sub = told.sub.as_ref().unwrap().as_str();
        assert!(sub.starts_with("pairwise-") && !sub.contains("ada"), "{sub}");
        let details = serde_json::to_value(told.authorization_details.as_ref().unwrap()).unwrap();
        assert_eq!(details[0]["amount"], "5");
        // Whoever else asks, the client itself too, is told nothing at all.
        let client = asker(house.asks(code_request("aims_ac_x")));
        assert_eq!(house.told(client, &token).await, Introspection::inactive());
        for unknown in [format!("aims_at_{}", "A".repeat(43)), "a.b.c".to_owned()] {
            assert_eq!(house.told(house.vault().await, &unknown).await, Introspection::inactive());
        }
        // The gateway takes it too, also one of a moment ago.
        let call = http_call("GET", "/vault/x", &token);
        house.domain.sync().await;
        assert_eq!(house.domain.refusal_of(call.clone()).await, None);
        // Ended, it is inactive, and the gateway refuses it.
        let client = asker(house.asks(code_request("aims_ac_x")));
        assert_eq!(house.revoke(client, &token).await, Ok(()));
        assert_eq!(house.told(house.vault().await, &token).await, Introspection::inactive());
        house.domain.sync().await;
        let refused = house.domain.refusal_of(call).await.unwrap();
        assert_eq!(refused.check(), "gateway::Ended");
    });
}

/// req: AUTHZ-04 (part)
#[test]
fn rfc9701_5_the_signed_answer_is_for_the_one_that_asked_and_no_access_token() {
    story(|sim| async move {
        let files = files_but(&[("resources/vault.toml", VAULT_FILE)]);
        let domain = Domain::start_with(&sim, files).await;
        let house = House::open(&sim, domain, VAULT, "vault.read").await;
        let (token, _) = house.tokens().await;
        let vault = house.vault().await;
        let answer = introspected(&house.domain, vault.clone(), &token, true).await.unwrap();
        let Answer::Signed(text) = answer else { panic!("{answer:?}") };
        let ring = house.domain.ring(env::Purpose::IdToken);
        let (now, skew) = (house.domain.now(), Span::from_seconds(5));
        let read = Unverified::<SignedIntrospection>::parse(&text).unwrap();
        let read = read.verify(&ring.verifiers(now), &[Algorithm::Es256], now, skew).unwrap();
        assert_eq!(read.claims().iss.as_str(), ISSUER);
        assert_eq!(read.claims().aud.sole(), Some("spiffe://demo.example/agent/vault"));
        assert!(read.claims().token_introspection.active);
        assert!(house.domain.read(&text).is_err(), "it is no access token");
        // The same proof of the caller is not taken again.
        let again = introspected(&house.domain, vault, &token, false).await;
        assert_eq!(again, Err(asker::Refusal::Replayed));
    });
}

/// RFC 7009: a refresh token ends all that came of its grant.
/// req: OBS-10 (part)
#[test]
fn rfc7009_2_1_a_client_gives_back_what_it_holds() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let house = House::open(&sim, domain, NOTICES, "notices.read").await;
        let (token, refresh) = house.tokens().await;
        let own = || asker(house.asks(code_request("aims_ac_x")));
        let thief = house.domain.client(BOTH, false);
        let theirs = || asker(thief.asks(code_request("aims_ac_x"), house.domain.now()));
        for text in [&token, &refresh] {
            assert_eq!(house.revoke(theirs(), text).await, Err(asker::Refusal::OtherClient));
        }
        // What nobody was given ends nothing, and is no error.
        for text in ["x", "aims_rt_grant-1.1.AA.AA", "aims_at_x", "a.b.c"] {
            assert_eq!(house.revoke(own(), text).await, Ok(()));
        }
        let made_up = format!("aims_rt_grant-1.1.{}.{}", "A".repeat(43), "A".repeat(22));
        assert_eq!(house.revoke(theirs(), &made_up).await, Ok(()));
        let again = || house.asks(refresh_request(&refresh, NOTICES, ""));
        let newer = house.domain.ask(again()).await.unwrap().access_token;
        assert_eq!(house.revoke(own(), &token).await, Ok(()));
        let call = async |token: &str| {
            house.domain.sync().await;
            let call = http_call("GET", "/notices/today", token);
            house.domain.refusal_of(call).await.map(|refusal| refusal.check())
        };
        assert_eq!((call(&token).await, call(&newer).await), (Some("gateway::Ended"), None));
        assert_eq!(house.revoke(own(), &refresh).await, Ok(()));
        assert_eq!(call(&newer).await, Some("gateway::Ended"));
        assert!(house.domain.ask(again()).await.is_err());
    });
}

/// req: AUTHZ-21 (part)
#[test]
fn openid_core_5_3_a_client_learns_of_the_user_what_was_allowed() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let house = House::open(&sim, domain, NOTICES, "notices.read").await;
        let (other, refresh) = house.tokens().await;
        let url = format!("{ISSUER}/userinfo");
        let ask = async |scope: &str| {
            let call = house.asks(refresh_request(&refresh, &url, scope));
            house.domain.ask(call).await.unwrap().access_token
        };
        let info = async |token: &str| {
            let token = TokenText::parse(token).unwrap();
            let asked = userinfo::Asked { token, is_dpop: false, dpop: Vec::new(), method: "GET" };
            match userinfo::answer(&*house.domain.server.world(), asked).await.unwrap() {
                userinfo::End::Decided(recorded) => recorded.into_value(),
                userinfo::End::Stranger(why) => Err(why),
            }
        };
        let all = info(&ask("").await).await.unwrap();
        assert_eq!(all.sub.as_str(), ADA);
        assert_eq!(
            serde_json::Value::Object(all.claims),
            json!({
                "name": "ada", "preferred_username": "ada", "email": "ada@example.org",
            })
        );
        // An address that is another provider's word is told as that.
        let world = house.domain.server.world();
        let mut ada = (*world.store().single::<UserRecord>(ADA).unwrap()).clone();
        ada.email_said_by = Some("https://login.company.example".to_owned());
        world.store().put(&ada);
        let all = info(&ask("").await).await.unwrap();
        assert_eq!(all.claims["email"], "ada@example.org");
        assert_eq!(all.claims["email_verified"], false);
        let least = info(&ask("openid").await).await.unwrap();
        assert!(least.claims.is_empty());
        let without = info(&ask("email").await).await.unwrap_err();
        assert_eq!(without.check(), "gateway::Scope");
        assert_eq!(info(&other).await.unwrap_err().check(), "gateway::Token");
        assert_eq!(info("a.b.c").await.unwrap_err().check(), "gateway::ForeignToken");
        let token = ask("").await;
        let ending = flow::ends::Ending::by(ADA, "enough");
        flow::ends::end_grant(&*world, "grant-1", ending).await.unwrap().unwrap();
        assert_eq!(info(&token).await.unwrap_err().check(), "gateway::Ended");
    });
}

/// What is asked of the token endpoint narrows what was granted.
/// req: AUTHZ-10 (part)
#[test]
fn rfc9396_6_authorization_details_only_shrink() {
    story(|sim| async move {
        let files = files_but(&[("resources/vault.toml", VAULT_FILE)]);
        let domain = Domain::start_with(&sim, files).await;
        let house = House::open(&sim, domain, VAULT, "vault.read").await;
        let (_, refresh) = house.tokens().await;
        let ask = async |details: serde_json::Value| {
            let TokenRequest::RefreshToken(mut request) = refresh_request(&refresh, VAULT, "")
            else {
                unreachable!()
            };
            let text = details.to_string();
            let details = oauth::authorization_details::AuthorizationDetails::parse(&text);
            request.asked.authorization_details = details.ok();
            house.domain.ask(house.asks(TokenRequest::RefreshToken(request))).await
        };
        let less = json!([{ "type": "payment", "actions": ["ask"], "amount": "5" }]);
        let answer = ask(less.clone()).await.unwrap();
        let told = house.told(house.vault().await, &answer.access_token).await;
        for given in [answer.authorization_details, told.authorization_details] {
            assert_eq!(serde_json::to_value(given.unwrap()).unwrap(), less);
        }
        for (details, check) in [
            (
                json!([{ "type": "payment", "actions": ["ask"], "amount": "6" }]),
                "grants::DetailsTooWide",
            ),
            (json!([{ "type": "payment", "actions": ["steal"] }]), "grants::DetailsTooWide"),
            (json!([{ "type": "transfer" }]), "grants::DetailsUnknown"),
            (json!([{ "type": "payment", "actions": ["ask"], "x": 1 }]), "grants::DetailsUnknown"),
        ] {
            assert_eq!(ask(details).await.unwrap_err().check(), check);
        }
    });
}

/// The key of RFC 7515 appendix A.3, for a partner.
const PARTNER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// RFC 7523: an issuer that policy trusts says for whom a client may act.
/// req: AUTHZ-07 (part)
#[test]
fn rfc7523_3_an_assertion_of_a_trusted_issuer_is_taken_once_and_by_its_rule() {
    let key = std::sync::Arc::new(PrivateKey::from_jwk_private_text(PARTNER_KEY).unwrap());
    story(move |sim| {
        let key = std::sync::Arc::clone(&key);
        async move {
            let domain = Domain::start_with(&sim, files_but(&[("domain.toml", PARTNER)])).await;
            domain.person(ADA);
            let client = domain.client(&[GrantType::JwtBearer], false);
            let now = domain.now().seconds();
            let claims = |jti: &str, edit: &dyn Fn(&mut serde_json::Value)| {
                let mut claims = json!({
                    "iss": "https://partner.example", "sub": "ada@partner", "aud": ISSUER,
                    "exp": now + 120, "iat": now, "jti": jti, "org": "acme",
                });
                edit(&mut claims);
                claims
            };
            let request = |claims: &serde_json::Value| {
                let assertion = TokenText::parse(&jws(&key, claims)).unwrap();
                let resources = vec![Resource::parse(NOTICES).unwrap()];
                let asked = Asked { scope: None, resources, authorization_details: None };
                TokenRequest::JwtBearer(Box::new(JwtBearer { assertion, asked }))
            };
            let ask = async |claims: serde_json::Value| {
                domain.ask(client.asks(request(&claims), domain.now())).await
            };
            let token = ask(claims("a", &|_| ())).await.unwrap().access_token;
            let read = domain.read(&token).unwrap();
            assert_eq!((read.subject(), read.client_id()), (ADA, client.id.as_str()));
            assert_eq!(read.scope().to_string(), "notices.read");
            assert_eq!(ask(claims("a", &|_| ())).await.unwrap_err(), Refusal::AssertionReplayed);
            let other = ask(claims("b", &|one| one["sub"] = "eve@partner".into())).await.unwrap();
            let other = domain.read(&other.access_token).unwrap();
            assert_eq!(other.subject(), "partner:eve@partner");
            // Its issuer says which key the client has: the token is bound to that one.
            let bound = |one: &mut serde_json::Value| {
                one["requested_cnf"] =
                    json!({ "jkt": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0" });
            };
            let answer = ask(claims("c", &bound)).await.unwrap();
            assert_eq!(answer.token_type, oauth::token_response::TokenUse::Dpop);
            let found = domain.read(&answer.access_token).unwrap().key().unwrap();
            assert!(found.to_base64url().starts_with("bwcK0esc3ACC3DB2Y5"));
            for (n, edit) in [
                &(|one: &mut serde_json::Value| one["iss"] = "https://other.example".into())
                    as &dyn Fn(&mut serde_json::Value),
                &|one| one["aud"] = "https://other.example".into(),
                &|one| one["aud"] = json!([ISSUER, "https://other.example"]),
                &|one| one["org"] = "other".into(),
                &|one| one["requested_cnf"] = json!({ "kid": "a" }),
                &|one| one["exp"] = (now + 3_600).into(),
                &|one| one["exp"] = (now - 60).into(),
                // docs/past-defects.md 3: a text in the place of a number is not absent.
                &|one| one["exp"] = "soon".into(),
                &|one| drop(one.as_object_mut().unwrap().remove("exp")),
                &|one| drop(one.as_object_mut().unwrap().remove("jti")),
            ]
            .into_iter()
            .enumerate()
            {
                let refused = ask(claims(&format!("x{n}"), edit)).await.unwrap_err();
                assert_eq!(refused.check(), "grants::Assertion", "{n}");
            }
            let mut forged = jws(&key, &claims("f", &|_| ()));
            forged.replace_range(forged.len() - 6.., "AAAAAA");
            let TokenRequest::JwtBearer(mut request) = request(&claims("f", &|_| ())) else {
                unreachable!()
            };
            request.assertion = TokenText::parse(&forged).unwrap();
            let call = client.asks(TokenRequest::JwtBearer(request), domain.now());
            assert_eq!(domain.ask(call).await.unwrap_err().check(), "grants::Assertion");
        }
    });
}

/// RFC 6749 §5.2, `unauthorized_client`: before anything is said of what such a client brings.
#[test]
fn rfc6749_5_2_who_may_not_use_a_grant_learns_nothing_of_who_is_trusted() {
    let key = std::sync::Arc::new(PrivateKey::from_jwk_private_text(PARTNER_KEY).unwrap());
    story(move |sim| {
        let key = std::sync::Arc::clone(&key);
        async move {
            let domain = Domain::start_with(&sim, files_but(&[("domain.toml", PARTNER)])).await;
            let client = domain.client(&[GrantType::ClientCredentials], false);
            for issuer in ["https://partner.example", "https://other.example"] {
                let claims = json!({ "iss": issuer, "sub": "a", "aud": ISSUER, "exp": 1 });
                let assertion = TokenText::parse(&jws(&key, &claims)).unwrap();
                let resources = vec![Resource::parse(NOTICES).unwrap()];
                let asked = Asked { scope: None, resources, authorization_details: None };
                let request = TokenRequest::JwtBearer(Box::new(JwtBearer { assertion, asked }));
                let refused = domain.ask(client.asks(request, domain.now())).await.unwrap_err();
                assert_eq!(refused.check(), "grants::GrantNotAllowed");
                let told = refused.to_string();
                assert!(told.ends_with("it registered `client_credentials`"), "{told}");
            }
        }
    });
}

fn jws(key: &PrivateKey, claims: &serde_json::Value) -> String {
    use base64::Engine as _;
    let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let header = json!({ "alg": "ES256", "kid": "key-1" });
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = key.sign(signed.as_bytes());
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature.as_bytes());
    format!("{signed}.{signature}")
}

/// RFC 8693 §1.1: impersonation is for whom policy names, and told from delegation.
/// req: AUTHZ-11 (part)
#[test]
fn rfc8693_1_1_nobody_appears_as_another_without_a_rule_by_name() {
    story(|sim| async move {
        let domain_toml = r#"
            trust_domain = "demo.example"
            [[delegation.impersonation]]
            name = "mail-room"
            client = "spiffe://demo.example/agent/clerk"
            audiences = ["https://gateway.demo.example:8446/notices"]
        "#;
        let files = files_but(&[("domain.toml", domain_toml)]);
        let domain = Domain::start_with(&sim, files).await;
        for name in ["clerk", "other"] {
            domain.register(registration(name, &[])).await;
        }
        let (clerk, other) = (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
        let for_clerk = testkit::fixture::credentials(&clerk.id, "notices.read");
        let task = domain.token(by_wit(&other, for_clerk, domain.now())).await;
        let ask = async |actor: Option<&str>| {
            let TokenRequest::TokenExchange(mut request) = exchange(&task, NOTICES, "") else {
                unreachable!()
            };
            request.actor = actor.map(|token| TypedToken {
                token: TokenText::parse(token).unwrap(),
                token_type: TokenType::AccessToken,
            });
            let call = by_wit(&clerk, TokenRequest::TokenExchange(request), domain.now());
            domain.read(&domain.token(call).await).unwrap()
        };
        let as_other = ask(None).await;
        assert_eq!((as_other.subject(), as_other.act()), (other.id.as_str(), None));
        let record = domain.server.journal().last().unwrap();
        assert!(record.rules.contains(&"impersonation:mail-room".to_owned()), "{record:?}");
        // With an actor token it is delegation, and says so.
        let own = testkit::fixture::credentials(&clerk.id, "");
        let own = domain.token(by_wit(&clerk, own, domain.now())).await;
        let delegated = ask(Some(&own)).await;
        assert_eq!(delegated.act().unwrap().current().sub.as_str(), clerk.id);
    });
}

/// What the attestation of an agent came to is told to the resource that asks for it.
/// req: AUTHZ-05 (part)
#[test]
fn s10_2_a_token_says_how_its_agent_was_attested_where_policy_asks() {
    story(|sim| async move {
        let file = VAULT_FILE.replace("introspect", "attestation = true\n    introspect");
        let domain = Domain::start_with(&sim, files_but(&[("resources/vault.toml", &file)])).await;
        for name in ["clerk", "vault"] {
            domain.register(registration(name, &[])).await;
        }
        let clerk = domain.party("/opt/clerk").await;
        let vault = domain.party("/opt/vault").await;
        let ask = async |resource: &str| {
            let request = testkit::fixture::credentials(resource, "");
            domain.token(by_wit(&clerk, request, domain.now())).await
        };
        let opaque = ask(VAULT).await;
        let rows = domain.server.world().store().every::<env::rows::OpaqueToken>();
        let said = rows.first().unwrap().claims.aims_attestation.clone().unwrap();
        assert_eq!(said["method"], "join_token");
        assert!(said["parts"].is_object() && said["until"].is_number(), "{said:?}");
        let claims = domain.read(&ask(NOTICES).await).unwrap();
        assert_eq!(claims.access_claims().unwrap().aims_attestation, None);
        let asker = asker(by_wit(&vault, code_request("aims_ac_x"), domain.now()));
        let told = introspected(&domain, asker, &opaque, false).await.unwrap();
        assert!(matches!(told, Answer::Plain(told) if told.active));
    });
}

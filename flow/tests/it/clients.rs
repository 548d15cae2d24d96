//! Clients that are not agents at the token endpoint: by what they registered, and no other way.

use authentication::attested_client;
use authorization::Profile;
use authorization::profile::{Demand, Unmet};
use flow::clients::Terms;
use flow::token::{Call, ClientRefusal, Refusal};
use jose::{Algorithm, PrivateKey, SigningInput};
use monitoring::Event;
use oauth::attestation_client::ClientAttestation;
use oauth::client_assertion::{AssertionType, ClientAssertion, PresentedClient, SecretWay};
use oauth::client_attestation_pop::ClientAttestationPop;
use oauth::token_request::TokenRequest;
use oauth::{ClientId, TokenText};
use registry::ClientState;
use serde_json::{Value, json};
use testkit::fixture::{
    Domain, DpopKey, ISSUER, by_certificate, by_key, credentials, files, files_but, http_call,
    registration, story,
};
use testkit::{Sim, boxed};

use time::Span;

const TOOLS: &str = "https://gateway.demo.example:8446/invoices";

async fn open(sim: &Sim, policy: &str) -> Domain {
    let domain = files().get("domain.toml").unwrap().to_owned();
    let domain = format!("{domain}\n[registration]\n{policy}");
    let domain = Domain::start_with(sim, files_but(&[("domain.toml", &domain)])).await;
    domain.register(registration("clerk", &["invoices"])).await;
    domain
}

/// Registers a client of client credentials; its id, and its secret if it has one.
async fn client(domain: &Domain, members: Value, profiles: &[Profile]) -> (String, Option<String>) {
    let mut metadata = members;
    metadata["grant_types"] = json!(["client_credentials"]);
    let terms = Terms { profiles: profiles.iter().copied().collect(), ..Terms::default() };
    let (world, operator) = (domain.server.world(), domain.operator());
    let done = flow::clients::register(&*world, &operator, &metadata.to_string(), &terms).await;
    let (client, told) = done.unwrap().into_value().unwrap();
    (client.client_id, told.secret.map(|secret| secret.expose().to_owned()))
}

fn asked() -> TokenRequest {
    credentials(TOOLS, "invoices.read")
}

fn named(call: Call, id: &str) -> Call {
    let mut call = call;
    call.client.client_id = Some(ClientId::parse(id).unwrap());
    call
}

/// By which proof it was taken for a client; else why not.
async fn proof(domain: &Domain, call: Call) -> Result<String, ClientRefusal> {
    match domain.ask(call).await {
        Err(Refusal::Client(refusal)) => Err(refusal),
        _ => Ok(domain.server.journal().last().unwrap().proof.unwrap()),
    }
}

/// req: CRED-10 (part)
#[test]
fn rfc6749_2_3_1_a_secret_counts_as_it_was_registered() {
    story(|sim| async move {
        let domain = open(&sim, "client_secrets_that_can_be_stolen = true").await;
        let party = domain.party("/opt/clerk").await;
        let method = json!({ "token_endpoint_auth_method": "client_secret_post" });
        let (id, secret) = client(&domain, method, &[]).await;
        let secret = secret.unwrap();
        let call = |way, secret: &str| {
            let mut call = named(by_certificate(&party, asked()), &id);
            call.certificates.clear();
            call.client.secret = Some((way, TokenText::parse(secret).unwrap()));
            call
        };
        let (post, basic) = (SecretWay::Post, SecretWay::Basic);
        assert_eq!(proof(&domain, call(post, &secret)).await.unwrap(), "client_secret_post");
        let wrong = proof(&domain, call(post, "aims_cs_wrong")).await.unwrap_err();
        assert_eq!(wrong.check(), "client::Secret");
        let other = proof(&domain, call(basic, &secret)).await.unwrap_err();
        assert_eq!(other.check(), "client::OtherMethod");
        // RFC 6749 §2.3: one method a request.
        let mut both = call(post, &secret);
        let text = |text| TokenText::parse(text).unwrap();
        both.attestation = Some((text("a"), Some(text("b"))));
        assert_eq!(proof(&domain, both).await, Err(ClientRefusal::Several));
        // An agent never has one.
        let agent = named(call(post, &secret), "spiffe://demo.example/agent/clerk");
        assert_eq!(proof(&domain, agent).await, Err(ClientRefusal::Unknown));
    });
}

/// docs/past-defects.md 14.
/// req: AUTHN-01 (part)
#[test]
fn rfc8705_2_2_a_registered_certificate_is_the_client_and_nothing_else_is() {
    story(|sim| async move {
        let domain = open(&sim, "").await;
        domain.register(registration("other", &["invoices"])).await;
        let party = domain.party("/opt/clerk").await;
        let other = domain.party("/opt/other").await;
        let by = by_certificate(&party, asked());
        let leaf = x509::Certificate::parse(by.certificates.first().unwrap()).unwrap();
        let key = jose::PublicKey::from_spki_der(leaf.spki_der()).unwrap();
        let members = json!({
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": { "keys": [key.to_jwk().to_value()] },
        });
        let (id, secret) = client(&domain, members, &[]).await;
        assert!(secret.is_none());
        let taken = proof(&domain, named(by.clone(), &id)).await.unwrap();
        assert_eq!(taken, "self_signed_tls_client_auth");
        let wrong = named(by_certificate(&other, asked()), &id);
        assert_eq!(proof(&domain, wrong).await.unwrap_err().check(), "client::Tls");
        let mut none = named(by, &id);
        none.certificates.clear();
        assert_eq!(proof(&domain, none).await, Err(ClientRefusal::None));
    });
}

/// docs/past-defects.md 8: a disabled client gets nothing, however it proves itself.
#[test]
fn s10_a_disabled_client_gets_nothing_by_any_method() {
    story(|sim| async move {
        let domain = open(&sim, "client_secrets_that_can_be_stolen = true").await;
        let party = domain.party("/opt/clerk").await;
        let method = json!({ "token_endpoint_auth_method": "client_secret_post" });
        let (id, secret) = client(&domain, method, &[]).await;
        let mut call = named(by_certificate(&party, asked()), &id);
        call.certificates.clear();
        let secret = TokenText::parse(&secret.unwrap()).unwrap();
        call.client.secret = Some((SecretWay::Post, secret));
        let (world, operator) = (domain.server.world(), domain.operator());
        let to = ClientState::Disabled;
        let done = flow::clients::set_state(&*world, &operator, &id, to).await.unwrap();
        done.into_value().unwrap();
        let refused = domain.ask(call).await.unwrap_err();
        assert_eq!(refused.check(), "grants::CallerDisabled");
    });
}

#[test]
fn fapi2_5_3_2_a_profile_demands_more_at_the_token_endpoint() {
    story(|sim| async move {
        let domain = open(&sim, "").await;
        let party = domain.party("/opt/clerk").await;
        let by = by_certificate(&party, asked());
        let leaf = x509::Certificate::parse(by.certificates.first().unwrap()).unwrap();
        let key = jose::PublicKey::from_spki_der(leaf.spki_der()).unwrap();
        let members = json!({
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": { "keys": [key.to_jwk().to_value()] },
        });
        let unmet = |refused: &Refusal| match refused {
            Refusal::Profile(Unmet(demand)) => Some(*demand),
            _ => None,
        };
        let (bound, _) = client(&domain, members.clone(), &[Profile::Fapi2]).await;
        let end = domain.ask(named(by.clone(), &bound)).await;
        assert_eq!(end.as_ref().err().and_then(unmet), None);
        let (mcp, _) = client(&domain, members, &[Profile::Mcp]).await;
        let mut nowhere = named(by, &mcp);
        if let TokenRequest::ClientCredentials(request) = &mut nowhere.request {
            request.resources.clear();
        }
        let refused = domain.ask(nowhere).await.unwrap_err();
        assert_eq!(unmet(&refused), Some(Demand::NamesResource), "{refused}");
        // A secret proves no key, and without a key nothing is bound.
        let (operator, text) = (domain.operator(), r#"{"token_endpoint_auth_method":"none"}"#);
        let terms = Terms { profiles: [Profile::Fapi2].into(), ..Terms::default() };
        let world = domain.server.world();
        let text = text.replacen('{', r#"{"redirect_uris":["https://a.example/"],"#, 1);
        let done = flow::clients::register(&*world, &operator, &text, &terms).await.unwrap();
        assert_eq!(done.into_value().unwrap_err().check(), "profile::ProvesAKey");
    });
}

/// A resource that has a profile holds every client to it, at the token endpoint too; what is not
/// it is as before.
///
/// req: AUTHZ-10 (part)
#[test]
fn fapi2_5_3_2_a_resource_demands_more_at_the_token_endpoint() {
    story(|sim| async move {
        let domain = files().get("domain.toml").unwrap().to_owned();
        let domain = format!("{domain}\n[registration]\nclient_secrets_that_can_be_stolen = true");
        let files = |profile: &str| {
            let all = files();
            let of = |name: &str| {
                let text = all.get(name).unwrap().replace("proof = \"mtls\"", "");
                let (top, scopes) = text.split_once("[scopes]").unwrap();
                format!("{top}\nproof = \"mtls\"\nprofiles = [\"{profile}\"]\n[scopes]{scopes}")
            };
            let reports = of("resources/reports.toml");
            files_but(&[("domain.toml", &domain), ("resources/reports.toml", &reports)])
        };
        let domain = Domain::start_with(&sim, files("fapi2")).await;
        domain.register(registration("clerk", &["invoices"])).await;
        let party = domain.party("/opt/clerk").await;
        let reports = || credentials("https://gateway.demo.example:8446/reports", "reports.read");
        let unmet = |refused: Result<_, Refusal>| match refused {
            Err(Refusal::Profile(Unmet(demand))) => Some(demand),
            _ => None,
        };
        let by = by_certificate(&party, reports());
        let leaf = x509::Certificate::parse(by.certificates.first().unwrap()).unwrap();
        let key = jose::PublicKey::from_spki_der(leaf.spki_der()).unwrap();
        let members = json!({
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": { "keys": [key.to_jwk().to_value()] },
        });
        let (bound, _) = client(&domain, members, &[]).await;
        domain.ask(named(by, &bound)).await.unwrap();
        let secret = json!({ "token_endpoint_auth_method": "client_secret_basic" });
        let (bearer, text) = client(&domain, secret, &[]).await;
        let of_secret = |request| {
            let mut call = named(by_certificate(&party, request), &bearer);
            call.certificates.clear();
            let secret = TokenText::parse(text.as_deref().unwrap()).unwrap();
            call.client.secret = Some((SecretWay::Basic, secret));
            call
        };
        assert_eq!(unmet(domain.ask(of_secret(reports())).await), Some(Demand::ProvesAKey));
        // An agent is held to it as well: its certificate binds, its WIT does not.
        domain.ask(by_certificate(&party, reports())).await.unwrap();
        let by_wit = testkit::fixture::by_wit(&party, reports(), domain.now());
        assert_eq!(unmet(domain.ask(by_wit).await), Some(Demand::BoundTokens));
        let told = flow::publish::protected_resource(&*domain.server.world(), "reports").await;
        assert_eq!(told.unwrap().unwrap().aims_profiles, ["fapi2"]);
        // The other resource has no profile.
        let end = domain.ask(of_secret(credentials(NOTICES, "notices.read"))).await;
        assert!(end.is_ok(), "{end:?}");
    });
}

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const ATTESTER: &str = "https://attester.example";

/// An attester that policy trusts, and a client whose instances it vouches for by this method.
struct Store {
    domain: Domain,
    attester: PrivateKey,
    instance: DpopKey,
    client: String,
}

fn sign<K: jose::Kind>(key: &PrivateKey, claims: Value) -> TokenText {
    let claims: K::Claims = serde_json::from_value(claims).unwrap();
    let input = SigningInput::<K>::new(Algorithm::Es256, None, &claims).unwrap();
    let signature = key.sign(input.bytes());
    TokenText::parse(&input.attach(signature).into_string()).unwrap()
}

impl Store {
    async fn open(sim: &Sim, method: &str, nonces: bool) -> Self {
        let made = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        );
        let attester = PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap();
        let jwk = attester.public().to_jwk().to_value();
        let of = |name: &str| jwk[name].as_str().unwrap().to_owned();
        let policy = format!(
            "[[registration.attester]]\nname = \"store\"\nissuer = \"{ATTESTER}\"\n\
             jwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", x = \"{}\", y = \"{}\" }}] }}\n\
             [bounds]\ndpop_nonces = {nonces}\n",
            of("x"),
            of("y")
        );
        let domain = open(sim, &policy).await;
        let method = json!({ "token_endpoint_auth_method": method });
        let (client, _) = client(&domain, method, &[]).await;
        let instance = DpopKey::new(&domain);
        Self { domain, attester, instance, client }
    }

    /// The word of `signer` about the instance.
    fn attestation(&self, signer: &PrivateKey) -> TokenText {
        let until = self.domain.now().seconds() + 600;
        let cnf = json!({ "jwk": self.instance.key().public().to_jwk().to_value() });
        let claims = json!({ "iss": ATTESTER, "sub": self.client, "exp": until, "cnf": cnf });
        sign::<ClientAttestation>(signer, claims)
    }

    fn pop(&self, jti: &str, challenge: Option<&str>) -> TokenText {
        let now = self.domain.now().seconds();
        let mut claims = json!({ "aud": ISSUER, "jti": jti, "iat": now });
        if let Some(challenge) = challenge {
            claims["challenge"] = challenge.into();
        }
        sign::<ClientAttestationPop>(self.instance.key(), claims)
    }

    fn dpop(&self, by: &DpopKey, path: &str, nonce: Option<&str>) -> Vec<u8> {
        let uri = format!("{ISSUER}{path}");
        by.proof(("POST", &uri), None, nonce, self.domain.now())
    }

    fn call(&self, attestation: TokenText, pop: Option<TokenText>, dpop: Vec<Vec<u8>>) -> Call {
        let party = PresentedClient {
            client_id: Some(ClientId::parse(&self.client).unwrap()),
            assertion: None,
            secret: None,
        };
        let (source, certificates) = ("192.0.2.7".to_owned(), Vec::new());
        let attestation = Some((attestation, pop));
        Call { request: asked(), client: party, attestation, dpop, certificates, source }
    }

    /// By which proof it was taken for the client; else the check that refused.
    async fn taken(&self, call: Call) -> Result<String, String> {
        proof(&self.domain, call).await.map_err(|refusal| refusal.check().to_owned())
    }
}

/// req: AUTHN-01 (part)
#[test]
fn attestation_5_2_a_proof_of_dpop_is_the_proof_of_the_instance() {
    story(|sim| async move {
        let store = Store::open(&sim, "attest_jwt_client_auth_dpop", false).await;
        let word = || store.attestation(&store.attester);
        let proof = || store.dpop(&store.instance, "/token", None);
        let by = "attest_jwt_client_auth_dpop".to_owned();
        let once = proof();
        assert_eq!(store.taken(store.call(word(), None, vec![once.clone()])).await, Ok(by));
        // It is a proof of DPoP all the same: it serves once, for this endpoint, by this key.
        let again = store.domain.ask(store.call(word(), None, vec![once])).await.unwrap_err();
        assert_eq!(again.check(), "token::Replayed");
        let elsewhere = store.dpop(&store.instance, "/par", None);
        let other = store.dpop(&DpopKey::new(&store.domain), "/token", None);
        let forged = store.attestation(store.instance.key());
        let refused = |check: &str| Err(check.to_owned());
        for (call, check) in [
            (store.call(word(), None, vec![elsewhere]), "client::Dpop"),
            (store.call(word(), None, vec![proof(), proof()]), "client::Dpop"),
            (store.call(word(), None, vec![other]), "client::Attested"),
            (store.call(word(), None, Vec::new()), "client::Attested"),
            (store.call(forged, None, vec![proof()]), "client::Attested"),
            (store.call(word(), Some(store.pop("p1", None)), Vec::new()), "client::OtherMethod"),
        ] {
            assert_eq!(store.taken(call).await, refused(check));
        }
        // Who registered the other way proves itself that way.
        let store = Store::open(&sim, "attest_jwt_client_auth", false).await;
        let word = || store.attestation(&store.attester);
        let by_pop = store.call(word(), Some(store.pop("p1", None)), Vec::new());
        assert_eq!(store.taken(by_pop).await, Ok("attest_jwt_client_auth".to_owned()));
        let combined = store.call(word(), None, vec![store.dpop(&store.instance, "/token", None)]);
        assert_eq!(store.taken(combined).await, refused("client::OtherMethod"));
    });
}

/// Where policy wants proofs that repeat something of ours.
#[test]
fn attestation_6_1_both_proofs_repeat_a_challenge_that_is_young() {
    story(|sim| async move {
        let store = Store::open(&sim, "attest_jwt_client_auth", true).await;
        let world = store.domain.server.world();
        let given = || async { flow::token::challenge(&*world).await.unwrap().unwrap() };
        let by_pop = |jti: &str, challenge: Option<&str>| {
            let pop = store.pop(jti, challenge);
            store.call(store.attestation(&store.attester), Some(pop), Vec::new())
        };
        let asks = |refusal: &ClientRefusal| match refusal {
            ClientRefusal::Attested(attested_client::Refusal::Pop(pop)) => pop.asks_for_challenge(),
            _ => false,
        };
        let first = given().await.attestation_challenge;
        assert!(proof(&store.domain, by_pop("p1", Some(&first))).await.is_ok());
        for challenge in [None, Some("AAAA")] {
            let refused = proof(&store.domain, by_pop("p2", challenge)).await.unwrap_err();
            assert!(asks(&refused), "{refused}");
        }
        store.domain.server.clock().forth(Span::from_seconds(121));
        let refused = proof(&store.domain, by_pop("p3", Some(&first))).await.unwrap_err();
        assert!(asks(&refused), "{refused}");
        let store = Store::open(&sim, "attest_jwt_client_auth_dpop", true).await;
        let word = || store.attestation(&store.attester);
        let world = store.domain.server.world();
        let without = store.call(word(), None, vec![store.dpop(&store.instance, "/token", None)]);
        let refused = proof(&store.domain, without).await.unwrap_err();
        assert!(matches!(&refused, ClientRefusal::Dpop(why) if why.asks_for_nonce()), "{refused}");
        let given = flow::token::challenge(&*world).await.unwrap().unwrap().attestation_challenge;
        let dpop = store.dpop(&store.instance, "/token", Some(&given));
        assert!(proof(&store.domain, store.call(word(), None, vec![dpop])).await.is_ok());
        // Where policy wants none there is none to be had.
        let store = Store::open(&sim, "attest_jwt_client_auth", false).await;
        let world = store.domain.server.world();
        assert_eq!(flow::token::challenge(&*world).await.unwrap(), None);
    });
}

/// docs/past-defects.md 17: of many uses of one assertion at once one counts, and what it says of
/// whom it is for is compared.
///
/// req: CRED-10 (part)
#[test]
fn past_defect_17_one_use_of_an_assertion_counts_and_for_this_server_alone() {
    story(|sim| async move {
        let domain = open(&sim, "").await;
        let key = DpopKey::new(&domain);
        let members = json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [key.key().public().to_jwk().to_value()] },
        });
        let (id, _) = client(&domain, members, &[]).await;
        let now = domain.now();
        let calls = (0..100).map(|_| boxed(domain.ask(by_key(&id, key.key(), "j1", asked(), now))));
        let ends = sim.all(calls.collect()).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|end| !matches!(end, Err(Refusal::Replayed)));
        assert_eq!((won.len(), lost.len()), (1, 99));
        let seconds = now.seconds();
        for (at, aud) in [
            json!("https://other.example"),
            json!(format!("{ISSUER}/")),
            json!(format!("{ISSUER}/token")),
            json!([ISSUER, "https://other.example"]),
        ]
        .into_iter()
        .enumerate()
        {
            let claims = json!({
                "iss": id, "sub": id, "aud": aud, "exp": seconds + 60, "jti": format!("a{at}"),
            });
            let assertion = sign::<ClientAssertion>(key.key(), claims);
            let mut call = by_key(&id, key.key(), "j2", asked(), now);
            call.client.assertion = Some((AssertionType::Jwt, assertion));
            let refused = proof(&domain, call).await.unwrap_err();
            assert_eq!(refused.check(), "client::PrivateKeyJwt", "{aud}: {refused}");
        }
    });
}

/// docs/past-defects.md 14: a certificate that ended, or that vouches for another name or key,
/// is nobody's.
#[test]
fn past_defect_14_a_certificate_counts_within_its_dates() {
    story(|sim| async move {
        let domain = open(&sim, "").await;
        let party = domain.party("/opt/clerk").await;
        let by = by_certificate(&party, asked());
        let leaf = x509::Certificate::parse(by.certificates.first().unwrap()).unwrap();
        let key = jose::PublicKey::from_spki_der(leaf.spki_der()).unwrap();
        let members = json!({
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": { "keys": [key.to_jwk().to_value()] },
        });
        let (id, _) = client(&domain, members, &[]).await;
        assert!(proof(&domain, named(by.clone(), &id)).await.is_ok());
        domain.server.clock().forth(Span::from_seconds(2 * 86_400));
        let refused = proof(&domain, named(by, &id)).await.unwrap_err();
        assert_eq!(refused.check(), "client::Tls", "{refused}");
    });
}

/// RFC 8705 §3: what binds the token is the hash of the certificate; a client that is no workload
/// has one that chains to nothing of ours.
/// req: AUTHZ-10 (part)
#[test]
fn rfc8705_3_a_certificate_of_a_client_serves_at_a_resource() {
    const REPORTS: &str = "https://gateway.demo.example:8446/reports";
    story(|sim| async move {
        let domain = open(&sim, "").await;
        let party = domain.party("/opt/clerk").await;
        let world = domain.server.world();
        let certificate = async || {
            let shown = flow::web::identity(&*world, &["client.example".to_owned()], &[]).await;
            shown.unwrap().identity.chain[0].as_bytes().to_vec()
        };
        let (own, other) = (certificate().await, certificate().await);
        let leaf = x509::Certificate::parse(&own).unwrap();
        let key = jose::PublicKey::from_spki_der(leaf.spki_der()).unwrap();
        let members = json!({
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": { "keys": [key.to_jwk().to_value()] },
        });
        let (id, _) = client(&domain, members, &[]).await;
        let asks = by_certificate(&party, credentials(REPORTS, "reports.read"));
        let token =
            domain.token(Call { certificates: vec![own.clone()], ..named(asks, &id) }).await;
        domain.sync().await;
        let call = async |chain: &[&Vec<u8>]| {
            let certificates = chain.iter().map(|der| (*der).clone()).collect();
            let call = gateway::Call { certificates, ..http_call("GET", "/reports/1", &token) };
            domain.refusal_of(call).await.map(|refusal| refusal.check())
        };
        assert_eq!(call(&[&own]).await, None);
        let decided = domain.gateway.journal().of(Event::CallDecided).pop().unwrap();
        assert_eq!(
            (decided.proof.as_deref(), decided.agent.as_deref()),
            (Some("mtls"), Some(&*id))
        );
        assert_eq!(call(&[]).await, Some("gateway::Proof"));
        assert_eq!(call(&[&other]).await, Some("gateway::Proof"));
        assert_eq!(call(&[party.chain.first().unwrap()]).await, Some("gateway::Proof"));
    });
}

//! Clients that are not agents at the token endpoint: by what they registered, and no other way.

use flow::clients::Terms;
use flow::token::{Call, ClientRefusal, Refusal};
use oauth::client_assertion::SecretWay;
use oauth::token_request::TokenRequest;
use oauth::{ClientId, TokenText};
use registry::profile::{Demand, Unmet};
use registry::{ClientState, Profile};
use serde_json::{Value, json};
use testkit::Sim;
use testkit::fixture::{
    Domain, by_certificate, credentials, files, files_but, registration, story,
};

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
        both.attestation = Some((TokenText::parse("a").unwrap(), TokenText::parse("b").unwrap()));
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

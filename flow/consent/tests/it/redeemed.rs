//! Registered clients from the authorization endpoint to the token endpoint: what a user allowed
//! becomes tokens of the client that asked, and of no other.

use std::sync::Arc;

use consent::{Begun, PageFault};
use env::{Published, World};
use flow::clients::{Terms, endpoint, register};
use flow::token::{Call, Refusal};
use jose::{Algorithm, KeyId, PrivateKey, SigningInput};
use oauth::pkce::CodeVerifier;
use oauth::request_object::{RequestObject, RequestObjectClaims};
use oauth::token_request::{Asked, AuthorizationCode, TokenRequest};
use oauth::token_response::{TokenResponse, TokenUse};
use oauth::{ClientId, TokenText};
use policy::Files;
use registry::{ClientRecord, ClientState};
use serde_json::{Value, json};
use testkit::fixture::{
    DpopKey, GATEWAY, ISSUER, VERIFIER, by_key, files, files_but, refresh_request, story, with_dpop,
};
use testkit::web::Web;

use crate::house::{BACK, CHALLENGE, CLIENT, House, browser, part, query};
use crate::pushes::key;

const LEDGER: &str = r#"
    name = "ledger"
    upstream = "http://127.0.0.1:9004"
    protocol = "http"
    proof = "dpop"
    [scopes]
    "ledger.read" = "read the ledger"
    [[action]]
    method = "GET"
    path = "/*"
    scope = "ledger.read"
    read_only = true
"#;
const TOKEN: (&str, &str) = ("POST", "https://aims.demo.example:8443/token");
const KEYS: &str = "https://books.example/keys";

fn with_ledger() -> Files {
    let domain = files().get("domain.toml").unwrap().to_owned();
    let domain = format!("{domain}\n[registration]\ndynamic = \"open\"");
    files_but(&[("resources/ledger.toml", LEDGER), ("domain.toml", &domain)])
}

/// The request of `client` for this resource.
fn wants(client: &str, resource: &str, scope: &str) -> String {
    query(&format!("&resource={GATEWAY}/{resource}&scope={scope}")).replace(CLIENT, client)
}

/// What `ada` allowed: the code.
async fn allowed(house: &House, query: &str) -> String {
    let cookie = house.sign_in(&browser("a", None), "ada").await;
    let location = house.allow(&browser("a", Some(&cookie)), query).await;
    part(&location, "code").unwrap().to_owned()
}

fn redeems(code: &str) -> TokenRequest {
    TokenRequest::AuthorizationCode(Box::new(AuthorizationCode {
        code: TokenText::parse(code).unwrap(),
        redirect_uri: Some(BACK.to_owned()),
        code_verifier: Some(CodeVerifier::parse(VERIFIER).unwrap()),
        asked: Asked::default(),
    }))
}

/// A request of a client that proves nothing but its name.
fn public(house: &House, client: &str, request: TokenRequest) -> Call {
    let mut call = by_key(client, &key(), "none", request, house.domain.now());
    call.client.assertion = None;
    call.client.client_id = Some(ClientId::parse(client).unwrap());
    call
}

fn payload(response: &TokenResponse) -> Value {
    use base64::Engine as _;
    let middle = response.access_token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(middle).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A stranger's app, from its registration to a second token.
///
/// req: AUTHZ-06 (part), AUTHZ-22 (part)
#[test]
fn s10_3_1_an_app_that_registered_itself_gets_tokens_bound_to_its_key() {
    story(|sim| async move {
        let house = House::with(&sim, with_ledger()).await;
        let metadata = json!({
            "client_name": "App", "redirect_uris": [BACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let request = endpoint::Request::new(metadata.to_string(), None, "192.0.2.1".to_owned());
        let end =
            endpoint::register(&*house.world(), &endpoint::throttle(), &request).await.unwrap();
        let told = endpoint::decided(end).unwrap().into_value().unwrap();
        let id = told.registered.client_id.to_string();
        let dpop = DpopKey::new(&house.domain);
        let query = wants(&id, "ledger", "ledger.read+offline_access");
        let query = format!("{query}&prompt=consent&dpop_jkt={}", dpop.thumbprint());
        let code = allowed(&house, &query).await;
        let proof = |key: &DpopKey| key.proof(TOKEN, None, None, house.domain.now());
        // RFC 9449 §10: the code is for the key that was named with the request.
        let other = DpopKey::new(&house.domain);
        let call = with_dpop(public(&house, &id, redeems(&code)), proof(&other));
        assert!(matches!(house.domain.ask(call).await, Err(Refusal::Grant(_))));
        // That was no use of the code: who has the key still gets what was allowed.
        let call = with_dpop(public(&house, &id, redeems(&code)), proof(&dpop));
        let until = || house.world().store().single::<ClientRecord>(&id).unwrap().until.unwrap();
        assert_eq!(until(), house.domain.now().plus(endpoint::UNUSED_LIFE));
        let first = house.domain.ask(call).await.unwrap();
        // Its first token lets it stay as long as policy says.
        assert_eq!(until(), house.domain.now().plus(time::Span::from_seconds(90 * 86_400)));
        assert_eq!(first.token_type, TokenUse::Dpop);
        let claims = payload(&first);
        assert_eq!(claims["sub"], "user:ada");
        assert_eq!(claims["client_id"], id.as_str());
        assert_eq!(claims["aud"], format!("{GATEWAY}/ledger"));
        assert_eq!(claims["cnf"]["jkt"], dpop.thumbprint());
        // RFC 9449 §5: so is the refresh token of a public client.
        let refresh = first.refresh_token.unwrap();
        let again = || refresh_request(&refresh, &format!("{GATEWAY}/ledger"), "");
        let call = with_dpop(public(&house, &id, again()), proof(&other));
        assert!(house.domain.ask(call).await.is_err());
        let call = public(&house, &id, again());
        assert!(house.domain.ask(call).await.is_err());
        let call = with_dpop(public(&house, &id, again()), proof(&dpop));
        house.domain.ask(call).await.unwrap();
        // docs/past-defects.md 8: an operator ends it, for codes and refresh tokens alike.
        let operator = house.domain.operator();
        let state = ClientState::Disabled;
        let done = flow::clients::set_state(&*house.world(), &operator, &id, state).await.unwrap();
        done.into_value().unwrap();
        let call = with_dpop(public(&house, &id, again()), proof(&dpop));
        assert!(house.domain.ask(call).await.is_err());
        let begun = house.begin(&browser("b", None), &query).await;
        assert!(matches!(begun, Begun::Page(PageFault::Client(_))), "{begun:?}");
    });
}

/// The keys at a URL, each with its id.
fn published(keys: &[(&str, &PrivateKey)]) -> Value {
    let named = keys.iter().map(|(kid, key)| {
        let kid = KeyId::parse(kid).unwrap();
        key.public().to_jwk().with_kid(kid).to_value()
    });
    json!({ "keys": named.collect::<Vec<_>>() })
}

/// A request object of this client for notices, signed by the key of that id.
fn object(client: &str, kid: &str, key: &PrivateKey) -> String {
    let claims = json!({
        "client_id": client, "iss": client, "aud": ISSUER, "response_type": "code",
        "redirect_uri": BACK, "state": "signed", "code_challenge": CHALLENGE,
        "code_challenge_method": "S256", "scope": "notices.read",
        "resource": format!("{GATEWAY}/notices"),
    });
    let claims: RequestObjectClaims = serde_json::from_value(claims).unwrap();
    let kid = KeyId::parse(kid).unwrap();
    let input = SigningInput::<RequestObject>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

/// A client of an operator that publishes its keys: the request that it signs, the code, the token;
/// and no other client has anything of it.
///
/// req: AUTHZ-06 (part), CRED-10 (part)
#[test]
fn s10_3_1_a_client_with_published_keys_gets_what_was_allowed_and_nobody_else_does() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let web = Arc::new(Web::default());
        house.world().publish(Arc::clone(&web) as Arc<dyn Published>);
        let first = key();
        web.put(KEYS, &published(&[("one", &first)]), Some(3_600));
        let metadata = json!({
            "client_name": "Books", "redirect_uris": [BACK], "jwks_uri": KEYS,
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let new = async || {
            let (operator, text) = (house.domain.operator(), metadata.to_string());
            let terms = Terms::default();
            let done = register(&*house.world(), &operator, &text, &terms).await.unwrap();
            done.into_value().unwrap().0.client_id
        };
        let (id, other) = (new().await, new().await);
        let signed = format!("client_id={id}&request={}", object(&id, "one", &first));
        // A request that is not signed makes nobody read keys.
        house.begun(&browser("a", None), &wants(&id, "notices", "notices.read")).await;
        assert_eq!(web.asked(), 0);
        let code = allowed(&house, &signed).await;
        assert_eq!(web.asked(), 1);
        let now = house.domain.now();
        let stolen = by_key(&other, &first, "j0", redeems(&code), now);
        assert!(matches!(house.domain.ask(stolen).await, Err(Refusal::Grant(_))));
        // It was no use of the code.
        let call = by_key(&id, &first, "j1", redeems(&code), house.domain.now());
        let response = house.domain.ask(call).await.unwrap();
        let claims = payload(&response);
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("user:ada"), &json!(id)));
        assert_eq!(claims["aud"], format!("{GATEWAY}/notices"));
        let refresh = response.refresh_token.unwrap();
        let again = refresh_request(&refresh, &format!("{GATEWAY}/notices"), "");
        let call = by_key(&id, &first, "j2", again, house.domain.now());
        house.domain.ask(call).await.unwrap();
        // A new key at the same URL, for requests too: read again for a key that is not known, once
        // a minute at most.
        let second = key();
        web.put(KEYS, &published(&[("one", &first), ("two", &second)]), Some(3_600));
        let query = format!("client_id={id}&request={}", object(&id, "two", &second));
        let begun = house.begin(&browser("a", None), &query).await;
        assert!(matches!(begun, Begun::Page(PageFault::Object(_))), "{begun:?}");
        house.forth(61);
        house.begun(&browser("a", None), &query).await;
        assert_eq!(web.asked(), 2);
        // Who signs by a key that is not there is not the client.
        let query = format!("client_id={id}&request={}", object(&id, "two", &first));
        let begun = house.begin(&browser("a", None), &query).await;
        assert!(matches!(begun, Begun::Page(PageFault::Object(_))), "{begun:?}");
        let all = house.world().store().every::<ClientRecord>();
        assert_eq!(all.iter().filter(|one| one.metadata.jwks_uri() == Some(KEYS)).count(), 2);
    });
}

/// The ID token of `user` for the client of these rows.
async fn id_token(house: &House, client: &str, user: &str) -> String {
    let cookie = house.sign_in(&browser(user, None), user).await;
    let query = query("&scope=openid").replace(CLIENT, client);
    let here = browser(user, Some(&cookie));
    let location = house.allow(&here, &format!("{query}&prompt=consent")).await;
    let call = public(house, client, redeems(part(&location, "code").unwrap()));
    house.domain.ask(call).await.unwrap().id_token.unwrap()
}

/// Core 1.0 §3.1.2.1: "otherwise, it MUST return an error, such as login_required"; §3.1.2.2 says
/// the same of a `sub` that `claims` ask for.
#[test]
fn oidc_3_1_2_1_nobody_is_answered_for_who_was_not_meant() {
    story(|sim| async move {
        let domain = files().get("domain.toml").unwrap().to_owned();
        let domain = format!("{domain}\n[openid]\npairwise = [\"client-pair\"]");
        let house = House::with(&sim, files_but(&[("domain.toml", &domain)])).await;
        house.add("bob").await;
        for id in [CLIENT, "client-pair", "client-other"] {
            house.client(|client| {
                let metadata = json!({
                    "client_name": "Books", "redirect_uris": [BACK],
                    "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
                });
                let metadata = registry::Metadata::new(metadata.as_object().unwrap()).unwrap();
                *client = client.with_metadata(metadata);
                client.client_id = id.to_owned();
            });
        }
        let (ada, bob) =
            (id_token(&house, CLIENT, "ada").await, id_token(&house, CLIENT, "bob").await);
        let own = id_token(&house, "client-pair", "ada").await;
        let bobs = id_token(&house, "client-pair", "bob").await;
        let pairwise = |token: &str| {
            use base64::Engine as _;
            let middle = token.split('.').nth(1).unwrap();
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(middle).unwrap();
            let claims: Value = serde_json::from_slice(&bytes).unwrap();
            claims["sub"].as_str().unwrap().to_owned()
        };
        assert!(pairwise(&own).starts_with("pairwise-"));
        let cookie = house.sign_in(&browser("x", None), "ada").await;
        let here = browser("x", Some(&cookie));
        house.forth(1);
        // Whoever is meant would be asked (`consent_required`), nobody else is answered for.
        let error = async |client: &str, more: &str| {
            let query = query(&format!("&scope=openid&prompt=none&{more}"));
            let (location, _) =
                crate::house::told(house.begin(&here, &query.replace(CLIENT, client)).await);
            part(&location, "error").unwrap().to_owned()
        };
        let hint = |token: &str| format!("id_token_hint={token}");
        let claims = |sub: &str| {
            let text = json!({ "id_token": { "sub": { "value": sub } } }).to_string();
            let text: String = form_urlencoded(&text);
            format!("claims={text}")
        };
        let (rest, last) = ada.split_at(ada.len() - 20);
        let other = if last.starts_with('A') { "B" } else { "A" };
        let tampered = format!("{rest}{other}{}", &last[1..]);
        for (client, more, expect) in [
            (CLIENT, hint(&ada), "consent_required"),
            (CLIENT, hint(&bob), "login_required"),
            (CLIENT, hint("a.b.c"), "login_required"),
            (CLIENT, hint(&tampered), "login_required"),
            ("client-pair", hint(&own), "consent_required"),
            ("client-pair", hint(&bobs), "login_required"),
            // What another client knows her by says nothing here.
            ("client-other", hint(&own), "login_required"),
            (CLIENT, claims("user:ada"), "consent_required"),
            (CLIENT, claims("user:bob"), "login_required"),
            ("client-pair", claims(&pairwise(&own)), "consent_required"),
            ("client-pair", claims(&pairwise(&bobs)), "login_required"),
            // A hint that is only one: whoever is signed in as somebody else signs in anew.
            (CLIENT, "login_hint=ada".to_owned(), "consent_required"),
            (CLIENT, "login_hint=bob".to_owned(), "login_required"),
            (CLIENT, "login_hint=somebody%40example.org".to_owned(), "consent_required"),
        ] {
            assert_eq!(error(client, &more).await, expect, "{client} {more}");
        }
        // And who did sign in anew is who it is.
        let asked = house.begun(&here, &query("&scope=openid&login_hint=bob")).await;
        let shown = house.show(&here, &asked).await;
        assert!(
            matches!(shown, consent::Shown::SignIn { hint: Some(_), why: Some(_) }),
            "{shown:?}"
        );
        house.forth(1);
        let cookie = house.sign_in(&here, "ada").await;
        let shown = house.show(&browser("x", Some(&cookie)), &asked).await;
        assert!(matches!(shown, consent::Shown::Ask(..)), "{shown:?}");
    });
}

fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Defect: each code that was none, of whoever said the name of a public client, was a record.
#[test]
fn s2_a_code_that_is_none_is_counted_not_recorded() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.client(|client| {
            let metadata = json!({
                "client_name": "Books", "redirect_uris": [BACK],
                "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"],
            });
            let metadata = registry::Metadata::new(metadata.as_object().unwrap()).unwrap();
            *client = client.with_metadata(metadata);
        });
        let code = allowed(&house, &wants(CLIENT, "invoices", "invoices.read")).await;
        let records = house.domain.server.journal().len();
        for request in [
            redeems(&format!("{}x", &code[..code.len() - 1])),
            refresh_request("aims_rt_none", &format!("{GATEWAY}/invoices"), ""),
            testkit::fixture::credentials("https://a.example", "x"),
        ] {
            let call = public(&house, CLIENT, request);
            let end = flow::token::answer(&*house.world(), call).await.unwrap();
            assert!(matches!(end, flow::token::End::Unproved(_)), "{end:?}");
        }
        assert_eq!(house.domain.server.journal().len(), records);
        // Who brings what is ours is recorded, whatever comes of it.
        let mut wrong = redeems(&code);
        if let TokenRequest::AuthorizationCode(one) = &mut wrong {
            one.redirect_uri = None;
        }
        let end =
            flow::token::answer(&*house.world(), public(&house, CLIENT, wrong)).await.unwrap();
        let flow::token::End::Decided(recorded) = end else { panic!("{end:?}") };
        assert!(recorded.into_value().is_err());
        assert_eq!(house.domain.server.journal().len(), records + 1);
    });
}

//! What may be asked, and who is told why not.

use authorization::client::Redirects;
use consent::{Begun, PageFault, Shown, Unfit};
use monitoring::Event;
use oauth::redirect_uri::RedirectUri;
use registry::ClientState;
use testkit::fixture::{GATEWAY, ISSUER, files_but, story};

use crate::house::{BACK, CHALLENGE, CLIENT, House, browser, invoices, part, query, told};

fn page(begun: Begun) -> PageFault {
    match begun {
        Begun::Page(fault) => fault,
        other => panic!("{other:?}"),
    }
}

/// RFC 6749 §4.1.2.1: "MUST NOT automatically redirect the user-agent to the invalid redirection
/// URI" (docs/past-defects.md 10).
///
/// req: AUTHZ-06 (part)
#[test]
fn rfc6749_4_1_2_1_until_the_redirect_is_known_the_user_alone_is_told() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let here = browser("a", None);
        for (query, check, says) in [
            ("", "authorize::Parameter", "`client_id` is absent"),
            ("client_id=nobody&x=1", "authorize::Client", "no client `nobody`"),
            ("client_id=a&client_id=b", "authorize::Form", "`client_id` stands more than once"),
            (&query("&redirect_uri=https://evil.example"), "authorize::Form", "more than once"),
            (
                &query("").replace(BACK, "https://evil.example/back"),
                "authorize::Redirect",
                "none that the client registered",
            ),
            (
                &query("").replace(BACK, &format!("{BACK}/..;/evil")),
                "authorize::Redirect",
                "none that the client registered",
            ),
            (
                &query("&request_uri=https://evil.example/request"),
                "authorize::Parameter",
                "`request_uri` has the value `https://evil.example/request`",
            ),
            (
                &query("&request_uri=urn:ietf:params:oauth:request_uri:none"),
                "authorize::Pushed",
                "no request was pushed",
            ),
            (&query("&request=a.b.c"), "authorize::Object", "registered no keys"),
        ] {
            let fault = page(house.begin(&here, query).await);
            assert_eq!(fault.check(), check, "{query}: {fault}");
            assert!(fault.to_string().contains(says), "{query}: {fault}");
        }
    });
}

/// docs/past-defects.md 8.
#[test]
fn a_client_that_is_disabled_sends_nobody_here() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let here = browser("a", None);
        house.client(|client| client.state = ClientState::Disabled);
        let fault = page(house.begin(&here, &invoices("invoices.read")).await);
        assert!(matches!(fault, PageFault::Client(Unfit::Disabled(_))), "{fault}");
        house.client(|client| client.redirects = None);
        let fault = page(house.begin(&here, &invoices("invoices.read")).await);
        assert!(matches!(fault, PageFault::Client(Unfit::NoRedirects)), "{fault}");
        // Disabled while its question is open.
        house.client(|_| {});
        let name = house.begun(&here, &invoices("invoices.read")).await;
        house.client(|client| client.state = ClientState::Disabled);
        let shown = house.show(&here, &name).await;
        assert!(matches!(shown, Shown::Page(PageFault::Client(_))), "{shown:?}");
    });
}

/// Each says which parameter, and by which rule; with `iss` and `state`, always.
///
/// req: AUTHZ-10 (part)
#[test]
fn rfc6749_4_1_2_1_the_client_is_told_by_redirect() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let here = browser("a", None);
        let plain = query("&scope=openid");
        let no_pkce = plain.replace(&format!("&code_challenge={CHALLENGE}"), "");
        for (query, error, check) in [
            // docs/past-defects.md 18: no downgrade, and no plain.
            (no_pkce.as_str(), "invalid_request", "authorize::Request"),
            (
                &no_pkce.replace("&code_challenge_method=S256", ""),
                "invalid_request",
                "authorize::Request",
            ),
            (&plain.replace("S256", "plain"), "invalid_request", "authorize::Request"),
            (
                &plain.replace("type=code", "type=token"),
                "unsupported_response_type",
                "authorize::Request",
            ),
            (
                &plain.replace("type=code", "type=id_token"),
                "unsupported_response_type",
                "authorize::Request",
            ),
            (&query("&scope=nothing"), "invalid_scope", "authorize::Request"),
            (&query("&resource=https://other.example"), "invalid_target", "authorize::Request"),
            (&query("&scope=openid&prompt=none+login"), "invalid_request", "authorize::Request"),
            (
                &query("&scope=openid&acr_values=gold"),
                "unmet_authentication_requirements",
                "authorize::NoSuchAcr",
            ),
            (&query("&scope=openid&prompt=none"), "login_required", "authorize::LoginRequired"),
            (
                &query("&authorization_details=[]"),
                "invalid_authorization_details",
                "authorize::Request",
            ),
        ] {
            let (location, counted) = told(house.begin(&here, query).await);
            assert!(location.starts_with(&format!("{BACK}?")), "{location}");
            assert_eq!(part(&location, "error"), Some(error), "{query}");
            assert_eq!(part(&location, "state"), Some("s1"), "{query}");
            let iss = ISSUER.replace(':', "%3A").replace('/', "%2F");
            assert_eq!(part(&location, "iss"), Some(iss.as_str()), "{query}");
            assert!(part(&location, "error_description").is_some(), "{query}");
            assert_eq!(part(&location, "code"), None);
            assert_eq!(counted, Some(check), "{query}");
        }
        // A stranger filled nothing; somebody who is signed in stands in the record.
        let journal = house.domain.server.journal();
        assert!(journal.of(Event::AuthorizationRequested).is_empty());
        let cookie = house.sign_in(&here, "ada").await;
        let (_, counted) = told(house.begin(&browser("a", Some(&cookie)), &no_pkce).await);
        let records = journal.of(Event::AuthorizationRequested);
        assert_eq!((counted, records.len()), (None, 1));
        let record = records.first().unwrap();
        assert_eq!(record.subject.as_deref(), Some("user:ada"));
        assert_eq!(record.agent.as_deref(), Some(CLIENT));
        assert_eq!(record.why.as_ref().unwrap().check, "authorize::Request");
    });
}

#[test]
fn a_client_without_the_code_grant_gets_no_code() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.client(|client| {
            let grants = vec!["client_credentials"].into();
            client.metadata = client.metadata.with("grant_types", grants).unwrap();
        });
        let (location, _) = told(house.begin(&browser("a", None), &query("&scope=openid")).await);
        assert_eq!(part(&location, "error"), Some("unauthorized_client"));
    });
}

#[test]
fn rfc9126_5_rfc9101_10_5_policy_and_client_may_demand_how_it_comes() {
    story(|sim| async move {
        let demands = |what: &str| {
            let domain = testkit::fixture::files().get("domain.toml").unwrap().to_owned();
            files_but(&[("domain.toml", &format!("{domain}\n[consent]\n{what} = true"))])
        };
        let here = browser("a", None);
        for (what, says) in
            [("require_pushed", "%60request_uri%60"), ("require_signed", "%60request%60")]
        {
            let house = House::with(&sim, demands(what)).await;
            let (location, _) = told(house.begin(&here, &query("&scope=openid")).await);
            assert_eq!(part(&location, "error"), Some("invalid_request"));
            assert!(part(&location, "error_description").unwrap().starts_with(says), "{location}");
        }
        let house = House::open(&sim).await;
        let uris = vec![RedirectUri::parse(BACK).unwrap()];
        for (pushed, signed) in [(true, false), (false, true)] {
            house.client(|client| {
                client.redirects = Some(Redirects {
                    redirect_uris: uris.clone(),
                    require_pushed: pushed,
                    require_signed: signed,
                    native: false,
                });
            });
            let (location, _) = told(house.begin(&here, &query("&scope=openid")).await);
            assert_eq!(part(&location, "error"), Some("invalid_request"));
        }
    });
}

/// OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode §2, JARM §2.3.
#[test]
fn the_answer_leaves_as_it_was_asked() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let here = browser("a", None);
        for (mode, begins, has) in [
            ("query", format!("{BACK}?"), "error=login_required"),
            ("fragment", format!("{BACK}#"), "error=login_required"),
            ("form_post", "<!DOCTYPE html>".to_owned(), "value=\"login_required\""),
        ] {
            let request = query(&format!("&scope=openid&prompt=none&response_mode={mode}"));
            let (answer, _) = told(house.begin(&here, &request).await);
            assert!(answer.starts_with(&begins) && answer.contains(has), "{mode}: {answer}");
        }
        let ring = house.domain.ring(env::Purpose::IdToken);
        let keys: Vec<_> =
            ring.published(house.domain.now()).map(|key| key.public.clone()).collect();
        let keys = jose::KeySet::new(keys).unwrap();
        for (mode, begins) in [
            ("jwt", format!("{BACK}?response=")),
            ("query.jwt", format!("{BACK}?response=")),
            ("fragment.jwt", format!("{BACK}#response=")),
        ] {
            let request = query(&format!("&scope=openid&prompt=none&response_mode={mode}"));
            let (answer, _) = told(house.begin(&here, &request).await);
            let text = answer.strip_prefix(&begins).unwrap_or_else(|| panic!("{mode}: {answer}"));
            let token =
                jose::Unverified::<oauth::authorization_response::SignedResponse>::parse(text);
            let skew = time::Span::from_seconds(5);
            let now = house.domain.now();
            let algorithms = [jose::Algorithm::Es256];
            let token = token.unwrap().verify(&keys, &algorithms, now, skew).unwrap();
            let claims = token.claims();
            assert_eq!((claims.iss.as_str(), claims.aud.sole()), (ISSUER, Some(CLIENT)));
            assert_eq!(claims.parameters["error"], "login_required");
            assert_eq!(claims.parameters["state"], "s1");
        }
    });
}

/// RFC 8252 §7.3, §8.6.
#[test]
fn rfc8252_7_3_an_app_is_answered_at_the_port_that_asked() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.client(|client| {
            let uris = vec![RedirectUri::parse("http://127.0.0.1/back").unwrap()];
            let redirects = Redirects { redirect_uris: uris, native: true, ..Redirects::default() };
            (client.redirects, client.public) = (Some(redirects), true);
        });
        let here = browser("a", None);
        let cookie = house.sign_in(&here, "ada").await;
        let here = browser("a", Some(&cookie));
        let query = invoices("invoices.read").replace(BACK, "http://127.0.0.1:49152/back");
        let name = house.begun(&here, &query).await;
        let asking = house.asking(&here, &name).await;
        assert!(asking.may_be_another);
        let location = house.allow(&here, &query).await;
        assert!(location.starts_with("http://127.0.0.1:49152/back?code=aims_ac_"), "{location}");
        // RFC 8252 §8.6: never by what was allowed before.
        let name = house.begun(&here, &query).await;
        assert!(matches!(house.show(&here, &name).await, Shown::Ask(..)));
        let none = format!("{query}&prompt=none");
        let (location, _) = told(house.begin(&here, &none).await);
        assert_eq!(part(&location, "error"), Some("consent_required"));
        let _ = GATEWAY;
    });
}

//! Clients that publish a document about themselves, and keys at a URL.

use std::sync::Arc;

use access::documents::{self, Unread};
use authorization::granted::GrantRecord;
use env::{Published, World};
use jose::KeyId;
use registry::ClientState;
use registry::client::Origin;
use serde_json::{Value, json};
use testkit::boxed;
use testkit::fixture::story;
use testkit::web::Web;

use crate::desk::Desk;

const URL: &str = "https://app.example/client.json";

fn page() -> Value {
    json!({
        "client_id": URL,
        "client_name": "App",
        "redirect_uris": ["https://app.example/back"],
    })
}

fn page_with(name: &str, value: Value) -> Value {
    let mut page = page();
    page[name] = value;
    page
}

async fn open(sim: &testkit::Sim, policy: &str) -> (Desk, Arc<Web>) {
    let desk = Desk::open(sim, policy).await;
    let web = Arc::new(Web::default());
    desk.world().publish(Arc::clone(&web) as Arc<dyn Published>);
    (desk, web)
}

async fn ready(desk: &Desk, id: &str) -> Result<(), Unread> {
    documents::ready(&*desk.world(), id, None, "192.0.2.1").await.unwrap().map(|_| ())
}

/// req: AUTHZ-22 (part)
#[test]
fn cimd_4_a_document_makes_a_client_and_is_kept_as_long_as_it_says() {
    story(|sim| async move {
        let (desk, web) = open(&sim, "documents = \"open\"").await;
        web.put(URL, &page(), Some(600));
        assert_eq!(ready(&desk, URL).await, Ok(()));
        let client = desk.stored(URL).unwrap();
        assert_eq!((client.origin, client.public), (Origin::Document, true));
        desk.forth(599);
        assert_eq!(ready(&desk, URL).await, Ok(()));
        assert_eq!(web.asked(), 1);
        desk.forth(2);
        assert_eq!(ready(&desk, URL).await, Ok(()));
        assert_eq!(web.asked(), 2);
        // Whoever says "never" is asked each minute at most.
        web.put(URL, &page(), Some(0));
        desk.forth(601);
        for _ in 0..5 {
            assert_eq!(ready(&desk, URL).await, Ok(()));
        }
        assert_eq!(web.asked(), 3);
    });
}

#[test]
fn cimd_4_policy_says_whose_documents_are_read() {
    story(|sim| async move {
        for (policy, url, read) in [
            ("", URL, false),
            ("documents = \"listed\"\nhosts = [\"app.example\"]", URL, true),
            ("documents = \"listed\"\nhosts = [\"other.example\"]", URL, false),
            ("documents = \"open\"", URL, true),
        ] {
            let (desk, web) = open(&sim, policy).await;
            web.put(url, &page(), None);
            let found = ready(&desk, url).await;
            assert_eq!(found.is_ok(), read, "{policy}: {found:?}");
            assert_eq!(web.asked() > 0, read, "{policy}");
        }
    });
}

#[test]
fn cimd_4_1_a_document_that_does_not_say_what_it_must_makes_nothing() {
    story(|sim| async move {
        let (desk, web) = open(&sim, "documents = \"open\"").await;
        for (page, check) in [
            (page_with("client_id", json!("https://app.example/other")), "document::Document"),
            (page_with("client_secret", json!("x")), "document::Document"),
            (
                page_with("token_endpoint_auth_method", json!("client_secret_post")),
                "document::Document",
            ),
            (page_with("redirect_uris", json!(["javascript:alert(1)"])), "document::Document"),
            (page_with("client_uri", json!("a".repeat(6_000))), "document::TooLarge"),
            (page_with("redirect_uris", json!(["app.example:/back"])), "registration::NotNative"),
            (page_with("grant_types", json!(["client_credentials"])), "registration::PublicGrant"),
        ] {
            web.put(URL, &page, None);
            let refused = ready(&desk, URL).await.unwrap_err();
            assert_eq!(refused.check(), check, "{refused}");
            assert!(desk.stored(URL).is_none());
        }
        // A failure is not remembered.
        web.put(URL, &page(), None);
        assert_eq!(ready(&desk, URL).await, Ok(()));
    });
}

#[test]
fn cimd_4_a_change_of_who_it_is_ends_its_grants() {
    story(|sim| async move {
        for (policy, ends) in [("", true), ("\non_change = \"keep_grants\"", false)] {
            let (desk, web) = open(&sim, &format!("documents = \"open\"{policy}")).await;
            web.put(URL, &page(), Some(60));
            ready(&desk, URL).await.unwrap();
            desk.domain.person("user:ada");
            desk.domain.grant(("grant-1", URL, "user:ada"), "https://t.example", "read", "");
            let ended = || {
                let found = desk.world().store().single::<GrantRecord>("grant-1");
                found.unwrap().ended.is_some()
            };
            web.put(URL, &page_with("client_name", json!("Ap")), Some(60));
            desk.forth(61);
            ready(&desk, URL).await.unwrap();
            assert!(!ended());
            web.put(URL, &page_with("redirect_uris", json!(["https://evil.example/"])), Some(60));
            desk.forth(61);
            ready(&desk, URL).await.unwrap();
            assert_eq!(ended(), ends, "{policy}");
        }
    });
}

/// docs/past-defects.md 8.
#[test]
fn cimd_a_disabled_client_stays_so_whatever_it_publishes() {
    story(|sim| async move {
        let (desk, web) = open(&sim, "documents = \"open\"").await;
        web.put(URL, &page(), Some(60));
        ready(&desk, URL).await.unwrap();
        desk.set(URL, ClientState::Disabled).await;
        desk.forth(61);
        web.put(URL, &page_with("client_name", json!("New")), Some(60));
        ready(&desk, URL).await.unwrap();
        let client = desk.stored(URL).unwrap();
        assert_eq!((client.state, client.until), (ClientState::Disabled, None));
    });
}

#[test]
fn cimd_a_hundred_that_come_at_once_make_one_client() {
    story(|sim| async move {
        let (desk, web) = open(&sim, "documents = \"open\"").await;
        web.put(URL, &page(), Some(600));
        let race = (0..100).map(|_| boxed(ready(&desk, URL))).collect();
        assert!(sim.all(race).await.iter().all(Result::is_ok));
        assert!(desk.stored(URL).is_some());
    });
}

#[test]
fn rfc7591_2_keys_at_a_url_are_read_again_for_a_new_key_and_not_for_each() {
    story(|sim| async move {
        let (desk, web) = open(&sim, "documents = \"open\"").await;
        let keys = json!({"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
        let mut with_keys = page_with("jwks_uri", json!("https://app.example/keys"));
        with_keys["token_endpoint_auth_method"] = json!("private_key_jwt");
        web.put(URL, &with_keys, Some(86_400));
        web.put("https://app.example/keys", &keys, Some(86_400));
        let world = desk.world();
        let ask = |kid: &str| {
            let (world, kid) = (Arc::clone(&world), KeyId::parse(kid).unwrap());
            async move { documents::ready(&*world, URL, Some(&kid), "192.0.2.1").await.unwrap() }
        };
        assert!(ask("a").await.unwrap().is_some());
        assert_eq!(web.asked(), 2);
        for made_up in ["b", "c", "d"] {
            assert!(ask(made_up).await.is_ok());
        }
        assert_eq!(web.asked(), 2, "cooling");
        desk.forth(61);
        assert!(ask("a").await.is_ok());
        assert_eq!(web.asked(), 2);
        assert!(ask("b").await.is_ok());
        assert_eq!(web.asked(), 3);
        web.put("https://app.example/keys", &json!({"keys":"no"}), None);
        desk.forth(86_401);
        assert_eq!(ask("a").await.unwrap_err().check(), "document::Keys");
    });
}

/// A stranger who names a document learns that it could not be read, and not why: that would map
/// what this server reaches. Records are told.
#[test]
fn cimd_6_why_a_document_could_not_be_read_is_not_told() {
    story(|sim| async move {
        let (desk, _) = open(&sim, "documents = \"open\"").await;
        let unread = ready(&desk, "https://gone.example/app").await.unwrap_err();
        assert_eq!(unread.to_string(), "`https://gone.example/app` could not be read");
        assert_eq!(unread.check(), "fetch::Status");
        let told = "`https://gone.example/app` could not be read: nothing is there";
        assert_eq!(unread.evidence(), told);
    });
}

//! Management of a registration by its client (RFC 7592).

use env::World;
use register::Refusal;
use register::manage::Act;
use registry::ClientState;
use serde_json::{Value, json};
use testkit::fixture::story;

use crate::desk::{Desk, app, app_with, done, refused, stranger};

async fn known(desk: &Desk) -> (String, String) {
    let told = done(desk.register(&app(), None).await).registered;
    (told.client_id.as_str().to_owned(), told.registration_access_token.unwrap())
}

fn of(id: &str, metadata: Value) -> String {
    let mut metadata = metadata;
    metadata["client_id"] = json!(id);
    metadata.to_string()
}

/// req: AUTHZ-22 (part)
#[test]
fn rfc7592_2_a_client_reads_changes_and_deletes_itself() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let (id, token) = known(&desk).await;
        let read = done(desk.manage(&id, &token, Act::Read).await).unwrap().registered;
        assert_eq!(read.metadata["client_name"], "Books");
        assert_eq!(read.registration_access_token.as_deref(), Some(token.as_str()));
        let renamed = of(&id, app_with("client_name", json!("Shelves")));
        let told = done(desk.manage(&id, &token, Act::Replace(renamed)).await).unwrap();
        assert_eq!(told.registered.metadata["client_name"], "Shelves");
        assert_eq!(desk.last(), ("client.update".to_owned(), None));
        // RFC 7592 §2.2: it must name itself, and nothing that only the server says.
        for (text, member) in [
            (app().to_string(), "client_id"),
            (of("client-other", app()), "client_id"),
            (of(&id, app_with("registration_access_token", json!("x"))), "registration"),
        ] {
            let refusal = refused(desk.manage(&id, &token, Act::Replace(text)).await);
            assert!(refusal.to_string().contains(member), "{refusal}");
        }
        assert!(done(desk.manage(&id, &token, Act::Delete).await).is_none());
        assert!(desk.stored(&id).is_none());
        let gone = desk.manage(&id, &token, Act::Read).await;
        assert_eq!(stranger(gone), Refusal::UnknownToken);
    });
}

/// RFC 7592 §2.2: "The client MUST NOT be allowed to overwrite its existing client secret with its
/// own chosen value."
#[test]
fn rfc7592_2_2_a_client_chooses_no_secret() {
    story(|sim| async move {
        let policy = "dynamic = \"open\"\nclient_secrets_that_can_be_stolen = true\n\
                      methods = [\"none\", \"client_secret_post\"]";
        let desk = Desk::open(&sim, policy).await;
        let holder = app_with("token_endpoint_auth_method", json!("client_secret_post"));
        let told = done(desk.register(&holder, None).await);
        let (id, secret) = (told.registered.client_id, told.secret.unwrap());
        let token = told.registered.registration_access_token.unwrap();
        let kept = desk.stored(id.as_str()).unwrap().secret;
        let with = |value: Value| {
            let mut metadata = holder.clone();
            metadata["client_secret"] = value;
            Act::Replace(of(id.as_str(), metadata))
        };
        for value in [json!("chosen"), json!(""), json!(7), json!(kept.clone().unwrap())] {
            let refusal = refused(desk.manage(id.as_str(), &token, with(value)).await);
            assert_eq!(refusal.check(), "registration::Metadata");
            assert!(refusal.to_string().contains("client_secret"), "{refusal}");
        }
        for value in [json!(secret.expose()), Value::Null] {
            done(desk.manage(id.as_str(), &token, with(value)).await);
            assert_eq!(desk.stored(id.as_str()).unwrap().secret, kept);
        }
        // One that has none has none to show.
        let (id, token) = known(&desk).await;
        let text = of(&id, app_with("client_secret", json!("chosen")));
        let refusal = refused(desk.manage(&id, &token, Act::Replace(text)).await);
        assert_eq!(refusal.check(), "registration::Metadata");
    });
}

#[test]
fn rfc7592_2_1_another_token_is_nobodys() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let ((id, token), (other, _)) = (known(&desk).await, known(&desk).await);
        let hash = desk.stored(&id).unwrap().manager.unwrap();
        for (id, token) in [
            (id.as_str(), "aims_rat_x"),
            (id.as_str(), ""),
            (id.as_str(), hash.as_str()),
            (other.as_str(), token.as_str()),
            ("client-none", token.as_str()),
        ] {
            let end = desk.manage(id, token, Act::Read).await;
            assert_eq!(stranger(end), Refusal::UnknownToken, "{id}");
        }
    });
}

/// docs/past-defects.md 8 (CVE-2026-9705).
#[test]
fn rfc7592_a_disabled_client_cannot_enable_itself() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let (id, token) = known(&desk).await;
        desk.set(&id, ClientState::Disabled).await;
        assert!(desk.stored(&id).unwrap().until.is_none(), "that it is disabled is kept");
        let text = of(&id, app_with("state", json!("enabled")));
        for act in [Act::Read, Act::Replace(text), Act::Delete] {
            let refusal = refused(desk.manage(&id, &token, act).await);
            assert!(matches!(refusal, Refusal::Disabled(_)), "{refusal}");
        }
        assert_eq!(desk.stored(&id).unwrap().state, ClientState::Disabled);
        desk.set(&id, ClientState::Enabled).await;
        assert!(done(desk.manage(&id, &token, Act::Read).await).is_some());
    });
}

#[test]
fn rfc7592_2_2_who_changes_who_it_is_loses_its_grants() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"").await;
        let (id, token) = known(&desk).await;
        desk.domain.person("user:ada");
        let of_ada = ("grant-1", id.as_str(), "user:ada");
        let grant = desk.domain.grant(of_ada, "https://tools.example", "read", "");
        let ended = |desk: &Desk| {
            let store = desk.world();
            let found = store.store().single::<authorization::granted::GrantRecord>(&grant.id);
            found.unwrap().ended.clone()
        };
        let renamed = of(&id, app_with("client_name", json!("Shelves")));
        done(desk.manage(&id, &token, Act::Replace(renamed)).await);
        assert!(ended(&desk).is_none());
        let moved = of(&id, app_with("redirect_uris", json!(["https://evil.example/"])));
        done(desk.manage(&id, &token, Act::Replace(moved)).await);
        assert!(ended(&desk).unwrap().why.contains("redirect_uris"));
    });
}

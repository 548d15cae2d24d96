//! Software statements: what somebody whom policy trusts says of a client.

use oauth::registration::SoftwareStatement;
use register::Refusal;
use serde_json::{Value, json};
use testkit::documents::Signer;
use testkit::fixture::story;

use crate::desk::{Desk, app_with, done, stranger};

const DIRECTORY: &str = "https://directory.example";

async fn open(sim: &testkit::Sim, signer: &Signer, more: &str) -> Desk {
    let jwk = signer.public().to_jwk().to_value();
    let of = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let policy = format!(
        "dynamic = \"open\"\n{more}\n[[registration.statement]]\nname = \"directory\"\n\
         issuer = \"{DIRECTORY}\"\njwks = {{ keys = [{{ kty = \"EC\", crv = \"P-256\", \
         kid = \"directory\", x = \"{}\", y = \"{}\" }}] }}",
        of("x"),
        of("y")
    );
    Desk::open(sim, &policy).await
}

fn statement(signer: &Signer, claims: &Value) -> Value {
    let claims = serde_json::from_value(claims.clone()).unwrap();
    let text = String::from_utf8(signer.token::<SoftwareStatement>(&claims)).unwrap();
    app_with("software_statement", text.into())
}

/// RFC 7591 §2.3, §3.1.1.
///
/// req: AUTHZ-22 (part)
#[test]
fn rfc7591_3_1_1_what_the_statement_says_takes_precedence() {
    story(|sim| async move {
        let signer = Signer::new("directory").unwrap();
        let desk = open(&sim, &signer, "require_statement = true").await;
        let claims = json!({
            "iss": DIRECTORY, "client_name": "Books by Directory", "software_id": "books",
            "redirect_uris": ["https://books.example/attested"],
        });
        let told = done(desk.register(&statement(&signer, &claims), None).await);
        let stored = desk.stored(told.registered.client_id.as_str()).unwrap();
        let members = stored.metadata.members();
        assert_eq!(members["client_name"], "Books by Directory");
        assert_eq!(members["redirect_uris"], json!(["https://books.example/attested"]));
        assert_eq!(members["software_id"], "books");
        assert_eq!(
            members["token_endpoint_auth_method"], "none",
            "what it does not speak of stays"
        );
        let bare = stranger(desk.register(&crate::desk::app(), None).await);
        assert_eq!(bare, Refusal::NoStatement);
    });
}

#[test]
fn rfc7591_3_2_2_a_statement_counts_of_whom_policy_trusts_while_it_holds() {
    story(|sim| async move {
        let (signer, other) =
            (Signer::new("directory").unwrap(), Signer::new("directory").unwrap());
        let desk = open(&sim, &signer, "").await;
        let now = desk.domain.now().seconds();
        for (by, claims, check) in [
            (&other, json!({ "iss": DIRECTORY }), "registration::Statement"),
            (&signer, json!({ "iss": "https://other.example" }), "registration::StatementIssuer"),
            (&signer, json!({ "iss": DIRECTORY, "exp": now - 60 }), "registration::Statement"),
            (&signer, json!({ "iss": DIRECTORY, "nbf": now + 60 }), "registration::Statement"),
            (
                &signer,
                json!({ "iss": DIRECTORY, "redirect_uris": ["javascript:alert(1)"] }),
                "registration::Metadata",
            ),
            (
                &signer,
                json!({ "iss": DIRECTORY, "grant_types": ["client_credentials"] }),
                "registration::PublicGrant",
            ),
        ] {
            let refusal = stranger(desk.register(&statement(by, &claims), None).await);
            assert_eq!(refusal.check(), check, "{claims}: {refusal}");
        }
    });
}

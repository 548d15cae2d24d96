//! AUTHZ-10: a code, and all that guards it.

use http::Method;
use jose::TokenHash;
use serde_json::{Value, json};

use super::Stage;
use super::credentials::FOREIGN;
use super::people::text;
use super::tokens::{Dpop, OTHER, resource};
use crate::actor::{SCOPE, claims, taken};
use crate::browser::{Tab, location};
use crate::load::form;
use crate::running::Answer;

/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const BACK: &str = "http://127.0.0.1:7777/back";

/// What the payment is that the user is asked about.
fn payment() -> Value {
    json!([{ "type": "payment", "amount": "120 EUR", "to": "ACME" }])
}

/// A program of somebody's, that proves a key of its own.
struct App {
    stage: Stage,
    id: String,
    key: Dpop,
}

impl App {
    async fn open() -> Self {
        let stage = Stage::laid("[consent]\nrequire_pushed = true\n", |site| {
            let member = |name| {
                format!(
                    "[[authorization_details.member]]\nname = \"{name}\"\nrequired = true\n\
                     shape = \"text\"\n"
                )
            };
            let (amount, to) = (member("amount"), member("to"));
            let types = format!("[[authorization_details]]\ntype = \"payment\"\n{amount}{to}");
            resource(site, "vault", &format!("proof = \"dpop\"\n{types}"));
            resource(site, "mine", "proof = \"mtls\"");
        })
        .await;
        let metadata = json!({
            "client_name": "Payer", "application_type": "native", "redirect_uris": [BACK],
            "token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true,
        });
        let file = stage.site.data.join("client.json");
        std::fs::write(&file, metadata.to_string()).unwrap();
        let told = stage.done(&["client", "register", file.to_str().unwrap()]);
        let id = told["client_id"].as_str().unwrap().to_owned();
        Self { stage, id, key: Dpop::of(FOREIGN) }
    }

    /// What it asks for, less what is named.
    fn asks<'a>(&'a self, but: &[&str], more: &[(&'a str, &'a str)]) -> String {
        let challenge = TokenHash::of(VERIFIER).to_base64url();
        let (details, vault) = (payment().to_string(), self.vault());
        let all = [
            ("client_id", self.id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", BACK),
            ("state", "of-the-app"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &vault),
            ("scope", SCOPE),
            ("authorization_details", &details),
        ];
        let kept = all.iter().filter(|(name, _)| !but.contains(name)).copied();
        form(&kept.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    fn vault(&self) -> String {
        format!("{}/vault", self.stage.actor.gateway)
    }

    async fn post(&self, path: &str, body: &str, fields: &[(&str, &str)]) -> Answer {
        let url = format!("{}/{path}", self.stage.actor.issuer);
        let fields = [&[FORM], fields].concat();
        self.stage.actor.https.send(Method::POST, &url, &fields, body).await.unwrap()
    }

    /// Pushes, and leads the browser through: the answer's parameters.
    async fn code(&self, tab: &mut Tab) -> Vec<(String, String)> {
        let pushed = self.post("par", &self.asks(&[], &[]), &[]).await;
        assert_eq!(pushed.status, 201, "{}", pushed.json());
        let reference = pushed.json()["request_uri"].as_str().unwrap().to_owned();
        let query = form(&[("client_id", &self.id), ("request_uri", &reference)]);
        let page = tab.open(&format!("/authorize?{query}")).await.0;
        for what in ["120 EUR", "ACME", "Payer"] {
            assert!(text(&page).contains(what), "{what}: {}", text(&page));
        }
        let allowed = tab.submit(&page, "consent", &[("answer", "allow")]).await;
        let back = location(&allowed).unwrap_or_else(|| panic!("{}", text(&allowed)));
        assert!(back.starts_with(BACK), "{back}");
        // RFC 9126 §4: the reference served once.
        let again = tab.open(&format!("/authorize?{query}")).await;
        let shut = again.1.is_some_and(|to| to.contains("error=")) || again.0.status == 400;
        assert!(shut, "{}", text(&again.0));
        let url = url::Url::parse(&back).unwrap();
        url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Redeems a code with this verifier, proving this key.
    async fn redeem(&self, code: &str, verifier: &str, key: Option<&Dpop>) -> Answer {
        let url = format!("{}/token", self.stage.actor.issuer);
        let proof = key.map(|key| key.proof("POST", &url, None));
        let fields: Vec<_> = proof.iter().map(|proof| ("dpop", proof.as_str())).collect();
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.id),
            ("redirect_uri", BACK),
            ("code", code),
            ("code_verifier", verifier),
        ]);
        self.post("token", &body, &fields).await
    }
}

fn of<'a>(answer: &'a [(String, String)], name: &str) -> &'a str {
    let found = answer.iter().find(|(other, _)| other == name);
    found.map_or("", |(_, value)| value)
}

/// What is wrong with a pushed request, one thing at a time.
async fn each_refuses_alone(app: &App) {
    for (what, body, word) in [
        ("no challenge", app.asks(&["code_challenge"], &[]), "code_challenge"),
        (
            "a plain one",
            app.asks(&["code_challenge_method"], &[("code_challenge_method", "plain")]),
            "code_challenge_method",
        ),
        (
            "a type that nobody knows",
            app.asks(&["authorization_details"], &[("authorization_details", r#"[{"type":"x"}]"#)]),
            "`type`",
        ),
        (
            "a detail with a member too many",
            app.asks(
                &["authorization_details"],
                &[(
                    "authorization_details",
                    r#"[{"type":"payment","amount":"1","to":"A","urgent":true}]"#,
                )],
            ),
            "urgent",
        ),
        (
            "another place to go back to",
            app.asks(&["redirect_uri"], &[("redirect_uri", "http://127.0.0.1:7777/other")]),
            "redirect_uri",
        ),
    ] {
        let answer = app.post("par", &body, &[]).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.json());
        let said = answer.json()["error_description"].to_string();
        assert!(said.contains(word), "{what}: {said}");
    }
}

/// PKCE, pushed requests, rich requests, and tokens that a key or a certificate binds: together, and
/// each refuses alone.
///
/// req: AUTHZ-10
#[tokio::test(flavor = "multi_thread")]
async fn s10_1_1_a_code_is_pushed_proved_rich_and_bound() {
    let app = App::open().await;
    let mut ada = app.stage.person("ada", None).await;
    each_refuses_alone(&app).await;
    // RFC 9126 §5: what is not pushed is not looked at.
    let direct = ada.open(&format!("/authorize?{}", app.asks(&[], &[]))).await;
    let to = direct.1.unwrap_or_default();
    assert!(to.contains("error=invalid_request"), "{to}: {}", text(&direct.0));

    // RFC 7636: a code without its verifier is nothing; nor without the proof of a key.
    let answer = app.code(&mut ada).await;
    assert_eq!(
        (of(&answer, "state"), of(&answer, "iss")),
        ("of-the-app", &*app.stage.actor.issuer)
    );
    let other = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let wrong = app.redeem(of(&answer, "code"), other, Some(&app.key)).await;
    assert_eq!(wrong.json()["error"], "invalid_grant", "{}", wrong.json());
    let answer = app.code(&mut ada).await;
    let unproved = app.redeem(of(&answer, "code"), VERIFIER, None).await;
    assert_eq!(unproved.json()["error"], "invalid_dpop_proof", "{}", unproved.json());

    // All of it: the token says what was allowed, is of that key, and serves with it alone.
    let answer = app.code(&mut ada).await;
    let given = app.redeem(of(&answer, "code"), VERIFIER, Some(&app.key)).await;
    let token = taken(&given);
    let said = claims(&token);
    assert_eq!(given.json()["authorization_details"], payment());
    assert_eq!((&said["authorization_details"], &said["sub"]), (&payment(), &json!("user:ada")));
    let url = format!("{}/a", app.vault());
    let reads = async |key: &Dpop| {
        let proof = key.proof("GET", &url, Some(&token));
        app.stage.reads("vault", ("DPoP", &token), &[("dpop", &proof)]).await
    };
    assert_eq!(app.stage.reads("vault", ("Bearer", &token), &[]).await, 401);
    assert_eq!(reads(&Dpop::of(OTHER)).await, 401);
    assert_eq!(reads(&app.key).await, 200);
    // A second use of the code ends what came of the first (RFC 6749 §4.1.2).
    let again = app.redeem(of(&answer, "code"), VERIFIER, Some(&app.key)).await;
    assert_eq!(again.json()["error"], "invalid_grant", "{}", again.json());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(reads(&app.key).await, 401);

    // RFC 8705: and a resource that wants a certificate takes none of it.
    let (shown, token) = app.stage.certified("mine").await;
    assert!(claims(&token)["cnf"]["x5t#S256"].is_string());
    assert_eq!(app.stage.reads("mine", ("Bearer", &token), &[]).await, 401);
    let bearer = format!("Bearer {token}");
    let url = format!("{}/mine/a", app.stage.actor.gateway);
    let read = shown.send(Method::GET, &url, &[("authorization", &bearer)], "").await.unwrap();
    assert_eq!(read.status, 200, "{}", read.json());
}

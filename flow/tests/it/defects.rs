//! Mistakes that systems of this kind made (docs/past-defects.md 1 to 21), tried at every place that
//! takes a token. Those that another file shows stand in the table of that document.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use env::{Handle, Keys, Purpose};
use flow::introspect::{self, Answer, Question};
use flow::token::asker::{self, Asker};
use flow::token::{Call, Refusal};
use jose::PublicKey;
use oauth::TokenText;
use oauth::client_assertion::AssertionType;
use oauth::introspection::IntrospectionRequest;
use oauth::token_request::GrantType;
use oauth::token_response::TokenResponse;
use serde_json::{Value, json};
use testkit::Sim;
use testkit::fixture::{
    ADA, Client, Domain, DpopKey, GATEWAY, ISSUER, Party, by_wit, code_request, credentials,
    exchange, files_but, http_call, refresh_request, registration, story, with_dpop,
};
use time::Span;

use crate::grants::House;

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const TOKEN: &str = "https://aims.demo.example:8443/token";
const GRANTS: &[GrantType] =
    &[GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials];

/// A domain whose resources tell the vault what tokens mean, and tokens of each form.
struct Counter {
    domain: Domain,
    client: Client,
    clerk: Party,
    vault: Party,
    answer: TokenResponse,
}

impl Counter {
    async fn open(sim: &Sim) -> Self {
        Self::with(sim, "jwt").await
    }

    /// With tokens of this form.
    async fn with(sim: &Sim, form: &str) -> Self {
        let notices = testkit::fixture::files().get("resources/notices.toml").unwrap().to_owned();
        let told = format!(
            "token = \"{form}\"\nintrospect = [\"spiffe://demo.example/agent/vault\"]\n[scopes]"
        );
        let notices = notices.replace("[scopes]", &told);
        let files = files_but(&[("resources/notices.toml", &notices)]);
        let domain = Domain::start_with(sim, files).await;
        domain.person(ADA);
        let client = domain.client(GRANTS, false);
        for name in ["clerk", "vault"] {
            domain.register(registration(name, &[])).await;
        }
        let (clerk, vault) = (domain.party("/opt/clerk").await, domain.party("/opt/vault").await);
        let of = ("grant-1", client.id.as_str(), ADA);
        let grant = domain.grant(of, NOTICES, "notices.read", "openid");
        let code = domain.code(&grant, |_| ());
        let answer = domain.ask(client.asks(code_request(&code), domain.now())).await.unwrap();
        domain.sync().await;
        Self { domain, client, clerk, vault, answer }
    }

    /// Whether the gateway takes it, introspection says that it is active, and the token endpoint
    /// reads it as the subject of an exchange.
    async fn taken(&self, token: &str) -> [bool; 3] {
        let call = http_call("GET", "/notices/today", token);
        let refused = self.domain.refusal_of(call).await.map(|refusal| refusal.check());
        let shown = by_wit(&self.clerk, exchange(token, NOTICES, ""), self.domain.now());
        let exchanged = self.domain.ask(shown).await.unwrap_err().check();
        [refused.is_none(), self.is_active(token).await, exchanged != "token::Subject"]
    }

    async fn is_active(&self, token: &str) -> bool {
        let call = by_wit(&self.vault, code_request("aims_ac_x"), self.domain.now());
        let Call { client, attestation, certificates, source, .. } = call;
        let (dpop, path) = (Vec::new(), "/introspect".to_owned());
        let asker = Asker { client, attestation, dpop, path, certificates, source };
        let request = IntrospectionRequest { token: TokenText::parse(token).unwrap(), hint: None };
        let asked = Question { asker, request, signed: false };
        match introspect::answer(&*self.domain.server.world(), asked).await.unwrap() {
            asker::End::Decided(recorded) => match recorded.into_value().unwrap() {
                Answer::Plain(told) => told.active,
                other @ Answer::Signed(_) => panic!("{other:?}"),
            },
            asker::End::Stranger(why) => panic!("{why}"),
        }
    }

    async fn check_nowhere(&self, what: &str, token: &str) {
        assert_eq!(self.taken(token).await, [false; 3], "{what}: gateway, introspection, exchange");
    }

    /// The access token, taken apart.
    fn parts(&self) -> (Value, Value) {
        let mut parts = self.answer.access_token.split('.').map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
            serde_json::from_slice(&bytes).unwrap_or_default()
        });
        (parts.next().unwrap(), parts.next().unwrap())
    }

    /// A token with these claims that our own key signed: what alone is wrong with it is what it
    /// says.
    async fn ours(&self, header: &Value, claims: &Value) -> String {
        let ring = self.domain.ring(Purpose::AccessToken);
        let id = ring.signer(self.domain.now()).unwrap().kid.as_str().to_owned();
        let handle = Handle { purpose: Purpose::AccessToken, id };
        let signed = unsigned(header, claims);
        let signature = self.domain.server.keys().sign(&handle, signed.as_bytes()).await.unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    }

    /// An assertion of the client that its own key signed.
    fn assertion(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.client.key().unwrap().sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    }

    /// Claims of an assertion of the client.
    fn claims(&self) -> Value {
        let (id, exp) = (&self.client.id, self.domain.now().seconds() + 60);
        json!({ "iss": id, "sub": id, "aud": ISSUER, "exp": exp, "jti": "one" })
    }

    /// The check that refuses the assertion; `None` where it proves the client.
    async fn refuses(&self, assertion: &str) -> Option<&'static str> {
        let mut call = self.client.asks(credentials(NOTICES, ""), self.domain.now());
        call.client.assertion = Some((AssertionType::Jwt, TokenText::parse(assertion).unwrap()));
        match self.domain.ask(call).await {
            Err(Refusal::Client(refusal)) => Some(refusal.check()),
            _ => None,
        }
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// What a key that everybody knows makes of a text.
fn mac(key: &[u8], text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Without a signature, and by the public key as if it were a secret, in each way to write it.
fn confused(header: &Value, claims: &Value, public: &PublicKey) -> Vec<(&'static str, String)> {
    let with = |alg: &str| {
        let mut header = header.clone();
        header["alg"] = alg.into();
        unsigned(&header, claims)
    };
    let der = public.spki_der().to_vec();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    let jwk = public.to_jwk().to_value().to_string();
    let mut all = vec![
        ("none", format!("{}.", with("none"))),
        ("nOnE", format!("{}.", with("nOnE"))),
        ("no algorithm", format!("{}.", with(""))),
        ("ES256 unsigned", format!("{}.", with("ES256"))),
    ];
    for (what, key) in [("der", der), ("pem", pem.into_bytes()), ("jwk", jwk.into_bytes())] {
        all.push((what, mac(&key, &with("HS256"))));
    }
    all
}

/// The key is what says by which algorithm it verifies.
/// req: AUTHZ-03 (part)
#[test]
fn past_defect_01_the_algorithm_is_not_the_attackers() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        assert_eq!(counter.taken(&counter.answer.access_token).await, [true; 3]);
        let (header, claims) = counter.parts();
        assert_eq!(counter.taken(&counter.ours(&header, &claims).await).await, [true; 3]);
        let ring = counter.domain.ring(Purpose::AccessToken);
        let public = ring.signer(counter.domain.now()).unwrap().public.verification_key().unwrap();
        for (what, token) in confused(&header, &claims, public) {
            counter.check_nowhere(what, &token).await;
        }
        let head = json!({ "alg": "ES256" });
        assert_eq!(counter.refuses(&counter.assertion(&head, &counter.claims())).await, None);
        let public = counter.client.key().unwrap().public();
        for (what, token) in confused(&head, &counter.claims(), public) {
            let refused = counter.refuses(&token).await;
            assert!(refused.is_some(), "an assertion: {what}");
        }
    });
}

/// A signature of zeros, and one by a key that the token brought along.
/// req: AUTHZ-03 (part)
#[test]
fn past_defect_02_a_signature_is_real_and_by_a_key_that_we_know() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let (header, claims) = counter.parts();
        let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
        counter.check_nowhere("zeros", &format!("{}.{zeros}", unsigned(&header, &claims))).await;
        // The client's own key: good for its assertions, and for nothing else.
        let jwk = counter.client.key().unwrap().public().to_jwk().to_value();
        for (name, value) in [
            ("kid", json!("another")),
            ("jwk", jwk),
            ("jku", json!("https://evil.example/keys")),
            ("x5u", json!("https://evil.example/chain")),
            ("x5c", json!(["MAA="])),
        ] {
            let mut header = header.clone();
            header[name] = value;
            counter.check_nowhere(name, &counter.assertion(&header, &claims)).await;
            header.as_object_mut().unwrap().remove("kid");
            counter.check_nowhere(name, &counter.assertion(&header, &claims)).await;
        }
        let head = json!({ "alg": "ES256" });
        let forged = format!("{}.{zeros}", unsigned(&head, &counter.claims()));
        assert!(counter.refuses(&forged).await.is_some(), "an assertion of zeros");
        let other = counter.domain.client(GRANTS, false);
        let other = Counter { client: other, ..counter };
        let mut claims = other.claims();
        (claims["iss"], claims["sub"]) = ("client-x".into(), "client-x".into());
        assert!(other.refuses(&other.assertion(&head, &claims)).await.is_some(), "of another");
    });
}

/// A time that is a text, or missing: not absent, and not for ever.
/// req: AUTHZ-03 (part)
#[test]
fn past_defects_03_and_04_a_token_ends_at_a_number() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let (header, claims) = counter.parts();
        let now = counter.domain.now().seconds();
        for (name, value) in [
            ("exp", json!("soon")),
            ("exp", json!((now + 60).to_string())),
            ("exp", json!([now + 60])),
            ("exp", json!(true)),
            // Absent, as `spec/jose` reads it; and it must be there.
            ("exp", Value::Null),
            ("exp", json!(-1)),
            ("exp", json!(now - 60)),
            ("iat", json!((now - 1).to_string())),
            ("nbf", json!((now - 1).to_string())),
            ("nbf", json!(now + 60)),
        ] {
            let what = format!("{name}: {value}");
            let mut wrong = claims.clone();
            wrong[name] = value.clone();
            counter.check_nowhere(&what, &counter.ours(&header, &wrong).await).await;
            let mut wrong = counter.claims();
            wrong[name] = value;
            let wrong = counter.assertion(&json!({ "alg": "ES256" }), &wrong);
            assert!(counter.refuses(&wrong).await.is_some(), "an assertion with {what}");
        }
        let mut wrong = claims.clone();
        wrong.as_object_mut().unwrap().remove("exp");
        counter.check_nowhere("no exp", &counter.ours(&header, &wrong).await).await;
        let mut wrong = counter.claims();
        wrong.as_object_mut().unwrap().remove("exp");
        let wrong = counter.assertion(&json!({ "alg": "ES256" }), &wrong);
        assert!(counter.refuses(&wrong).await.is_some(), "an assertion without exp");
    });
}

/// What was used is used after a restart too. Two uses at once: `edge/store/tests/it/redeemed.rs`.
/// req: AUTHZ-09 (part)
#[test]
fn past_defect_05_a_restart_forgets_no_use() {
    story(|sim| async move {
        let house = House::open(&sim, true).await;
        let code = house.domain.code(&house.grant, |_| ());
        let first = house.domain.ask(house.asks(code_request(&code))).await.unwrap();
        let old = first.refresh_token.unwrap();
        let new = house.refresh(&old).await.unwrap().refresh_token.unwrap();
        house.domain.restart_server().await.unwrap();
        // An honest retry over a restart is given the same again.
        assert_eq!(house.refresh(&old).await.unwrap().refresh_token.as_ref(), Some(&new));
        sim.sleep(Span::from_seconds(11)).await;
        assert_eq!(house.refresh(&old).await.unwrap_err().check(), "grants::RefreshReused");
        assert!(house.refresh(&new).await.is_err(), "the family is over");
        house.domain.restart_server().await.unwrap();
        assert!(house.refresh(&new).await.is_err(), "and stays so");
        assert!(house.domain.ask(house.asks(code_request(&code))).await.is_err());
    });
}

/// What is for later is not taken now, wherever it is shown. Whom introspection tells nothing:
/// `about::rfc7662_2_2_an_opaque_token_is_told_to_its_resource_alone`.
/// req: AUTHZ-04 (part)
#[test]
fn past_defect_12_a_token_is_for_its_audience_and_time_at_introspection_too() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let (header, claims) = counter.parts();
        let later = counter.domain.now().seconds() + 60;
        for (name, value, active) in [
            ("nbf", json!(later - 61), true),
            ("nbf", json!(later), false),
            ("aud", json!(NOTICES), true),
            ("aud", json!(format!("{GATEWAY}/invoices")), false),
            ("aud", json!([NOTICES, "https://other.example"]), false),
            ("iss", json!("https://other.example"), false),
        ] {
            let mut said = claims.clone();
            said[name] = value.clone();
            let token = counter.ours(&header, &said).await;
            assert_eq!(counter.is_active(&token).await, active, "{name}: {value}");
        }
    });
}

/// Everything of ours that is known by a hash is known by the hash of all of it.
/// req: AUTHZ-21 (part)
#[test]
fn past_defect_16_what_is_cut_short_or_drawn_out_is_nothing() {
    story(|sim| async move {
        let counter = Counter::with(&sim, "opaque").await;
        let whole = &counter.answer.access_token;
        assert!(whole.starts_with("aims_at_"));
        let active = |taken: [bool; 3]| (taken[0], taken[1]);
        assert_eq!(active(counter.taken(whole).await), (true, true));
        for text in altered(whole) {
            assert_eq!(active(counter.taken(&text).await), (false, false), "{text}");
        }
        let refresh = counter.answer.refresh_token.as_ref().unwrap();
        let ask = async |request| {
            let call = counter.client.asks(request, counter.domain.now());
            counter.domain.ask(call).await.map_err(|refusal| refusal.check())
        };
        for text in altered(refresh) {
            let refused = ask(refresh_request(&text, NOTICES, "")).await.unwrap_err();
            assert!(["grants::NotHeld", "grants::Refresh"].contains(&refused), "{text}: {refused}");
        }
        ask(refresh_request(refresh, NOTICES, "")).await.unwrap();
        let of = ("grant-2", counter.client.id.as_str(), ADA);
        let grant = counter.domain.grant(of, NOTICES, "notices.read", "openid");
        let code = counter.domain.code(&grant, |_| ());
        for text in altered(&code) {
            assert_eq!(ask(code_request(&text)).await.unwrap_err(), "grants::NotHeld", "{text}");
        }
        ask(code_request(&code)).await.unwrap();
    });
}

/// The text cut, longer, and with another last character that stands for the same bytes.
fn altered(text: &str) -> Vec<String> {
    let cut = [text.len() / 2, text.len() - 2, text.len() - 1];
    let mut all: Vec<_> = cut.iter().map(|at| text[..*at].to_owned()).collect();
    all.extend([format!("{text}A"), format!("{text}="), format!("A{text}"), text.to_uppercase()]);
    let (head, last) = text.split_at(text.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    let near = (at / 4 * 4..at / 4 * 4 + 4).filter(|other| *other != at);
    all.extend(near.map(|other| format!("{head}{}", &alphabet[other..=other])));
    all
}

/// No other text that we signed or gave is taken for an access token.
/// Downgrade of PKCE, mix-up, consent passed by: `flow/consent/tests/it/requests.rs`,
/// `spec/oauth/tests/it/authorization.rs`, `flow/consent/tests/it/answers.rs`.
/// req: AUTHZ-03 (part)
#[test]
fn past_defect_18_one_kind_of_token_is_not_taken_for_another() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let jwt_svid = counter.domain.jwt_svid("/opt/clerk", NOTICES).await;
        let (header, claims) = counter.parts();
        let mut others = vec![
            ("an ID token", counter.answer.id_token.clone().unwrap()),
            ("a refresh token", counter.answer.refresh_token.clone().unwrap()),
            ("a WIT", counter.clerk.wit.expose().to_owned()),
            ("a JWT-SVID", jwt_svid.expose().to_owned()),
            ("an assertion", counter.assertion(&json!({ "alg": "ES256" }), &counter.claims())),
        ];
        // The same claims, by the same key, under another name.
        for kind in ["JWT", "dpop+jwt", "txntoken+jwt", "logout+jwt", "wit+jwt", ""] {
            let mut header = header.clone();
            header["typ"] = kind.into();
            others.push(("another type", counter.ours(&header, &claims).await));
        }
        let mut header = header.clone();
        header.as_object_mut().unwrap().remove("typ");
        others.push(("no type", counter.ours(&header, &claims).await));
        for (what, token) in others {
            counter.check_nowhere(what, &token).await;
        }
    });
}

/// A proof is used up by its key and its id, whatever spelling of the target it has; keys do not
/// use up each other's ids; a proof without an id is none. That it is for its token and nonce:
/// `grants::rfc9449_5_…` and `grants::rfc9449_8_…`.
/// req: AUTHZ-10 (part)
#[test]
fn past_defect_19_proofs_of_possession_are_spent_by_key_and_id() {
    story(|sim| async move {
        let counter = Counter::open(&sim).await;
        let (domain, now) = (&counter.domain, counter.domain.now().seconds());
        let (one, two) = (DpopKey::new(domain), DpopKey::new(domain));
        let claims = |htu: &str| json!({ "jti": "same", "htm": "POST", "htu": htu, "iat": now });
        let refresh = counter.answer.refresh_token.as_ref().unwrap();
        let ask = async |proof: Vec<u8>| {
            let request = refresh_request(refresh, NOTICES, "");
            let call = with_dpop(counter.client.asks(request, domain.now()), proof);
            domain.ask(call).await.map(|_| ()).map_err(|refusal| refusal.check())
        };
        assert_eq!(ask(one.proof_of(&claims(TOKEN))).await, Ok(()));
        assert_eq!(ask(two.proof_of(&claims(TOKEN))).await, Ok(()), "of another key");
        for htu in [
            TOKEN.to_owned(),
            TOKEN.replace("https://aims", "HTTPS://AIMS"),
            format!("{TOKEN}?a=b"),
            format!("{TOKEN}#a"),
            TOKEN.replace("/token", "/./token"),
            TOKEN.replace("/token", "/%74oken"),
            TOKEN.replace("/token", "//token"),
        ] {
            let refused = ask(one.proof_of(&claims(&htu))).await.unwrap_err();
            assert!(["token::DpopReplayed", "token::Dpop"].contains(&refused), "{htu}: {refused}");
        }
        let exact = ask(one.proof_of(&claims(&TOKEN.replace("https", "HTTPS")))).await;
        assert_eq!(exact, Err("token::DpopReplayed"), "the same target, in another spelling");
        for wrong in [json!(null), json!(7), json!(""), json!("x".repeat(10_000))] {
            let mut claims = claims(TOKEN);
            claims["jti"] = wrong;
            assert_eq!(ask(one.proof_of(&claims)).await, Err("token::Dpop"));
        }
        let mut none = claims(TOKEN);
        none.as_object_mut().unwrap().remove("jti");
        assert_eq!(ask(one.proof_of(&none)).await, Err("token::Dpop"));
        // A restart does not forget it.
        domain.restart_server().await.unwrap();
        assert_eq!(ask(one.proof_of(&claims(TOKEN))).await, Err("token::DpopReplayed"));
    });
}

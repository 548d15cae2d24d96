//! The token endpoint.

use api::Source;
use http::{HeaderValue, Request, StatusCode};
use jose::{Algorithm, Audience, KeyId, NumericDate, PrivateKey, SigningInput};
use monitoring::{Event, Outcome};
use oauth::client_assertion::{AssertionType, ClientAssertion, ClientAssertionClaims};
use oauth::{ClientId, TokenId};
use time::Span;

use crate::browser::{Reply, Served, form_request};
use crate::handshakes::agent;
use crate::world::{INVOICES, NOW, OPEN, TestWorld, new_key};

pub(crate) const CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A client with a key of its own.
pub(crate) struct KeyClient {
    pub(crate) id: String,
    key: PrivateKey,
}

impl KeyClient {
    pub(crate) async fn register(world: &TestWorld) -> Self {
        Self::register_for(world, &["client_credentials"]).await
    }

    /// One that registered these grants.
    pub(crate) async fn register_for(world: &TestWorld, grants: &[&str]) -> Self {
        let key = PrivateKey::from_pkcs8(&new_key()).unwrap();
        let public = jose::PublicKey::from_spki_der(key.public().spki_der()).unwrap();
        let kid = KeyId::parse("k1").unwrap();
        let jwk = public.for_algorithm(Algorithm::Es256).unwrap().to_jwk().with_kid(kid);
        let metadata = serde_json::json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": grants,
            "jwks": { "keys": [jwk] },
        });
        let (operator, terms) = (TestWorld::operator(), flow::clients::Terms::default());
        let made = flow::clients::register(world, &operator, &metadata.to_string(), &terms).await;
        Self { id: made.unwrap().into_value().unwrap().0.client_id, key }
    }

    pub(crate) fn assertion(&self, jti: &str) -> String {
        let claims = ClientAssertionClaims {
            iss: ClientId::parse(&self.id).unwrap(),
            sub: ClientId::parse(&self.id).unwrap(),
            aud: Audience::one("https://localhost:8443".to_owned()),
            exp: NumericDate::from_time(NOW.plus(Span::from_seconds(60))),
            jti: TokenId::parse(jti).unwrap(),
            iat: None,
            nbf: None,
        };
        let kid = KeyId::parse("k1").unwrap();
        let input =
            SigningInput::<ClientAssertion>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
        let signature = self.key.sign(input.bytes());
        input.attach(signature).into_string()
    }

    async fn ask(&self, served: &Served, jti: &str, resource: &str, scope: &str) -> Reply {
        let assertion = self.assertion(jti);
        served
            .form(&[
                CREDENTIALS,
                ("client_assertion_type", AssertionType::Jwt.as_str()),
                ("client_assertion", &assertion),
                ("resource", resource),
                ("scope", scope),
            ])
            .await
    }
}

/// A token for `client`, without a socket.
pub(crate) async fn issue(world: &TestWorld, client: &KeyClient) -> String {
    let assertion = client.assertion("issued");
    let form = oauth::form::Form::parse(
        form_request(&[
            CREDENTIALS,
            ("client_assertion_type", AssertionType::Jwt.as_str()),
            ("client_assertion", &assertion),
            ("resource", OPEN),
            ("scope", "read"),
        ])
        .body(),
    );
    let form = form.unwrap();
    let call = flow::token::Call {
        request: oauth::token_request::TokenRequest::parse(&form).unwrap(),
        client: oauth::client_assertion::PresentedClient::parse(&form).unwrap(),
        attestation: None,
        dpop: Vec::new(),
        certificates: Vec::new(),
        source: "test".to_owned(),
    };
    match flow::token::answer(world, call).await.unwrap() {
        flow::token::End::Decided(recorded) => recorded.into_value().unwrap().access_token,
        other => panic!("{other:?}"),
    }
}

/// req: AUTHZ-07 (part)
#[tokio::test]
async fn rfc6749_4_4_a_client_gets_a_token_and_the_record_of_it() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    let reply = client.ask(&served, "j1", OPEN, "read").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.shown());
    let mut body = reply.json();
    let token = body.as_object_mut().unwrap().remove("access_token").unwrap();
    assert_eq!(token.as_str().unwrap().split('.').count(), 3);
    insta::assert_json_snapshot!(body, @r#"
    {
      "scope": "read",
      "token_type": "Bearer",
      "expires_in": 300
    }
    "#);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("pragma"), Some("no-cache"));
    let record = served.world.records().into_iter().next_back().unwrap();
    assert_eq!((record.event, record.outcome), (Event::TokenIssued, Outcome::Permitted));
    assert_eq!(reply.header("aims-audit-id"), Some(record.id.to_string().as_str()));
}

/// Defect: an assertion that is good for a second token.
#[tokio::test]
async fn rfc7523_3_an_assertion_is_good_once() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    assert_eq!(client.ask(&served, "j1", OPEN, "read").await.status, StatusCode::OK);
    let reply = client.ask(&served, "j1", OPEN, "read").await;
    insta::assert_snapshot!(reply.shown(), @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store
    pragma: no-cache
    access-control-allow-origin: *
    access-control-expose-headers: aims-audit-id, dpop-nonce, retry-after, www-authenticate
    x-content-type-options: nosniff

    {
      "error": "invalid_client",
      "error_description": "the client's proof was used before"
    }
    "#);
    let record = served.world.records().into_iter().next_back().unwrap();
    assert_eq!(record.outcome, Outcome::Refused);
    assert_eq!(reply.header("aims-audit-id"), Some(record.id.to_string().as_str()));
}

#[tokio::test]
async fn rfc6749_5_2_decisions_against_a_client_are_told_with_their_record() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    let mut told = String::new();
    for (jti, resource, scope) in [
        ("j1", "https://nowhere.example", "read"),
        ("j2", OPEN, "write"),
        ("j3", INVOICES, "invoices.read"),
        ("j4", "", "read"),
    ] {
        let reply = client.ask(&served, jti, resource, scope).await;
        let records = served.world.records();
        let id = records.last().unwrap().id.to_string();
        assert_eq!(reply.header("aims-audit-id"), Some(id.as_str()));
        told.push_str(&format!("{} {}\n", reply.status.as_u16(), reply.json()));
    }
    insta::assert_snapshot!(told, @r#"
    400 {"error":"invalid_target","error_description":"the target is not known here"}
    400 {"error":"invalid_scope","error_description":"scope `write` is not among those of the target: `read`"}
    400 {"error":"invalid_target","error_description":"tokens for this target are for workloads with a WIT; this client has none"}
    400 {"error":"invalid_target","error_description":"no `resource` or `audience`: name the one that the token is for"}
    "#);
    assert_eq!(served.refusals(), [""; 0]);
}

/// Nothing is recorded of who is nobody; it is counted.
#[tokio::test]
async fn rfc6749_5_2_strangers_are_counted_and_not_recorded() {
    let served = Served::start().await;
    let before = served.world.records().len();
    let nobody = KeyClient {
        id: "client-nobody".to_owned(),
        key: PrivateKey::from_pkcs8(&new_key()).unwrap(),
    };
    let reply = nobody.ask(&served, "j1", OPEN, "read").await;
    insta::assert_snapshot!(reply.shown(), @r#"
    400 Bad Request
    content-type: application/json
    cache-control: no-store
    pragma: no-cache
    access-control-allow-origin: *
    access-control-expose-headers: aims-audit-id, dpop-nonce, retry-after, www-authenticate
    x-content-type-options: nosniff

    {
      "error": "invalid_client",
      "error_description": "the client is not known"
    }
    "#);
    assert_eq!(reply.header("aims-audit-id"), None);
    let none = served.form(&[CREDENTIALS, ("resource", OPEN)]).await;
    assert_eq!(none.json()["error"], "invalid_client");
    assert_eq!(served.world.records().len(), before);
    assert_eq!(served.refusals(), ["client::Unknown", "client::None"]);
}

#[tokio::test]
async fn the_endpoint_is_unavailable_when_nothing_can_be_recorded() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    served.world.set_down(true);
    insta::assert_snapshot!(client.ask(&served, "j1", OPEN, "read").await.shown(), @r#"
    503 Service Unavailable
    content-type: application/json
    cache-control: no-store
    pragma: no-cache
    retry-after: 1
    access-control-allow-origin: *
    access-control-expose-headers: aims-audit-id, dpop-nonce, retry-after, www-authenticate
    x-content-type-options: nosniff

    {
      "error": "temporarily_unavailable",
      "error_description": "nothing can be decided or recorded just now"
    }
    "#);
    served.world.set_down(false);
    assert_eq!(client.ask(&served, "j1", OPEN, "read").await.status, StatusCode::OK);
}

/// What comes through the node API is read by the same code, and answered by the same table.
#[tokio::test]
async fn the_same_answers_for_components() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect::<Vec<_>>()
    };
    let node = "spiffe://demo.example/aims/node/join_token/host-1";
    let assertion = client.assertion("j1");
    let form = owned(&[
        CREDENTIALS,
        ("client_assertion_type", AssertionType::Jwt.as_str()),
        ("client_assertion", &assertion),
        ("resource", OPEN),
        ("scope", "read"),
    ]);
    let (status, body) = served.origin.token(node, &form, &[]).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let twice = [form.clone(), owned(&[("scope", "read")])].concat();
    let (status, body) = served.origin.token(node, &twice, &[]).await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["error"]), (400, &"invalid_request".into()));
    for (fields, check) in [
        (owned(&[("Authorization", "Bearer a")]), "authorization"),
        (owned(&[("Authorization", "Basic YTpi")]), "client::Several"),
        (owned(&[("OAuth-Client-Attestation", "a")]), "field"),
        (owned(&[("a b", "c")]), "not_http"),
    ] {
        let (status, _) = served.origin.token(node, &form, &fields).await;
        assert!(matches!(status, 400 | 401));
        let last = served.refused.lock().unwrap().last().cloned();
        assert_eq!(last, Some((Source::Component(node.to_owned()), check)));
    }
}

struct Unread {
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    path: &'static str,
    body: &'static str,
    status: u16,
    error: &'static str,
    check: &'static str,
}

const READS: Unread = Unread {
    name: "",
    headers: &[("content-type", FORM)],
    path: "/token",
    body: "grant_type=client_credentials",
    status: 400,
    error: "invalid_request",
    check: "",
};

/// Requests that are refused before any flow sees them.
const UNREAD: &[Unread] = &[
    Unread { name: "no content type", headers: &[], check: "content_type", ..READS },
    Unread {
        name: "json",
        headers: &[("content-type", "application/json")],
        body: "{\"grant_type\":\"client_credentials\"}",
        check: "content_type",
        ..READS
    },
    Unread {
        name: "two content types",
        headers: &[("content-type", FORM), ("content-type", "application/json")],
        check: "content_type",
        ..READS
    },
    Unread {
        name: "another charset",
        headers: &[("content-type", "application/x-www-form-urlencoded; charset=utf-16")],
        check: "content_type",
        ..READS
    },
    Unread {
        name: "compressed",
        headers: &[("content-type", FORM), ("content-encoding", "gzip")],
        check: "content_encoding",
        ..READS
    },
    Unread { name: "a parameter in the URL", path: "/token?client_id=a", check: "query", ..READS },
    Unread { name: "an empty query", path: "/token?", check: "query", ..READS },
    Unread {
        name: "a repeated parameter",
        body: "grant_type=client_credentials&scope=a&scope=b",
        check: "form",
        ..READS
    },
    Unread {
        name: "a repeated parameter, encoded",
        body: "grant_type=client_credentials&scope=a&%73cope=b",
        check: "form",
        ..READS
    },
    Unread { name: "not a form", body: "grant_type=%zz", check: "form", ..READS },
    Unread {
        name: "a secret",
        body: "grant_type=client_credentials&client_id=a&client_secret=b",
        error: "invalid_client",
        check: "client::Unknown",
        ..READS
    },
    Unread {
        name: "half an assertion",
        body: "grant_type=client_credentials&client_assertion=b",
        check: "client",
        ..READS
    },
    Unread { name: "no grant", body: "scope=a", check: "request", ..READS },
    Unread {
        name: "the password grant",
        body: "grant_type=password&username=a&password=b",
        error: "unsupported_grant_type",
        check: "request",
        ..READS
    },
    Unread {
        name: "rich authorization requests",
        body: "grant_type=client_credentials&authorization_details=[]",
        error: "invalid_authorization_details",
        check: "request",
        ..READS
    },
    Unread {
        name: "basic authentication",
        headers: &[("content-type", FORM), ("authorization", "Basic YTpi")],
        status: 401,
        error: "invalid_client",
        check: "client::Unknown",
        ..READS
    },
    Unread {
        name: "an attestation without proof",
        headers: &[("content-type", FORM), ("oauth-client-attestation", "eyJ.e30.AA")],
        check: "field",
        ..READS
    },
    Unread {
        name: "a proof without attestation",
        headers: &[("content-type", FORM), ("oauth-client-attestation-pop", "eyJ.e30.AA")],
        check: "field",
        ..READS
    },
    Unread {
        name: "two attestations",
        headers: &[
            ("content-type", FORM),
            ("oauth-client-attestation", "eyJ.e30.AA"),
            ("oauth-client-attestation", "eyJ.e30.AB"),
            ("oauth-client-attestation-pop", "eyJ.e30.AA"),
        ],
        check: "field",
        ..READS
    },
];

/// Each of them says what is wrong, is not kept, and is counted for its source.
/// req: AUTHZ-07 (part)
#[tokio::test]
async fn rfc6749_5_2_what_is_not_read_is_told_and_counted() {
    let served = Served::start().await;
    for case in UNREAD {
        let mut request = Request::post(case.path);
        for (name, value) in case.headers {
            request = request.header(*name, *value);
        }
        let reply = served.send(request.body(case.body.into()).unwrap()).await;
        let body = reply.json();
        assert_eq!(reply.status.as_u16(), case.status, "{}: {body}", case.name);
        assert_eq!(body["error"], case.error, "{}: {body}", case.name);
        assert!(body["error_description"].is_string(), "{}", case.name);
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{}", case.name);
        let challenge = reply.header("www-authenticate");
        let expect = (case.status == 401).then_some("Basic realm=\"token\"");
        assert_eq!(challenge, expect, "{}", case.name);
        assert_eq!(served.refusals().last(), Some(&case.check), "{}", case.name);
    }
    assert!(!served.world.records().iter().any(|record| record.event == Event::TokenIssued));
}

#[tokio::test]
async fn rfc6749_5_2_the_challenge_is_of_the_scheme_that_the_client_used() {
    let served = Served::start().await;
    for (value, scheme) in [
        (&b"Basic YTpi"[..], "Basic"),
        (b"basic YTpi", "Basic"),
        (b"Bearer a", "Bearer"),
        (b"dpop a", "DPoP"),
        (b"Negotiate a", "Basic"),
        (b"", "Basic"),
        (b"\xff", "Basic"),
    ] {
        let mut request = form_request(&[CREDENTIALS]);
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().insert("authorization", value);
        let reply = served.send(request).await;
        let challenge = format!("{scheme} realm=\"token\"");
        assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
    }
}

/// The type is compared as media types are.
#[tokio::test]
async fn rfc9110_8_3_1_media_types_are_compared_without_case() {
    let served = Served::start().await;
    for value in [
        "Application/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded;charset=\"utf-8\"",
    ] {
        let mut request = form_request(&[("grant_type", "password")]);
        request.headers_mut().insert("content-type", value.parse().unwrap());
        let reply = served.send(request).await;
        assert_eq!(reply.json()["error"], "unsupported_grant_type", "{value}");
    }
}

/// req: AUTHN-01 (part), AUTHZ-07 (part)
#[tokio::test]
async fn rfc8705_2_an_agent_proves_itself_by_its_certificate() {
    let served = Served::start().await;
    let agent = agent(&served.world, "invoice").await;
    let form = |client_id: &str| {
        form_request(&[
            CREDENTIALS,
            ("client_id", client_id),
            ("resource", INVOICES),
            ("scope", "invoices.read"),
        ])
    };
    let reply = served.send_mutual(agent.identity(), form(&agent.id)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.shown());
    let record = served.world.records().into_iter().next_back().unwrap();
    assert_eq!(record.agent.as_deref(), Some(agent.id.as_str()));
    assert_eq!(record.proof.as_deref(), Some("spiffe_x509"));
    // Its certificate is no certificate of another.
    let other = served.send_mutual(agent.identity(), form("spiffe://demo.example/agent/x")).await;
    assert_eq!(other.json()["error"], "invalid_client");
    assert_eq!(served.refusals(), ["client::SpiffeX509"]);
}

/// Registration is off unless policy says otherwise; who manages nothing is told nothing.
/// req: AUTHZ-22 (part)
#[tokio::test]
async fn rfc7591_3_strangers_register_nothing_and_manage_nothing() {
    let served = Served::start().await;
    let body = br#"{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"none"}"#;
    let post = |media: &str| {
        let request = Request::post("/register").header("content-type", media);
        request.body(body.to_vec()).unwrap()
    };
    let off = served.send(post("application/json")).await;
    assert_eq!((off.status.as_u16(), &off.json()["error"]), (403, &"access_denied".into()));
    assert_eq!(served.refusals().last(), Some(&"registration::Off"));
    let form = served.send(post("application/x-www-form-urlencoded")).await;
    assert_eq!(form.status.as_u16(), 400);
    for method in ["GET", "PUT", "DELETE"] {
        let request = Request::builder().method(method).uri("/register/client-1");
        let request = request.header("content-type", "application/json");
        let request = request.header("authorization", "Bearer aims_rat_x");
        let reply = served.send(request.body(body.to_vec()).unwrap()).await;
        let challenge = reply.header("www-authenticate").map(str::to_owned);
        assert_eq!((method, reply.status.as_u16()), (method, 401));
        assert_eq!(challenge.as_deref(), Some("Bearer error=\"invalid_token\""));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(served.refusals().last(), Some(&"registration::UnknownToken"));
    }
}

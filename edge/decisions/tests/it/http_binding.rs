//! AuthZEN §9, §10.1 and the levels Basic Core, Batch Core and Discovery of its certification
//! scenario; the endpoints of access requests.

use std::sync::{Arc, Mutex};

use approve::answer::{self, Said};
use axum::Router;
use axum::body::Body;
use decisions::Parts;
use env::World;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use testkit::Sim;
use testkit::fixture::{
    Domain, GATEWAY, ISSUER, by_wit, credentials, files, files_but, registration, story,
};
use tower::ServiceExt;

const PEP: &str = "spiffe://demo.example/agent/pep";
const CLERK: &str = "spiffe://demo.example/agent/clerk";
const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";
const REQUESTS: &str = "/access/v1/requests";

struct House {
    domain: Domain,
    router: Router,
    counted: Arc<Mutex<Vec<&'static str>>>,
    token: String,
}

/// What came back.
struct Back {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Back {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl House {
    async fn open(sim: &Sim) -> Self {
        let plain = files();
        let own = |name: &str| plain.get(name).unwrap().to_owned();
        let domain = format!("{}\n[approvals]\nask = \"owner\"", own("domain.toml"));
        let tools = format!("decide = [\"{PEP}\"]\n{}", own("resources/invoices.toml"));
        let rules = r#"
            @id("all") permit(principal, action, resource);
            @id("ask") @obligations("approval")
            permit(principal, action == Aims::Action::"tool.call", resource)
            when { resource.name == "pay_invoice" };
        "#;
        let files = files_but(&[
            ("domain.toml", &domain),
            ("resources/invoices.toml", &tools),
            ("access/main.cedar", rules),
        ]);
        let domain = Domain::start_with(sim, files).await;
        for name in ["clerk", "pep"] {
            domain.register(registration(name, &["invoices"])).await;
        }
        let pep = domain.party("/opt/pep").await;
        let asked = credentials(&format!("{ISSUER}/access/v1"), "");
        let token = domain.token(by_wit(&pep, asked, domain.now())).await;
        let counted: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let counts = Arc::clone(&counted);
        let on_refused: decisions::OnRefused =
            Arc::new(move |_, check| counts.lock().unwrap().push(check));
        let router = decisions::router(Parts { world: domain.server.world(), on_refused });
        Self { domain, router, counted, token }
    }

    async fn send(&self, request: Request<Body>) -> Back {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Back { status: parts.status, headers: parts.headers, body }
    }

    fn request(&self, method: Method, path: &str, body: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Back {
        self.send(self.request(Method::POST, path, &body.to_string())).await
    }

    async fn get(&self, path: &str) -> Back {
        self.send(self.request(Method::GET, path, "")).await
    }

    async fn allow(&self) {
        let world = self.domain.server.world();
        let found = world.store().every::<approval::Approval>();
        let found = found.iter().find(|one| one.state == approval::State::Pending).unwrap();
        let said = Said { id: &found.id, allow: true, shown: &found.hash, user_code: None };
        let done = answer::by_operator(&*world, &self.domain.operator(), said).await.unwrap();
        done.into_value().unwrap();
    }
}

fn question(tool: &str) -> Value {
    json!({
        "subject": {"type": "agent", "id": CLERK},
        "action": {"name": "tool.call"},
        "resource": {"type": "tool", "id": format!("{GATEWAY}/invoices#{tool}")},
    })
}

/// req: AUTHZ-24 (part)
#[test]
fn authzen_10_1_a_question_gets_a_decision() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut asked = question("list_invoices");
        asked["foo"] = json!("bar");
        asked["futureField"] = json!({"nested": true});
        for _ in 0..3 {
            let back = house.post(ONE, &asked).await;
            assert_eq!(
                (back.status, back.json()["decision"].clone()),
                (StatusCode::OK, true.into())
            );
            assert_eq!(back.field("content-type"), "application/json");
            assert_eq!(back.field("cache-control"), "no-store");
            assert_eq!(back.json()["context"]["evaluation_id"], back.field("aims-audit-id"));
            assert_eq!(back.headers.get("x-request-id"), None);
        }
        // §10.1.3.
        let mut request = house.request(Method::POST, ONE, &asked.to_string());
        request.headers_mut().insert("x-request-id", "bfe9eb29-ab87".parse().unwrap());
        assert_eq!(house.send(request).await.field("x-request-id"), "bfe9eb29-ab87");
        let batch = json!({"subject": asked["subject"], "action": asked["action"], "evaluations": [
            {"resource": asked["resource"]}, {},
            {"resource": question("pay_invoice")["resource"]},
        ]});
        let back = house.post(MANY, &batch).await;
        let told = back.json();
        let decisions: Vec<_> = told["evaluations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["decision"].as_bool().unwrap())
            .collect();
        assert_eq!((back.status, decisions), (StatusCode::OK, vec![true, false, false]));
        assert_eq!(told.get("decision"), None);
        assert_eq!(house.post(MANY, &asked).await.json()["decision"], true);
        asked["evaluations"] = json!([]);
        assert_eq!(house.post(MANY, &asked).await.json()["decision"], true);
        assert!(house.counted.lock().unwrap().is_empty());
    });
}

/// What is compared and shown is what was written, and no message is more work than a named bound.
/// req: AUTHZ-24 (part), AUTHZ-31 (part)
#[test]
fn authzen_11_5_what_reads_in_two_ways_or_is_too_much_is_refused() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let with = |sum: &str| {
            let mut asked = question("pay_invoice");
            asked["context"] = json!({"arguments": {"sum": 7}});
            asked.to_string().replace(r#""sum":7"#, &format!(r#""sum":{sum}"#))
        };
        let send = async |path: &str, body: &str| {
            house.send(house.request(Method::POST, path, body)).await
        };
        for sum in ["1e20", "0.1", "9007199254740991"] {
            let back = send(ONE, &with(sum)).await;
            assert_eq!((back.status, &back.json()["decision"]), (StatusCode::OK, &json!(false)));
        }
        for sum in
            ["100000000000000000001", "100000000000000000000.5", "9007199254740993", "1e-400"]
        {
            for path in [ONE, MANY, REQUESTS] {
                let back = send(path, &with(sum)).await;
                let told = String::from_utf8(back.body).unwrap();
                assert_eq!(back.status, StatusCode::BAD_REQUEST, "{path} {sum}");
                assert!(told.contains("`context.arguments.sum`") && told.contains(sum), "{told}");
            }
        }
        let batch = |bytes: usize| {
            let one = question("list_invoices");
            json!({
                "subject": one["subject"], "action": one["action"],
                "context": {"arguments": {"text": "x".repeat(bytes)}},
                "evaluations": vec![json!({"resource": one["resource"]}); 256],
            })
        };
        let back = house.post(MANY, &batch(200 * 1024)).await;
        assert_eq!(back.status, StatusCode::PAYLOAD_TOO_LARGE);
        let back = house.post(MANY, &batch(1024)).await;
        assert_eq!(back.status, StatusCode::OK);
        let told = back.json();
        let all = told["evaluations"].as_array().unwrap();
        assert!(all.len() == 256 && all.iter().all(|one| one["decision"] == true));
    });
}

/// What does not read as the question `good` does.
fn malformed(good: &Value) -> Vec<String> {
    let without = |pointer: &str| {
        let mut value = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        value.to_string()
    };
    let mut bodies: Vec<String> = [
        "/subject",
        "/action",
        "/resource",
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
    ]
    .map(without)
    .to_vec();
    let mut wrong = good.clone();
    wrong["subject"] = json!("alice");
    bodies.push(wrong.to_string());
    bodies.extend(["", "{", "[]", "nonsense", r#"{"a":1,"a":1}"#].map(str::to_owned));
    bodies
}

/// §10.1.2, each refusal as a string.
/// req: AUTHZ-24 (part)
#[test]
fn authzen_10_1_2_each_error_has_its_status() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let good = question("list_invoices");
        for body in malformed(&good) {
            let back = house.send(house.request(Method::POST, ONE, &body)).await;
            assert_eq!(back.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(back.field("content-type"), "text/plain; charset=utf-8");
            assert!(!back.body.is_empty());
        }
        let check = |edit: fn(&mut Request<Body>), expect: StatusCode, counts: &'static str| {
            let mut request = house.request(Method::POST, ONE, &good.to_string());
            edit(&mut request);
            let house = &house;
            async move {
                let back = house.send(request).await;
                assert_eq!(back.status, expect, "{counts}");
                assert_eq!(house.counted.lock().unwrap().last(), Some(&counts));
                back
            }
        };
        let (bad, unauthorized) = (StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED);
        let form = |request: &mut Request<Body>| {
            request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        };
        check(form, bad, "decisions::ContentType").await;
        let encoded = |request: &mut Request<Body>| {
            request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        };
        check(encoded, bad, "decisions::ContentEncoding").await;
        let long = |request: &mut Request<Body>| {
            *request.body_mut() = Body::from("x".repeat(authzen::MESSAGE_BYTES_MAX + 1));
        };
        check(long, StatusCode::PAYLOAD_TOO_LARGE, "decisions::TooLong").await;
        let bare = |request: &mut Request<Body>| {
            request.headers_mut().remove("authorization");
        };
        let back = check(bare, unauthorized, "gateway::NoToken").await;
        assert_eq!(back.field("www-authenticate"), "Bearer");
        let foreign = |request: &mut Request<Body>| {
            request.headers_mut().insert("authorization", "Bearer x.y.z".parse().unwrap());
        };
        let back = check(foreign, unauthorized, "gateway::ForeignToken").await;
        assert!(back.field("www-authenticate").contains("invalid_token"));
        let twice = |request: &mut Request<Body>| {
            request.headers_mut().append("authorization", "Bearer x".parse().unwrap());
        };
        check(twice, bad, "gateway::BadRequest").await;
        let mut other = good.clone();
        other["resource"]["id"] = json!("https://elsewhere.example#x");
        assert_eq!(house.post(ONE, &other).await.status, StatusCode::FORBIDDEN);
        assert_eq!(house.get(ONE).await.status, StatusCode::METHOD_NOT_ALLOWED);
    });
}

/// req: AUTHZ-24 (part)
#[test]
fn authzen_9_2_the_document_is_where_it_must_be() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let at = "/.well-known/authzen-configuration";
        let back = house.send(Request::get(at).body(Body::empty()).unwrap()).await;
        assert_eq!((back.status, back.field("content-type")), (StatusCode::OK, "application/json"));
        let document = back.json();
        assert_eq!(document["policy_decision_point"], ISSUER);
        let members: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
        let expect = [
            "policy_decision_point",
            "access_evaluation_endpoint",
            "access_evaluations_endpoint",
            "access_request_endpoint",
            "capabilities",
        ];
        assert_eq!(members, expect);
        for member in &members[1..4] {
            let url = document[member].as_str().unwrap();
            let path = url.strip_prefix(ISSUER).unwrap();
            assert_eq!(house.post(path, &json!({})).await.status, StatusCode::BAD_REQUEST);
        }
    });
}

/// From the denial over the task to the one permit.
/// req: AUTHZ-31 (part), AUTHZ-32 (part)
#[test]
fn arap_a_task_is_told_of_over_http() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = question("pay_invoice");
        let denied = house.post(ONE, &asked).await.json();
        let hint = &denied["context"]["access_request"];
        assert_eq!(hint["endpoint"], format!("{ISSUER}{REQUESTS}"));
        let mut handed = asked.clone();
        handed["denial"] = json!({
            "evaluation_id": denied["context"]["evaluation_id"], "expires_at": hint["expires_at"],
        });
        let mut request = house.request(Method::POST, REQUESTS, &handed.to_string());
        request.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
        let back = house.send(request).await;
        assert_eq!((back.status, back.field("retry-after")), (StatusCode::ACCEPTED, "5"));
        let task = back.json()["task"].clone();
        assert_eq!(back.field("location"), task["status_endpoint"].as_str().unwrap());
        let path = back.field("location").strip_prefix(ISSUER).unwrap().to_owned();
        let back = house.get(&path).await;
        assert_eq!(
            (back.status, &back.json()["task"]["status"]),
            (StatusCode::OK, &json!("pending"))
        );
        assert_eq!(back.field("retry-after"), "5");
        house.allow().await;
        let back = house.get(&path).await;
        let told = back.json();
        assert_eq!(told["task"]["status"], "approved");
        assert_eq!(
            (back.field("retry-after"), &told["result"]["mode"]),
            ("", &json!("reevaluate"))
        );
        let mut again = asked.clone();
        again["context"] = json!({"approval": told["result"]["approval"]});
        assert_eq!(house.post(ONE, &again).await.json()["decision"], true);
        assert_eq!(house.post(ONE, &again).await.json()["context"]["reason"], "approval_expired");
        // What was answered is not taken back.
        let back = house.post(&format!("{path}/cancel"), &json!({"reason": "late"})).await;
        assert_eq!(back.status, StatusCode::CONFLICT);
        assert_eq!(back.field("content-type"), "application/problem+json");
        let urn = "urn:openid:authzen:access-request:error:";
        assert_eq!(back.json()["type"], format!("{urn}invalid_task_state"));
        // One that waits is, without a body, and by either method.
        for method in [Method::POST, Method::DELETE] {
            let denied = house.post(ONE, &asked).await.json();
            handed["denial"]["evaluation_id"] = denied["context"]["evaluation_id"].clone();
            handed["denial"]["expires_at"] =
                denied["context"]["access_request"]["expires_at"].clone();
            let task = house.post(REQUESTS, &handed).await.json()["task"].clone();
            let path = task["links"]["cancel"].as_str().unwrap().strip_prefix(ISSUER).unwrap();
            let mut request = house.request(method, path, "");
            request.headers_mut().remove("content-type");
            let back = house.send(request).await;
            let found = (back.status, back.json()["task"]["status"].clone());
            assert_eq!(found, (StatusCode::OK, json!("cancelled")));
        }
    });
}

/// Access Request and Approval Profile, Error Responses.
/// req: AUTHZ-32 (part)
#[test]
fn arap_each_problem_has_its_type_and_status() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = question("pay_invoice");
        let denied = house.post(ONE, &asked).await.json();
        let mut handed = asked.clone();
        handed["denial"] = json!({
            "evaluation_id": denied["context"]["evaluation_id"],
            "expires_at": denied["context"]["access_request"]["expires_at"],
        });
        let check = async |body: Value, key: &str, status: u16, kind: &str| {
            let mut request = house.request(Method::POST, REQUESTS, &body.to_string());
            request.headers_mut().insert("idempotency-key", key.parse().unwrap());
            let back = house.send(request).await;
            let told = back.json();
            assert_eq!(back.field("content-type"), "application/problem+json", "{told}");
            let found = (back.status.as_u16(), told["type"].as_str().unwrap().to_owned());
            let kind = match kind {
                "about:blank" => kind.to_owned(),
                kind => format!("urn:openid:authzen:access-request:error:{kind}"),
            };
            assert_eq!(found, (status, kind), "{told}");
            assert_eq!(told["status"], status);
        };
        let with = |pointer: &str, other: Value| {
            let mut body = handed.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[name] = other;
            body
        };
        let long = "k".repeat(authzen::access_request::IDEMPOTENCY_KEY_BYTES_MAX + 1);
        check(handed.clone(), &long, 400, "about:blank").await;
        check(with("/items", json!([])), "k", 400, "invalid_denial_binding").await;
        check(with("/callback", json!({})), "k", 400, "about:blank").await;
        check(with("/denial", json!({})), "k", 400, "about:blank").await;
        check(with("/denial/evaluation_id", json!("x")), "k", 400, "invalid_denial_binding").await;
        let elsewhere = json!({"type": "tool", "id": "https://elsewhere.example#x"});
        check(with("/resource", elsewhere), "k", 403, "about:blank").await;
        let mut request = house.request(Method::POST, REQUESTS, &handed.to_string());
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        assert_eq!(house.send(request).await.status, StatusCode::ACCEPTED);
        let more = with("/requested_access", json!({"emergency": true}));
        check(more, "k", 409, "duplicate_request").await;
        let back = house.get(&format!("{REQUESTS}/aims_aq_unknown")).await;
        assert_eq!(back.status, StatusCode::NOT_FOUND);
        assert!(back.json()["type"].as_str().unwrap().ends_with("unknown_task"));
        let mut bare = house.request(Method::GET, &format!("{REQUESTS}/aims_aq_unknown"), "");
        bare.headers_mut().remove("authorization");
        let back = house.send(bare).await;
        assert_eq!(
            (back.status, back.field("www-authenticate")),
            (StatusCode::UNAUTHORIZED, "Bearer")
        );
    });
}

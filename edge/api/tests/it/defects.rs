//! Mistakes that servers of this kind made (docs/past-defects.md), as they are on the wire.

use std::time::{Duration, Instant};

use http::{HeaderValue, Request};
use oauth::client_assertion::AssertionType;

use crate::browser::{Reply, Served};
use crate::endpoint::{FORM, KeyClient, issue};
use crate::world::OPEN;

/// Longer than any answer takes, shorter than what reading by the square of the length took.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn userinfo(served: &Served, fields: &[&[u8]]) -> Reply {
    let mut request = Request::get("/userinfo");
    for field in fields {
        request = request.header("authorization", HeaderValue::from_bytes(field).unwrap());
    }
    served.send(request.body(Vec::new()).unwrap()).await
}

/// RFC 6750 §2.1, RFC 9110 §11.6.2: one field, one scheme, one space, one token. What is not that is
/// not a token, and none is looked for in it.
/// req: AUTHZ-25 (part)
#[tokio::test]
async fn past_defect_13_the_authorization_field_reads_in_one_way() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    let token = issue(&served.world, &client).await;
    let bearer = format!("Bearer {token}");
    // A token of a resource is none of userinfo, and is told so: it was read.
    let challenge = |reply: &Reply| reply.header("www-authenticate").unwrap_or_default().to_owned();
    // RFC 9110 §11.1: the scheme "is case-insensitive".
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let reply = userinfo(&served, &[format!("{scheme} {token}").as_bytes()]).await;
        assert!(challenge(&reply).contains("invalid_token"), "{scheme}: {}", challenge(&reply));
    }
    let odd: Vec<Vec<u8>> = vec![
        b"Bearer".to_vec(),
        b"Bearer,".to_vec(),
        format!("Bearer\t{token}").into_bytes(),
        format!("Bearer {token} x").into_bytes(),
        format!("Bearer {token}, Bearer {token}").into_bytes(),
        format!("Bearer {token},x=\"y\"").into_bytes(),
        format!("Bearer token=\"{token}\"").into_bytes(),
        format!("Bearer \"{token}\"").into_bytes(),
        format!("Bearer={token}").into_bytes(),
        format!("BearerX {token}").into_bytes(),
        format!("X, Bearer {token}").into_bytes(),
        format!("Basic {token}").into_bytes(),
        token.clone().into_bytes(),
        [b"Bearer ".as_slice(), &[0xff, 0xfe]].concat(),
        [bearer.as_bytes(), &[0xa0]].concat(),
    ];
    for field in odd {
        let reply = userinfo(&served, &[&field]).await;
        let text = String::from_utf8_lossy(&field).replace(&token, "TOKEN");
        assert!([400, 401].contains(&reply.status.as_u16()), "`{text}`: {}", reply.shown());
        assert!(!challenge(&reply).contains("invalid_token"), "`{text}` was read as a token");
    }
    for twice in [[bearer.as_bytes(), bearer.as_bytes()], [bearer.as_bytes(), b"Basic YTpi"]] {
        let reply = userinfo(&served, &twice).await;
        assert_eq!(reply.status.as_u16(), 400, "{}", reply.shown());
    }
    served.stop().await;
}

/// A request that is as long as requests may be, all of it one parameter, is answered at once. That
/// pages read with no credentials: `published::oauth21_3_2_…`; that a session is new at each
/// sign-in: `flow/people/tests/it/sign_in.rs`.
/// req: AUTHZ-07 (part)
#[tokio::test]
async fn past_defect_15_a_long_scope_costs_no_more_than_its_length() {
    let served = Served::start().await;
    let client = KeyClient::register(&served.world).await;
    let kind = AssertionType::Jwt.as_str();
    let long = |unit: &str| unit.repeat(30_000 / unit.len());
    for (at, (name, value)) in [
        ("scope", long("read+")),
        ("scope", long("a+b+")),
        ("scope", long("+")),
        ("scope", long("a")),
        ("scope", (0..5_000).map(|n| format!("s{n}+")).collect::<String>()),
        ("resource", format!("https://a.example/{}", long("a/"))),
        ("resource", format!("https://a.example/{}", long("..%2F"))),
        ("x", long("%41")),
    ]
    .into_iter()
    .enumerate()
    {
        let assertion = client.assertion(&format!("long-{at}"));
        let rest = if name == "resource" { "" } else { "&resource=" };
        let body = format!(
            "grant_type=client_credentials&client_assertion_type={kind}\
             &client_assertion={assertion}{rest}{}&{name}={value}",
            if rest.is_empty() { "" } else { OPEN }
        );
        let request = Request::post("/token").header("content-type", FORM);
        let begun = Instant::now();
        let reply = served.send(request.body(body.into_bytes()).unwrap()).await;
        assert!(begun.elapsed() < AT_ONCE, "{name} took {:?}", begun.elapsed());
        // What is not known is ignored (RFC 6749 §3.2); of the others none is a scope or resource.
        let expected = if name == "x" { 200 } else { 400 };
        assert_eq!(reply.status.as_u16(), expected, "{name}: {}", reply.shown());
    }
    served.stop().await;
}

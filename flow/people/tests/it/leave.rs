//! Signing out: told to clients, and asked for by them.

use authentication::notice::Notice;
use authentication::session::Session;
use credential::Purpose;
use env::{Clock, World};
use jose::{Algorithm, KeySet, SigningInput};
use oauth::form::Form;
use oauth::{ClientId, Issuer, SubjectText};
use openid::id_token::{IdToken, IdTokenClaims};
use openid::logout::{Ends, LogoutRequest, LogoutToken};
use people::leave::{self, Told};
use people::sessions;
use registry::{ClientLogout, ClientRecord, Metadata};
use testkit::fixture::{ISSUER, story};
use time::{Span, UnixTime};

use crate::company::Branch;
use crate::house::browser;

fn client(id: &str, backchannel: Option<&str>) -> ClientRecord {
    let metadata = r#"{"token_endpoint_auth_method":"private_key_jwt",
        "grant_types":["client_credentials"],
        "jwks":{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}}"#;
    let at = UnixTime::from_seconds(0);
    let members: serde_json::Map<_, _> = serde_json::from_str(metadata).unwrap();
    let metadata = Metadata::new(&members).unwrap();
    let logout = ClientLogout {
        backchannel: backchannel.map(str::to_owned),
        redirect_uris: vec!["https://client.example/bye".to_owned()],
    };
    ClientRecord { logout, ..ClientRecord::new(id.to_owned(), metadata, at) }
}

/// Back-Channel Logout 1.0 §2.5: each client that wants to be told is, until it answers.
#[test]
fn backchannel_2_5_clients_are_told_until_they_answer() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "").await;
        let (world, clock) = (branch.house.world(), branch.house.domain.server.clock().clone());
        branch.house.add("ada").await;
        let signed = branch.house.signed(&browser("a", None), "ada").await;
        let clients = ["client-1", "client-2"].map(str::to_owned).into();
        world.store().put(&Session { clients, ..signed.session.clone() });
        world.store().put(&client("client-1", Some("https://client.example/logout")));
        world.store().put(&client("client-2", None));
        let by = sessions::By::Owner("user:ada");
        sessions::end(&*world, by, &signed.session.id, "bye").await.unwrap().into_value().unwrap();
        branch.company.inner.lock().unwrap().is_down = true;
        let due = leave::agenda(&*world).await.unwrap().due;
        let mut told = Vec::new();
        for notice in &due {
            told.push(leave::tell(&*world, notice).await.unwrap());
        }
        assert_eq!(told, [Told::Again, Told::Nobody]);
        let agenda = leave::agenda(&*world).await.unwrap();
        assert!(agenda.due.is_empty() && agenda.next.is_some());
        clock.forth(Span::from_seconds(2));
        branch.company.inner.lock().unwrap().is_down = false;
        let due = leave::agenda(&*world).await.unwrap().due;
        assert_eq!(leave::tell(&*world, &due[0]).await.unwrap(), Told::Done);
        assert!(world.store().every::<Notice>().is_empty());
        let (url, body) = branch.company.inner.lock().unwrap().forms[0].clone();
        assert_eq!(url, "https://client.example/logout");
        let form = Form::parse(body.as_bytes()).unwrap();
        let text = form.get("logout_token").unwrap();
        let ring = branch.house.domain.ring(Purpose::IdToken);
        let keys = ring.keys.iter().map(|key| key.public.clone()).collect();
        let token = jose::Unverified::<LogoutToken>::parse(text).unwrap();
        let verified = token
            .verify(
                &KeySet::new(keys).unwrap(),
                &[Algorithm::Es256],
                world.clock().now(),
                Span::ZERO,
            )
            .unwrap();
        let us = Issuer::parse(ISSUER).unwrap();
        let ends = openid::logout::check(&verified, &us, &ClientId::parse("client-1").unwrap());
        assert_eq!(ends.unwrap(), Ends::Session(signed.session.id));
    });
}

/// Back-Channel Logout 1.0 §2.6: "Validate the "alg" (algorithm) Header Parameter in the same way it
/// is validated for ID Tokens."
#[test]
fn backchannel_2_4_a_logout_token_is_signed_as_id_tokens_are() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "").await;
        let world = branch.house.world();
        branch.house.add("ada").await;
        let signed = branch.house.signed(&browser("a", None), "ada").await;
        let told = client("client-1", Some("https://client.example/logout"));
        let member = registry::Signed::IdToken.member();
        let metadata = told.metadata.with(member, "RS256".into()).unwrap();
        world.store().put(&ClientRecord { metadata, ..told });
        let clients = ["client-1".to_owned()].into();
        world.store().put(&Session { clients, ..signed.session.clone() });
        let by = sessions::By::Owner("user:ada");
        sessions::end(&*world, by, &signed.session.id, "bye").await.unwrap().into_value().unwrap();
        let due = leave::agenda(&*world).await.unwrap().due;
        assert_eq!(leave::tell(&*world, &due[0]).await.unwrap(), Told::Done);
        let (_, body) = branch.company.inner.lock().unwrap().forms[0].clone();
        let form = Form::parse(body.as_bytes()).unwrap();
        let token = jose::Unverified::<LogoutToken>::parse(form.get("logout_token").unwrap());
        let keys = flow::publish::jwks(&*world).await.unwrap();
        let (now, by) = (world.clock().now(), [Algorithm::Rs256]);
        token.unwrap().verify(&keys, &by, now, Span::ZERO).unwrap();
    });
}

/// RP-Initiated Logout 1.0 §2 and §3.
#[test]
fn rp_initiated_2_a_client_sends_somebody_to_leave() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "").await;
        let world = branch.house.world();
        branch.house.add("ada").await;
        let signed = branch.house.signed(&browser("a", None), "ada").await;
        world.store().put(&client("client-1", None));
        let told = |ring: Purpose, sid: &str, audience: &str| {
            let (world, sid) = (branch.house.world(), sid.to_owned());
            let client = ClientId::parse(audience).unwrap();
            async move {
                let subject = SubjectText::parse("user:ada").unwrap();
                let (now, life) = (world.clock().now(), Span::from_seconds(300));
                let us = Issuer::parse(ISSUER).unwrap();
                let mut claims = IdTokenClaims::new(us, subject, &client, now, life);
                claims.sid = Some(sid);
                let ring = flow::facts::one::<_, credential::KeyRing>(&*world, ring.name());
                let ring = ring.await.unwrap().unwrap();
                let (key, by) = (ring.signer(now).unwrap(), ring.purpose.algorithm());
                let input = SigningInput::<IdToken>::new(by, Some(&key.kid), &claims).unwrap();
                let handle = env::Handle { purpose: ring.purpose, id: key.kid.to_string() };
                let signature = env::Keys::sign(world.keys(), &handle, input.bytes()).await;
                input.attach(signature.unwrap()).into_string()
            }
        };
        let hint = |sid: &str, audience: &str| told(Purpose::IdToken, sid, audience);
        let cookie = signed.cookie.expose();
        let here = browser("a", Some(cookie));
        let asked = |text: String| {
            let (world, here) = (branch.house.world(), here);
            async move {
                let request = LogoutRequest::parse(&Form::parse(text.as_bytes()).unwrap());
                leave::asked(&*world, &here, &request.unwrap()).await.unwrap()
            }
        };
        let bye = "post_logout_redirect_uri=https%3A%2F%2Fclient.example%2Fbye&state=a%26b";
        let mine = hint(&signed.session.id, "client-1").await;
        let leaving = asked(format!("id_token_hint={mine}&{bye}")).await.unwrap();
        assert_eq!((leaving.confirm, leaving.signed.is_some()), (false, true));
        assert_eq!(leaving.to.as_deref(), Some("https://client.example/bye?state=a%26b"));
        // Of another session, and without a hint: they are asked first.
        let other = hint("another", "client-1").await;
        assert!(asked(format!("id_token_hint={other}")).await.unwrap().confirm);
        assert!(asked(format!("client_id=client-1&{bye}")).await.unwrap().confirm);
        assert!(asked(String::new()).await.unwrap().confirm);
        // Nowhere but where the client said before.
        for (query, refusal) in [
            (format!("client_id=client-2&{bye}"), leave::Refusal::RedirectUri),
            (
                "client_id=client-1&post_logout_redirect_uri=https%3A%2F%2Fclient.example%2Fbye2"
                    .to_owned(),
                leave::Refusal::RedirectUri,
            ),
            (format!("id_token_hint={mine}&client_id=client-2"), leave::Refusal::OtherClient),
        ] {
            assert_eq!(asked(query).await.err(), Some(refusal));
        }
        let forged = asked(format!("id_token_hint={}x", &mine[..mine.len() - 1])).await;
        assert!(matches!(forged.err(), Some(leave::Refusal::Hint(_))));
        // By the key that the client's ID tokens are signed with.
        let by_rs256 = r#"{"id_token_signed_response_alg":"RS256","grant_types":["client_credentials"],
            "token_endpoint_auth_method":"spiffe_jwt","spiffe_id":"spiffe://demo.example/a"}"#;
        let operator = branch.house.domain.operator();
        let terms = flow::clients::Terms::default();
        let done = flow::clients::register(&*world, &operator, by_rs256, &terms).await;
        done.unwrap().into_value().unwrap();
        let by_rsa = told(Purpose::IdTokenRs256, &signed.session.id, "client-1").await;
        assert!(!asked(format!("id_token_hint={by_rsa}")).await.unwrap().confirm);
        let forged = format!("{}.{}", by_rsa.rsplit_once('.').unwrap().0, "A".repeat(342));
        let forged = asked(format!("id_token_hint={forged}")).await;
        assert!(matches!(forged.err(), Some(leave::Refusal::Hint(_))));
        branch.house.domain.server.clock().forth(Span::from_seconds(3_000));
        assert!(!asked(format!("id_token_hint={mine}")).await.unwrap().confirm, "expired is fine");
    });
}

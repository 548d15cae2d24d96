//! Clients that are told of an answer (CIBA Core 1.0 §10.2, §10.3, §12).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use approval::Ticket;
use approve::notify::{self, Told};
use approve::{Refusal, expire};
use authorization::granted::{GrantRecord, NotYet};
use authorization::grants;
use authorization::profile::Profile;
use credential::Purpose;
use env::{Asks, Outbound, Outside, Replying, Unavailable, World};
use flow::token;
use jose::{Algorithm, KeySet, Unverified};
use oauth::error::ErrorCode;
use openid::half_hash;
use openid::id_token::IdToken;
use people::end::Check;
use people::standing::UserAct;
use serde_json::{Value, json};
use testkit::boxed;
use testkit::fixture::{GATEWAY, story};
use time::Span;

use crate::ciba::signed;
use crate::house::{House, no, yes};

const MANY: usize = 100;
const ENDPOINT: &str = "https://client.example/notified";

/// A client's notification endpoint: what it was told, and when it answers nothing.
#[derive(Default)]
struct Notified {
    told: Mutex<Vec<(String, String, Value)>>,
    down: Mutex<VecDeque<()>>,
}

impl Notified {
    fn told(&self) -> Vec<(String, String, Value)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// The next `times` it is told come to nothing, though it hears them.
    fn is_down(&self, times: usize) {
        *self.down.lock().unwrap() = std::iter::repeat_n((), times).collect();
    }
}

impl Outside for Notified {
    fn ask<'a>(&'a self, question: &'a Outbound) -> Replying<'a> {
        let Asks::Told { body, bearer } = &question.what else { panic!("{:?}", question.what) };
        let body = serde_json::from_str(body).unwrap();
        self.told.lock().unwrap().push((question.url.clone(), bearer.clone(), body));
        let down = self.down.lock().unwrap().pop_front();
        let answer = match down {
            Some(()) => Err(Unavailable::of("provider", "503")),
            None => Ok(String::new()),
        };
        Box::pin(async move { answer })
    }
}

async fn open(sim: &testkit::Sim, mode: &str) -> (House, Arc<Notified>) {
    let house = House::open(sim).await;
    house.registers(&json!({
        "backchannel_token_delivery_mode": mode,
        "backchannel_client_notification_endpoint": ENDPOINT,
    }));
    let client = Arc::new(Notified::default());
    let outside: Arc<dyn Outside> = client.clone();
    house.world().reach(outside);
    (house, client)
}

const ASKED: &str = "&login_hint=ada&client_notification_token=8d67dc78";

/// Tells all that is due.
async fn round(house: &House) -> Vec<Told> {
    let due = notify::agenda(&*house.world()).await.unwrap().due;
    let mut told = Vec::new();
    for ticket in &due {
        told.push(notify::tell(&*house.world(), ticket).await.unwrap());
    }
    told
}

fn ticket(house: &House) -> Arc<Ticket> {
    house.world().store().every::<Ticket>()[0].clone()
}

/// req: AUTHZ-17 (part)
#[test]
fn ciba_10_2_a_client_is_pinged_once_somebody_answered() {
    story(|sim| async move {
        let (house, client) = open(&sim, "ping").await;
        let refused = house.ciba("&login_hint=ada").await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{refused}");
        let asked = house.ciba(ASKED).await.unwrap();
        assert_eq!(asked.interval, Some(5));
        assert_eq!(round(&house).await, []);
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        client.is_down(1);
        assert_eq!(round(&house).await, [Told::Again]);
        // Not again at once, and then again.
        assert_eq!(round(&house).await, []);
        house.forth(2);
        assert_eq!(round(&house).await, [Told::Done]);
        let id = asked.auth_req_id.as_str();
        let ping = (ENDPOINT.to_owned(), "8d67dc78".to_owned(), json!({ "auth_req_id": id }));
        assert_eq!(client.told(), [ping.clone(), ping]);
        assert_eq!(round(&house).await, []);
        // What it is known by is kept no longer than it is needed.
        let notify = ticket(&house).notify.clone().unwrap();
        assert_eq!((notify.token.as_str(), notify.auth_req_id.as_str()), ("", ""));
        house.poll_ciba(id).await.unwrap();
    });
}

/// §10.2: "A Ping callback does not need to be sent for an expired "auth_req_id"".
#[test]
fn ciba_10_2_who_knows_already_is_not_pinged() {
    story(|sim| async move {
        let (house, client) = open(&sim, "ping").await;
        let cookie = house.sign_in("ada").await;
        let asked = house.ciba(ASKED).await.unwrap();
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        // §10.1: "A Client configured in Ping mode may also poll the token endpoint."
        house.poll_ciba(&asked.auth_req_id).await.unwrap();
        assert_eq!(round(&house).await, []);
        house.ciba(ASKED).await.unwrap();
        house.forth(301);
        assert_eq!(expire::expire(&*house.world()).await.unwrap(), 1);
        assert_eq!(round(&house).await, []);
        assert!(client.told().is_empty());
    });
}

#[test]
fn ciba_10_2_who_never_answers_is_given_up() {
    story(|sim| async move {
        let (house, client) = open(&sim, "ping").await;
        let cookie = house.sign_in("ada").await;
        house.ciba(ASKED).await.unwrap();
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, no(&shown, None)).await.unwrap();
        client.is_down(100);
        let mut rounds = Vec::new();
        while ticket(&house).is_to_tell() {
            rounds.extend(round(&house).await);
            house.forth(300);
        }
        assert_eq!(rounds.len(), 9);
        assert_eq!(rounds.last(), Some(&Told::GivenUp));
        let failed = |record: &monitoring::Record| {
            record.why.as_ref().is_some_and(|why| why.check == "approve::Undelivered")
        };
        let journal = house.domain.server.journal().records();
        assert_eq!(journal.iter().filter(|record| failed(record)).count(), 9);
    });
}

/// req: AUTHZ-17 (part), AUTHZ-03 (part)
#[test]
fn ciba_10_3_1_tokens_are_pushed_and_bound_together() {
    story(|sim| async move {
        let (house, client) = open(&sim, "push").await;
        let more = json!({ "grant_types": [
            "urn:openid:params:grant-type:ciba", "refresh_token",
        ]});
        house.registers(&more);
        let asked = house.ciba(ASKED).await.unwrap();
        assert_eq!(asked.interval, None);
        let id = asked.auth_req_id.as_str();
        // §11: it does not ask for them.
        let refused = house.poll_ciba(id).await.unwrap_err();
        assert_eq!(refused, token::Refusal::Grant(grants::Refusal::Wait(NotYet::Pushed)));
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        client.is_down(1);
        assert_eq!(round(&house).await, [Told::Again]);
        assert_eq!(round(&house).await, []);
        house.forth(60);
        assert_eq!(round(&house).await, [Told::Done]);
        let told = client.told();
        let [(_, _, lost), (url, bearer, body)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((url.as_str(), bearer.as_str()), (ENDPOINT, "8d67dc78"));
        assert_ne!(lost["access_token"], body["access_token"]);
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        assert_eq!(text("auth_req_id"), id);
        let ring = house.domain.ring(Purpose::IdToken);
        let keys = KeySet::new(ring.keys.iter().map(|key| key.public.clone()).collect()).unwrap();
        let read = Unverified::<IdToken>::parse(text("id_token")).unwrap();
        let now = house.domain.now();
        let token = read.verify(&keys, &[Algorithm::Es256], now, Span::ZERO).unwrap();
        let claims = token.claims();
        assert_eq!(claims.auth_req_id.as_deref(), Some(id));
        let half = |name: &str| Some(half_hash(Algorithm::Es256, text(name)));
        assert_eq!(claims.at_hash, half("access_token"));
        assert_eq!(claims.rt_hash, half("refresh_token"));
        assert!(!text("refresh_token").is_empty());
        assert_eq!(round(&house).await, []);
    });
}

/// §12: there is one word for each end.
#[test]
fn ciba_12_a_client_is_pushed_why_it_gets_nothing() {
    story(|sim| async move {
        let (house, client) = open(&sim, "push").await;
        let cookie = house.sign_in("ada").await;
        let check = async |expect: &str| {
            assert_eq!(round(&house).await, [Told::Done], "{expect}");
            let (_, _, body) = client.told().remove(0);
            assert_eq!(body["error"], expect);
            assert!(body["auth_req_id"].as_str().unwrap().starts_with("aims_ar_"));
            assert!(body.get("access_token").is_none());
        };
        let pending = || {
            let all = house.approvals();
            let one = all.iter().find(|one| one.state == approval::State::Pending).unwrap();
            (**one).clone()
        };
        house.ciba(ASKED).await.unwrap();
        house.say(&cookie, no(&pending(), None)).await.unwrap();
        check("access_denied").await;
        house.ciba(ASKED).await.unwrap();
        house.forth(301);
        expire::expire(&*house.world()).await.unwrap();
        check("expired_token").await;
        // Between the answer and the delivery she is disabled: the checks are those of the token
        // endpoint (docs/past-defects.md 9).
        house.ciba(ASKED).await.unwrap();
        let cookie = house.sign_in("ada").await;
        house.say(&cookie, yes(&pending(), None)).await.unwrap();
        house.act("ada", UserAct::Disable).await;
        check("transaction_failed").await;
    });
}

/// FAPI-CIBA §5.2.2: "shall not support CIBA push mode"; and what must be bound to a key is not
/// pushed to whom shows none.
#[test]
fn fapi_ciba_5_2_2_what_must_be_bound_is_not_pushed() {
    story(|sim| async move {
        let (house, _) = open(&sim, "push").await;
        let check = async |house: &House, asked: &str| {
            let refused = house.ciba(asked).await.unwrap_err();
            assert!(matches!(refused, Refusal::Push(_)), "{refused}");
            assert_eq!(refused.check(), "approve::Push");
            assert_eq!(refused.code(), ErrorCode::UnauthorizedClient);
        };
        house.ciba(ASKED).await.unwrap();
        for member in ["dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens"] {
            house.registers(&json!({ member: true }));
            check(&house, ASKED).await;
            house.registers(&json!({ member: null }));
        }
        let all = house.world().store().every::<registry::ClientRecord>();
        let found = all.iter().find(|one| one.client_id == house.client.id).unwrap();
        let fapi = found.with_profiles([Profile::FapiCiba].into());
        house.world().store().put(&fapi);
        // It asks as the profile wants it, and the answer would be pushed.
        let request = signed(&house, &|claims| {
            claims["client_notification_token"] = json!("8d67dc78-7faa-4d41-aabd-67707b374255");
        });
        let call = house.call_of(&house.client, &format!("request={request}"));
        let end = approve::ciba::authorize(&*house.world(), &house.throttle, &call).await.unwrap();
        assert_eq!(end.into_result().unwrap_err().check(), "approve::Push");
        house.world().store().put(&**found);
        check(&house, &format!("{ASKED}&resource={GATEWAY}/invoices")).await;
    });
}

/// Of many servers that find the same answer, one makes tokens.
///
/// req: AUTHZ-31 (part)
#[test]
fn ciba_10_3_1_of_many_pushes_one_is_made() {
    story(|sim| async move {
        let (house, client) = open(&sim, "push").await;
        house.ciba(ASKED).await.unwrap();
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        let due = notify::agenda(&*house.world()).await.unwrap().due;
        let world = house.world();
        let pushes = (0..MANY).map(|_| boxed(notify::tell(&*world, &due[0])));
        let told = sim.all(pushes.collect()).await;
        let done = told.iter().filter(|one| matches!(one, Ok(Told::Done))).count();
        let nothing = told.iter().filter(|one| matches!(one, Ok(Told::Nothing))).count();
        assert_eq!((done, nothing), (1, MANY - 1));
        assert_eq!(client.told().len(), 1);
        assert_eq!(house.world().store().every::<GrantRecord>().len(), 1);
    });
}

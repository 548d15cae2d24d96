//! Status lists of our tokens (draft-ietf-oauth-status-list-20).

use std::collections::BTreeSet;

use authorization::status::PATH;
use credential::Purpose;
use env::World;
use env::rows::StatusEntry;
use flow::status;
use jose::{Algorithm, KeySet, Unverified, Verified};
use oauth::access_token::AccessToken;
use oauth::status::StatusReference;
use openid::status_list::{INVALID, StatusListToken, VALID, status_of};
use registry::{ClientRecord, ClientState};
use testkit::fixture::{ADA, Domain, ISSUER, code_request, files_but, story};
use testkit::{Sim, boxed};
use time::Span;

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const MANY: usize = 100;

/// A domain whose resource asks for status lists.
async fn open(sim: &Sim) -> Domain {
    let files = files_but(&[]);
    let notices = files.get("resources/notices.toml").unwrap().to_owned();
    let notices = format!("status = true\n{notices}");
    let domain = Domain::start_with(sim, files_but(&[("resources/notices.toml", &notices)])).await;
    domain.person(ADA);
    domain
}

fn keys(domain: &Domain) -> KeySet {
    let ring = domain.ring(Purpose::AccessToken);
    KeySet::new(ring.keys.iter().map(|key| key.public.clone()).collect()).unwrap()
}

/// The place that a token names.
fn reference(domain: &Domain, token: &str) -> StatusReference {
    let token = Unverified::<AccessToken>::parse(token).unwrap();
    let (now, algorithms) = (domain.now(), [Algorithm::Es256]);
    let token = token.verify(&keys(domain), &algorithms, now, Span::ZERO).unwrap();
    token.claims().status.clone().unwrap().status_list
}

/// The list that it names, read as a resource server does.
async fn list(domain: &Domain, place: &StatusReference) -> Verified<StatusListToken> {
    let name = place.uri.strip_prefix(&format!("{ISSUER}{PATH}/")).unwrap();
    let text = status::list(&*domain.server.world(), name).await.unwrap().unwrap();
    let token = Unverified::<StatusListToken>::parse(&text).unwrap();
    token.verify(&keys(domain), &[Algorithm::Es256], domain.now(), Span::ZERO).unwrap()
}

/// req: AUTHZ-04 (part), OBS-10 (part)
#[test]
fn status_8_an_ended_token_is_seen_in_the_list_at_once() {
    story(|sim| async move {
        let domain = open(&sim).await;
        let client = domain.client(&[oauth::token_request::GrantType::AuthorizationCode], false);
        let mut tokens = Vec::new();
        for id in ["grant-1", "grant-2"] {
            let grant = domain.grant((id, &client.id, ADA), NOTICES, "notices.read", "");
            let code = domain.code(&grant, |_| ());
            let answer = domain.ask(client.asks(code_request(&code), domain.now())).await;
            tokens.push(answer.unwrap().access_token);
        }
        let places: Vec<_> = tokens.iter().map(|token| reference(&domain, token)).collect();
        for place in &places {
            let list = list(&domain, place).await;
            assert_eq!(status_of(place, &list), Ok(VALID));
            assert_eq!(list.claims().ttl, Some(1));
        }
        let ending = flow::ends::Ending::by(ADA, "done");
        let world = domain.server.world();
        flow::ends::end_grant(&*world, "grant-1", ending).await.unwrap();
        let after = [INVALID, VALID];
        for (place, expect) in places.iter().zip(after) {
            assert_eq!(status_of(place, &list(&domain, place).await), Ok(expect));
        }
        // A list says nothing of another's places.
        let other = StatusReference { uri: format!("{ISSUER}{PATH}/0.0"), ..places[0].clone() };
        status_of(&other, &list(&domain, &places[0]).await).unwrap_err();
        for name in ["0.0", "", "../jwks", &"9".repeat(64)] {
            assert_eq!(status::list(&*world, name).await.unwrap(), None, "{name}");
        }
        // Who is disabled has no valid token.
        let record = world.store().single::<ClientRecord>(&client.id).unwrap();
        let state = ClientState::Disabled;
        world.store().put(&ClientRecord { state, ..(*record).clone() });
        assert_eq!(status_of(&places[1], &list(&domain, &places[1]).await), Ok(INVALID));
    });
}

#[test]
fn status_12_5_many_tokens_have_places_of_their_own() {
    story(|sim| async move {
        let domain = open(&sim).await;
        let client = domain.client(&[oauth::token_request::GrantType::AuthorizationCode], false);
        let mut calls = Vec::new();
        for n in 0..MANY {
            let id = format!("grant-{n}");
            let grant = domain.grant((&id, &client.id, ADA), NOTICES, "notices.read", "");
            let code = domain.code(&grant, |_| ());
            calls.push(client.asks(code_request(&code), domain.now()));
        }
        let asked = calls.into_iter().map(|call| boxed(domain.ask(call)));
        let answers = sim.all(asked.collect()).await;
        let places: BTreeSet<_> = answers
            .iter()
            .map(|answer| reference(&domain, &answer.as_ref().unwrap().access_token))
            .map(|place| (place.uri, place.idx))
            .collect();
        assert_eq!(places.len(), MANY);
        assert_eq!(domain.server.world().store().every::<StatusEntry>().len(), MANY);
        let lists: BTreeSet<_> = places.iter().map(|(uri, _)| uri).collect();
        assert!(lists.len() > 1 && lists.len() <= 32, "{}", lists.len());
    });
}

/// Only where policy asks for it: a place is one more row a token.
#[test]
fn status_6_a_token_has_a_place_where_its_resource_asks_for_one() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.person(ADA);
        let client = domain.client(&[oauth::token_request::GrantType::AuthorizationCode], false);
        let grant = domain.grant(("grant-1", &client.id, ADA), NOTICES, "notices.read", "");
        let code = domain.code(&grant, |_| ());
        let answer = domain.ask(client.asks(code_request(&code), domain.now())).await.unwrap();
        let token = Unverified::<AccessToken>::parse(&answer.access_token).unwrap();
        let token = token.verify(&keys(&domain), &[Algorithm::Es256], domain.now(), Span::ZERO);
        assert_eq!(token.unwrap().claims().status, None);
        assert!(domain.server.world().store().every::<StatusEntry>().is_empty());
    });
}

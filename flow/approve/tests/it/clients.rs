//! What comes of the questions of clients that are disabled, or that let themselves in.

use approve::{Refusal, ciba};
use env::World;
use flow::clients;
use oauth::token_request::GrantType;
use people::end::Check;
use registry::client::Origin;
use registry::{ClientRecord, ClientState};
use testkit::fixture::{Client, GATEWAY, story};

use crate::house::{House, no, yes};

/// Defect: a client that was disabled meanwhile was still allowed what it had asked for.
/// req: OBS-10 (part)
#[test]
fn s11_a_question_of_a_client_that_was_disabled_is_not_allowed() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in("ada").await;
        house.ciba("&login_hint=ada").await.unwrap();
        let asked = (*house.approvals()[0]).clone();
        for state in [ClientState::Disabled, ClientState::Enabled] {
            let (world, operator) = (house.world(), house.domain.operator());
            let moved = clients::set_state(&*world, &operator, &house.client.id, state).await;
            moved.unwrap().into_value().unwrap();
            let refused = house.say(&cookie, yes(&asked, None)).await.unwrap_err();
            assert_eq!(refused.check(), "approve::Unfit", "{state:?}");
        }
        // A no is heard, and what is asked anew is.
        house.say(&cookie, no(&asked, None)).await.unwrap();
        house.ciba("&login_hint=ada").await.unwrap();
        let all = house.approvals();
        let again = all.iter().find(|one| one.id != asked.id).unwrap();
        house.say(&cookie, yes(again, None)).await.unwrap();
    });
}

/// Defect: clients that registered themselves took every place among a person's questions.
#[test]
fn ciba_14_who_let_itself_in_takes_no_place_of_the_others() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let ask = async |client: &Client| {
            let body =
                format!("scope=openid+notices.read&resource={GATEWAY}/notices&login_hint=ada");
            let call = house.call_of(client, &body);
            ciba::authorize(&*house.world(), &house.throttle, &call).await.unwrap().into_result()
        };
        let clients: Vec<_> =
            (0..5).map(|_| house.domain.client(&[GrantType::Ciba], false)).collect();
        for (client, origin) in clients.iter().zip([Origin::Open, Origin::Document].repeat(2)) {
            let row = house.world().store().single::<ClientRecord>(&client.id).unwrap();
            house.world().store().put(&ClientRecord { origin, ..(*row).clone() });
        }
        for at in 0..8 {
            ask(&clients[at % 4]).await.unwrap();
        }
        for client in &clients[..4] {
            let refused = ask(client).await.unwrap_err();
            assert!(matches!(refused, Refusal::TooManyWait { found: 8, .. }), "{refused}");
        }
        for _ in 0..8 {
            ask(&clients[4]).await.unwrap();
        }
    });
}

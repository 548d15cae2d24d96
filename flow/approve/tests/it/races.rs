//! Many at once: one answer counts, and one request gets the token.

use approval::State;
use authorization::granted::GrantRecord;
use env::World;
use testkit::boxed;
use testkit::fixture::story;

use crate::house::{House, no, yes};

const MANY: usize = 100;

/// req: AUTHZ-31 (part)
#[test]
fn s10_6_of_many_answers_one_counts() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        house.ciba("&login_hint=ada").await.unwrap();
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        let answers = (0..MANY).map(|n| {
            let said = if n % 2 == 0 { yes(&shown, None) } else { no(&shown, None) };
            boxed(house.say(&cookie, said))
        });
        let ends = sim.all(answers.collect()).await;
        let counted: Vec<_> = ends.into_iter().filter_map(Result::ok).collect();
        let [one] = counted.as_slice() else { panic!("{} answers counted", counted.len()) };
        let grants = house.world().store().every::<GrantRecord>();
        assert_eq!(grants.len(), usize::from(one.state == State::Allowed));
    });
}

/// req: AUTHZ-19 (part), AUTHZ-31 (part)
#[test]
fn rfc8628_3_4_of_many_redemptions_one_is_served() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = house.device("").await.unwrap();
        let cookie = house.sign_in("ada").await;
        let shown = house.find(&asked.user_code).await.unwrap();
        house.say(&cookie, yes(&shown, Some(&asked.user_code))).await.unwrap();
        let polls = (0..MANY).map(|_| boxed(house.poll_device(&asked.device_code)));
        one_is_served(sim.all(polls.collect()).await);
    });
}

/// req: AUTHZ-17 (part), AUTHZ-31 (part)
#[test]
fn ciba_10_1_of_many_redemptions_one_is_served() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = house.ciba("&login_hint=ada").await.unwrap();
        let cookie = house.sign_in("ada").await;
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        let polls = (0..MANY).map(|_| boxed(house.poll_ciba(&asked.auth_req_id)));
        one_is_served(sim.all(polls.collect()).await);
    });
}

fn one_is_served(ends: Vec<Result<String, flow::token::Refusal>>) {
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
    for refused in ends.into_iter().filter_map(Result::err) {
        assert_eq!(refused.check(), "grants::WaitUsed");
    }
}

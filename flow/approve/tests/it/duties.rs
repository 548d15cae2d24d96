//! What policy demands an approval for is met by an approval of just that, of whom it names.

use approve::Refusal;
use authorization::granted::GrantRecord;
use env::World;
use flow::token;
use people::end::Check;
use testkit::fixture::{files, story};

use crate::house::{House, no, yes};

pub(crate) const DUTY: &str = r#"
    @id("duty")
    @obligations("approval")
    permit(principal, action == Aims::Action::"token.issue", resource)
    when { resource has name && resource.name == "notices" };

    @id("others")
    permit(principal, action == Aims::Action::"token.issue", resource)
    when { !(resource has name && resource.name == "notices") };

    @id("not-bob")
    forbid(principal, action == Aims::Action::"token.issue", resource)
    when { context.subject == "user:bob" };
"#;

async fn open(sim: &testkit::Sim, approvals: &str) -> House {
    let domain = files().get("domain.toml").unwrap().to_owned();
    let domain = format!("{domain}\n{approvals}");
    House::with_files(sim, &[("domain.toml", &domain), ("access/main.cedar", DUTY)]).await
}

/// req: AUTHZ-17 (part), AUTHZ-31 (part)
#[test]
fn s10_6_a_duty_is_met_by_the_user_where_policy_says_so() {
    story(|sim| async move {
        let house = open(&sim, "[approvals]\nacr = \"urn:aims:acr:code\"").await;
        let cookie = house.sign_in("ada").await;
        let asked = house.ciba("&login_hint=ada").await.unwrap();
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        house.poll_ciba(&asked.auth_req_id).await.unwrap();
        let asked = house.device("").await.unwrap();
        let shown = house.find(&asked.user_code).await.unwrap();
        house.say(&cookie, yes(&shown, Some(&asked.user_code))).await.unwrap();
        house.poll_device(&asked.device_code).await.unwrap();
        // Beside something else it is not an approval of just that.
        let refused = house.ciba_of(&["notices", "invoices"]).await.unwrap_err();
        assert_eq!(refused, Refusal::NotAlone { name: "notices".to_owned() });
        house.ciba_of(&["invoices"]).await.unwrap();
    });
}

/// Defect: whoever typed a device's code met a duty that policy gave to somebody else.
#[test]
fn defect_6_a_duty_of_somebody_else_is_not_met_by_the_user() {
    story(|sim| async move {
        let house = open(&sim, "[approvals]\nask = \"role:finance\"").await;
        let others = |refused: &Refusal| matches!(refused, Refusal::OtherIsAsked { .. });
        let refused = house.ciba("&login_hint=ada").await.unwrap_err();
        assert!(others(&refused), "{refused}");
        let refused = house.device("").await.unwrap_err();
        assert!(others(&refused), "{refused}");
        // One that was allowed before policy named somebody else gives nothing either.
        let house = open(&sim, "").await;
        let cookie = house.sign_in("ada").await;
        let asked = house.ciba("&login_hint=ada").await.unwrap();
        let shown = (*house.approvals()[0]).clone();
        house.say(&cookie, yes(&shown, None)).await.unwrap();
        let domain = "trust_domain = \"demo.example\"\n[approvals]\nask = \"role:finance\"";
        house.applies(&[("domain.toml", domain), ("access/main.cedar", DUTY)]).await;
        let refused = house.poll_ciba(&asked.auth_req_id).await.unwrap_err();
        assert!(matches!(refused, token::Refusal::Denied(_)), "{refused}");
    });
}

/// RFC 8628 §3.3: who may not allow it is told when they answer, not the device afterwards.
#[test]
fn rfc8628_3_3_policy_is_asked_about_the_user_who_answers() {
    story(|sim| async move {
        let house = open(&sim, "").await;
        let asked = house.device("").await.unwrap();
        let code = Some(asked.user_code.as_str());
        let (bob, ada) = (house.sign_in("bob").await, house.sign_in("ada").await);
        let shown = house.find(&asked.user_code).await.unwrap();
        let refused = house.say(&bob, yes(&shown, code)).await.unwrap_err();
        assert_eq!(refused.check(), "pdp::Denied");
        assert!(house.world().store().every::<GrantRecord>().is_empty());
        house.say(&ada, yes(&shown, code)).await.unwrap();
        house.poll_device(&asked.device_code).await.unwrap();
        // To say no takes no permission.
        let asked = house.device("").await.unwrap();
        let shown = house.find(&asked.user_code).await.unwrap();
        house.say(&bob, no(&shown, Some(&asked.user_code))).await.unwrap();
    });
}

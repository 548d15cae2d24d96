//! Devices without a browser (RFC 8628).

use approval::State;
use approval::approval::{KEPT, UNANSWERED_KEPT};
use approve::shares::{DEVICES_OF_CLIENT, Shares};
use approve::{Refusal, answer, device, expire};
use authorization::granted::{NotYet, Way};
use authorization::grants;
use env::World;
use flow::{clients, token};
use monitoring::{Event, Outcome};
use oauth::token_request::GrantType;
use people::end::Check;
use people::standing::UserAct;
use registry::ClientState;
use testkit::fixture::story;
use time::Span;

use crate::house::{House, browser, counted, device_request, no, yes};

fn wait(refusal: &token::Refusal) -> NotYet {
    match refusal {
        token::Refusal::Grant(grants::Refusal::Wait(why)) => *why,
        other => panic!("{other}"),
    }
}

/// req: AUTHZ-19, AUTHZ-18 (part)
#[test]
fn rfc8628_3_a_user_lets_a_device_in() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = house.device("").await.unwrap();
        assert!(asked.device_code.starts_with("aims_dc_"));
        assert_eq!((asked.expires_in, asked.interval), (300, Some(5)));
        assert_eq!(asked.verification_uri, "https://aims.demo.example:8443/device");
        let waits = house.poll_device(&asked.device_code).await.unwrap_err();
        assert_eq!(wait(&waits), NotYet::Pending);
        let soon = house.poll_device(&asked.device_code).await.unwrap_err();
        let ten = Span::from_seconds(10);
        assert_eq!(wait(&soon), NotYet::TooSoon { interval: ten });

        let cookie = house.sign_in("ada").await;
        let shown = house.find(&asked.user_code.to_lowercase()).await.unwrap();
        assert_eq!(shown.asks.client_id, house.client.id);
        // Without the code it is nobody's, with it it is an answer of who is signed in.
        let unknown = house.say(&cookie, yes(&shown, None)).await.unwrap_err();
        assert_eq!(unknown, Refusal::Unknown(shown.id.clone()));
        let allowed = house.say(&cookie, yes(&shown, Some(&asked.user_code))).await.unwrap();
        assert_eq!(allowed.state, State::Allowed);
        let again = house.say(&cookie, no(&shown, Some(&asked.user_code))).await.unwrap_err();
        assert_eq!(again.check(), "approval::Unmoved");

        house.forth(20);
        house.poll_device(&asked.device_code).await.unwrap();
        let grants = house.world().store().every::<authorization::granted::GrantRecord>();
        let [grant] = grants.as_slice() else { panic!("{grants:?}") };
        assert_eq!((grant.subject.as_str(), grant.way), ("user:ada", Way::Device));
        let used = house.poll_device(&asked.device_code).await.unwrap_err();
        assert!(matches!(wait(&used), NotYet::Used { .. }), "{used}");
        assert_eq!(house.approvals()[0].state, State::Used);

        // Who allowed what is told by the lineage of the token.
        let journal = house.domain.server.journal();
        let [asked] = journal.of(Event::ApprovalAsked).try_into().unwrap();
        let answers = journal.of(Event::ApprovalAnswered);
        let answered = answers.iter().find(|one| one.outcome == Outcome::Permitted).unwrap();
        let issued = journal.of(Event::TokenIssued);
        let issued = issued.iter().find(|one| one.outcome == Outcome::Permitted).unwrap();
        assert_eq!(asked.root.as_ref(), Some(&allowed.root));
        assert_eq!(answered.root.as_ref(), Some(&allowed.root));
        assert_eq!(issued.attestation.get("approval"), Some(&allowed.id));
        assert_eq!(answered.attestation["answered_by"], "user:ada");
        assert_eq!(answered.facts["shown_sha256"], shown.hash.as_str());
    });
}

/// RFC 8628 §5.1: "the server SHOULD rate-limit".
#[test]
fn rfc8628_5_1_codes_are_not_guessed() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let asked = house.device("").await.unwrap();
        let mut refused = Refusal::NoSuchCode;
        for _ in 0..40 {
            refused = house.find("BCDF-GHJK").await.unwrap_err();
        }
        assert_eq!(refused.check(), "approve::TooMany");
        // The right one too, for a while.
        let refused = house.find(&asked.user_code).await.unwrap_err();
        assert_eq!(refused.check(), "approve::TooMany");
        house.forth(60);
        house.find(&asked.user_code).await.unwrap();
    });
}

#[test]
fn rfc8628_3_5_no_and_no_answer_are_final() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in("ada").await;
        let denied = house.device("").await.unwrap();
        let shown = house.find(&denied.user_code).await.unwrap();
        house.say(&cookie, no(&shown, Some(&denied.user_code))).await.unwrap();
        let refused = house.poll_device(&denied.device_code).await.unwrap_err();
        assert_eq!(wait(&refused), NotYet::Denied);
        let gone = house.find(&denied.user_code).await.unwrap_err();
        assert_eq!(gone, Refusal::NoSuchCode);

        let late = house.device("").await.unwrap();
        let shown = house.find(&late.user_code).await.unwrap();
        house.forth(300);
        let refused = house.poll_device(&late.device_code).await.unwrap_err();
        assert!(matches!(wait(&refused), NotYet::Expired { .. }), "{refused}");
        let refused = house.say(&cookie, yes(&shown, Some(&late.user_code))).await;
        assert!(refused.is_err());
        assert_eq!(expire::expire(&*house.world()).await.unwrap(), 1);
        assert_eq!(expire::expire(&*house.world()).await.unwrap(), 0);
        let ended = house.domain.server.journal().of(Event::ApprovalEnded);
        assert_eq!(ended[0].facts["state"], "expired");
    });
}

/// Who proved nothing is counted; a client that did not register the grant gets nobody asked; what
/// was given to one client serves no other.
#[test]
fn rfc8628_3_1_only_clients_of_this_grant_ask() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut call = house.call_of(&house.client, "scope=notices.read");
        call.client.assertion = None;
        let ended = device::authorize(&*house.world(), &Shares::default(), &call).await.unwrap();
        assert_eq!(counted(ended).check(), "client::None");
        let other = house.domain.client(&[GrantType::ClientCredentials], false);
        let call = house.call_of(&other, "scope=notices.read");
        let ended = device::authorize(&*house.world(), &Shares::default(), &call).await.unwrap();
        let refused = ended.into_result().unwrap_err();
        assert_eq!(refused, Refusal::GrantNotAllowed(GrantType::DeviceCode));
        let thief = house.domain.client(&[GrantType::DeviceCode], false);
        let asked = house.device("").await.unwrap();
        let refused = house.poll_as(&thief, device_request(&asked.device_code)).await.unwrap_err();
        assert_eq!(refused.check(), "grants::GrantOfOther");
        let before = house.approvals().len();
        assert!(house.device("&resource=https://nowhere.example").await.is_err());
        assert_eq!(house.approvals().len(), before);
    });
}

/// Defect: a disabled user still got tokens (docs/past-defects.md 8).
#[test]
fn defect_8_who_is_disabled_meanwhile_gets_nothing() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in("ada").await;
        let asked = house.device("").await.unwrap();
        let shown = house.find(&asked.user_code).await.unwrap();
        house.say(&cookie, yes(&shown, Some(&asked.user_code))).await.unwrap();
        house.act("ada", UserAct::Disable).await;
        let refused = house.poll_device(&asked.device_code).await.unwrap_err();
        assert!(
            ["grants::SubjectNotInForce", "grants::Over", "grants::Ended"]
                .contains(&refused.check()),
            "{refused}"
        );
        let asked = house.device("").await.unwrap();
        let shown = house.find(&asked.user_code).await.unwrap();
        let said = yes(&shown, Some(&asked.user_code));
        let ended = answer::answer(&*house.world(), &browser("b", Some(&cookie)), said).await;
        assert_eq!(counted(ended.unwrap()).check(), "approve::NotSigned");
    });
}

/// docs/design.md §2: what a client began before it was disabled does not come back with it, whether
/// it was answered meanwhile or is answered now.
/// req: OBS-10 (part)
#[test]
fn s11_a_question_of_a_client_that_was_disabled_is_dead() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let cookie = house.sign_in("ada").await;
        let (first, second) = (house.device("").await.unwrap(), house.device("").await.unwrap());
        let shown = house.find(&first.user_code).await.unwrap();
        house.say(&cookie, yes(&shown, Some(&first.user_code))).await.unwrap();
        for state in [ClientState::Disabled, ClientState::Enabled] {
            let (world, operator) = (house.world(), house.domain.operator());
            let moved = clients::set_state(&*world, &operator, &house.client.id, state).await;
            moved.unwrap().into_value().unwrap();
        }
        house.forth(20);
        assert!(house.poll_device(&first.device_code).await.is_err());
        let shown = house.find(&second.user_code).await.unwrap();
        let refused = house.say(&cookie, yes(&shown, Some(&second.user_code))).await.unwrap_err();
        assert_eq!(refused.check(), "approve::Unfit");
        assert!(house.poll_device(&second.device_code).await.is_err());
        // It begins anew.
        let third = house.device("").await.unwrap();
        let shown = house.find(&third.user_code).await.unwrap();
        house.say(&cookie, yes(&shown, Some(&third.user_code))).await.unwrap();
        house.forth(20);
        house.poll_device(&third.device_code).await.unwrap();
    });
}

/// docs/design.md §2, idea 3: whoever says the name of a client that proves nothing costs us little:
/// few questions, none in the log that is refused, and none that stays.
#[test]
fn s2_devices_of_a_client_that_proves_nothing_are_few() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let public = house.domain.client(&[GrantType::DeviceCode], true);
        let ask = async |body: &str| {
            let call = house.call_of(&public, body);
            device::authorize(&*house.world(), &house.shares, &call).await.unwrap()
        };
        for _ in 0..DEVICES_OF_CLIENT.burst {
            ask("scope=notices.read").await.into_result().unwrap();
        }
        let records = house.domain.server.journal().len();
        let refused = counted(ask("scope=notices.read").await);
        assert!(matches!(refused, Refusal::TooManyAsk { .. }), "{refused}");
        assert_eq!(counted(ask("scope=nothing").await).check(), "approve::Asked");
        assert_eq!(house.domain.server.journal().len(), records);
        // Who proves itself goes on.
        house.device("").await.unwrap();
        // What nobody answered is not kept for long, what somebody did is.
        let all = house.approvals();
        assert!(all.iter().all(|one| one.kept_until() == one.until.plus(UNANSWERED_KEPT)));
        house.forth(300);
        expire::expire(&*house.world()).await.unwrap();
        let all = house.approvals();
        assert!(all.iter().all(|one| one.kept_until() == one.until.plus(UNANSWERED_KEPT)));
        let cookie = house.sign_in("ada").await;
        let asked = house.device("").await.unwrap();
        let shown = house.find(&asked.user_code).await.unwrap();
        let denied = house.say(&cookie, no(&shown, Some(&asked.user_code))).await.unwrap();
        assert_eq!(denied.kept_until(), denied.until.plus(KEPT));
    });
}

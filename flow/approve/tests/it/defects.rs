//! Mistakes that systems of this kind made (docs/past-defects.md), at what a client waits with.

use oauth::TokenText;
use oauth::token_request::{Deferred, GrantType, TokenRequest};
use testkit::fixture::{ADA, GATEWAY, code_request, refresh_request, story};

use crate::house::{House, ciba_request, device_request, yes};

const GRANTS: &[GrantType] = &[
    GrantType::AuthorizationCode,
    GrantType::RefreshToken,
    GrantType::DeviceCode,
    GrantType::Ciba,
    GrantType::Deferred,
];

/// Shows a text as the value of one kind.
type Shown = fn(&str) -> TokenRequest;

fn deferred_request(text: &str) -> TokenRequest {
    TokenRequest::Deferred(Deferred { deferral_code: TokenText::parse(text).unwrap() })
}

fn refreshing(text: &str) -> TokenRequest {
    refresh_request(text, &format!("{GATEWAY}/notices"), "")
}

/// A store shared by kinds let one serve as another. Each kind has a table and letters of its own:
/// what is shown as another kind is found nowhere, and is not used up by that.
/// req: AUTHZ-09 (part)
#[test]
fn past_defect_07_no_kind_of_value_serves_as_another() {
    story(|sim| async move {
        let mut house = House::open(&sim).await;
        house.client = house.domain.client(GRANTS, false);
        let cookie = house.sign_in("ada").await;
        let device = house.device("").await.unwrap();
        let shown = house.find(&device.user_code).await.unwrap();
        house.say(&cookie, yes(&shown, Some(&device.user_code))).await.unwrap();
        let backchannel = house.ciba("&login_hint=ada").await.unwrap().auth_req_id;
        let approvals = house.approvals();
        let waits = approvals.iter().find(|one| one.state == approval::State::Pending).unwrap();
        house.say(&cookie, yes(waits, None)).await.unwrap();
        let of = |id: &'static str| (id, house.client.id.clone());
        let audience = format!("{GATEWAY}/notices");
        let mut codes = Vec::new();
        for (id, client) in [of("grant-1"), of("grant-2")] {
            let grant = house.domain.grant((id, &client, ADA), &audience, "notices.read", "openid");
            codes.push(house.domain.code(&grant, |_| ()));
        }
        let call = house.client.asks(code_request(&codes[1]), house.domain.now());
        let answer = house.domain.ask(call).await.unwrap();
        let values = [
            ("code", codes[0].clone()),
            ("refresh token", answer.refresh_token.unwrap()),
            ("device code", device.device_code),
            ("auth_req_id", backchannel),
            ("access token", answer.access_token),
            ("session", cookie),
            ("user code", device.user_code),
        ];
        let kinds: [(&str, Shown); 5] = [
            ("code", code_request),
            ("refresh token", refreshing),
            ("device code", device_request),
            ("auth_req_id", ciba_request),
            ("deferral code", deferred_request),
        ];
        for (kind, value) in &values {
            for (as_kind, request) in kinds.iter().filter(|(as_kind, _)| as_kind != kind) {
                let refused = house.poll_as(&house.client, request(value)).await.unwrap_err();
                assert_eq!(refused.check(), "grants::NotHeld", "a {kind} as a {as_kind}");
                // Nor with the letters of the other kind before the same bytes.
                let Some((_, secret)) = value.rsplit_once('_') else { continue };
                for letters in ["aims_ac_", "aims_rt_", "aims_dc_", "aims_ar_", "aims_df_"] {
                    let forged = format!("{letters}{secret}");
                    if forged != *value {
                        let end = house.poll_as(&house.client, request(&forged)).await;
                        assert!(end.is_err(), "a {kind} as {letters} for a {as_kind}");
                    }
                }
            }
        }
        // All of them are as good as they were.
        for ((kind, value), (as_kind, request)) in values.iter().zip(&kinds[..4]) {
            assert_eq!(kind, as_kind);
            house.poll_as(&house.client, request(value)).await.unwrap();
        }
    });
}

//! Mistakes that authorization endpoints made (docs/past-defects.md).

use authorization::client::Redirects;
use consent::{Begun, PageFault};
use oauth::redirect_uri::RedirectUri;
use testkit::Sim;
use testkit::fixture::story;

use crate::house::{BACK, House, browser, query};

/// The request, with another address to answer at, written as a form writes it.
fn to(address: &str) -> String {
    let encoded: String = address.bytes().map(|byte| format!("%{byte:02X}")).collect();
    query("&scope=openid").replace(BACK, &encoded)
}

async fn open(sim: &Sim, registered: &str, native: bool) -> House {
    let house = House::open(sim).await;
    house.client(|client| {
        let redirect_uris = vec![RedirectUri::parse(registered).unwrap()];
        client.redirects = Some(Redirects { redirect_uris, native, ..Redirects::default() });
        client.public = native;
    });
    house
}

/// RFC 9700 §2.1: "authorization servers MUST utilize exact string matching". To no other address
/// goes an answer or an error, whatever else is wrong with the request.
/// req: AUTHZ-06 (part)
#[test]
fn past_defect_10_no_address_but_the_registered_one_is_answered_at() {
    story(|sim| async move {
        let house = open(&sim, BACK, false).await;
        let here = browser("a", None);
        // As it is written, or as another form writes it: the registered one.
        assert!(matches!(house.begin(&here, &to(BACK)).await, Begun::Interaction(_)));
        for address in [
            "https://books.example/back/",
            "https://books.example/back/..;/evil",
            "https://books.example/back/../evil",
            "https://books.example/back%2F..%2Fevil",
            "https://books.example/%62ack",
            "https://books.example//back",
            "https://books.example/./back",
            "https://books.example/BACK",
            "HTTPS://books.example/back",
            "https://BOOKS.example/back",
            "https://books.example:443/back",
            "https://books.example./back",
            "https://books.example/back?x=1",
            "https://books.example/back?",
            "https://books.example/back#x",
            "https://books.example/back%00",
            "https://books.example/back ",
            " https://books.example/back",
            "https://books.example/back\n",
            "https://books.example\\@evil.example/back",
            "https://books.example@evil.example/back",
            "https://books.example%40evil.example/back",
            "https://books.example%2540evil.example/back",
            "https://a@b@books.example/back",
            "https://user@books.example/back",
            "https://evil.example/https://books.example/back",
            "https://books.example.evil.example/back",
            "https://evilbooks.example/back",
            "https://*.example/back",
            "https://*/back",
            "*",
            "http://books.example/back",
            "//books.example/back",
            "/back",
            "javascript:alert(1)",
            "data:text/html,x",
        ] {
            // Also where the client would be told of another error there.
            for more in ["", "&response_mode=fragment", "&prompt=none&max_age=x"] {
                let begun = house.begin(&here, &format!("{}{more}", to(address))).await;
                let Begun::Page(fault) = begun else { panic!("`{address}`: {begun:?}") };
                let checks = ["authorize::Redirect", "authorize::Parameter", "authorize::Form"];
                assert!(checks.contains(&fault.check()), "`{address}`: {fault}");
            }
        }
        let twice = format!("{}&redirect_uri=https://evil.example", to(BACK));
        let begun = house.begin(&here, &twice).await;
        assert!(matches!(begun, Begun::Page(PageFault::Form(_))), "{begun:?}");
    });
}

/// RFC 8252 §7.3: of an app on this machine the port alone may differ.
/// req: AUTHZ-06 (part)
#[test]
fn past_defect_10_of_an_app_the_port_alone_may_differ() {
    story(|sim| async move {
        let house = open(&sim, "http://127.0.0.1/back", true).await;
        let here = browser("a", None);
        let begun = house.begin(&here, &to("http://127.0.0.1:49152/back")).await;
        assert!(matches!(begun, Begun::Interaction(_)), "{begun:?}");
        for address in [
            "https://127.0.0.1:49152/back",
            "http://127.0.0.1:49152/other",
            "http://127.0.0.1:49152/back?x=1",
            "http://127.0.0.1:/back",
            "http://127.0.0.1:99999/back",
            "http://127.0.0.1:0x50/back",
            "http://127.0.0.1:80@evil.example/back",
            "http://user@127.0.0.1:49152/back",
            "http://localhost:49152/back",
            "http://127.1:49152/back",
            "http://2130706433:49152/back",
            "http://127.0.0.2:49152/back",
            "http://[::1]:49152/back",
            "http://0.0.0.0:49152/back",
            "http://127.0.0.1.evil.example:49152/back",
        ] {
            let begun = house.begin(&here, &to(address)).await;
            assert!(matches!(begun, Begun::Page(_)), "`{address}`: {begun:?}");
        }
    });
}

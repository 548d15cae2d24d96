//! What strangers leave behind: little, not for long, and no more than their share.

use access::token::asker::Asker;
use authorization::interaction::{
    INTERACTION_LIFE, Interaction, KEPT, Pushed, UNBEGUN_KEPT, UNPROVED_BYTES_MAX,
};
use basis::shares::{BEGUN_OF_SOURCE, PUSHED_OF_SOURCE};
use consent::push::{self, End, Refusal};
use consent::{Begun, PageFault};
use env::{Entity, World};
use oauth::ClientId;
use oauth::client_assertion::PresentedClient;
use oauth::form::Form;
use registry::Metadata;
use testkit::fixture::story;

use crate::house::{BACK, CLIENT, House, browser, invoices};
use crate::pushes::by_reference;

/// The client proves nothing but its name.
async fn public(sim: &testkit::Sim) -> House {
    let house = House::open(sim).await;
    house.client(|client| {
        let metadata = serde_json::json!({
            "client_name": "Books", "redirect_uris": [BACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code"],
        });
        *client = client.with_metadata(Metadata::new(metadata.as_object().unwrap()).unwrap());
    });
    house
}

async fn push(house: &House, body: &str) -> Result<oauth::pushed::PushedResponse, Refusal> {
    let asker = Asker {
        client: PresentedClient {
            client_id: Some(ClientId::parse(CLIENT).unwrap()),
            assertion: None,
            secret: None,
        },
        attestation: None,
        dpop: Vec::new(),
        path: "/par".to_owned(),
        certificates: Vec::new(),
        source: "192.0.2.1".to_owned(),
    };
    let form = Form::parse(body.as_bytes()).unwrap();
    match push::push(&*house.world(), &house.shares, asker, form).await.unwrap() {
        End::Unproved(decided) => decided,
        other => panic!("{other:?}"),
    }
}

fn begun(house: &House) -> Vec<std::sync::Arc<Interaction>> {
    house.world().store().every::<Interaction>()
}

/// RFC 6749 §3.1: "The authorization server MUST ignore unrecognized request parameters."
#[test]
fn rfc6749_3_1_what_is_not_read_is_not_kept() {
    story(|sim| async move {
        let house = public(&sim).await;
        let known = invoices("invoices.read");
        let more = format!("{known}&x={}", "a".repeat(31_000));
        house.begun(&browser("a", None), &more).await;
        push(&house, &more).await.unwrap();
        let kept = begun(&house)[0].parameters.clone();
        assert!(!kept.contains("x=a") && kept.contains("state=s1"), "{kept}");
        let pushed = house.world().store().every::<Pushed>()[0].parameters.clone();
        assert_eq!(pushed, kept);
        // Nor much of what is read, of anybody.
        let quotes = "%22".repeat(2_000);
        let long = known.replace("&state=s1", &format!("&state={quotes}&nonce={quotes}"));
        let fault = match house.begin(&browser("a", None), &long).await {
            Begun::Page(fault) => fault,
            other => panic!("{other:?}"),
        };
        assert!(matches!(fault, PageFault::TooLong { max: UNPROVED_BYTES_MAX, .. }), "{fault}");
        assert_eq!(push(&house, &long).await.unwrap_err().check(), "authorize::TooLong");
    });
}

/// docs/design.md §2, idea 3: a stranger cannot fill the log, nor the disk.
#[test]
fn s2_strangers_begin_no_more_than_their_share() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let query = invoices("invoices.read");
        for _ in 0..BEGUN_OF_SOURCE.burst {
            house.begun(&browser("a", None), &query).await;
        }
        let Begun::Page(fault) = house.begin(&browser("a", None), &query).await else {
            panic!("one more")
        };
        assert!(matches!(fault, PageFault::TooMany { wait: 1..=2 }), "{fault}");
        assert_eq!(begun(&house).len(), BEGUN_OF_SOURCE.burst as usize);
        let row = begun(&house)[0].expires().unwrap();
        assert_eq!(row, house.domain.now().plus(INTERACTION_LIFE).plus(KEPT));
        // Who is signed in there goes on, and so do others a moment later.
        let cookie = house.sign_in(&browser("b", None), "ada").await;
        house.begun(&browser("b", Some(&cookie)), &query).await;
        house.forth(5);
        house.begun(&browser("a", None), &query).await;
    });
}

#[test]
fn rfc9126_2_3_clients_that_prove_nothing_push_no_more_than_their_share() {
    story(|sim| async move {
        let house = public(&sim).await;
        let query = invoices("invoices.read");
        let records = house.domain.server.journal().len();
        for _ in 0..PUSHED_OF_SOURCE.burst {
            push(&house, &query).await.unwrap();
        }
        let refused = push(&house, &query).await.unwrap_err();
        assert!(matches!(refused, Refusal::TooMany { wait: 1..=2 }), "{refused}");
        assert_eq!(push(&house, "scope=x").await.unwrap_err().check(), "authorize::Request");
        // Nothing of it is in the log, and what nobody came with goes soon.
        assert_eq!(house.domain.server.journal().len(), records);
        let rows = house.world().store().every::<Pushed>();
        assert_eq!(rows.len(), PUSHED_OF_SOURCE.burst as usize);
        assert_eq!(rows[0].expires().unwrap(), rows[0].until.plus(UNBEGUN_KEPT));
        // What somebody came with stays for as long as it can be answered.
        house.forth(5);
        let pushed = push(&house, &query).await.unwrap();
        for _ in 0..2 {
            house.begun(&browser("a", None), &by_reference(&pushed)).await;
        }
        let all = house.world().store().every::<Pushed>();
        let [row] = all.iter().filter(|one| one.begun.is_some()).collect::<Vec<_>>()[..] else {
            panic!("{all:?}")
        };
        assert!(row.expires().unwrap() > row.until.plus(INTERACTION_LIFE));
    });
}

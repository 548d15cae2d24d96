//! What clients want signed for them: keys are there before they are told so, and nobody is
//! promised what the key store cannot make.

use std::sync::Arc;

use access::documents::{self, Unread};
use env::{CannotMake, Published, World};
use jose::Algorithm;
use register::Refusal;
use register::manage::Act;
use registry::admission::Unadmitted;
use serde_json::{Value, json};
use testkit::fixture::story;
use testkit::web::Web;

use crate::desk::{Desk, app, app_with, done, refused, stranger};

const MEMBER: &str = "id_token_signed_response_alg";
const URL: &str = "https://app.example/client.json";

fn rs256() -> Value {
    app_with(MEMBER, json!("RS256"))
}

/// Whether a key to sign by RS256 is published.
async fn is_there(desk: &Desk) -> bool {
    let keys = access::publish::jwks(&*desk.world()).await.unwrap();
    keys.keys().iter().any(|key| key.alg() == Some(Algorithm::Rs256))
}

const fn cannot() -> Unadmitted {
    Unadmitted::KeyStore(CannotMake { store: "simulated", algorithm: Algorithm::Rs256 })
}

/// Who may not register makes the server no work.
/// req: AUTHZ-22 (part)
#[test]
fn registration_2_a_client_that_is_taken_has_a_key() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"token\"").await;
        assert_eq!(stranger(desk.register(&rs256(), None).await), Refusal::NoToken);
        let token = desk.invite(2, 60).await;
        let mut bad = rs256();
        bad["redirect_uris"] = json!(["javascript:alert(1)"]);
        assert!(matches!(refused(desk.register(&bad, Some(&token)).await), Refusal::Metadata(_)));
        done(desk.register(&app(), Some(&token)).await);
        assert!(!is_there(&desk).await);
        let told = done(desk.register(&rs256(), Some(&token)).await).registered.metadata;
        assert_eq!(told[MEMBER], "RS256");
        assert!(is_there(&desk).await);
        assert_eq!(desk.last(), ("client.register".to_owned(), None));
    });
}

#[test]
fn rfc7591_3_2_2_what_the_key_store_cannot_make_is_refused_by_each_way() {
    story(|sim| async move {
        let desk = Desk::open(&sim, "dynamic = \"open\"\ndocuments = \"open\"").await;
        desk.world().keys().set_unmakeable(&[Algorithm::Rs256]);
        let refusal = stranger(desk.register(&rs256(), None).await);
        assert_eq!(refusal, cannot().into());
        let said = "this server's key store (`simulated`) makes no RS256 keys";
        assert_eq!(refusal.to_string(), said);
        assert_eq!(desk.order(&rs256()).await.unwrap_err(), cannot().into());
        // A change that cannot be is none.
        let told = done(desk.register(&app(), None).await).registered;
        let (id, token) = (told.client_id.as_str(), told.registration_access_token.unwrap());
        let mut text = rs256();
        text["client_id"] = json!(id);
        let replaced = desk.manage(id, &token, Act::Replace(text.to_string())).await;
        assert_eq!(refused(replaced), cannot().into());
        assert_eq!(desk.last().1.as_deref(), Some("registration::KeyStore"));
        assert_eq!(desk.stored(id).unwrap().metadata.id_token_signed_response_alg, None);

        let web = Arc::new(Web::default());
        desk.world().publish(Arc::clone(&web) as Arc<dyn Published>);
        let mut page = json!({ "client_id": URL, "redirect_uris": ["https://app.example/back"] });
        page[MEMBER] = json!("RS256");
        web.put(URL, &page, None);
        let read = documents::ready(&*desk.world(), URL, None, "192.0.2.7").await.unwrap();
        assert_eq!(read.err(), Some(Unread::Unadmitted(cannot())));
        assert!(desk.stored(URL).is_none() && !is_there(&desk).await);

        desk.world().keys().set_unmakeable(&[]);
        done(desk.manage(id, &token, Act::Replace(text.to_string())).await);
        assert!(is_there(&desk).await);
        documents::ready(&*desk.world(), URL, None, "192.0.2.7").await.unwrap().unwrap();
        assert!(desk.stored(URL).is_some());
    });
}

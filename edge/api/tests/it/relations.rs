//! Orders about relations to other trust domains.

use monitoring::{Event, Outcome};
use serde_json::json;

use crate::orders::{Office, audit_id, problem};
use crate::world::DOMAIN;

/// req: CRED-12 (part)
#[tokio::test]
async fn relations_to_other_trust_domains_begin_and_end() {
    let office = Office::open().await;
    let client = &office.client;
    let terms = |domain: &str, profile: &str| {
        let url = "https://bundles.example/other";
        let terms = json!({ "trust_domain": domain, "profile": profile, "url": url, "wit": false });
        serde_json::from_value(terms).unwrap()
    };
    let added = client.add_relation(&terms("other.example", "https_web")).await.unwrap();
    let recorded = office.recorded(Event::FederationChanged, Outcome::Done);
    assert_eq!(added.audit_id, Some(recorded));
    assert_eq!(client.relations().await.unwrap(), std::slice::from_ref(&added.value));
    assert_eq!(client.relation("other.example").await.unwrap(), added.value);
    let mut shown = serde_json::to_value(&added.value).unwrap();
    for time in ["since", "next"] {
        assert!(shown[time].take().is_u64(), "{time}");
    }
    insta::assert_json_snapshot!(shown, @r#"
    {
      "trust_domain": "other.example",
      "profile": "https_web",
      "url": "https://bundles.example/other",
      "has_first_bundle": false,
      "wit": false,
      "keeper": "operator",
      "since": null,
      "standing": "waiting",
      "failures": 0,
      "next": null
    }
    "#);
    let fault = async |terms| {
        let undone = client.add_relation(&terms).await.unwrap_err();
        assert_eq!(
            audit_id(&undone),
            Some(office.recorded(Event::FederationChanged, Outcome::Refused))
        );
        problem(undone).error
    };
    assert_eq!(fault(terms("other.example", "https_web")).await, "federation::Exists");
    assert_eq!(fault(terms(DOMAIN, "https_web")).await, "federation::Terms");
    assert_eq!(fault(terms("third.example", "https_spiffe")).await, "federation::Terms");
    client.refresh_relation("other.example").await.unwrap();
    client.remove_relation("other.example").await.unwrap();
    for gone in [
        client.remove_relation("other.example").await.unwrap_err(),
        client.refresh_relation("other.example").await.unwrap_err(),
        client.relation("other.example").await.unwrap_err(),
    ] {
        assert_eq!(problem(gone).error, "federation::Unknown");
    }
    assert!(client.relations().await.unwrap().is_empty());
    assert_eq!(problem(client.relation("No Domain").await.unwrap_err()).error, "misused");
}

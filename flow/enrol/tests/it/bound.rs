//! Documents about an agent that come with its request: appraised with the key that it asks for.

use attestation::evidence::to_text;
use flow::evidence::Order;
use identifier::AgentName;
use jose::PrivateKey;
use serde_json::{Value, json};
use testkit::documents::{self, Binding, Signer};
use testkit::fixture::story;
use time::Span;

use crate::enrol::{BOT, Bureau, GITHUB, of};
use crate::maker::{csr, new_key};

const IDP: &str = "https://idp.example";

/// A request of the bot for the key of `agent`, with this document about it.
async fn body(bureau: &Bureau, agent: &PrivateKey, binding: &[u8]) -> Value {
    let asking = bureau.bot(agent);
    let session = bureau.session(&asking, false).await.unwrap();
    json!({
        "nonce": session.nonce, "agent": "bound", "mechanism": GITHUB,
        "request": to_text(&csr(agent)), "kinds": ["x509"],
        "evidence": {
            "platform": ["application/vnd.aims.evidence.github_actions", to_text(&asking.evidence)],
            "about": { "user": ["application/agent-binding+jwt", to_text(binding)] },
        },
    })
}

/// req: REG-01 (part), ATT-11 (part), ATT-07 (part)
#[test]
fn s3_1_a_binding_counts_for_the_key_that_is_certified() {
    story(|sim| async move {
        let idp = Signer::new("k1").unwrap();
        let tables = format!(
            "[[evidence.binding.issuers]]\nissuer = \"{IDP}\"\nkeys = '{}'\nusers = [\"alice\"]\n\
             scope = \"mail calendar files\"\n\
             [class.bound]\ndemands = []\nissues = [\"x509\"]\n\
             [[class.bound.attested]]\nof = [\"platform\", \"binding\"]\n\
             facts = [\"binding:user:alice\"]\n",
            idp.keys()
        );
        let bureau = Bureau::with(&sim, &tables).await;
        let mut entry = of("bound", "github_actions:repository:acme/bot");
        entry.rule.class = "bound".to_owned();
        bureau.domain.register(entry).await;
        let (agent, other) = (new_key(), new_key());
        let id = BOT.replace("/bot", "/bound");
        let binding = |key: &PrivateKey| {
            let claims = documents::binding(IDP, &id, key.public(), "alice", bureau.domain.now());
            idp.token::<Binding>(&claims.unwrap())
        };
        // About another key: it fails, and what fails so spoils the rest.
        let swapped = body(&bureau, &agent, &binding(&other)).await;
        let refused = bureau.send(&swapped).await.unwrap_err();
        assert_eq!(refused.check(), "attestation::Contraindicated");
        // None at all.
        sim.sleep(Span::from_seconds(1)).await;
        let mut without = body(&bureau, &agent, b"").await;
        without["evidence"].as_object_mut().unwrap().remove("about");
        assert_eq!(bureau.send(&without).await.unwrap_err().check(), "attestation::Demand");
        sim.sleep(Span::from_seconds(1)).await;
        let good = binding(&agent);
        // What is refused, here for a kind that the class does not give, uses it up no more than
        // the right request that comes after.
        let mut wrong = body(&bureau, &agent, &good).await;
        wrong["kinds"] = json!(["wit"]);
        assert_eq!(bureau.send(&wrong).await.unwrap_err().check(), "provisioning::Kind");
        sim.sleep(Span::from_seconds(1)).await;
        let before = bureau.domain.server.journal().len();
        let enrolled = bureau.send(&body(&bureau, &agent, &good).await).await.unwrap();
        assert_eq!(enrolled.id.as_str(), id);
        let told = bureau.domain.server.journal().after(before);
        assert!(told[0].attestation["part.binding"].starts_with("affirming"), "{told:?}");
        // It serves once, whoever shows it.
        sim.sleep(Span::from_seconds(1)).await;
        let again = bureau.send(&body(&bureau, &agent, &good).await).await.unwrap_err();
        assert_eq!(again.check(), "attestation::Contraindicated");
        // What an operator keeps is not hidden by what the agent brings.
        sim.sleep(Span::from_seconds(1)).await;
        let order = Order::Add { kind: "binding".to_owned(), document: binding(&other) };
        let (server, operator) = (bureau.domain.server.world(), bureau.domain.operator());
        let name = AgentName::parse("bound").unwrap();
        let kept = flow::evidence::change(&*server, &operator, &name, order).await.unwrap();
        kept.into_value().unwrap();
        let hidden = bureau.send(&body(&bureau, &new_key(), b"junk").await).await.unwrap_err();
        assert_eq!(hidden.check(), "attestation::Contraindicated");
    });
}

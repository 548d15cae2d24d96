//! Enrolments that are looked at again, that are many, and that were refused.

use ::enrol::{INSTANCES_MAX, reassess, renew};
use attestation::evidence::to_text;
use env::World;
use env::rows::Enrolment;
use flow::evidence::Order;
use flow::reassess::Which;
use identifier::AgentName;
use jose::PrivateKey;
use monitoring::Event;
use provisioning::{Epoch, Lifecycle, State};
use registry::AgentRecord;
use serde_json::{Value, json};
use testkit::documents::{Signer, Word, word};
use testkit::fixture::{files_but, story};
use testkit::{Seed, Sim, boxed};
use time::Span;

use crate::enrol::{Asking, BOT, Bureau, Held, Proving, chain_of, fresh, wit_of};
use crate::maker::new_key;

impl Bureau {
    /// Policy, changed so.
    async fn changed(&self, change: impl Fn(&str) -> String) {
        let text = change(&self.attestation);
        let files = files_but(&[("attestation.toml", &text)]);
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let done = flow::apply_policy::apply(&*server, &operator, files, String::new(), None).await;
        done.unwrap().into_value().unwrap();
    }

    async fn look(&self, which: Which) -> usize {
        reassess::step(&*self.domain.server.world(), &which).await.unwrap()
    }

    fn life(&self) -> Lifecycle {
        let server = self.domain.server.world();
        server.store().single::<AgentRecord>(BOT).unwrap().lifecycle.clone()
    }

    async fn order(&self, order: Order) {
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let name = AgentName::parse("bot").unwrap();
        let done = flow::evidence::change(&*server, &operator, &name, order).await.unwrap();
        done.into_value().unwrap();
    }
}

const STANDARD: &str = "[class.standard]\ndemands = []\nissues = [\"x509\", \"wit\", \"jwt\"]\n";

/// The class of the bot, with these lines besides or instead.
fn class(text: &str, issues: &str, rest: &str) -> String {
    text.replace(STANDARD, &format!("[class.standard]\ndemands = []\nissues = {issues}\n{rest}\n"))
}

/// req: PROV-11, OBS-10 (part)
#[test]
fn s7_what_an_enrolled_agent_holds_ends_when_policy_would_not_give_it() {
    let check = |issues: &'static str, rest: &'static str, reason: &'static str| {
        story(move |sim| async move {
            let bureau = Bureau::open(&sim).await;
            bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
            let before = bureau.life();
            bureau.changed(|text| class(text, issues, rest)).await;
            let fell = usize::from(!reason.is_empty());
            assert_eq!(bureau.look(Which::All).await, fell, "{issues} {rest}");
            let now = bureau.life();
            let ends = fell == 1 && !rest.contains("keep");
            assert_eq!(now.dead_before > before.dead_before, ends, "{issues} {rest}");
            let state = if rest.contains("suspend") { State::Suspended } else { State::Active };
            assert_eq!(now.state, state);
            if fell == 1 {
                let told = bureau.domain.server.journal().of(Event::AgentLifecycle);
                assert_eq!(told.last().unwrap().facts["reason"], reason);
            }
            assert_eq!(bureau.look(Which::All).await, 0, "once is enough");
        });
    };
    let all = "[\"x509\", \"wit\", \"jwt\"]";
    let fallen = "its attestation fell from `full` to `none`";
    // Another policy that gives it the same takes nothing.
    check(all, "lifetime_max = 3600", "");
    let by_pop = "[[class.standard.attested]]\nof = [\"platform.x509pop\"]";
    check(all, by_pop, fallen);
    let kept = "fall = \"keep\"\n[[class.standard.attested]]\nof = [\"platform.x509pop\"]";
    check(all, kept, fallen);
    let out = "fall = \"suspend\"\n[[class.standard.attested]]\nof = [\"platform.x509pop\"]";
    check(all, out, fallen);
    check("[\"x509\"]", "", "policy issues no `wit` any more");
    // What was never given takes nothing with it.
    check("[\"wit\"]", "", "");
}

/// req: PROV-11 (part), ATT-06 (part)
#[test]
fn s7_a_document_that_an_operator_brings_counts_for_what_was_given_before() {
    story(|sim| async move {
        let signer = Signer::new("one").unwrap();
        let tables = format!(
            "[[evidence.operator.operators]]\nname = \"ops\"\nkeys = '''{}'''\n\
             agents = [\"spiffe://demo.example/agent/*\"]\n",
            signer.keys()
        );
        let bureau = Bureau::with(&sim, &tables).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
        let before = bureau.life().dead_before;
        // An operator brings one that is about another agent: it must not be trusted.
        let other = "spiffe://demo.example/agent/other";
        let claims = word("ops", other, &"ab".repeat(32), bureau.domain.now()).unwrap();
        let document = signer.token::<Word>(&claims);
        bureau.order(Order::Add { kind: "operator".to_owned(), document }).await;
        assert_eq!(bureau.look(Which::Agent("spiffe://demo.example/agent/pop".into())).await, 0);
        assert_eq!(bureau.look(Which::Agent(BOT.to_owned())).await, 1);
        assert!(bureau.life().dead_before > before);
        // Without it the agent enrols again, and nothing of it is in the result.
        bureau.order(Order::Remove { kind: "operator".to_owned() }).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
        let before = bureau.life().dead_before;
        assert_eq!(bureau.look(Which::All).await, 0);
        assert_eq!(bureau.life().dead_before, before);
    });
}

/// req: PROV-11 (part)
#[test]
fn s7_no_enrolment_outlives_a_change_of_policy_that_came_meanwhile() {
    for seed in 1..=24 {
        let sim = Sim::new(Seed(seed));
        sim.run(meanwhile(sim.clone()));
    }
}

async fn meanwhile(sim: Sim) {
    let bureau = Bureau::open(&sim).await;
    let asking = Asking { kinds: &["x509"], ..fresh(&bureau, "bot") };
    let by_pop = "[[class.standard.attested]]\nof = [\"platform.x509pop\"]";
    let all = "[\"x509\", \"wit\", \"jwt\"]";
    let enrolled = std::sync::Mutex::new(None);
    let session = bureau.session(&asking, false).await.unwrap();
    let body = bureau.body(&asking, &session.nonce);
    let enrolling = async { *enrolled.lock().unwrap() = Some(bureau.end(&body).await) };
    let changing = async {
        bureau.changed(|text| class(text, all, by_pop)).await;
        bureau.look(Which::All).await;
    };
    sim.all(vec![boxed(enrolling), boxed(changing)]).await;
    let rows = bureau.domain.server.world().store().every::<Enrolment>();
    match enrolled.into_inner().unwrap().unwrap() {
        Ok(enrolled) => {
            let leaf = x509::Certificate::parse(&chain_of(&enrolled)[0]).unwrap();
            let epoch = leaf.epoch().map(Epoch);
            assert!(bureau.life().admits(epoch).is_err(), "an enrolment outlives the policy");
        }
        Err(refusal) => {
            let checks = ["attestation::Demand", "enrol::Overtaken"];
            assert!(checks.contains(&refusal.check()), "{refusal}");
            assert!(rows.is_empty());
        }
    }
}

/// req: REG-01 (part)
#[test]
fn s3_1_so_many_instances_of_an_agent_and_no_more() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
        let server = bureau.domain.server.world();
        let first = server.store().every::<Enrolment>().remove(0);
        // One that ended does not count, nor one of another agent.
        let past = bureau.domain.now();
        let other = "spiffe://demo.example/agent/other".to_owned();
        server.store().put(&Enrolment { handle: "a".into(), until: past, ..(*first).clone() });
        server.store().put(&Enrolment { handle: "b".into(), agent: other, ..(*first).clone() });
        for n in 2..INSTANCES_MAX {
            server.store().put(&Enrolment { handle: format!("h{n}"), ..(*first).clone() });
        }
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
        let refused = bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap_err();
        assert_eq!(refused.check(), "enrol::TooMany");
    });
}

/// Time passes, and there is place again.
#[test]
fn s3_1_who_ended_makes_place() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
        let server = bureau.domain.server.world();
        let first = server.store().every::<Enrolment>().remove(0);
        for n in 1..INSTANCES_MAX {
            server.store().put(&Enrolment { handle: format!("h{n}"), ..(*first).clone() });
        }
        let refused = bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap_err();
        assert_eq!(refused.check(), "enrol::TooMany");
        let left = first.until.since(bureau.domain.now()).seconds();
        sim.sleep(Span::from_seconds(left + 1)).await;
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
    });
}

/// req: ATT-01 (part), PROV-11 (part)
#[test]
fn s7_a_policy_that_changed_asks_for_the_evidence_again() {
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let [first, second] = [new_key(), new_key()];
        let enrolled = bureau.enrolled(&bureau.bot(&first)).await.unwrap();
        let loose = "[class.loose]\ndemands = []\nissues = [\"x509\"]\n";
        bureau.changed(|text| format!("{text}{loose}")).await;
        let (wit, held) = (wit_of(&enrolled), Held { handle: &enrolled.handle, new: &second });
        let by = Proving::Wit(&wit, &first, "a");
        let refused = bureau.renewed(&held, &by).await.map(|_| ()).unwrap_err();
        assert_eq!(refused, renew::Refusal::Stale);
        bureau.enrolled(&fresh(&bureau, "bot")).await.unwrap();
    });
}

/// draft-ietf-lamps-csr-attestation: the request itself carries the wrapper, in either form.
/// req: ATT-04 (part), PROV-07 (part)
#[test]
fn csr_attestation_4_a_request_carries_its_evidence() {
    const UTF8_STRING: u8 = 0x0c;
    const OCTET_STRING: u8 = 0x04;
    story(|sim| async move {
        let bureau = Bureau::open(&sim).await;
        let carried = |key: &PrivateKey, all: &[(u8, Vec<u8>)]| {
            let all = all.iter().map(|(tag, contents)| x509::Attestation {
                kind: x509::Oid::CMW,
                tag: *tag,
                contents: contents.clone(),
            });
            let template = x509::RequestTemplate {
                subject: x509::Name::empty(),
                spki_der: key.public().spki_der().to_vec(),
                uri_names: vec![BOT.to_owned()],
                dns_names: Vec::new(),
            };
            let algorithm = x509::SignatureAlgorithm::EcdsaP256Sha256;
            let unsigned = template.to_be_signed_with(algorithm, &all.collect::<Vec<_>>()).unwrap();
            let signature = key.sign(unsigned.bytes());
            unsigned.attach(&x509::ecdsa_der_from_fixed(signature.as_bytes()).unwrap())
        };
        // The body without `evidence`, and the wrapper that stood there.
        let body = async |key: &PrivateKey| {
            let asking = bureau.bot(key);
            let session = bureau.session(&asking, false).await.unwrap();
            let mut body = bureau.body(&asking, &session.nonce);
            let evidence = body.as_object_mut().unwrap().remove("evidence").unwrap();
            (body, evidence)
        };
        for is_cbor in [false, true] {
            let key = new_key();
            let (mut body, evidence) = body(&key).await;
            let cbor = (OCTET_STRING, rats::Cmw::read(&evidence).unwrap().to_cbor());
            let json = (UTF8_STRING, evidence.to_string().into_bytes());
            let one = if is_cbor { cbor.clone() } else { json.clone() };
            let read = |body: &Value| {
                enrolment::EnrolRequest::parse(body.to_string().as_bytes())
                    .map_err(|e| e.to_string())
            };
            let refused = |body: &Value, expect: &str| {
                let told = read(body).unwrap_err();
                assert!(told.starts_with(expect), "{told}");
            };
            // None at all, one that is of no form, two of them, and one in each place.
            body["request"] = json!(to_text(&carried(&key, &[])));
            refused(&body, "no `evidence`");
            body["request"] = json!(to_text(&carried(&key, &[(OCTET_STRING, vec![0x80])])));
            refused(&body, "`evidence`:");
            body["request"] = json!(to_text(&carried(&key, &[(0x02, vec![1])])));
            refused(&body, "no `evidence`");
            body["request"] = json!(to_text(&carried(&key, &[cbor, json])));
            refused(&body, "evidence twice");
            body["request"] = json!(to_text(&carried(&key, &[one])));
            let mut both = body.clone();
            both["evidence"] = evidence.clone();
            refused(&both, "evidence twice");
            assert_eq!(bureau.send(&body).await.unwrap().id.as_str(), BOT);
            sim.sleep(Span::from_seconds(2)).await;
        }
    });
}

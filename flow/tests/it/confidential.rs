//! Guests that a processor vouches for join by what it signs: for this session, with this key.

use attestation::confidential::report_data;
use attestation::mechanism::Role;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use env::World;
use flow::join::{Attempt, Challenge, End, Joined, Refusal, challenge, join};
use registry::NodeRecord;
use serde_json::json;
use testkit::fixture::{Domain, attempt, files_but, story};
use testkit::silicon::{Chip, Platform, SnpReport, TdQuote};
use testkit::{Sim, SimWorld};

async fn with(sim: &Sim, tables: &str) -> Domain {
    let rest = "[class.standard]\ndemands = []\nissues = [\"x509\"]\n";
    let attestation = format!("[node.join_token]\n{tables}\n{rest}");
    Domain::start_with(sim, files_but(&[("attestation.toml", &attestation)])).await
}

/// What the guest has signed: the nonce, bound to the key of its request.
fn data(sent: &Challenge, attempt: &Attempt) -> [u8; 64] {
    let request = x509::Request::verify(&attempt.request).unwrap();
    report_data(&sent.bytes, request.spki_der())
}

/// What the record of the confidential host keeps of how far it is trusted.
fn kept(domain: &Domain) -> String {
    let world = domain.server.world();
    let nodes = world.store().every::<NodeRecord>();
    let confidential = nodes.iter().find(|node| ["snp", "tdx"].contains(&node.mechanism.as_str()));
    confidential.unwrap().vector.to_string()
}

/// It is known, its processor is genuine, and its memory is encrypted.
const TRUSTED: &str = "instance-identity 2, hardware 2, runtime-opaque 2";

async fn asked(world: &SimWorld, attempt: &Attempt) -> Challenge {
    challenge(world, attempt).await.unwrap().unwrap().unwrap()
}

async fn answered(
    world: &SimWorld,
    attempt: &Attempt,
    sent: &Challenge,
    answer: &str,
) -> Result<Joined, Refusal> {
    match join(world, attempt, Some((sent, answer.as_bytes()))).await.unwrap() {
        End::Stranger(refusal) => {
            assert!(refusal.is_strangers(), "{refusal}");
            Err(refusal)
        }
        End::Decided(recorded) => recorded.into_value(),
    }
}

/// Which check fires, and what it says.
type Refused = (&'static str, &'static str);

fn is_refused(found: Result<Joined, Refusal>, (check, told): Refused) {
    let refusal = found.unwrap_err();
    assert!(
        refusal.check() == check && refusal.to_string().contains(told),
        "{} {refusal}, not {check} {told}",
        refusal.check()
    );
}

/// req: ATT-03 (part), ATT-08 (part), ID-04 (part)
#[test]
fn s7_a_guest_of_sev_snp_joins_and_is_the_same_host_each_time() {
    story(|sim| async move {
        let chip = Chip::new();
        let table = format!(
            "[node.snp]\nanchors = '''{}'''\nmeasurements = [\"{}\"]\n\
             tcb_least = {{ boot_loader = 3, tee = 0, snp = 8, microcode = 115 }}\n",
            chip.root(),
            "4d".repeat(48)
        );
        let domain = with(&sim, &table).await;
        let server = domain.server.world();
        let evidence = json!({ "crls": [STANDARD.encode(chip.list(false))] }).to_string();
        let by = || attempt("snp", Role::Node, evidence.as_bytes());
        let answer = |chip: &Chip, report: &SnpReport| {
            let certificates = chip.certificates().map(|der| STANDARD.encode(der));
            let report = STANDARD.encode(chip.sign(report));
            json!({ "report": report, "certificates": certificates }).to_string()
        };

        let once = by();
        let sent = asked(&server, &once).await;
        let good = answer(&chip, &SnpReport::of(data(&sent, &once)));
        let first = answered(&server, &once, &sent, &good).await.unwrap();
        assert!(first.id.as_str().starts_with("spiffe://demo.example/aims/node/snp/"));
        let told = domain.server.journal().last().unwrap().attestation;
        let measured = format!("snp:measurement:{}", "4d".repeat(48));
        assert!(told.contains_key(&measured), "{told:?}");
        assert_eq!(kept(&domain), TRUSTED);

        let again = by();
        let next = asked(&server, &again).await;
        assert_ne!(next.bytes, sent.bytes);
        let binding = ("attestation::Binding", "another challenge or of another key");
        // The old answer to a new challenge; a fresh report for the key of another request.
        is_refused(answered(&server, &again, &next, &good).await, binding);
        let others = answer(&chip, &SnpReport::of(data(&next, &by())));
        is_refused(answered(&server, &again, &next, &others).await, binding);
        // Another maker's chip; a guest under debug.
        let report = SnpReport::of(data(&next, &again));
        let forged = answer(&Chip::of_another_maker(), &report);
        let chain = ("attestation::Chain", "snp: the certificate of the issuer");
        is_refused(answered(&server, &again, &next, &forged).await, chain);
        let debug = SnpReport { policy: report.policy | 1 << 19, ..report.clone() };
        let debug = answer(&chip, &debug);
        let content = ("attestation::Content", "its host can read its memory");
        is_refused(answered(&server, &again, &next, &debug).await, content);

        let second = answered(&server, &again, &next, &answer(&chip, &report)).await.unwrap();
        assert_eq!(second.id, first.id);
    });
}

/// req: ATT-03, ATT-08 (part), ID-04 (part)
#[test]
fn s7_a_guest_of_tdx_joins_and_is_the_same_host_each_time() {
    story(|sim| async move {
        let platform = Platform::new();
        let table = format!(
            "[node.tdx]\nanchors = '''{}'''\n[[node.tdx.guests]]\nmrtd = \"{}\"\nrtmr1 = \"{}\"\n",
            platform.root(),
            "7d".repeat(48),
            "a1".repeat(48)
        );
        let domain = with(&sim, &table).await;
        let server = domain.server.world();
        let evidence = |platform: &Platform| {
            let collateral = STANDARD.encode(platform.collateral().to_string());
            json!({ "collateral": collateral }).to_string()
        };
        let own = evidence(&platform);
        let by = || attempt("tdx", Role::Node, own.as_bytes());
        let answer = |platform: &Platform, quote: &TdQuote| {
            json!({ "quote": STANDARD.encode(platform.sign(quote)) }).to_string()
        };

        let once = by();
        let sent = asked(&server, &once).await;
        let good = answer(&platform, &TdQuote::of(data(&sent, &once)));
        let first = answered(&server, &once, &sent, &good).await.unwrap();
        assert!(first.id.as_str().starts_with("spiffe://demo.example/aims/node/tdx/"));
        assert_eq!(kept(&domain), TRUSTED);

        let again = by();
        let next = asked(&server, &again).await;
        let binding = ("attestation::Binding", "another challenge or of another key");
        is_refused(answered(&server, &again, &next, &good).await, binding);
        let others = answer(&platform, &TdQuote::of(data(&next, &by())));
        is_refused(answered(&server, &again, &next, &others).await, binding);
        // Another maker's platform, with its own collateral and with this one's.
        let quote = TdQuote::of(data(&next, &again));
        let other = Platform::new();
        let forged = answer(&other, &quote);
        let chain = ("attestation::Chain", "tdx: the certificate of the platform is not trusted");
        is_refused(answered(&server, &again, &next, &forged).await, chain);
        let foreign = attempt("tdx", Role::Node, evidence(&other).as_bytes());
        let session = asked(&server, &foreign).await;
        let forged = answer(&other, &TdQuote::of(data(&session, &foreign)));
        is_refused(answered(&server, &foreign, &session, &forged).await, chain);
        let debug = TdQuote { attributes: [1, 0, 0, 0x10, 0, 0, 0, 0], ..quote.clone() };
        let content = ("attestation::Content", "its host can read its memory");
        is_refused(answered(&server, &again, &next, &answer(&platform, &debug)).await, content);

        let second = answered(&server, &again, &next, &answer(&platform, &quote)).await.unwrap();
        assert_eq!(second.id, first.id);
    });
}

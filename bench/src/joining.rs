//! Attestations: hosts of each mechanism join, as a server decides it (challenge, verification,
//! certificate, record), against the signatures that it verifies and makes for one.
//!
//! Hosts are those of the test kit, each another one with a key of its own; what they do themselves
//! is not counted. Documents of AWS and Azure are recorded ones, bound to a session that is over:
//! of these the appraisal is measured and no join.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use attestation::mechanism::{Facts, Role, by_name};
use attestation::policy::NodeRule;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, VerificationAlgorithm,
};
use flow::join::{self, Attempt, Challenge, End};
use flow::{apply_policy, join_token};
use serde_json::{Value, json};
use testkit::hosts::{self, Hosts, Shows};
use time::{Span, UnixTime};

use crate::installation::{Installation, now, operator};
use crate::load::{Load, ROUNDS, Watch, cores, count, deal, drive, median};
use crate::policy_files::{DOMAIN, files_with};
use crate::signatures::{self, Set};
use crate::svid::request;
use crate::table::{Measurement, Row};
use crate::{Failure, Measured};

/// Hosts of one round.
const HOSTS: u32 = 256;
/// How many are under way at a time.
const AT_ONCE: usize = 64;
/// How long one look at signatures, or at an appraisal, takes.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes that are signed.
const MESSAGE_BYTES: usize = 600;
/// When the recorded documents were in force.
const RECORDED: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// How many signatures of each kind one attestation costs, each counted once.
#[derive(Clone, Copy)]
struct Costs {
    p256: u16,
    p384: u16,
    ed25519: u16,
    rsa: u16,
    made: u16,
}

/// The request and the certificate: what every join costs.
const JOIN: Costs = Costs { p256: 1, p384: 0, ed25519: 0, rsa: 0, made: 1 };

/// What a join by the mechanism costs beyond what it proves with its request.
fn costs(mechanism: &str) -> Costs {
    match mechanism {
        // A certificate and the answer.
        "x509pop" => Costs { p256: 3, ..JOIN },
        "sshpop" => Costs { ed25519: 2, ..JOIN },
        // Two certificates, certification, quote and answer; a secret for the endorsement key.
        "tpm_devid" => Costs { p256: 6, rsa: 1, ..JOIN },
        // Two certificates and a list, and the report.
        "snp" => Costs { rsa: 3, p384: 1, ..JOIN },
        // Two certificates, report and quote; of the collateral a certificate, two documents and
        // two lists.
        "tdx" => Costs { p256: 10, ..JOIN },
        "github_actions" | "k8s_psat" | "ear" => Costs { p256: 2, ..JOIN },
        _ => JOIN,
    }
}

impl std::fmt::Display for Costs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p256, p384, ed25519, rsa, made } = self;
        let kinds = [(p256, "ES256"), (p384, "ES384"), (ed25519, "Ed25519"), (rsa, "RSA-2048")];
        let some: Vec<_> = kinds.iter().filter(|(number, _)| **number > 0).collect();
        let words: Vec<_> = some.iter().map(|(number, kind)| format!("{number} {kind}")).collect();
        write!(f, "{} verified and {made} made", words.join(", "))
    }
}

/// Processor time of one signature of each kind, in microseconds.
struct Prices {
    p256: f64,
    p384: f64,
    ed25519: f64,
    rsa: f64,
    made: f64,
}

impl Prices {
    fn seen() -> Result<Self, Failure> {
        let (random, message) = (SystemRandom::new(), vec![b'x'; MESSAGE_BYTES]);
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?;
        let p384_signed = p384.sign(&random, &message)?;
        let ed25519 = Ed25519KeyPair::generate()?;
        let ed25519_signed = ed25519.sign(&message);
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let mut rsa_signed = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, &message, &mut rsa_signed)?;
        let price = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8], signed: &[u8]| {
            let key = ParsedPublicKey::new(algorithm, key).map_err(|_| "no public key")?;
            let once = || key.verify_sig(black_box(&message), signed).is_ok();
            again(once).map(|load| load.cpu_each())
        };
        Ok(Self {
            p256: signatures::cost(Set { verified: 1, made: 0 })?,
            made: signatures::cost(Set { verified: 0, made: 1 })?,
            p384: price(
                &ECDSA_P384_SHA384_FIXED,
                p384.public_key().as_ref(),
                p384_signed.as_ref(),
            )?,
            ed25519: price(&ED25519, ed25519.public_key().as_ref(), ed25519_signed.as_ref())?,
            rsa: price(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref(), &rsa_signed)?,
        })
    }

    fn of(&self, costs: Costs) -> f64 {
        let each = |number: u16, price: f64| f64::from(number) * price;
        each(costs.p256, self.p256)
            + each(costs.p384, self.p384)
            + each(costs.ed25519, self.ed25519)
            + each(costs.rsa, self.rsa)
            + each(costs.made, self.made)
    }
}

/// The same again and again on one thread, for as long as a look takes.
fn again(once: impl Fn() -> bool) -> Result<Load, Failure> {
    let (watch, begun) = (Watch::start(), Instant::now());
    let mut done = 0_usize;
    while begun.elapsed() < LOOK {
        if !once() {
            return Err("what is measured was refused".into());
        }
        done += 1;
    }
    Ok(watch.stop(vec![Duration::ZERO; done]))
}

/// A host on its way in.
struct Joining {
    attempt: Attempt,
    shows: Shows,
    spki: Vec<u8>,
    sent: OnceLock<Challenge>,
    answer: OnceLock<Vec<u8>>,
}

/// Each mechanism.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let kinds = hosts::all(DOMAIN, now());
    let tables: String = kinds.iter().map(|kind| kind.table()).collect();
    let server = all.server();
    let set = files_with(all.upstream, &tables)?;
    let reason = "measured".to_owned();
    let applied = apply_policy::apply(&*server, &operator(), set, reason, None).await?;
    applied.into_value().map_err(|refusal| format!("{refusal:?}"))?;
    let mut found = vec![joined(all, "join_token", None).await?];
    for kind in &kinds {
        found.push(joined(all, kind.mechanism(), Some(kind.as_ref())).await?);
    }
    found.extend(recorded()?);
    Ok(found)
}

async fn joined(
    all: &Installation,
    mechanism: &str,
    kind: Option<&dyn Hosts>,
) -> Result<Measurement, Failure> {
    let (mut rates, mut times, mut prices) = (Vec::new(), Vec::new(), Vec::new());
    // The first round is to get warm.
    for round in 0..=u32::try_from(ROUNDS)? {
        let mut hosts = Vec::new();
        for number in 0..HOSTS {
            hosts.push(Arc::new(
                prepared(all, mechanism, kind, round.saturating_mul(HOSTS) + number).await?,
            ));
        }
        let price = Prices::seen()?.of(costs(mechanism));
        let (elapsed, cpu) = round_of(all, &hosts).await?;
        if round > 0 {
            rates.push(f64::from(HOSTS) / elapsed.as_secs_f64());
            times.push(cpu.as_secs_f64() * 1e6 / f64::from(HOSTS));
            prices.push(price);
        }
    }
    let (time, price) = (median(times), median(prices));
    let rows = vec![
        Row::of("its signatures' part of its processor time", price / time, ""),
        Row::of("joins, a second and core", median(rates) / count(cores()), "/s"),
        Row::of("processor time each, threads of store and log too", time, "us"),
        Row::of("processor time of its signatures alone", price, "us"),
    ];
    let how = format!(
        "{} signatures; {HOSTS} hosts, {AT_ONCE} at a time on {} cores, durable, in process; \
         median of {ROUNDS} rounds",
        costs(mechanism),
        cores()
    );
    Ok(Measurement { what: format!("a host joins by {mechanism}"), how, rows })
}

async fn prepared(
    all: &Installation,
    mechanism: &str,
    kind: Option<&dyn Hosts>,
    number: u32,
) -> Result<Joining, Failure> {
    let request = request()?;
    let spki = x509::Request::verify(&request)?.spki_der().to_vec();
    let shows = match kind {
        Some(kind) => kind.host(number, &spki),
        None => {
            let life = Span::from_seconds(3_600);
            let (server, operator) = (all.server(), operator());
            let made = join_token::create(&*server, &operator, Role::Node, None, life).await?;
            let evidence = made.into_value().expose().as_bytes().to_vec();
            Shows { evidence, answer: None }
        }
    };
    let attempt = Attempt {
        mechanism: mechanism.to_owned(),
        role: Role::Node,
        evidence: shows.evidence.clone(),
        request,
        source: "bench".to_owned(),
    };
    Ok(Joining { attempt, shows, spki, sent: OnceLock::new(), answer: OnceLock::new() })
}

/// All are challenged, answer, and are decided on: what the server's halves take.
async fn round_of(
    all: &Installation,
    hosts: &[Arc<Joining>],
) -> Result<(Duration, Duration), Failure> {
    let server = all.server();
    let challenge = move |host: Arc<Joining>| {
        let server = Arc::clone(&server);
        async move {
            let sent = join::challenge(&*server, &host.attempt).await;
            let sent = sent.map_err(|error| error.to_string())?;
            if let Some(sent) = sent.map_err(|refusal| refusal.to_string())? {
                let _ = host.sent.set(sent);
            }
            Ok::<_, String>(())
        }
    };
    let first = drive(deal(hosts.to_vec(), AT_ONCE), challenge).await?;
    for host in hosts {
        if let (Some(sent), Some(answer)) = (host.sent.get(), &host.shows.answer) {
            let _ = host.answer.set(answer(&sent.bytes, &host.spki));
        }
    }
    let server = all.server();
    let decide = move |host: Arc<Joining>| {
        let server = Arc::clone(&server);
        async move {
            let answer = host.sent.get().zip(host.answer.get().map(Vec::as_slice));
            match join::join(&*server, &host.attempt, answer).await {
                Ok(End::Decided(decided)) => {
                    decided.into_value().map(drop).map_err(|refusal| refusal.to_string())
                }
                Ok(End::Stranger(refusal)) => Err(refusal.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
    };
    let second = drive(deal(hosts.to_vec(), AT_ONCE), decide).await?;
    Ok((first.elapsed + second.elapsed, first.cpu + second.cpu))
}

/// Documents that platforms signed once (`vectors/cms`), appraised on one thread.
fn recorded() -> Measured {
    let region = include_str!("../../vectors/cms/region-1.pem");
    let message = include_bytes!("../../vectors/cms/aws-region-1.ber");
    let own = json!({ "accounts": ["123456789012"], "regions": { "region-1": region } });
    let aws = appraised("aws_iid", &own, &hosts::aws_evidence(message), None, 1)?;
    let tenant = json!({
        "tenant_id": "tenant-1", "subscriptions": ["8d10da13-8125-4ba9-a717-bf7490507b3d"]
    });
    let own = json!({
        "anchors": include_str!("../../vectors/cms/azure-root.pem"),
        "tenants": { "acme.onmicrosoft.com": tenant }
    });
    let message = include_bytes!("../../vectors/cms/azure.der");
    let answer = hosts::azure_answer(message, "acme.onmicrosoft.com");
    let azure = appraised("azure_imds", &own, b"{}", Some(&answer), 2)?;
    Ok(vec![aws, azure])
}

fn appraised(
    name: &str,
    own: &Value,
    evidence: &[u8],
    answer: Option<&[u8]>,
    rsa: u16,
) -> Result<Measurement, Failure> {
    let mechanism = by_name(name).ok_or("no such mechanism")?;
    let rule: NodeRule = serde_json::from_value(own.clone())?;
    let nonce = [1; 32];
    let key = b"the key that asks";
    let facts = Facts { key, ..Facts::new(Role::Node, &rule, &nonce, RECORDED) };
    mechanism.appraise(evidence, answer, &facts)?;
    let costs = Costs { p256: 0, rsa, made: 0, ..JOIN };
    let (mut times, mut prices) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let once = || mechanism.appraise(black_box(evidence), answer, &facts).is_ok();
        times.push(again(once)?.cpu_each());
        prices.push(Prices::seen()?.of(costs));
    }
    let (time, price) = (median(times), median(prices));
    let rows = vec![
        Row::of("its signatures' part of its processor time", price / time, ""),
        Row::of("appraisals, a second and core", 1e6 / time, "/s"),
        Row::of("processor time each", time, "us"),
        Row::of("processor time of its signatures alone", price, "us"),
    ];
    let how = format!("{costs} signatures; a recorded document, one thread, no commit");
    Ok(Measurement { what: format!("a document of {name} is appraised"), how, rows })
}

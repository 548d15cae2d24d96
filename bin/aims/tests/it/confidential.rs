//! Nodes in confidential guests, as processes: a folder of files is their kernel's configfs-tsm, and
//! a thread answers in it with what a processor of the test's signs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testkit::silicon::{Chip, Platform, SnpReport, TdQuote};

use crate::joining::{Node, ids};
use crate::running::Site;

/// The kernel's folder of requests in a node's folder, with one that was left there.
fn tsm(node: &Node, provider: &str) -> PathBuf {
    let entry = node.folder.join("tsm/aims");
    fs::create_dir_all(&entry).unwrap();
    for (name, text) in [("provider", provider), ("generation", "0"), ("inblob", "")] {
        fs::write(entry.join(name), text).unwrap();
    }
    // Reading waits until there is an answer, as it does in the kernel.
    assert!(Command::new("mkfifo").arg(entry.join("outblob")).status().unwrap().success());
    entry
}

/// Answers the next request.
fn answers(
    entry: &Path,
    sign: impl FnOnce([u8; 64]) -> Vec<u8> + Send + 'static,
) -> JoinHandle<()> {
    let entry = entry.to_owned();
    std::thread::spawn(move || {
        let data = loop {
            match <[u8; 64]>::try_from(fs::read(entry.join("inblob")).unwrap()) {
                Ok(data) => break data,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        fs::write(entry.join("inblob"), "").unwrap();
        let generation = fs::read_to_string(entry.join("generation")).unwrap();
        let next = generation.trim().parse::<u64>().unwrap() + 1;
        fs::write(entry.join("generation"), next.to_string()).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(entry.join("outblob")).unwrap();
        file.write_all(&sign(data)).unwrap();
    })
}

/// A block of PEM.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// req: ATT-03 (part), ATT-08 (part), ID-04 (part)
#[tokio::test]
async fn s7_a_node_in_a_confidential_guest_joins_by_its_processor() {
    let (chip, platform) = (Chip::new(), Platform::new());
    let site = Site::new();
    site.policy(
        "attestation.toml",
        &format!(
            "[node.join_token]\n\n[node.snp]\nanchors = '''{}'''\nmeasurements = [\"{}\"]\n\
             tcb_least = {{ boot_loader = 3, tee = 0, snp = 8, microcode = 115 }}\n\n\
             [node.tdx]\nanchors = '''{}'''\n[[node.tdx.guests]]\nmrtd = \"{}\"\n\n\
             [class.standard]\ndemands = [\"unix:uid\", \"unix:path\"]\nissues = [\"x509\", \"wit\"]\n",
            chip.root(),
            "4d".repeat(48),
            platform.root(),
            "7d".repeat(48)
        ),
    );
    let running = site.up();
    let settings = |mechanism: &str| {
        format!(
            "attest = \"{mechanism}\"\nattest_tsm = \"tsm\"\nattest_collateral = \"collateral\""
        )
    };
    let of = async |mechanism: &str| {
        let found = ids(&site).await.into_iter();
        found.filter(|id| id.starts_with(&format!("{mechanism}/"))).count()
    };

    let node = Node::new(&site, "snp", &settings("snp")).await;
    let entry = tsm(&node, "sev_guest");
    let [ask, vcek] = chip.certificates().map(|der| pem("CERTIFICATE", &der));
    let list = pem("X509 CRL", &chip.list(false));
    fs::write(node.folder.join("collateral"), format!("{ask}{vcek}{list}")).unwrap();
    // Twice: it is the same host. Then under debug, by evidence that is old, and of another maker.
    let chip = std::sync::Arc::new(chip);
    for _ in 0..2 {
        let signer = chip.clone();
        let kernel = answers(&entry, move |data| signer.sign(&SnpReport::of(data)));
        node.joins();
        kernel.join().unwrap();
    }
    assert_eq!(of("snp").await, 1);
    let refused = |sign: Box<dyn FnOnce([u8; 64]) -> Vec<u8> + Send>, told: &str| {
        let kernel = answers(&entry, sign);
        let ended = node.is_refused();
        kernel.join().unwrap();
        assert!(ended.code != 0 && ended.err.contains(told), "{told}: {}", ended.err);
    };
    let signer = chip.clone();
    let debug = move |data| {
        let report = SnpReport::of(data);
        signer.sign(&SnpReport { policy: report.policy | 1 << 19, ..report })
    };
    refused(Box::new(debug), "its host can read its memory");
    let old = chip.sign(&SnpReport::of([7; 64]));
    refused(Box::new(move |_| old), "another challenge or of another key");
    let other = Chip::of_another_maker();
    refused(Box::new(move |data| other.sign(&SnpReport::of(data))), "ask the operator");
    assert_eq!(of("snp").await, 1);

    let node = Node::new(&site, "tdx", &settings("tdx")).await;
    let entry = tsm(&node, "tdx_guest");
    fs::write(node.folder.join("collateral"), platform.collateral().to_string()).unwrap();
    let kernel = answers(&entry, move |data| platform.sign(&TdQuote::of(data)));
    node.joins();
    kernel.join().unwrap();
    assert_eq!(of("tdx").await, 1);

    // A host that is no such guest says so before it asks anybody.
    let refused = Node::new(&site, "plain", "attest = \"snp\"\nattest_tsm = \"none\"").await;
    let refused = refused.is_refused();
    assert!(refused.err.contains("not a confidential guest"), "{}", refused.err);
    assert_eq!(running.stop(), 0);
}

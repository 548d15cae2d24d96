//! A folder that behaves like configfs-tsm: files, and a thread that answers like the kernel.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use attestation::Mechanism as _;
use attestation::mechanism::{Facts, Role};
use attestation::policy::NodeRule;
use attestors::tsm::{Guest, Provider, TsmError};
use nix::sys::stat::Mode;
use serde_json::json;
use testkit::silicon::{Chip, Platform, SnpReport, TdQuote};
use time::UnixTime;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const NONCE: [u8; 32] = [1; 32];
const KEY: &[u8] = b"the key that asks";

/// A request, as the kernel makes it of a new folder.
fn entry(folder: &Path, provider: &str) -> PathBuf {
    let entry = folder.join("aims");
    fs::create_dir(&entry).unwrap();
    fs::write(entry.join("provider"), format!("{provider}\n")).unwrap();
    fs::write(entry.join("generation"), "0\n").unwrap();
    fs::write(entry.join("inblob"), "").unwrap();
    // Reading waits until there is an answer, as it does in the kernel.
    nix::unistd::mkfifo(&entry.join("outblob"), Mode::S_IRWXU).unwrap();
    entry
}

/// Answers each request once, with what `sign` makes of its data; `generations` are counted.
fn kernel(
    entry: PathBuf,
    generations: &'static [u64],
    mut sign: impl FnMut([u8; 64]) -> (Vec<u8>, Option<Vec<u8>>) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for generation in generations {
            let data = loop {
                match <[u8; 64]>::try_from(fs::read(entry.join("inblob")).unwrap()) {
                    Ok(data) => break data,
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            fs::write(entry.join("inblob"), "").unwrap();
            let (outblob, auxblob) = sign(data);
            fs::write(entry.join("generation"), format!("{generation}\n")).unwrap();
            if let Some(auxblob) = auxblob {
                fs::write(entry.join("auxblob"), auxblob).unwrap();
            }
            let mut file = fs::OpenOptions::new().write(true).open(entry.join("outblob")).unwrap();
            file.write_all(&outblob).unwrap();
        }
    })
}

/// The table of certificates that a host gives.
fn table(entries: &[&[u8]]) -> Vec<u8> {
    let mut offset = (entries.len() + 1) * 24;
    let mut table = Vec::new();
    for entry in entries {
        table.extend([7; 16]);
        table.extend(u32::try_from(offset).unwrap().to_le_bytes());
        table.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
        offset += entry.len();
    }
    table.extend([0; 24]);
    table.extend(entries.concat());
    table
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// req: ATT-03 (part)
#[test]
fn s7_a_guest_of_sev_snp_shows_what_its_chip_signs() {
    let folder = tempfile::tempdir().unwrap();
    let chip = Chip::new();
    let rule = NodeRule {
        anchors: chip.root(),
        own: json!({
            "measurements": ["4d".repeat(48)],
            "tcb_least": { "boot_loader": 3, "tee": 0, "snp": 8, "microcode": 115 },
        })
        .as_object()
        .unwrap()
        .clone(),
        ..NodeRule::default()
    };
    let facts = Facts { key: KEY, ..Facts::new(Role::Node, &rule, &NONCE, NOW) };
    let lists = folder.path().join("lists.pem");
    fs::write(&lists, pem("X509 CRL", &chip.list(false))).unwrap();
    let guest = Guest::new(folder.path(), Provider::SevGuest, Some(lists)).unwrap();
    let evidence = guest.evidence().unwrap();
    let [ask, vcek] = chip.certificates();
    let entry = entry(folder.path(), "sev_guest");
    let kernel = kernel(entry, &[1], move |data| {
        // The host sends the root and rubbish, too.
        let root = x509::CertificateDer::from_pem_many(&chip.root()).unwrap().remove(0);
        let table = table(&[&vcek, &ask, root.as_bytes(), b"rubbish"]);
        (chip.sign(&SnpReport::of(data)), Some(table))
    });
    let answer = guest.answer(&NONCE, KEY).unwrap();
    kernel.join().unwrap();
    let found = attestation::snp::Mechanism.appraise(&evidence, Some(&answer), &facts).unwrap();
    assert!(found.selectors.iter().any(|one| one.as_str() == "snp:tcb:0.3.0.8.115"));
    // The same answer is none for another key.
    let others = Facts { key: b"another key", ..facts };
    assert!(attestation::snp::Mechanism.appraise(&evidence, Some(&answer), &others).is_err());
}

/// req: ATT-03 (part)
#[test]
fn s7_a_guest_of_tdx_shows_what_its_platform_signs() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::new();
    let guests = json!({ "guests": [{ "mrtd": "7d".repeat(48) }] });
    let own = guests.as_object().unwrap().clone();
    let rule = NodeRule { anchors: platform.root(), own, ..NodeRule::default() };
    let facts = Facts { key: KEY, ..Facts::new(Role::Node, &rule, &NONCE, NOW) };
    let collateral = folder.path().join("collateral.json");
    fs::write(&collateral, platform.collateral().to_string()).unwrap();
    let guest = Guest::new(folder.path(), Provider::TdxGuest, Some(collateral)).unwrap();
    let evidence = guest.evidence().unwrap();
    let entry = entry(folder.path(), "tdx_guest");
    // A guest whose kernel says that it runs below the highest level: two attributes are written.
    fs::write(entry.join("privlevel_floor"), "2\n").unwrap();
    fs::write(entry.join("privlevel"), "").unwrap();
    let kernel = kernel(entry.clone(), &[2], move |data| (platform.sign(&TdQuote::of(data)), None));
    let answer = guest.answer(&NONCE, KEY).unwrap();
    kernel.join().unwrap();
    assert_eq!(fs::read_to_string(entry.join("privlevel")).unwrap(), "2");
    let found = attestation::tdx::Mechanism.appraise(&evidence, Some(&answer), &facts).unwrap();
    assert_eq!(found.mechanism, "tdx");
}

/// Somebody else writes to the request meanwhile: it is made again, and given up at last.
#[test]
fn a_request_that_another_process_disturbs_is_made_again() {
    for (generations, expect) in [(&[2, 3][..], Ok(())), (&[2, 4, 6], Err(()))] {
        let folder = tempfile::tempdir().unwrap();
        let guest = Guest::new(folder.path(), Provider::TdxGuest, None).unwrap();
        let entry = entry(folder.path(), "tdx_guest");
        let kernel = kernel(entry, generations, |_| (b"quote".to_vec(), None));
        let answer = guest.answer(&NONCE, KEY);
        kernel.join().unwrap();
        match expect {
            Ok(()) => assert!(answer.unwrap().starts_with(b"{\"quote\":\"cXVvdGU=\"")),
            Err(()) => assert_eq!(answer.unwrap_err(), TsmError::Disturbed { tries: 3 }),
        }
    }
}

#[test]
fn what_a_guest_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let refused = Guest::new(&none, Provider::SevGuest, None).unwrap_err();
    assert_eq!(refused, TsmError::NoTsm { folder: none.display().to_string() });
    let guest = |provider, collateral: &str| {
        let path = folder.path().join("collateral");
        fs::write(&path, collateral).unwrap();
        Guest::new(folder.path(), provider, Some(path)).unwrap_err().to_string()
    };
    let found = guest(Provider::SevGuest, "no pem");
    assert!(found.contains("the text has no certificate"), "{found}");
    let found = guest(Provider::TdxGuest, "{}");
    assert!(found.contains("missing field `root_ca_crl`"), "{found}");
    let long = " ".repeat(64 * 1024 + 1);
    let found = guest(Provider::TdxGuest, &long);
    assert!(found.contains("longer than 65536 bytes"), "{found}");
    // A provider of the other kind, and an empty folder, which is no configfs.
    let snp = Guest::new(folder.path(), Provider::SevGuest, None).unwrap();
    let found = snp.answer(&NONCE, KEY).unwrap_err().to_string();
    assert!(found.contains("aims/provider`: entity not found"), "{found}");
    assert!(!folder.path().join("aims").exists(), "the request is taken back");
    entry(folder.path(), "tdx_guest");
    let found = snp.answer(&NONCE, KEY).unwrap_err();
    let other = TsmError::OtherProvider { found: "tdx_guest".to_owned(), mechanism: "snp" };
    assert_eq!(found, other);
}

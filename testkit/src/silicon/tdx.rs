//! A platform like those with TDX: root, authority of platforms, PCK and the signer of collateral,
//! and quotes that it signs.
#![expect(clippy::expect_used, reason = "a fixture that cannot be made fails the test")]

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::der::{About, Signer, certificate, fixed_p256, list, pem, sign, tlv, unhex};

/// The arc of what a PCK certificate says: `1.2.840.113741.1.13.1`.
const ARC: &str = "2a864886f84d010d01";
const ROOT: &str = "Test SGX Root CA";
const AUTHORITY: &str = "Test SGX PCK Platform CA";
const TCB_SIGNER: &str = "Intel SGX TCB Signing";
/// Serial numbers.
const AUTHORITY_SERIAL: u8 = 2;
const PCK_SERIAL: u8 = 3;

/// A platform, those who vouch for it, and what they say of it.
pub struct Platform {
    root: Signer,
    authority: Signer,
    tcb_signer: EcdsaKeyPair,
    pck: EcdsaKeyPair,
    attestation: EcdsaKeyPair,
    /// Its security versions; Intel knows of 2 and 3.
    pub component: u8,
    /// What the collateral says of its level.
    pub status: &'static str,
    /// Until when the TCB info holds.
    pub next_update: &'static str,
    /// Whether the platform's certificate is revoked.
    pub revoked: bool,
}

/// What a quote says.
#[derive(Clone, Debug)]
pub struct TdQuote {
    /// The attributes of the guest.
    pub attributes: [u8; 8],
    /// What the guest has signed.
    pub report_data: [u8; 64],
    /// The launch measurement.
    pub mr_td: [u8; 48],
    /// What it measured since.
    pub rtmr: [[u8; 48]; 4],
    /// Whose it is.
    pub mr_owner: [u8; 48],
}

impl TdQuote {
    /// Of a guest that nobody can look into.
    pub const fn of(report_data: [u8; 64]) -> Self {
        let rtmr = [[0xa0; 48], [0xa1; 48], [0xa2; 48], [0xa3; 48]];
        let attributes = [0, 0, 0, 0x10, 0, 0, 0, 0];
        Self { attributes, report_data, mr_td: [0x7d; 48], rtmr, mr_owner: [0; 48] }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::new()
    }
}

impl Platform {
    /// A new one, of a new maker.
    pub fn new() -> Self {
        Self {
            root: Signer::ecdsa(),
            authority: Signer::ecdsa(),
            tcb_signer: fixed_p256(),
            pck: fixed_p256(),
            attestation: fixed_p256(),
            component: 2,
            status: "UpToDate",
            next_update: "2049-12-31T23:59:59Z",
            revoked: false,
        }
    }

    /// The root, PEM.
    pub fn root(&self) -> String {
        let spki = self.root.spki();
        pem(&certificate(&self.root, &about(ROOT, ROOT, &spki, 1, true)))
    }

    /// What the maker says of it, as JSON.
    pub fn collateral(&self) -> Value {
        let revoked: &[u8] = if self.revoked { &[PCK_SERIAL] } else { &[] };
        let until = "491231235959Z";
        let signed = |value: &Value| {
            let text = value.to_string();
            let signature = sign(&self.tcb_signer, text.as_bytes());
            (text, hex(&signature))
        };
        let spki = self.tcb_signer.public_key().as_der().expect("a key");
        let signer = about(TCB_SIGNER, ROOT, spki.as_ref(), 4, false);
        let chain = pem(&certificate(&self.root, &signer)) + &self.root();
        let (tcb_info, tcb_info_signature) = signed(&self.tcb_info());
        let (qe_identity, qe_identity_signature) = signed(&qe_identity());
        json!({
            "root_ca_crl": hex(&list(&self.root, ROOT, &[], until)),
            "pck_crl": hex(&list(&self.authority, AUTHORITY, revoked, until)),
            "tcb_info_issuer_chain": chain, "tcb_info": tcb_info,
            "tcb_info_signature": tcb_info_signature,
            "qe_identity_issuer_chain": chain, "qe_identity": qe_identity,
            "qe_identity_signature": qe_identity_signature,
        })
    }

    fn tcb_info(&self) -> Value {
        let component = |svn: u8| json!({ "svn": svn });
        let level = |svn: u8, status: &str| {
            json!({
                "tcb": {
                    "sgxtcbcomponents": vec![component(svn); 16], "pcesvn": 13,
                    "tdxtcbcomponents": vec![component(svn); 16],
                },
                "tcbDate": "2024-11-13T00:00:00Z", "tcbStatus": status,
            })
        };
        json!({
            "id": "TDX", "version": 3, "issueDate": "2020-01-01T00:00:00Z",
            "nextUpdate": self.next_update, "fmspc": "B0C06F000000", "pceId": "0000",
            "tcbType": 0, "tcbEvaluationDataNumber": 17,
            "tdxModule": {
                "mrsigner": "00".repeat(48), "attributes": "00".repeat(8),
                "attributesMask": "FF".repeat(8),
            },
            "tdxModuleIdentities": [{
                "id": "TDX_01", "mrsigner": "00".repeat(48), "attributes": "00".repeat(8),
                "attributesMask": "FF".repeat(8),
                "tcbLevels": [{
                    "tcb": { "isvsvn": 2 }, "tcbDate": "2024-03-13T00:00:00Z",
                    "tcbStatus": "UpToDate",
                }],
            }],
            // The platform has versions 2 throughout: the second level, if there are two.
            "tcbLevels": [level(3, "UpToDate"), level(2, self.status)],
        })
    }

    /// The quote, signed.
    pub fn sign(&self, quote: &TdQuote) -> Vec<u8> {
        let mut signed = vec![4, 0, 2, 0, 0x81, 0, 0, 0, 0, 0, 0, 0];
        signed.extend(unhex("939a7233f79c4ca9940a0db3957f0607"));
        signed.extend([0; 20]);
        signed.extend(body(quote));
        let key = raw(&self.attestation);
        let enclave = enclave(&digest::digest(&digest::SHA256, &[&key[..], b"auth"].concat()));
        let chain = self.chain();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a short part").to_le_bytes();
        let mut report = enclave.clone();
        report.extend(sign(&self.pck, &enclave));
        report.extend([4, 0]);
        report.extend(b"auth");
        report.extend([5, 0]);
        report.extend(length(chain.as_bytes()));
        report.extend(chain.as_bytes());
        let mut data = sign(&self.attestation, &signed);
        data.extend(key);
        data.extend([6, 0]);
        data.extend(length(&report));
        data.extend(report);
        [&signed[..], &length(&data), &data].concat()
    }

    /// The certificates of the platform, leaf first, PEM.
    fn chain(&self) -> String {
        let (pck, authority) =
            (self.pck.public_key().as_der().expect("a key"), self.authority.spki());
        let mut leaf = about("Test PCK", AUTHORITY, pck.as_ref(), PCK_SERIAL, false);
        leaf.extensions.push((unhex(ARC), sgx(self.component)));
        let authority = about(AUTHORITY, ROOT, &authority, AUTHORITY_SERIAL, true);
        let leaf = pem(&certificate(&self.authority, &leaf));
        leaf + &pem(&certificate(&self.root, &authority)) + &self.root()
    }
}

fn about<'a>(
    name: &'a str,
    issuer: &'a str,
    spki: &'a [u8],
    serial: u8,
    is_authority: bool,
) -> About<'a> {
    About { name, issuer, spki, serial, is_authority, extensions: Vec::new() }
}

/// What the certificate of a platform says.
fn sgx(component: u8) -> Vec<u8> {
    let member = |arcs: &[u8], value: &[u8]| tlv(0x30, &[&tlv(6, &[&unhex(ARC), arcs]), value]);
    let components = (1..=16).flat_map(|at| member(&[2, at], &[2, 1, component]));
    let tcb = [components.collect(), member(&[2, 17], &[2, 1, 13])].concat();
    let members = [
        member(&[1], &tlv(4, &[&[0x99; 16]])),
        member(&[2], &tlv(0x30, &[&tcb])),
        member(&[3], &tlv(4, &[&[0; 2]])),
        member(&[4], &tlv(4, &[&unhex("b0c06f000000")])),
    ];
    tlv(0x30, &[&members.concat()])
}

fn qe_identity() -> Value {
    json!({
        "id": "TD_QE", "version": 2, "issueDate": "2020-01-01T00:00:00Z",
        "nextUpdate": "2049-12-31T23:59:59Z", "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
        "attributes": "00".repeat(16), "attributesMask": "FF".repeat(16),
        "mrsigner": "DC".repeat(32), "isvprodid": 2,
        "tcbLevels": [{
            "tcb": { "isvsvn": 4 }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate",
        }],
    })
}

/// TD report 1.0.
fn body(quote: &TdQuote) -> Vec<u8> {
    // Version 1 of the module, of security version 2.
    let mut body = vec![2, 1];
    body.extend([2; 14]);
    body.extend([0x5e; 48]);
    body.extend([0; 48 + 8]);
    body.extend(quote.attributes);
    body.extend([0xe7, 2, 6, 0, 0, 0, 0, 0]);
    body.extend(quote.mr_td);
    body.extend([0; 48]);
    body.extend(quote.mr_owner);
    body.extend([0; 48]);
    body.extend(quote.rtmr.concat());
    body.extend(quote.report_data);
    body
}

/// The report of the quoting enclave.
fn enclave(binding: &digest::Digest) -> Vec<u8> {
    let mut report = vec![0; 128];
    report.extend([0xdc; 32]);
    report.extend([0; 96]);
    report.extend([2, 0, 4, 0]);
    report.extend([0; 60]);
    report.extend(binding.as_ref());
    report.extend([0; 32]);
    report
}

/// `x || y`.
fn raw(key: &EcdsaKeyPair) -> Vec<u8> {
    key.public_key().as_ref().get(1..).expect("an uncompressed point").to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

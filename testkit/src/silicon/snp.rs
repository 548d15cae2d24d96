//! A chip like those with SEV-SNP: ARK, ASK and VCEK, and reports that it signs.
#![expect(clippy::expect_used, reason = "a fixture that cannot be made fails the test")]

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::der::{About, Signer, certificate, fixed, list, pem, sign, unhex};

/// AMD's arc: `1.3.6.1.4.1.3704.1`.
const ARC: &str = "2b060104019c7801";
/// The serial number of the ASK.
const ASK_SERIAL: u8 = 2;

/// A chip, and those who vouch for it. RSA keys have 2,048 bits, for speed.
pub struct Chip {
    ark: Signer,
    ask: Signer,
    vcek: EcdsaKeyPair,
    /// Which chip.
    pub chip_id: [u8; 64],
    /// The cloud whose key signs (VLEK), in place of the chip's own; then the chip hides itself.
    pub cloud: Option<&'static str>,
    /// Its firmware: boot loader, TEE, SNP, microcode.
    pub tcb: [u8; 4],
}

/// What a report says.
#[derive(Clone, Debug)]
pub struct SnpReport {
    /// The policy of the guest.
    pub policy: u64,
    /// The privilege level.
    pub vmpl: u32,
    /// What the guest has signed.
    pub report_data: [u8; 64],
    /// The launch measurement.
    pub measurement: [u8; 48],
    /// What the host gave.
    pub host_data: [u8; 32],
    /// Which launch of the guest.
    pub report_id: [u8; 32],
}

impl SnpReport {
    /// Of a guest that nobody can look into.
    pub const fn of(report_data: [u8; 64]) -> Self {
        Self {
            policy: 0x3_0000,
            vmpl: 0,
            report_data,
            measurement: [0x4d; 48],
            host_data: [0; 32],
            report_id: [0x1d; 32],
        }
    }
}

impl Default for Chip {
    fn default() -> Self {
        Self::new()
    }
}

impl Chip {
    /// A new one; all of them are of one maker.
    pub fn new() -> Self {
        static MAKER: LazyLock<[Signer; 2]> = LazyLock::new(|| [Signer::pss(), Signer::pss()]);
        let [ark, ask] = MAKER.clone();
        Self::made(ark, ask)
    }

    /// A new one, of a maker of its own.
    pub fn of_another_maker() -> Self {
        Self::made(Signer::pss(), Signer::pss())
    }

    fn made(ark: Signer, ask: Signer) -> Self {
        let vcek = fixed(&ECDSA_P384_SHA384_FIXED_SIGNING);
        Self { ark, ask, vcek, chip_id: [0xc1; 64], cloud: None, tcb: [3, 0, 8, 115] }
    }

    /// The root, PEM.
    pub fn root(&self) -> String {
        let spki = self.ark.spki();
        pem(&certificate(&self.ark, &authority("ARK-Test", &spki, 1)))
    }

    /// The certificates of ASK and VCEK, DER.
    pub fn certificates(&self) -> [Vec<u8>; 2] {
        let (ask, vcek) = (self.ask.spki(), self.vcek.public_key().as_der().expect("a key"));
        let [boot_loader, tee, snp, microcode] = self.tcb;
        let svn = |arc: &str, value: u8| {
            let sign: &[u8] = if value > 127 { &[0] } else { &[] };
            (unhex(&format!("{ARC}{arc}")), super::der::tlv(2, &[sign, &[value]]))
        };
        let mut extensions = vec![
            svn("0301", boot_loader),
            svn("0302", tee),
            svn("0303", snp),
            svn("0308", microcode),
        ];
        extensions.push(match self.cloud {
            None => (unhex(&format!("{ARC}04")), self.chip_id.to_vec()),
            Some(cloud) => (unhex(&format!("{ARC}05")), super::der::tlv(0x16, &[cloud.as_bytes()])),
        });
        extensions.push((unhex(&format!("{ARC}02")), super::der::tlv(0x16, &[b"Test-A0"])));
        let vcek = About {
            name: "SEV-VCEK",
            issuer: "SEV-Test",
            spki: vcek.as_ref(),
            serial: 0,
            is_authority: false,
            extensions,
        };
        let ask = authority("SEV-Test", &ask, ASK_SERIAL);
        [certificate(&self.ark, &ask), certificate(&self.ask, &vcek)]
    }

    /// The root's revocation list, DER, good until 2049; with the ASK in it if it is `revoked`.
    pub fn list(&self, revoked: bool) -> Vec<u8> {
        let serials: &[u8] = if revoked { &[ASK_SERIAL] } else { &[7] };
        list(&self.ark, "ARK-Test", serials, "491231235959Z")
    }

    /// The same, out of date since 2021.
    pub fn stale_list(&self) -> Vec<u8> {
        list(&self.ark, "ARK-Test", &[], "210101000000Z")
    }

    /// The report, signed.
    pub fn sign(&self, report: &SnpReport) -> Vec<u8> {
        let [boot_loader, tee, snp, microcode] = self.tcb;
        let tcb = [boot_loader, tee, 0, 0, 0, 0, snp, microcode];
        let mut bytes = vec![0; 1184];
        let mut put = |at: usize, value: &[u8]| {
            let to = bytes.get_mut(at..at + value.len()).expect("a field in the report");
            to.copy_from_slice(value);
        };
        put(0, &[2]);
        put(8, &report.policy.to_le_bytes());
        put(0x30, &report.vmpl.to_le_bytes());
        put(0x34, &[1]);
        put(0x38, &tcb);
        put(0x50, &report.report_data);
        put(0x90, &report.measurement);
        put(0xc0, &report.host_data);
        put(0x140, &report.report_id);
        put(0x180, &tcb);
        // `SIGNING_KEY` 1 is the VLEK.
        put(0x48, &[if self.cloud.is_some() { 1 << 2 } else { 0 }]);
        put(0x1a0, &if self.cloud.is_some() { [0; 64] } else { self.chip_id });
        put(0x1e0, &tcb);
        put(0x1f0, &tcb);
        let signature = sign(&self.vcek, bytes.get(..672).expect("the signed part"));
        for (half, at) in signature.chunks_exact(48).zip([672, 744]) {
            let little: Vec<u8> = half.iter().rev().copied().collect();
            bytes.get_mut(at..at + 48).expect("the signature").copy_from_slice(&little);
        }
        bytes
    }
}

/// An authority below the root, or the root.
fn authority<'a>(name: &'a str, spki: &'a [u8], serial: u8) -> About<'a> {
    About { name, issuer: "ARK-Test", spki, serial, is_authority: true, extensions: Vec::new() }
}

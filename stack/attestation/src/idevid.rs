//! `idevid`: a device proves that it has the key of the identity its manufacturer or its owner gave
//! it (IEEE 802.1AR: IDevID and LDevID; ATT-08). Evidence, challenge and answer are those of
//! [`crate::x509pop`]; the certificate must name a device besides.
//!
//! Not here: that the key is in hardware. [`crate::tpm_devid`] proves that; this trusts the word of
//! the authorities in policy.

use rats::Claim;
use x509::{Certificate, HardwareModuleName, Purpose};

use crate::chain::{self, hex};
use crate::mechanism::{Appraisal, Facts, Refusal};
use crate::selector::{Selector, Selectors};
use crate::x509pop;

/// The mechanism `idevid`.
#[derive(Debug)]
pub struct Mechanism;

impl crate::mechanism::Mechanism for Mechanism {
    fn name(&self) -> &'static str {
        "idevid"
    }

    fn challenge(&self, evidence: &[u8], facts: &Facts<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        x509pop::challenge(evidence, facts).map(Some)
    }

    fn takes_known_nonce(&self) -> bool {
        true
    }

    fn appraise(
        &self,
        evidence: &[u8],
        response: Option<&[u8]>,
        facts: &Facts<'_>,
    ) -> Result<Appraisal, Refusal> {
        let chain = x509pop::proved(evidence, response, facts)?;
        let leaf = chain.first().ok_or(Refusal::NoDevice)?;
        let named = device(leaf);
        // IEEE 802.1AR-2018 §8.6: the subject of a DevID certificate names the device by its
        // serialNumber attribute; §8.10.4 and RFC 4108 by a hardwareModuleName.
        if named.is_empty() {
            return Err(Refusal::NoDevice);
        }
        let fingerprint = hex(&leaf.fingerprint_sha256());
        let mut selectors = vec![Selector::parse(&format!("idevid:fingerprint:{fingerprint}"))?];
        selectors.extend(named.iter().filter_map(|text| Selector::parse(text).ok()));
        for issuer in chain::issuers(&chain, Purpose::Client, facts.now) {
            let fingerprint = hex(&issuer.fingerprint_sha256());
            selectors.push(Selector::parse(&format!("idevid:ca:fingerprint:{fingerprint}"))?);
        }
        let selectors = Selectors::new(selectors)?;
        let found = Appraisal::new("idevid", fingerprint, selectors);
        // Its maker vouches for it: AR4SI §2.3.4, hardware 2.
        Ok(Appraisal { vector: found.vector.with(Claim::Hardware, 2), ..found })
    }
}

/// What the certificate says which device it is, as selectors.
fn device(leaf: &Certificate) -> Vec<String> {
    let serials = leaf.subject().serial_numbers().into_iter();
    let mut named: Vec<String> =
        serials.map(|serial| format!("idevid:subject:serialnumber:{serial}")).collect();
    if let Some(HardwareModuleName { kind, serial }) = HardwareModuleName::of(leaf) {
        named.push(format!("idevid:hardware:{kind}:{}", hex(&serial)));
    }
    named
}

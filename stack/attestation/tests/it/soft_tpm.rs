//! A host with a TPM in software: the whole exchange, and what a test changes on its way.

use std::ops::{Deref, DerefMut};

use attestation::mechanism::{Facts, Mechanism as _, Role};
use attestation::tpm_devid::{Mechanism, Response};
use attestation::{Appraisal, Refusal};
use testkit::silicon::TpmHost;
pub(crate) use testkit::silicon::{PCR, attest};

use crate::x509pop::{NONCE, NOW};

/// A host, all of whose parts a test may change before they are put together.
pub(crate) struct Host(TpmHost);

impl Deref for Host {
    type Target = TpmHost;

    fn deref(&self) -> &TpmHost {
        &self.0
    }
}

impl DerefMut for Host {
    fn deref_mut(&mut self) -> &mut TpmHost {
        &mut self.0
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self(TpmHost::new(NOW))
    }

    /// Policy wants PCRs 0 and 7 to have this value.
    pub(crate) fn measured(self, value: [u8; 32]) -> Self {
        Self(self.0.measured(value))
    }

    /// The whole exchange; what the host answers may be changed on its way.
    pub(crate) fn joins(
        &self,
        edit: impl FnOnce(&Self, &mut Response),
    ) -> Result<Appraisal, Refusal> {
        let evidence = serde_json::to_vec(&self.evidence()).unwrap();
        let facts = Facts::new(Role::Node, &self.rule, &NONCE, NOW);
        let challenge = match Mechanism.challenge(&evidence, &facts) {
            Ok(challenge) => challenge.unwrap(),
            Err(refusal) => {
                // The second look refuses what the first one did.
                let again = Mechanism.appraise(&evidence, Some(b"{}"), &facts);
                assert_eq!(again.unwrap_err(), refusal);
                return Err(refusal);
            }
        };
        let mut response = self.response(&serde_json::from_slice(&challenge).unwrap());
        edit(self, &mut response);
        let response = serde_json::to_vec(&response).unwrap();
        Mechanism.appraise(&evidence, Some(&response), &facts)
    }
}

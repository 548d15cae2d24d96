//! A credential is registered: §7.1, in its order.

use crate::attestation::{AttestationObject, AttestationPolicy};
use crate::authenticator_data::AuthenticatorData;
use crate::challenge::Challenge;
use crate::client_data::{Ceremony, ClientData};
use crate::credential::{CredentialId, CredentialRecord, UserHandle};
use crate::key::Algorithm;
use crate::refusal::{Reason, Refusal};
use crate::relying_party::RelyingParty;
use crate::response::RegistrationResponse;

/// What was asked of the browser, and of whom.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// Who asked.
    pub relying_party: &'a RelyingParty,
    /// The challenge of this ceremony, which serves once.
    pub challenge: &'a Challenge,
    /// Whose credential it becomes.
    pub user: &'a UserHandle,
    /// The algorithms that were offered.
    pub algorithms: &'a [Algorithm],
    /// Which attestation is taken.
    pub attestation: AttestationPolicy,
}

impl Registration<'_> {
    /// The new credential, if every step of §7.1 holds. `is_registered` says whether a credential
    /// of this id is known, whoever's it is.
    pub fn verify(
        &self,
        response: &RegistrationResponse,
        is_registered: impl FnOnce(&CredentialId) -> bool,
    ) -> Result<Registered, Refusal> {
        let record = self.record(response, is_registered);
        let record =
            record.map_err(|reason| Refusal { ceremony: Ceremony::Registration, reason })?;
        Ok(Registered(record))
    }

    fn record(
        &self,
        response: &RegistrationResponse,
        is_registered: impl FnOnce(&CredentialId) -> bool,
    ) -> Result<CredentialRecord, Reason> {
        let client = ClientData::parse(response.client_data_json())?;
        client.check(Ceremony::Registration, self.challenge, self.relying_party.origin())?;
        let object = AttestationObject::parse(response.attestation_object())?;
        let data = object.authenticator_data();
        check_bound(data, self.relying_party)?;
        // §6.1: "For attestation signatures, the authenticator MUST set the AT flag and include the
        // attestedCredentialData."
        let made = data.attested().ok_or(Reason::NoCredential)?;
        // §7.1 step 20: "Verify that the "alg" parameter in the credential public key in authData
        // matches the alg attribute of one of the items in pkOptions.pubKeyCredParams."
        let found = made.key.algorithm();
        if !self.algorithms.contains(&found) {
            return Err(Reason::Algorithm { found });
        }
        // §7.1 step 22: "Verify that attStmt is a correct attestation statement"
        let attestation = object.verify(self.attestation, made, client.hash())?;
        // §7.1 step 26: "If the credentialId is already known then the Relying Party SHOULD fail
        // this registration ceremony."
        if is_registered(&made.id) {
            return Err(Reason::AlreadyRegistered { id: made.id.clone() });
        }
        // §7.1 step 27: the record has "credential.id or credential.rawId": the one that the
        // authenticator signed, or neither.
        if made.id != *response.id() {
            let (made, named) = (made.id.clone(), response.id().clone());
            return Err(Reason::CredentialIdsDiffer { made, named });
        }
        Ok(CredentialRecord {
            id: made.id.clone(),
            user: self.user.clone(),
            key: made.key.clone(),
            sign_count: data.sign_count(),
            is_backup_eligible: data.flags().is_backup_eligible(),
            is_backed_up: data.flags().is_backed_up(),
            transports: response.transports().to_vec(),
            aaguid: made.aaguid,
            attestation,
        })
    }
}

/// A credential that was made for this relying party by a verified user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered(CredentialRecord);

impl Registered {
    /// What is to be kept.
    pub const fn record(&self) -> &CredentialRecord {
        &self.0
    }

    /// The same, out of its proof.
    pub fn into_record(self) -> CredentialRecord {
        self.0
    }
}

/// §7.1 steps 14 to 17, §7.2 steps 15 to 18: for whom it is, and who was there.
pub(crate) fn check_bound(
    data: &AuthenticatorData,
    relying_party: &RelyingParty,
) -> Result<(), Reason> {
    // §7.1 step 14: "Verify that the rpIdHash in authData is the SHA-256 hash of the RP ID expected
    // by the Relying Party."
    if *data.rp_id_hash() != relying_party.id().hash() {
        return Err(Reason::RpIdHash);
    }
    let flags = data.flags();
    // §7.2 step 16: "Verify that the UP bit of the flags in authData is set."
    if !flags.is_user_present() {
        return Err(Reason::UserNotPresent);
    }
    // §7.2 step 17: "If user verification was determined to be required, verify that the UV bit of
    // the flags in authData is set": it always is required.
    if !flags.is_user_verified() {
        return Err(Reason::UserNotVerified);
    }
    // §7.1 step 17: "If the BE bit of the flags in authData is not set, verify that the BS bit is
    // not set."
    if flags.is_backed_up() && !flags.is_backup_eligible() {
        return Err(Reason::BackupState);
    }
    Ok(())
}

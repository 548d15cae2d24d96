//! A credential is used: §7.2, in its order.

use crate::authenticator_data::AuthenticatorData;
use crate::challenge::Challenge;
use crate::client_data::{Ceremony, ClientData};
use crate::credential::{CredentialId, CredentialRecord, UserHandle};
use crate::refusal::{Reason, Refusal};
use crate::registration::check_bound;
use crate::relying_party::RelyingParty;
use crate::response::AuthenticationResponse;

/// What was asked of the browser, and of whom.
#[derive(Clone, Copy, Debug)]
pub struct Authentication<'a> {
    /// Who asked.
    pub relying_party: &'a RelyingParty,
    /// The challenge of this ceremony, which serves once.
    pub challenge: &'a Challenge,
    /// The credentials that were asked for; empty: any.
    pub allowed: &'a [CredentialId],
    /// The user, where one was known before (by a session, for a step-up); else the response must
    /// say who.
    pub user: Option<&'a UserHandle>,
}

impl Authentication<'_> {
    /// Who signed in, if every step of §7.2 holds. `record` is what is kept of the credential that
    /// the response names ([`AuthenticationResponse::id`]).
    pub fn verify(
        &self,
        response: &AuthenticationResponse,
        record: &CredentialRecord,
    ) -> Result<Authenticated, Refusal> {
        let authenticated = self.authenticated(response, record);
        authenticated.map_err(|reason| Refusal { ceremony: Ceremony::Authentication, reason })
    }

    fn authenticated(
        &self,
        response: &AuthenticationResponse,
        record: &CredentialRecord,
    ) -> Result<Authenticated, Reason> {
        self.check_identity(response, record)?;
        let client = ClientData::parse(response.client_data_json())?;
        client.check(Ceremony::Authentication, self.challenge, self.relying_party.origin())?;
        let data = AuthenticatorData::parse(response.authenticator_data())?;
        // §6.1: "For assertion signatures, the AT flag MUST NOT be set and the
        // attestedCredentialData MUST NOT be included."
        if data.attested().is_some() {
            return Err(Reason::CredentialInAssertion);
        }
        check_bound(&data, self.relying_party)?;
        // §7.2 step 19: "If credentialRecord.backupEligible is set, verify that currentBe is set.
        // If credentialRecord.backupEligible is not set, verify that currentBe is not set."
        let was = record.is_backup_eligible;
        if data.flags().is_backup_eligible() != was {
            return Err(Reason::BackupEligibility { was });
        }
        // §7.2 step 21: "verify that sig is a valid signature over the binary concatenation of
        // authData and hash."
        let message = data.signed_with(client.hash());
        let verified = record.key.verify(&message, response.signature());
        verified.map_err(|_| Reason::Signature)?;
        check_counter(record.sign_count, data.sign_count())?;
        let is_backed_up = data.flags().is_backed_up();
        let backup = match (record.is_backed_up, is_backed_up) {
            (false, true) => BackupChange::Began,
            (true, false) => BackupChange::Ended,
            (true, true) | (false, false) => BackupChange::None,
        };
        // §7.2 step 24: "Update credentialRecord.signCount to the value of authData.signCount.
        // Update credentialRecord.backupState to the value of currentBs."
        let record =
            CredentialRecord { sign_count: data.sign_count(), is_backed_up, ..record.clone() };
        Ok(Authenticated { record, backup })
    }

    /// §7.2 steps 5 and 6: which credential, and whose.
    fn check_identity(
        &self,
        response: &AuthenticationResponse,
        record: &CredentialRecord,
    ) -> Result<(), Reason> {
        let found = response.id();
        // §7.2 step 5: "verify that credential.id identifies one of the public key credentials
        // listed in pkOptions.allowCredentials."
        if !self.allowed.is_empty() && !self.allowed.contains(found) {
            return Err(Reason::NotAllowed { found: found.clone() });
        }
        if record.id != *found {
            return Err(Reason::OtherCredential { found: found.clone() });
        }
        // §7.2 step 6: "verify that the identified user account contains a credential record whose
        // id equals credential.rawId."
        if self.user.is_some_and(|user| *user != record.user) {
            return Err(Reason::OtherUser);
        }
        match response.user_handle() {
            // §7.2 step 6: "If response.userHandle is present, verify that it equals the user
            // handle of the user account."
            Some(user) if *user != record.user => Err(Reason::OtherUser),
            Some(_) => Ok(()),
            // §7.2 step 6: "If the user was not identified before [...] verify that
            // response.userHandle is present."
            None if self.user.is_none() => Err(Reason::NoUserHandle),
            None => Ok(()),
        }
    }
}

/// §7.2 step 22.
const fn check_counter(stored: u32, found: u32) -> Result<(), Reason> {
    // §6.1.1: "If either is non-zero, and the new signCount value is less than or equal to the
    // stored value, a cloned authenticator may exist": refused, as step 22 leaves it to us.
    if (stored != 0 || found != 0) && found <= stored {
        return Err(Reason::Cloned { stored, found });
    }
    Ok(())
}

/// Whether a credential was copied elsewhere since its last ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupChange {
    /// As before.
    None,
    /// It is backed up now.
    Began,
    /// It is backed up no longer.
    Ended,
}

/// A verified user who holds the private key of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    record: CredentialRecord,
    backup: BackupChange,
}

impl Authenticated {
    /// Who.
    pub const fn user(&self) -> &UserHandle {
        &self.record.user
    }

    /// What is to be kept from now on: counter and backup state are those of this ceremony.
    pub const fn record(&self) -> &CredentialRecord {
        &self.record
    }

    /// Whether the credential was copied elsewhere meanwhile.
    pub const fn backup(&self) -> BackupChange {
        self.backup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_2_22_a_counter_only_goes_up_or_is_never_used() {
        for (stored, found) in [(0, 0), (0, 1), (1, 2), (7, u32::MAX)] {
            assert_eq!(check_counter(stored, found), Ok(()), "{stored} {found}");
        }
        for (stored, found) in [(1, 0), (1, 1), (2, 1), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
            let refused = Reason::Cloned { stored, found };
            assert_eq!(check_counter(stored, found), Err(refused), "{stored} {found}");
        }
    }
}

//! Ways to break the facts of a request.

use authorization::Proof;
use authorization::granted::refresh;
use authorization::grants::Refusal;
use oauth::authorization_details::AuthorizationDetails;
use oauth::confirmation::Confirmation;

use crate::facts::{BATCH, Facts, Stands, access, access_claims, ledger};

pub(crate) fn key_of(byte: u8) -> Confirmation {
    Confirmation::Key(jose::Thumbprint::from_bytes([byte; 32]))
}

pub(crate) fn refused_refresh(facts: &mut Facts, refusal: refresh::Refusal) {
    if facts.refresh.is_some() {
        facts.refresh = Some(Err(refusal));
    }
}

pub(crate) fn unknown_details(text: &str) -> Refusal {
    let details = AuthorizationDetails::parse(text).unwrap();
    let refused = details.check(&ledger(Proof::Wit).schemas).unwrap_err();
    Refusal::DetailsUnknown(refused.to_string())
}

/// Changes the subject token, where the grant has one.
pub(crate) fn set_subject(
    facts: &mut Facts,
    edit: impl FnOnce(&mut oauth::access_token::AccessTokenClaims),
) {
    if facts.subject.is_some() {
        let mut claims = access_claims();
        edit(&mut claims);
        facts.subject = Some(access(&claims));
    }
}

pub(crate) fn set_concerned(facts: &mut Facts, stands: Stands) {
    for (who, standing) in &mut facts.concerned {
        if who == BATCH {
            *standing = stands.clone();
        }
    }
    if facts.subject.is_none() {
        facts.concerned.insert(0, (BATCH.to_owned(), stands));
    }
}

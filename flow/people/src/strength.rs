//! How strong a sign-in must be that changes how somebody signs in. A way in that is weaker never
//! leads to one that is stronger, neither by adding one beside it nor by clearing it away first.
//! The link of an operator counts as the strongest: it is how somebody who lost a way in gets
//! another (docs/users.md, "Recovery").

use authentication::session::{Acr, Authenticated};
use registry::UserRecord;
use registry::user::{Account, Passkey};

use crate::facts::Basis;
use crate::sign_in::AMR_LINK;

/// A sign-in that is too weak for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sign in by {}, or by a link of an operator: what is weaker changes nothing", by(*.0))]
pub struct TooWeak(pub Acr);

const fn by(acr: Acr) -> &'static str {
    match acr {
        Acr::Code => "a code",
        Acr::Federated => "a passkey or an account at another provider",
        Acr::Passkey => "a passkey",
        Acr::HardwarePasskey => "a passkey that is in one device",
    }
}

/// The class of a sign-in by a passkey: one that may not leave its device is the stronger.
pub(crate) const fn of_passkey(is_backup_eligible: bool) -> Acr {
    if is_backup_eligible { Acr::Passkey } else { Acr::HardwarePasskey }
}

/// Whether an account lets its owner in: policy names its provider.
pub(crate) fn is_linked(facts: &Basis, account: &Account) -> bool {
    facts.set().domain().sign_in.issued_by(&account.issuer).next().is_some()
}

/// The class of the strongest way in that is somebody's own; codes and links are an operator's.
fn strongest(user: &UserRecord, facts: &Basis) -> Option<Acr> {
    let passkeys = user.passkeys.iter().map(|one| of_passkey(one.backup_eligible));
    let accounts = user.accounts.iter().filter(|one| is_linked(facts, one));
    passkeys.chain(accounts.map(|_| Acr::Federated)).max()
}

/// Refuses to add a passkey by what is weaker than the strongest that there is.
pub(crate) fn adds_passkey(
    by: &Authenticated,
    user: &UserRecord,
    facts: &Basis,
) -> Result<(), TooWeak> {
    strongest(user, facts).map_or(Ok(()), |wanted| reaches(by, wanted))
}

/// Refuses to add an account by what is weaker than an account, if there is any way in.
pub(crate) fn adds_account(
    by: &Authenticated,
    user: &UserRecord,
    facts: &Basis,
) -> Result<(), TooWeak> {
    strongest(user, facts).map_or(Ok(()), |_| reaches(by, Acr::Federated))
}

/// Refuses to take a passkey away by what is weaker than it.
pub(crate) fn removes_passkey(by: &Authenticated, one: &Passkey) -> Result<(), TooWeak> {
    reaches(by, of_passkey(one.backup_eligible))
}

/// Refuses to take an account away by what is weaker; one that lets nobody in anybody may clear.
pub(crate) fn removes_account(
    by: &Authenticated,
    one: &Account,
    facts: &Basis,
) -> Result<(), TooWeak> {
    if is_linked(facts, one) { reaches(by, Acr::Federated) } else { Ok(()) }
}

fn reaches(by: &Authenticated, wanted: Acr) -> Result<(), TooWeak> {
    // Of our own alone: what another provider calls a method says nothing here.
    let is_link = by.acr == Acr::Code && by.amr.contains(AMR_LINK);
    if is_link || by.acr.satisfies(wanted) { Ok(()) } else { Err(TooWeak(wanted)) }
}

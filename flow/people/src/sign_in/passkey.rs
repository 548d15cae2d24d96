//! By passkey (WebAuthn Level 3 §7.2): discoverable, so that no name is typed, and with the user
//! verified.

use authentication::session::{Acr, Authenticated, Session};
use env::{Change, Clock, Entropy, Expect, Key, World, Write};
use registry::UserRecord;
use registry::user::Passkey;
use time::UnixTime;
use webauthn::{
    Authentication, AuthenticationResponse, Challenge, CredentialId, CredentialRecord, Reason,
    RequestOptions,
};

use super::{Ended, Entering, Refusal};
use crate::browser::Browser;
use crate::ceremony::{Ceremonies, Ceremony, once};
use crate::end::{End, Once};
use crate::facts::basis;
use crate::issuing;
use crate::passkeys::{Asked, CHALLENGE, owner, relying_party};
use crate::secrets::session_hash;
use crate::sessions::Signed;
use crate::standing;
use crate::strength;
use crate::throttle::Throttle;
use crate::turns::{TRIES_MAX, overtaken, pause};

/// Begins it: for anybody, or for the one who is signed in and proves it again.
pub fn begin<W: World>(
    world: &W,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    signed: Option<&Signed>,
) -> Result<Asked, Refusal> {
    let party = relying_party(world).map_err(Refusal::NoPasskeys)?;
    let whose = signed.map(|signed| signed.user.id()).unwrap_or_default();
    // What it carries is under the code: whose passkeys were asked for.
    let random = world.entropy().public();
    let begun = ceremonies.begin(PURPOSE, browser.name, &whose, random, world.clock().now());
    let allow: Vec<_> = signed
        .map(|signed| signed.user.passkeys.iter().filter_map(Passkey::descriptor).collect())
        .unwrap_or_default();
    let options = RequestOptions {
        relying_party: &party,
        challenge: &Challenge::of(ceremonies.derive(CHALLENGE, &begun)),
        allow: &allow,
        hints: &[],
    };
    Ok(Asked { ceremony: begun.text().to_owned(), options: options.to_json() })
}

const PURPOSE: &str = "passkey.sign_in";

/// Lets in whoever a browser's answer proves.
pub async fn finish<W: World>(
    world: &W,
    throttle: &Throttle,
    ceremonies: &Ceremonies,
    browser: &Browser<'_>,
    (ceremony, response): (&str, &[u8]),
) -> Ended {
    let now = world.clock().now();
    if let Err(many) = throttle.check(browser.source, "", now) {
        return Ok(End::Stranger(many.into()));
    }
    let read = AuthenticationResponse::parse(response).map_err(Refusal::from);
    let begun = ceremonies.accept(ceremony, PURPOSE, browser.name, now).map_err(Refusal::from);
    let ended = match (begun, read) {
        (Ok(begun), Ok(response)) => {
            let challenge = Challenge::of(ceremonies.derive(CHALLENGE, &begun));
            let shown = Shown { begun, challenge, response };
            each(world, browser, &shown).await?
        }
        (Err(refusal), _) | (_, Err(refusal)) => End::Stranger(refusal),
    };
    if matches!(ended, End::Stranger(_)) {
        throttle.failed(browser.source, "", now);
    }
    Ok(ended)
}

/// What came back.
struct Shown {
    begun: Ceremony,
    challenge: Challenge,
    response: AuthenticationResponse,
}

async fn each<W: World>(world: &W, browser: &Browser<'_>, shown: &Shown) -> Ended {
    let id = shown.response.id().to_base64url();
    for turn in 0..TRIES_MAX {
        let Some(found) = owner(world, &id).await? else {
            return Ok(End::Stranger(Refusal::Passkey));
        };
        let before = browser.session.and_then(session_hash).unwrap_or_default();
        let keys = vec![Key::of::<UserRecord>(found.id()), Key::of::<Session>(&before)];
        let facts = basis(world, keys).await?;
        let now = issuing::now(world, &facts)?;
        let Some(user) = facts.rows.get::<UserRecord>(&found.id())? else {
            return Ok(End::Stranger(Refusal::Passkey));
        };
        let verified = match verify(world, &user, shown) {
            // A counter is looked at when the signature holds: it is the passkey, or its copy.
            Err(Refusal::Ceremony(why)) if matches!(why.reason, Reason::Cloned { .. }) => {
                Err(Refusal::Ceremony(why))
            }
            Err(refusal) => return Ok(End::Stranger(refusal)),
            Ok(used) => standing::active(&user).map_err(Refusal::from).map(|()| used),
        };
        let mut change = Change::default();
        let mut after = (*user.value).clone();
        let mut authenticated = Authenticated { at: now, acr: Acr::Passkey, amr: amr(true) };
        if let Ok(used) = &verified {
            authenticated = authenticated_by(used, now);
            let mine = after.passkeys.iter_mut().filter(|one| one.id == id);
            mine.for_each(|passkey| passkey.note(used, now));
            change.writes.push(Write::put(&after, Expect::Version(user.version)));
        }
        let entering = Entering {
            facts: &facts,
            browser,
            user: &after,
            before: facts.rows.get::<Session>(&before)?,
            authenticated,
            upstream: None,
            is_dated: true,
            now,
        };
        let mut record = entering.record(world, "passkey");
        record.attestation.insert("passkey".to_owned(), id.clone());
        let spent = Refusal::Used { what: "ceremony" };
        let single = Some(Once { used: once(&shown.begun), spent });
        let decided = verified.map(|_| ());
        if let Some(recorded) = entering.enter(world, change, record, decided, single).await? {
            return Ok(End::Decided(recorded));
        }
        pause(world, turn).await;
    }
    Err(overtaken())
}

fn verify<W: World>(
    world: &W,
    user: &UserRecord,
    shown: &Shown,
) -> Result<CredentialRecord, Refusal> {
    let party = relying_party(world).map_err(Refusal::NoPasskeys)?;
    let id = shown.response.id().to_base64url();
    let kept = user.passkey(&id).and_then(|passkey| passkey.credential(user.handle()));
    let kept = kept.ok_or(Refusal::Passkey)?;
    let asked = shown.begun.carried();
    let allowed: Vec<CredentialId> = if asked.is_empty() {
        Vec::new()
    } else {
        user.passkeys.iter().filter_map(|one| Some(one.descriptor()?.id)).collect()
    };
    // Of whom it was asked, if of somebody: another person's passkey raises nobody's session.
    if !asked.is_empty() && asked != user.id() {
        return Err(Refusal::Passkey);
    }
    let expected = (!asked.is_empty()).then(|| user.handle());
    let authentication = Authentication {
        relying_party: &party,
        challenge: &shown.challenge,
        allowed: &allowed,
        user: expected.as_ref(),
    };
    let verified = authentication.verify(&shown.response, &kept)?;
    Ok(verified.record().clone())
}

fn authenticated_by(used: &CredentialRecord, now: UnixTime) -> Authenticated {
    let acr = strength::of_passkey(used.is_backup_eligible);
    Authenticated { at: now, acr, amr: amr(used.is_backup_eligible) }
}

/// RFC 8176 §2: `hwk` and `swk`, "Proof-of-Possession (PoP) of a hardware-secured key" and of a
/// software-secured one; `user`, "User presence test".
fn amr(is_backup_eligible: bool) -> std::collections::BTreeSet<String> {
    let key = if is_backup_eligible { "swk" } else { "hwk" };
    [key, "user"].into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8176_2_a_key_that_cannot_leave_is_told_from_one_that_can() {
        assert_eq!(amr(true).into_iter().collect::<Vec<_>>(), ["swk", "user"]);
        assert_eq!(amr(false).into_iter().collect::<Vec<_>>(), ["hwk", "user"]);
    }
}

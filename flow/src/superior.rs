//! The authority above ours: asked for an intermediate, tried before it is believed, and asked
//! again with pauses while it is away (S1 §8; CRED-12). What was had of it serves on meanwhile.

mod trust;

use credential::x509_intermediate::{self, Probe, Proven};
use credential::{KeyRing, Purpose};
use env::rows::{Failing, SuperiorRow};
use env::{
    Change, Entropy, Expect, Handle, Key, Keys, Store, Superior, SuperiorFault, SuperiorOrder,
    Unavailable, World, Write,
};
use jose::PublicKey;
use monitoring::{Event, Outcome};
use time::{Span, UnixTime};
use x509::{Name, RequestTemplate, ecdsa_der_from_fixed};

pub(crate) use self::trust::{announce, refresh, root_id};
use crate::record::{begin, refused};
use crate::rotate::{Making, server_id};
use crate::sign::{self, CERTIFICATE_ALGORITHM};
use crate::turns::settled;

/// Which door is said to be shut.
pub const PART: &str = "upstream authority";
/// The pause after the first failure.
const PAUSE_FIRST: Span = Span::from_seconds(5);
/// The longest pause between two tries.
const PAUSE_LONGEST: Span = Span::from_seconds(600);
/// What records call it.
const ACTION: &str = "superior.ask";

/// Why there is no intermediate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It gave none.
    #[error(transparent)]
    Superior(#[from] SuperiorFault),
    /// It gave one that is not used.
    #[error("its answer is not used: {0}")]
    Refusal(#[from] x509_intermediate::Refusal),
    /// Ours: the key store did not answer, or no request could be made.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Fault {
    /// The variant's name: what records call the check.
    const fn check(&self) -> &'static str {
        match self {
            Self::Superior(SuperiorFault::Refused(_)) => "superior::Refused",
            Self::Superior(SuperiorFault::Unavailable(_)) => "superior::Unavailable",
            Self::Refusal(refusal) => refusal.check(),
            Self::Unavailable(_) => "superior::Keys",
        }
    }
}

/// An intermediate for a new key, proved by a leaf that is thrown away.
pub(crate) async fn certify<W: World>(
    world: &W,
    superior: &dyn Superior,
    making: &Making<'_>,
    (handle, public): (&Handle, &PublicKey),
    until: UnixTime,
    names: &[String],
) -> Result<Proven, Fault> {
    let unavailable = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: public.spki_der().to_vec(),
        // An origin of `wimse` is no identifier, and stands in no certificate.
        uri_names: making
            .origin
            .is_spiffe()
            .then(|| making.origin.to_string())
            .into_iter()
            .collect(),
        dns_names: Vec::new(),
    };
    let unsigned =
        template.to_be_signed(CERTIFICATE_ALGORITHM).map_err(|error| unavailable(&error))?;
    let signature = world.keys().sign(handle, unsigned.bytes()).await.map_err(Unavailable::from)?;
    let der = ecdsa_der_from_fixed(signature.as_bytes()).map_err(|error| unavailable(&error))?;
    let order = SuperiorOrder {
        origin: making.origin.clone(),
        request: unsigned.attach(&der),
        random: world.entropy().public(),
        now: making.now,
        until,
        below: making.below,
    };
    let answer = superior.certify(order).await?;
    let read = (answer.chain.as_slice(), answer.roots.as_slice());
    let answered = x509_intermediate::read(read, making.origin, public.spki_der())?;
    let id = server_id(making.origin)?;
    let random = world.entropy().public();
    let probe = Probe { id: &id, dns_names: names, random, now: making.now };
    let probe = match answered.probe(&probe) {
        Ok(probe) => probe,
        // The only thing that is not ours to choose is when the answer ends.
        Err(_) => {
            return Err(x509_intermediate::Refusal::EndsSoon { until: answered.until() }.into());
        }
    };
    let leaf = sign::certificate(world, handle, probe).await?;
    Ok(answered.prove(&leaf, making.now)?)
}

/// The pause after so many failures in a row: doubling, ten minutes at the most, and never more
/// than a quarter of what is left.
fn pause(tries: u32, left: Span) -> Span {
    let doubled = PAUSE_FIRST.millis().saturating_mul(1 << tries.saturating_sub(1).min(16));
    let quarter = (left.millis() / 4).max(PAUSE_FIRST.millis());
    Span::from_millis(doubled.min(PAUSE_LONGEST.millis()).min(quarter))
}

/// When it is to be tried again, if it failed and that has not come yet.
pub(crate) async fn waits<W: World>(
    world: &W,
    now: UnixTime,
) -> Result<Option<UnixTime>, Unavailable> {
    let row = crate::facts::one::<W, SuperiorRow>(world, SuperiorRow::ID).await?;
    let failing = row.and_then(|row| row.failing.clone());
    Ok(failing.map(|failing| failing.again).filter(|again| now < *again))
}

/// Notes that nothing was had, and says when to try again: sooner and sooner the nearer the end of
/// what there is. Recorded when it begins and when the reason changes: not each try.
pub(crate) async fn failed<W: World>(
    world: &W,
    superior: &dyn Superior,
    fault: &Fault,
    certifying: bool,
    now: UnixTime,
) -> Result<UnixTime, Unavailable> {
    let keys = [
        Key::of::<SuperiorRow>(SuperiorRow::ID),
        Key::of::<KeyRing>(Purpose::X509Authority.name()),
    ];
    let rows = world.store().snapshot(&keys).await?;
    let row = rows.get::<SuperiorRow>(SuperiorRow::ID)?;
    let ring = rows.get::<KeyRing>(Purpose::X509Authority.name())?;
    let ends = ring.and_then(|ring| ring.signer(now).map(|key| key.signs_until));
    let old = row.as_ref().and_then(|row| row.failing.clone());
    let (why, tries) = (fault.to_string(), old.as_ref().map_or(0, |old| old.tries));
    let tries = tries.saturating_add(1);
    let again = now.plus(pause(tries, ends.unwrap_or(now).since(now)));
    let is_told = old.as_ref().is_some_and(|old| old.why == why);
    let since = old.map_or(now, |old| old.since);
    let failing = Failing { since, tries, again, why, certifying };
    let mut records = Vec::new();
    if !is_told {
        let mut record = begin(world, Event::KeyRotated);
        record.action = ACTION.to_owned();
        record.resource = Some(superior.name().to_owned());
        record.facts = serde_json::json!({
            "failing_since": since.to_string(),
            "signs_until": ends.map(|ends| ends.to_string()),
        });
        refused(&mut record, fault.check(), fault, None);
        records.push(record);
    }
    let expect = row.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
    let row = SuperiorRow { failing: Some(failing), ..named(superior, row.as_deref()) };
    let change = Change { writes: vec![Write::put(&row, expect)], uses: Vec::new(), records };
    settled(world.store().commit(change).await)?;
    Ok(again)
}

/// The row under the name of today; what another authority said before is not kept.
fn named(superior: &dyn Superior, row: Option<&SuperiorRow>) -> SuperiorRow {
    let same = row.filter(|row| row.name == superior.name()).cloned();
    SuperiorRow { name: superior.name().to_owned(), ..same.unwrap_or_default() }
}

/// Notes that it answered.
pub(crate) async fn answered<W: World>(
    world: &W,
    superior: &dyn Superior,
    certified: bool,
) -> Result<(), Unavailable> {
    let row = world.store().snapshot(&[Key::of::<SuperiorRow>(SuperiorRow::ID)]).await?;
    let row = row.get::<SuperiorRow>(SuperiorRow::ID)?;
    let failing = row.as_ref().and_then(|row| row.failing.as_ref());
    if !certified && failing.is_some_and(|failing| failing.certifying) {
        return Ok(());
    }
    let now = SuperiorRow { failing: None, ..named(superior, row.as_deref()) };
    if row.as_deref() == Some(&now) {
        return Ok(());
    }
    let mut record = begin(world, Event::KeyRotated);
    record.action = ACTION.to_owned();
    record.outcome = Outcome::Permitted;
    record.resource = Some(superior.name().to_owned());
    let failed = row.as_ref().and_then(|row| row.failing.as_ref());
    record.facts = serde_json::json!({
        "failed_since": failed.map(|failing| failing.since.to_string()),
    });
    let expect = row.map_or(Expect::Absent, |row| Expect::Version(row.version));
    let writes = vec![Write::put(&now, expect)];
    let change = Change { writes, uses: Vec::new(), records: vec![record] };
    settled(world.store().commit(change).await).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req: CRED-12 (part)
    #[test]
    fn s8_pauses_grow_and_shrink_again_before_the_end() {
        for (tries, left, expect) in [
            (1, 86_400, 5),
            (2, 86_400, 10),
            (7, 86_400, 320),
            (8, 86_400, 600),
            (u32::MAX, 86_400, 600),
            (8, 1_200, 300),
            (8, 40, 10),
            (8, 0, 5),
        ] {
            let found = pause(tries, Span::from_seconds(left));
            assert_eq!(found, Span::from_seconds(expect), "{tries} {left}");
        }
    }
}

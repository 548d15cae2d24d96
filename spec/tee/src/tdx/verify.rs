//! Whether a platform of Intel's made a quote, and how well it was kept.

use aws_lc_rs::digest;
use serde::Deserialize;
use time::UnixTime;
use x509::Certificate;

use super::chain;
use super::collateral::Collateral;
use super::date::instant;
use super::level::{QeIdentity, Tcb, TcbInfo};
use super::pck::Pck;
use super::quote::{EnclaveReport, Quote, TdReport};
use super::refusal::{Part, Refusal};

/// A quote that a platform of Intel's made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    quote: Quote,
    platform: Pck,
    tcb: Tcb,
}

impl Verified {
    /// What the TDX module says of the guest.
    pub const fn report(&self) -> &TdReport {
        &self.quote.report
    }

    /// Which platform it is.
    pub const fn platform(&self) -> &Pck {
        &self.platform
    }

    /// How well it was kept.
    pub const fn tcb(&self) -> &Tcb {
        &self.tcb
    }
}

/// Whether a platform made the quote that ends at one of the `roots`, and what the collateral says
/// of the platform at `now`. That a status is bad, [`super::Status::Revoked`] among them, is told
/// and not refused.
///
/// Order: form; the quote by the attestation key, the key by the quoting enclave, the platform's
/// chain and that it is not revoked, the enclave by the platform; then the collateral, each part
/// by its signature first; at last levels.
pub fn verify(
    quote: &[u8],
    collateral: &Collateral,
    roots: &[Certificate],
    now: UnixTime,
) -> Result<Verified, Refusal> {
    let quote = Quote::parse(quote).map_err(Refusal::Quote)?;
    chain::by_key(&quote.attestation_key, &quote.signed, &quote.signature, Part::Quote)?;
    let enclave = quote.enclave().map_err(Refusal::Quote)?;
    binds(&enclave, &quote)?;
    let leaf = chain::platform(&quote.certificates, collateral, roots, now)?;
    chain::by(&leaf, &quote.enclave, &quote.enclave_signature, Part::QuotingEnclave)?;
    let platform = Pck::read(&leaf).map_err(Refusal::Pck)?;
    let info = tcb_info(collateral, roots, now)?;
    if info.fmspc != platform.fmspc || info.pce_id != platform.pce_id {
        return Err(Refusal::OtherPlatform);
    }
    let identity = qe_identity(collateral, roots, now)?;
    let mut tcb = info.level(&platform, &quote.report)?;
    identity.judge(&enclave, &mut tcb)?;
    Ok(Verified { quote, platform, tcb })
}

/// Intel TDX DCAP Quoting Library API, appendix A.3: the report data of the quoting enclave is
/// "SHA256(ECDSA Attestation Key || QE Authentication Data) || 32-0x00's".
fn binds(enclave: &EnclaveReport, quote: &Quote) -> Result<(), Refusal> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&quote.attestation_key);
    context.update(&quote.authentication);
    let mut expect = [0; 64];
    for (to, from) in expect.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    if enclave.report_data == expect { Ok(()) } else { Err(Refusal::OtherAttestationKey) }
}

fn tcb_info(
    collateral: &Collateral,
    roots: &[Certificate],
    now: UnixTime,
) -> Result<TcbInfo, Refusal> {
    let part = Part::TcbInfo;
    let text = chain::signed(&collateral.tcb_info, part, collateral, roots, now)?;
    let info: TcbInfo = read(text, part)?;
    kind(&info.id, info.version, ("TDX", 3), part)?;
    current(&info.issue_date, &info.next_update, part, now)?;
    Ok(info)
}

fn qe_identity(
    collateral: &Collateral,
    roots: &[Certificate],
    now: UnixTime,
) -> Result<QeIdentity, Refusal> {
    let part = Part::QeIdentity;
    let text = chain::signed(&collateral.qe_identity, part, collateral, roots, now)?;
    let identity: QeIdentity = read(text, part)?;
    kind(&identity.id, identity.version, ("TD_QE", 2), part)?;
    current(&identity.issue_date, &identity.next_update, part, now)?;
    Ok(identity)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str, of: Part) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::Text { of, why: error.to_string() })
}

fn kind(id: &str, version: u32, expect: (&str, u32), of: Part) -> Result<(), Refusal> {
    if (id, version) == expect {
        return Ok(());
    }
    let found = format!("{} version {version}", id.chars().take(32).collect::<String>());
    Err(Refusal::OtherKind { of, found })
}

fn current(from: &str, until: &str, of: Part, now: UnixTime) -> Result<(), Refusal> {
    let time = |text: &str| {
        let why = || format!("no time `{}`", text.chars().take(32).collect::<String>());
        instant(text).ok_or_else(|| Refusal::Text { of, why: why() })
    };
    let (from, until) = (time(from)?, time(until)?);
    if now < from {
        return Err(Refusal::NotYet { of, from, now });
    }
    if now > until {
        return Err(Refusal::Expired { of, until, now });
    }
    Ok(())
}

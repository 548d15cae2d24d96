//! What the certificate of a platform's key says of the platform (Intel SGX PCK Certificate and
//! Certificate Revocation List Profile Specification 1.5, the SGX extensions).

use der::asn1::AnyRef;
use der::{Tag, Tagged};
use x509::{Certificate, Oid};

use crate::asn1;

/// The extension: `1.2.840.113741.1.13.1`, a sequence of pairs of identifier and value.
const SGX: &str = "1.2.840.113741.1.13.1";
/// `1.2.840.113741.1.13.1` as contents of an identifier; what is in it goes on from there.
const ARC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1];
/// Under the arc: a value of the platform.
const PPID: u8 = 1;
const TCB: u8 = 2;
const PCE_ID: u8 = 3;
const FMSPC: u8 = 4;
/// Under the arc of the TCB: sixteen components, and the version of the PCE.
const COMPONENTS: usize = 16;
const PCE_SVN: u8 = 17;

/// What the certificate of a platform's key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pck {
    /// Which platform.
    pub ppid: [u8; 16],
    /// The versions that the key was derived for.
    pub components: [u8; COMPONENTS],
    /// The version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// Which provisioning certification enclave.
    pub pce_id: [u8; 2],
    /// Family, model, stepping, platform and custom SKU.
    pub fmspc: [u8; 6],
}

impl Pck {
    /// Reads it from the extension.
    pub fn read(certificate: &Certificate) -> Result<Self, PckError> {
        let oid = Oid::parse(SGX).ok_or(PckError("the extension"))?;
        let extension = certificate.extension(&oid).ok_or(PckError("the extension"))?;
        let members = asn1::sequence(extension).and_then(asn1::elements);
        let members = members.ok_or(PckError("the extension"))?;
        let tcb = member(&members, &[TCB]).filter(|any| any.tag() == Tag::Sequence);
        let tcb = tcb.and_then(|any| asn1::elements(any.value())).ok_or(PckError("tcb"))?;
        let mut components = [0; COMPONENTS];
        for (arc, component) in (1..).zip(&mut components) {
            let svn = member(&tcb, &[TCB, arc]).and_then(|any| any.decode_as().ok());
            *component = svn.ok_or(PckError("a component of the tcb"))?;
        }
        let pce_svn = member(&tcb, &[TCB, PCE_SVN]).and_then(|any| any.decode_as().ok());
        Ok(Self {
            ppid: octets(&members, PPID).ok_or(PckError("ppid"))?,
            components,
            pce_svn: pce_svn.ok_or(PckError("pcesvn"))?,
            pce_id: octets(&members, PCE_ID).ok_or(PckError("pceid"))?,
            fmspc: octets(&members, FMSPC).ok_or(PckError("fmspc"))?,
        })
    }
}

/// The value of the pair whose identifier goes on from the arc like this.
fn member<'a>(members: &[AnyRef<'a>], below: &[u8]) -> Option<AnyRef<'a>> {
    members.iter().find_map(|member| {
        let pair = asn1::elements(member.value()).filter(|_| member.tag() == Tag::Sequence)?;
        let [name, value] = pair.as_slice() else { return None };
        let is_named = name.tag() == Tag::ObjectIdentifier
            && name.value().strip_prefix(ARC).is_some_and(|rest| rest == below);
        is_named.then_some(*value)
    })
}

fn octets<const N: usize>(members: &[AnyRef<'_>], arc: u8) -> Option<[u8; N]> {
    let value = member(members, &[arc]).filter(|any| any.tag() == Tag::OctetString)?;
    value.value().try_into().ok()
}

/// The certificate does not say what Intel's say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not there, or does not read")]
pub struct PckError(&'static str);

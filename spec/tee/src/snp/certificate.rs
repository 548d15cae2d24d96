//! What the certificate of a signing key says of the chip and its firmware (57230, the
//! extensions of VCEK and VLEK certificates).

use x509::{Certificate, Oid};

use crate::asn1;
use crate::snp::report::SigningKey;
use crate::snp::tcb::Tcb;

/// AMD's arc of extensions.
const ARC: &str = "1.3.6.1.4.1.3704.1";
/// The length of a chip identifier, in bytes: eight on Turin.
const CHIP_ID_BYTES: [usize; 2] = [64, 8];

/// What the certificate of a signing key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// Which kind of key: the certificate of a VCEK names a chip, that of a VLEK a cloud.
    pub key: SigningKey,
    /// The product: `Milan-B0`, or `Milan`.
    pub product: String,
    /// The firmware that the key was derived for.
    pub tcb: Tcb,
    /// The chip, for a VCEK.
    pub chip_id: Option<Vec<u8>>,
    /// The cloud, for a VLEK.
    pub cloud: Option<String>,
}

impl Endorsement {
    /// Reads it from the extensions.
    pub fn read(certificate: &Certificate) -> Result<Self, EndorsementError> {
        let chip_id = chip_id(certificate)?;
        let cloud = extension(certificate, "5").map(asn1::text);
        let cloud = cloud.map(|text| text.ok_or(EndorsementError("5"))).transpose()?;
        let key = match (&chip_id, &cloud) {
            (Some(_), None) => SigningKey::Vcek,
            (None, Some(_)) => SigningKey::Vlek,
            _ => return Err(EndorsementError("4")),
        };
        let product = extension(certificate, "2").and_then(asn1::text);
        let tcb = Tcb {
            fmc: match extension(certificate, "3.9") {
                None => 0,
                Some(der) => asn1::number(der).ok_or(EndorsementError("3.9"))?,
            },
            boot_loader: svn(certificate, "3.1")?,
            tee: svn(certificate, "3.2")?,
            snp: svn(certificate, "3.3")?,
            microcode: svn(certificate, "3.8")?,
        };
        Ok(Self { key, product: product.ok_or(EndorsementError("2"))?, tcb, chip_id, cloud })
    }
}

/// An extension is not there, or is not what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its extension `1.3.6.1.4.1.3704.1.{0}` is not there, or does not read")]
pub struct EndorsementError(&'static str);

fn extension<'a>(certificate: &'a Certificate, arc: &str) -> Option<&'a [u8]> {
    certificate.extension(&Oid::parse(&format!("{ARC}.{arc}"))?)
}

fn svn(certificate: &Certificate, arc: &'static str) -> Result<u8, EndorsementError> {
    extension(certificate, arc).and_then(asn1::number).ok_or(EndorsementError(arc))
}

/// RFC 5280 §4.1: the value of an extension "contains the DER encoding of an ASN.1 value". AMD's
/// certificates have the identifier itself there, wrapped in nothing.
fn chip_id(certificate: &Certificate) -> Result<Option<Vec<u8>>, EndorsementError> {
    let Some(value) = extension(certificate, "4") else { return Ok(None) };
    let bare = CHIP_ID_BYTES.contains(&value.len()).then_some(value);
    let found =
        bare.or_else(|| asn1::octets(value).filter(|octets| CHIP_ID_BYTES.contains(&octets.len())));
    found.map(|found| Some(found.to_vec())).ok_or(EndorsementError("4"))
}

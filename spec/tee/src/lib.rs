//! What a processor says of a virtual machine whose memory its host cannot read: attestation
//! reports of AMD SEV-SNP
//! ([56860, SEV-SNP firmware ABI](https://docs.amd.com/v/u/en-US/56860_PUB),
//! [57230, VCEK certificates](https://docs.amd.com/v/u/en-US/57230)) and quotes of Intel TDX
//! ([Intel TDX DCAP Quoting Library API](https://download.01.org/intel-sgx/latest/dcap-latest/linux/docs/Intel_TDX_DCAP_Quoting_Library_API.pdf),
//! [PCS API 4.0](https://api.portal.trustedservices.intel.com/content/documentation.html)).
//!
//! In scope: reading a report or a quote ([`snp::Report`], [`tdx::Quote`]), and whether a processor
//! made it whose maker vouches for it ([`snp::verify`], [`tdx::verify`]), at a time that is given,
//! with certificates and collateral that are given.
//!
//! Not here: what a measurement is worth and which are allowed (`stack/attestation`), reading
//! evidence from a kernel (`edge/attestors`), fetching certificates and collateral from their
//! makers. Quotes of SGX enclaves alone are not read.

mod asn1;
mod malformed;
mod read;
pub mod snp;
pub mod tdx;

pub use malformed::Malformed;

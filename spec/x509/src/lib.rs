//! Certificates, certification requests, path validation and signed documents, as
//! [RFC 5280](https://www.rfc-editor.org/rfc/rfc5280),
//! [RFC 2986](https://www.rfc-editor.org/rfc/rfc2986) and
//! [RFC 5652](https://www.rfc-editor.org/rfc/rfc5652) define them, for the profiles of the crates
//! above.
//!
//! In scope: reading a certificate or a request into what it says, building one in two steps
//! (bytes to sign out, signature in), the question whether a chain ends at a trust anchor, who
//! signed a document or stamped the time of one
//! ([RFC 3161](https://www.rfc-editor.org/rfc/rfc3161)), and the revocation lists of those who make
//! devices.
//!
//! Not here: private keys (`env::Keys` signs), what a credential of ours must look like
//! (`spiffe`, `stack/credential`), revocation lists of our own (our credentials are short-lived,
//! and each carries the [epoch](Certificate::epoch) under which it was issued).

mod ber;
mod certificate;
mod cms;
mod device;
mod dns_name;
mod ecdsa;
mod encode;
mod encoded;
mod extension;
mod issued;
mod key;
mod name;
mod oid;
mod path;
mod request;
mod revocation;
mod serial;
mod syntax;
mod template;
mod timestamp;

pub use certificate::{Certificate, Malformed};
pub use cms::{CmsError, SIGNED_DATA_BYTES_MAX, SignedData};
pub use device::{HARDWARE_SERIAL_BYTES_MAX, HardwareModuleName};
pub use dns_name::{DNS_NAME_BYTES_MAX, DnsName, NotADnsName};
pub use ecdsa::{EcdsaForm, ecdsa_der_from_fixed, ecdsa_fixed_from_der};
pub use encoded::{CertificateDer, PemError};
pub use extension::{
    ATTRIBUTES, EPOCH, Extension, KeyUsage, attributes_extension, epoch_extension,
};
pub use key::{BadSignature, KeyError, KeyKind, SignatureAlgorithm};
pub use name::{Name, NameError};
pub use oid::Oid;
pub use path::{ChainError, Purpose, verify_chain};
pub use request::{Attestation, Request, RequestError, RequestTemplate, RequestToBeSigned};
pub use revocation::{REVOCATION_LIST_BYTES_MAX, RevocationList, RevocationListError};
pub use serial::Serial;
pub use template::{Kind, Template, TemplateError, ToBeSigned};
pub use timestamp::{Stamped, Timestamp, TimestampError};

/// Longest certificate or request that is read or made, in bytes. An RSA-4096 certificate with
/// fifty names has about six thousand.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// Longest chain, leaf and root included.
pub const CHAIN_CERTIFICATES_MAX: usize = 6;
/// Most trust anchors that one validation looks at.
pub const ANCHORS_MAX: usize = 64;
/// Most extensions in one certificate or request.
pub const EXTENSIONS_MAX: usize = 32;
/// Most subject alternative names in one certificate or request.
pub const NAMES_MAX: usize = 64;

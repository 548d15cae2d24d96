//! SPIFFE: identifiers
//! ([SPIFFE-ID](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md)), X.509-SVIDs
//! ([X509-SVID](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md)), JWT-SVIDs
//! ([JWT-SVID](https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md)), trust bundles
//! ([Trust Domain and
//! Bundle](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md)),
//! federation ([`federation`]) and the address of a workload endpoint ([Workload
//! Endpoint](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md)),
//! in the texts of 1 July 2026.
//!
//! In scope: what is a valid identifier, certificate, token, bundle or address, and whether a
//! credential is vouched for by the bundle of its own trust domain, and by no other.
//!
//! Not here: WIT-SVIDs (`wimse` has the token; the keys are in [`Bundle::wit_keys`]), serving the
//! Workload API (`edge/workload`), fetching bundles (`edge/fetch`).

mod attributes;
mod bundle;
mod bundle_set;
mod endpoint;
pub mod federation;
pub mod form;
mod id;
mod jwt_svid;
mod x509_svid;

pub use attributes::{ATTRIBUTES_CLAIM, Attributes};
pub use bundle::{Bundle, BundleError, BundleKey, IgnoredEntry, Skipped};
pub use bundle_set::{BundleMapError, BundleSet};
pub use endpoint::{EndpointAddress, EndpointAddressError};
pub use id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use jwt_svid::{
    JWT_SVID_ALGORITHMS, JwtSvid, JwtSvidClaims, JwtSvidError, VerifiedJwtSvid, verify_jwt_svid,
};
pub use x509_svid::{
    AuthorityError, CheckedLeaf, SvidError, VerifiedX509Svid, X509Svid, check_authority,
};

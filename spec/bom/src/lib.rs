//! What an agent is made of, and what is known against it: bills of materials
//! ([CycloneDX](https://cyclonedx.org/docs/1.7/json/) 1.6 and 1.7 in JSON), names of packages
//! ([package URL](https://github.com/package-url/purl-spec)), advisories
//! ([OSV schema](https://ossf.github.io/osv-schema/) 1.7) and how severe they are
//! ([CVSS 3.1](https://www.first.org/cvss/v3.1/specification-document), and 3.0).
//!
//! In scope: from text to a [`Bom`] whose graph is whole, from there to the advisories that concern
//! a component. Not here: who signed it (`spec/provenance`, `spec/jose`), who may say what and what
//! follows from it (`stack/attestation`), fetching advisories, other formats (SPDX).
//!
//! Where it cannot tell whether a version is affected, it is: an advisory is there for a reason.

mod cvss;
mod cyclonedx;
mod osv;
mod purl;
mod version;

pub use cvss::{CvssError, Score};
pub use cyclonedx::{
    BOM_BYTES_MAX, Bom, BomError, COMPONENTS_MAX, Component, EDGES_MAX, Hashes, Judged, PREDICATE,
    State,
};
pub use osv::{ADVISORIES_MAX, Advisories, Advisory, OSV_BYTES_MAX, OsvError};
pub use purl::{Purl, PurlError};
pub use version::SemVer;

//! Passkeys, as a relying party sees them: the registration and the authentication ceremony of
//! [Web Authentication Level 3](https://www.w3.org/TR/webauthn-3/), with keys of
//! [RFC 9052](https://www.rfc-editor.org/rfc/rfc9052) (COSE). Steps are counted as in the editor's
//! draft of 30 July 2026 (`w3c/webauthn` 146d0db).
//!
//! In scope: the options that a browser is given and the responses that it gives back (§5.1,
//! §5.4, §5.5), client data (§5.8.1), authenticator data (§6.1), attestation objects (§6.5) with
//! the formats `packed` by the credential's own key (§8.2) and `none` (§8.7), and verification in
//! the order of §7.1 and §7.2. A user must be verified, an origin is one exact text, frames of
//! other origins are refused. Not here: where challenges, users and credentials are kept and for
//! how long (`flow`, `env`), who makes random bytes (the caller), certificates of authenticators
//! (§8.2.1, §8.3 to §8.6, §8.8: their formats are taken only as a name, and only where
//! the caller says so by [`AttestationPolicy::AnyUnbelieved`]), extensions.
//!
//! [`Registered`] and [`Authenticated`] are made only by the verification of their ceremony.

mod attestation;
mod authentication;
mod authenticator_data;
mod base64url;
mod cbor;
mod challenge;
mod client_data;
mod credential;
mod key;
mod options;
mod refusal;
mod registration;
mod relying_party;
mod response;

pub use attestation::{
    Attestation, AttestationError, AttestationObject, AttestationPolicy, AttestationRefused,
};
pub use authentication::{Authenticated, Authentication, BackupChange};
pub use authenticator_data::{Aaguid, Attested, AuthenticatorData, AuthenticatorDataError, Flags};
pub use cbor::Malformed;
pub use challenge::Challenge;
pub use client_data::{Ceremony, ClientData, ClientDataError};
pub use credential::{
    CredentialId, CredentialRecord, Descriptor, NotACredentialId, NotAUserHandle, UserHandle,
};
pub use key::{Algorithm, BadSignature, CredentialKey, KeyError};
pub use options::{CreationOptions, Hint, NotAUser, RequestOptions, User};
pub use refusal::{Reason, Refusal};
pub use registration::{Registered, Registration};
pub use relying_party::{NotARelyingParty, NotAnOrigin, NotAnRpId, Origin, RelyingParty, RpId};
pub use response::{AuthenticationResponse, RegistrationResponse, ResponseError};

/// Longest response of a browser that is read, in bytes of its JSON text.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Longest client data, in bytes.
pub const CLIENT_DATA_BYTES_MAX: usize = 4 * 1024;
/// Longest attestation object, in bytes: a chain of certificates may be in it.
pub const ATTESTATION_OBJECT_BYTES_MAX: usize = 32 * 1024;
/// Longest authenticator data, in bytes.
pub const AUTHENTICATOR_DATA_BYTES_MAX: usize = 8 * 1024;
/// Longest signature, in bytes: that of RSA with 8,192 bits.
pub const SIGNATURE_BYTES_MAX: usize = 1_024;
/// Longest credential id, in bytes (§6.5.1).
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;
/// Longest user handle, in bytes (§5.4.3).
pub const USER_HANDLE_BYTES_MAX: usize = 64;
/// Most extensions whose outputs an authenticator gives.
pub const EXTENSIONS_MAX: usize = 16;
/// Most transports of one credential.
pub const TRANSPORTS_MAX: usize = 8;

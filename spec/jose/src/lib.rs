//! JSON object signing: JWS in the compact serialization
//! ([RFC 7515](https://www.rfc-editor.org/rfc/rfc7515)), keys
//! ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517),
//! [RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)), algorithms
//! ([RFC 7518](https://www.rfc-editor.org/rfc/rfc7518),
//! [RFC 8037](https://www.rfc-editor.org/rfc/rfc8037)) and JWT
//! ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)), read as
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) and its revision draft-ietf-oauth-rfc8725bis
//! ask for.
//!
//! In scope: from text to [`Unverified`], from there to [`Verified`]; from claims to a
//! [`SigningInput`], from there to a [`Compact`] token; public keys and key sets. Not here: what
//! the claims of a kind of token mean (the crate of its specification declares a [`Kind`]), whose
//! keys are trusted (a [`KeySource`]), where private keys live, encryption (JWE), symmetric keys.
//! Signatures over bytes that are no claims, detached ones among them, are in [`jws`].
//!
//! A token has a kind and a state: the claims of an [`Unverified`] token cannot be read, and
//! [`Unverified::verify`] is the only way to a [`Verified`] one.

mod algorithm;
mod base64url;
mod claims;
mod der;
mod hash;
mod header;
pub mod json;
mod jwk;
pub mod jws;
mod key;
mod key_set;
mod private_key;
mod sign;
mod token;
mod verify;

pub use algorithm::{Algorithm, KeyType};
pub use claims::{Audience, NumericDate, Window, named};
pub use hash::{NotAHash, Thumbprint, TokenHash};
pub use header::{Header, KeyId, NotAKeyId};
pub use jwk::{Jwk, JwkError};
pub use key::{BadSignature, KeyError, PublicKey};
pub use key_set::{Ignored, KeySet, KeySetError};
pub use private_key::{PrivateJwk, PrivateKey, PrivateKeyError};
pub use sign::{Compact, Signature, SigningInput, Unsignable};
pub use token::{Kind, MAX_TOKEN_BYTES, Malformed, Part, Unverified};
pub use verify::{KeySource, NoKey, Refused, Verified};

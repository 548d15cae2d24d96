//! People: who they are, how they sign in, and for how long (AUTHN-11;
//! [Web Authentication Level 3](https://www.w3.org/TR/webauthn-3/),
//! [OpenID Connect Core 1.0](https://openid.net/specs/openid-connect-core-1_0.html) as a relying
//! party, RP-Initiated and Back-Channel Logout 1.0 on both sides).
//!
//! In scope: operators' orders about users, sign-in by code, link, passkey and another provider,
//! sessions, and all that ends with them. Not here: consent and grants (`flow/consent`,
//! `flow/access`), pages and cookies (`edge/console`), requests to the outside (`edge/fetch`).

use basis::{facts, for_clients, issuing, record, sign, turns};

pub mod browser;
pub mod ceremony;
pub mod change;
pub mod end;
mod ending;
pub mod leave;
pub mod orders;
pub mod passkeys;
pub mod secrets;
pub mod sessions;
pub mod sign_in;
pub mod standing;
pub mod strength;
pub mod upstream;
pub mod user_code;

pub use basis::throttle;
pub use ending::Count;

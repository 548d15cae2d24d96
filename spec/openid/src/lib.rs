//! OpenID Connect as messages, above `oauth`: ID tokens and their validation ([Core
//! 1.0](https://openid.net/specs/openid-connect-core-1_0.html)), userinfo, discovery ([Discovery
//! 1.0](https://openid.net/specs/openid-connect-discovery-1_0.html)), logout ([RP-Initiated
//! 1.0](https://openid.net/specs/openid-connect-rpinitiated-1_0.html), [Back-Channel
//! 1.0](https://openid.net/specs/openid-connect-backchannel-1_0.html)), users who are asked out of
//! band ([CIBA Core
//! 1.0](https://openid.net/specs/openid-client-initiated-backchannel-authentication-core-1_0.html)),
//! and lists of the status of tokens (draft-ietf-oauth-status-list).
//!
//! In scope: what requests, answers, documents and tokens look like, on both sides of the code
//! flow, and the checks that their texts demand of whoever reads them. Not here: who gets what
//! (`stack/authorization`), sessions, HTTP (`edge/api`), signatures (`jose`), and what OAuth has
//! already (`oauth`).

pub mod ciba;
mod deflate;
pub mod discovery;
mod half_hash;
pub mod id_token;
pub mod logout;
pub mod relying_party;
pub mod status_list;
pub mod userinfo;

pub use deflate::Undecodable;
pub use half_hash::half_hash;

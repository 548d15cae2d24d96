//! What happens, in order, where tokens are asked for and used
//! ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749),
//! [RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)).
//!
//! In scope: the token endpoint, calls at the gateway, keys that gateways sign with, the feed of
//! the components, and what anyone may read. Not here: identities of hosts, processes and agents,
//! and what operators order (`flow`).

use basis::{facts, for_clients, issuing, record, sign, turns};

pub mod call;
pub mod delegate;
pub mod discovery;
pub mod documents;
pub mod ends;
pub mod feed;
pub mod handed;
pub mod id_token;
pub mod introspect;
pub mod opaque;
pub mod publish;
pub mod revoke;
pub mod secret;
pub mod shown;
pub mod status;
pub mod token;
pub mod userinfo;

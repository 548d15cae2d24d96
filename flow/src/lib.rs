//! What happens, in order: one file a request, each of them read, load, decide, commit, reply
//! (docs/style.md §1; the requests are those of draft-klrc-aiagent-auth §7 to §11,
//! <https://datatracker.ietf.org/doc/draft-klrc-aiagent-auth/>).
//!
//! In scope: the order of things for each request of the server, the node and the gateway. Not
//! here: any decision (`stack`), enrolment (`flow/enrol`), any socket, table or file (`edge`).

pub use access::{
    call, delegate, discovery, ends, feed, introspect, publish, revoke, status, token, userinfo,
};
pub use basis::{facts, issuing, record, rings, sign, turns};

pub mod agents;
pub mod apply_policy;
pub mod appraise;
pub mod authorities;
pub mod boot;
pub mod clients;
pub mod evidence;
pub mod federate;
pub mod issue;
pub mod join;
pub mod join_token;
pub mod lookup;
pub mod nested;
pub mod nodes;
mod overlap;
pub mod proxy;
pub mod reassess;
pub mod renew;
pub mod rotate;
pub mod spire;
pub mod superior;
pub mod watch;
pub mod web;
pub mod workload;

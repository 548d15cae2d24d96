//! What happens, in order: one file a request, each of them read, load, decide, commit, reply
//! (docs/style.md §1; the requests are those of draft-klrc-aiagent-auth §7 to §11,
//! <https://datatracker.ietf.org/doc/draft-klrc-aiagent-auth/>).
//!
//! In scope: the order of things for each request of the server, the node and the gateway. Not
//! here: any decision (`stack`), enrolment (`flow/enrol`), any socket, table or file (`edge`).

pub mod agents;
pub mod apply_policy;
pub mod appraise;
pub mod authorities;
pub mod boot;
pub mod call;
pub mod clients;
pub mod delegate;
pub mod evidence;
pub mod facts;
pub mod federate;
pub mod feed;
pub mod issue;
pub mod issuing;
pub mod join;
pub mod join_token;
pub mod nodes;
pub mod proxy;
pub mod publish;
pub mod reassess;
pub mod record;
pub mod renew;
pub mod rotate;
pub mod sign;
pub mod token;
pub mod turns;
pub mod watch;
pub mod workload;

//! The gateway's listener and the node's agent proxy: HTTP in ([RFC 9110][http], [RFC 9112][h1],
//! [RFC 9113][h2]), a decision asked of a trait, HTTP out, with the answer streamed back for as
//! long as what allowed it holds.
//!
//! In scope: sockets, TLS, what a request must look like to be judged at all (smuggling, paths,
//! hosts, origins, bounds), the upstream client, streaming and its end. Not here: who is calling,
//! what is allowed and which header fields cross (`flow`, `stack/gateway`, behind [`Gate`]), which
//! process may use the agent proxy and what it signs with (behind [`Caller`]).
//!
//! What trusting it means: it shows the gate exactly the request that it would send, once, and
//! sends nothing that the gate did not give it.
//!
//! [http]: https://www.rfc-editor.org/rfc/rfc9110
//! [h1]: https://www.rfc-editor.org/rfc/rfc9112
//! [h2]: https://www.rfc-editor.org/rfc/rfc9113

mod accept;
mod agent;
mod connect;
mod drive;
mod gate;
mod gateway;
mod intake;
mod limits;
mod path;
mod refused;
mod relay;
mod upstream;
mod wire;

pub use self::gateway::Gateway;
pub use agent::{Agent, Caller, Said, SignFault, bind_loopback};
pub use connect::BadRoot;
pub use gate::{Cut, Gate, Incoming, Onward, Outgoing};
pub use hyper::body::Bytes;
pub use intake::Doors;
pub use limits::Limits;
pub use path::PathFault;
pub use refused::{OnRefused, Refused};
pub use upstream::{Answer, AnswerBody, Forward, Peer, Upstream, UpstreamFault};

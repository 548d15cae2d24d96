//! A small domain to tell stories with: its policy, its server, node and gateway, the parties that
//! run there, and what they ask.

mod domain;
mod granted;
mod party;
mod policy_files;
mod request;

pub use domain::{Answered, Domain, Join, Upstream};
pub use granted::{
    ADA, CALLBACK, Client, DpopKey, VERIFIER, client_row, code_request, code_row, grant_row,
    person_row, refresh_request, with_dpop,
};
pub use party::Party;
pub use policy_files::{DOMAIN, GATEWAY, ISSUER, files, files_but, site};
pub use request::{
    attempt, by_certificate, by_jwt_svid, by_key, by_wit, certificate_request, credentials,
    exchange, http_call, issued, process, registration, tool_call, transaction,
};

use std::future::Future;

use crate::rng::Seed;
use crate::sim::Sim;

/// Runs a story in a fresh domain, under a few seeds: what it tells must not hang on the order of
/// things.
pub fn story<F: Future<Output = ()>>(tell: impl Fn(Sim) -> F) {
    for seed in 1..=3 {
        let sim = Sim::new(Seed(seed));
        sim.run(tell(sim.clone()));
    }
}

//! One world from one seed: clock, entropy, keys, stores with faults, links that delay, lose and
//! repeat, and a server, a node and a gateway that run the real flows over them, in one process.
//!
//! In scope: the simulated doors of `env`, the scheduler whose order comes from the seed, a small
//! domain to tell stories with ([`fixture`]), documents about agents ([`documents`]), the
//! processors that vouch for guests ([`silicon`]), hosts with something to show ([`hosts`]), the
//! passkeys of users ([`passkeys`]), and pages that others publish ([`web`]). Not here: sockets,
//! files and threads; those of `edge` have tests of their own. Only ever a dev-dependency, and what
//! `bench` measures.

mod clock;
pub mod documents;
mod faults;
pub mod fixture;
pub mod hosts;
mod journal;
mod keys;
pub mod passkeys;
mod peers;
mod rng;
pub mod silicon;
mod sim;
mod store;
pub mod web;
mod world;

pub use clock::{SimClock, SimEntropy};
pub use faults::{Fault, Faults, LinkRates, StoreRates};
pub use journal::SimJournal;
pub use keys::SimKeys;
pub use peers::{Shown, SimLink, SimPeers};
pub use rng::{Rng, Seed};
pub use sim::{Boxed, Sim, boxed};
pub use store::{Disk, SimStore};
pub use world::{Host, SimWorld};

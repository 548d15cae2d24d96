//! The node API over real sockets: server and components in one process, flows over a small store.

#[cfg(test)]
mod connections;
#[cfg(test)]
mod domain;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod joining;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod spire;
#[cfg(test)]
#[path = "../../src/wire.rs"]
mod wire;
#[cfg(test)]
mod world;

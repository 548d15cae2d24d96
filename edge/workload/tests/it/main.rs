//! The Workload API over real sockets.

#[cfg(test)]
mod api;
#[cfg(test)]
mod authority;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod sds;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;

//! Simulations of the whole system, each from one seed: server, node and gateway, agents and a
//! batch job, operators who suspend and change policy, clocks that jump, hosts that restart,
//! stores, logs and links that fail. After each step everything that was ever promised is looked
//! at.

#[cfg(test)]
mod acts;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod model;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod town;

//! Asking humans, as stories over one world from one seed.

#[cfg(test)]
mod chain;
#[cfg(test)]
mod challenge;
#[cfg(test)]
mod ciba;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod deferred;
#[cfg(test)]
mod device;
#[cfg(test)]
mod duties;
#[cfg(test)]
mod house;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod races;

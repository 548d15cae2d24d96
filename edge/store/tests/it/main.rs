//! The guarantees of `env::Store`, on both stores; what the file survives.

#[cfg(test)]
mod consent;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod evaluated;
#[cfg(test)]
mod file;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod once;
#[cfg(test)]
mod people;
#[cfg(test)]
mod redeemed;
#[cfg(test)]
mod suite;

//! Clients as stories, over one world from one seed.

#[cfg(test)]
mod desk;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod manage;
#[cfg(test)]
mod signed;
#[cfg(test)]
mod statements;

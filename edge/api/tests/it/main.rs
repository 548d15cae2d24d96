//! The listeners over real sockets.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod world;

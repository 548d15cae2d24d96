//! The listeners over real sockets.

#[cfg(test)]
mod about;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod identifier;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod people;
#[cfg(test)]
mod published;
#[cfg(test)]
mod pushed;
mod relations;
#[cfg(test)]
mod verifier;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod world;

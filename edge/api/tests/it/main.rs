//! The listeners over real sockets.

#[cfg(test)]
mod about;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod people;
#[cfg(test)]
mod published;
mod relations;
#[cfg(test)]
mod world;

//! What a client puts into `:authority` on a unix socket.
//!
//! No specification says what it should be where there is no host: gRPC's C core (Python, C++,
//! Ruby, PHP) and Java write the path of the socket, percent-encoded or as it is; others write
//! `localhost`. The HTTP/2 library below us resets a stream whose authority is no authority after
//! RFC 3986, before any handler sees it (hyperium/h2 #487). So a connection's bytes pass through
//! here first, and such a value is replaced by one that is accepted. Nobody reads it: what a
//! process gets depends on who it is.
//!
//! Everything else goes through byte by byte, and what is malformed too: the HTTP/2 library judges
//! it. The new value is as long as the old one was, so that both ends' HPACK tables, whose entries
//! are evicted by their lengths, stay the same without a table here (RFC 7541 §4.1).

mod block;
mod frames;
mod huffman;
mod stream;

pub use frames::{BLOCK_BYTES_MAX, Frames};
pub(crate) use stream::Readable;

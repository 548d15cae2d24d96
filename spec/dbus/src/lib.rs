//! D-Bus messages, as much of the
//! [D-Bus Specification](https://dbus.freedesktop.org/doc/dbus-specification.html) (0.32) as a
//! client needs that calls methods with text and numbers and is answered with text.
//!
//! In scope: method calls as bytes, any message's header and its first text, and the lines of the
//! authentication `EXTERNAL`. Not here: sockets and time limits (`edge/attestors`), signals, other
//! types in a body, descriptors.

mod authentication;
mod message;
mod wire;

pub use authentication::{ACCEPTED, BEGIN, LINE_BYTES_MAX, external};
pub use message::{
    Argument, BodyText, Call, HEAD_BYTES, Kind, MESSAGE_BYTES_MAX, Message, MessageError,
    length_of, reply,
};

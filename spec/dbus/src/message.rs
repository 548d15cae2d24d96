//! D-Bus Specification, "Message Protocol".

use crate::wire::{Reader, Writer};

/// The longest message that is read, in bytes; the specification allows 128 MiB.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The bytes that tell how long a message is.
pub const HEAD_BYTES: usize = 16;

/// D-Bus Specification, Message Format: "Major protocol version of the sending application. If the
/// major protocol version of the receiving application does not match, the applications will not
/// be able to communicate".
const VERSION: u8 = 1;
/// The fields of a header that are read or written.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// A call of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The connection that is to answer.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface of the method.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments, in order.
    pub arguments: &'a [Argument<'a>],
}

/// A value in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// `s`.
    Text(&'a str),
    /// `u`.
    Number(u32),
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Someone calls.
    Call,
    /// The answer to a call.
    Return,
    /// The other answer.
    Error,
    /// News that nobody asked for, or a kind of a later version.
    Other,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its sender's number for it.
    pub serial: u32,
    /// The call that it answers.
    pub answers: Option<u32>,
    /// The connection that sent it, as the bus says.
    pub sender: Option<String>,
    /// The method that is called.
    pub member: Option<String>,
    /// The object that is called.
    pub path: Option<String>,
    /// The error's name.
    pub error: Option<String>,
    /// The types in its body.
    pub signature: String,
    little: bool,
    body: Vec<u8>,
}

impl Call<'_> {
    /// The message, under a number that is not zero.
    // D-Bus Specification, Message Format: "The serial of this message, used as a cookie by the
    // sender to identify the reply corresponding to this request. This must not be zero."
    pub fn to_bytes(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        let mut signature = String::new();
        for argument in self.arguments {
            match argument {
                Argument::Text(text) => {
                    signature.push('s');
                    body.text(text);
                }
                Argument::Number(number) => {
                    signature.push('u');
                    body.number(*number);
                }
            }
        }
        let fields: &[(u8, char, &str)] = &[
            (PATH, 'o', self.path),
            (INTERFACE, 's', self.interface),
            (MEMBER, 's', self.member),
            (DESTINATION, 's', self.destination),
        ];
        assemble((1, serial, None), fields, &signature, &body.0)
    }
}

/// The body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyText<'a> {
    /// `s`.
    Text(&'a str),
    /// `o`: the name of an object.
    Object(&'a str),
    /// `v` with `s` in it: a property.
    Variant(&'a str),
    /// An error of this name.
    Error(&'a str),
}

/// An answer to the call `answers` of the connection `to`.
pub fn reply(serial: u32, answers: u32, to: &str, body: BodyText<'_>) -> Vec<u8> {
    let mut written = Writer::default();
    let (kind, error, signature) = match body {
        BodyText::Text(text) => {
            written.text(text);
            (2, None, "s")
        }
        BodyText::Object(path) => {
            written.text(path);
            (2, None, "o")
        }
        BodyText::Variant(text) => {
            written.signature("s");
            written.text(text);
            (2, None, "v")
        }
        BodyText::Error(name) => (3, Some(name), ""),
    };
    let fields: Vec<_> = [(DESTINATION, 's', to)]
        .into_iter()
        .chain(error.map(|name| (ERROR_NAME, 's', name)))
        .collect();
    assemble((kind, serial, Some(answers)), &fields, signature, &written.0)
}

fn assemble(
    (kind, serial, answers): (u8, u32, Option<u32>),
    fields: &[(u8, char, &str)],
    signature: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut all = Writer::default();
    // D-Bus Specification, Message Format: "BYTE: Endianness flag; ASCII 'l' for little-endian or
    // ASCII 'B' for big-endian."
    for byte in [b'l', kind, 0, VERSION] {
        all.byte(byte);
    }
    all.number(u32::try_from(body.len()).unwrap_or(u32::MAX));
    all.number(serial);
    let length_at = all.0.len();
    all.number(0);
    let begin = all.0.len();
    for (code, kind, value) in fields {
        begin_field(&mut all, *code, *kind);
        all.text(value);
    }
    if let Some(answers) = answers {
        begin_field(&mut all, REPLY_SERIAL, 'u');
        all.number(answers);
    }
    if !signature.is_empty() {
        begin_field(&mut all, SIGNATURE, 'g');
        all.signature(signature);
    }
    let length = u32::try_from(all.0.len().saturating_sub(begin)).unwrap_or(u32::MAX);
    if let Some(place) = all.0.get_mut(length_at..length_at.saturating_add(4)) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    // D-Bus Specification, Message Format: "The length of the header must be a multiple of 8,
    // allowing the body to begin on an 8-byte boundary".
    all.align(8);
    all.0.extend(body);
    all.0
}

fn begin_field(all: &mut Writer, code: u8, kind: char) {
    // D-Bus Specification, Message Format: the header's last part is an "ARRAY of STRUCT of
    // (BYTE,VARIANT)", and Marshaling: "STRUCT and DICT_ENTRY values are always aligned to an
    // 8-byte boundary".
    all.align(8);
    all.byte(code);
    all.signature(kind.encode_utf8(&mut [0; 4]));
}

/// How long the message is that begins so, in bytes.
pub fn length_of(head: &[u8; HEAD_BYTES]) -> Result<usize, MessageError> {
    let little = order(head)?;
    let mut reader = Reader { bytes: head, at: 4, little };
    let (Some(body), Some(_), Some(fields)) = (reader.number(), reader.number(), reader.number())
    else {
        return Err(MessageError::Malformed);
    };
    let too_long = MessageError::TooLong { body, fields };
    let fields = usize::try_from(fields).ok().and_then(|n| n.checked_next_multiple_of(8));
    let length = fields.and_then(|fields| fields.checked_add(usize::try_from(body).ok()?));
    let length = length.and_then(|length| length.checked_add(HEAD_BYTES));
    length.filter(|length| *length <= MESSAGE_BYTES_MAX).ok_or(too_long)
}

fn order(bytes: &[u8]) -> Result<bool, MessageError> {
    match (bytes.first(), bytes.get(3)) {
        (Some(b'l'), Some(&VERSION)) => Ok(true),
        (Some(b'B'), Some(&VERSION)) => Ok(false),
        _ => Err(MessageError::Malformed),
    }
}

impl Message {
    /// Reads one whole message.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(MessageError::Malformed)?;
        if length_of(head)? != bytes.len() {
            return Err(MessageError::Malformed);
        }
        let little = order(bytes)?;
        let reader = Reader { bytes, at: 1, little };
        let message = Self::read(reader).ok_or(MessageError::Malformed)?;
        if message.serial == 0 { Err(MessageError::Malformed) } else { Ok(message) }
    }

    fn read(mut reader: Reader<'_>) -> Option<Self> {
        let kind = match reader.byte()? {
            // D-Bus Specification, Message Format: "INVALID 0: This is an invalid type."
            0 => return None,
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            // D-Bus Specification, Message Format: "Unknown types must be ignored."
            _ => Kind::Other,
        };
        reader.at = 4;
        let (body, serial) = (reader.number()?, reader.number()?);
        let fields = usize::try_from(reader.number()?).ok()?;
        let end = reader.at.checked_add(fields)?;
        let (little, signature, body_bytes) = (reader.little, String::new(), Vec::new());
        let mut message = Self {
            kind,
            serial,
            answers: None,
            sender: None,
            member: None,
            path: None,
            error: None,
            signature,
            little,
            body: body_bytes,
        };
        while reader.at < end {
            reader.align(8)?;
            message.field(&mut reader)?;
        }
        if reader.at != end {
            return None;
        }
        reader.align(8)?;
        message.body = reader.bytes.get(reader.at..)?.to_vec();
        (u32::try_from(message.body.len()).ok()? == body).then_some(message)
    }

    /// One field of the header; each stands once at most.
    fn field(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let code = reader.byte()?;
        let kind = <[u8; 1]>::try_from(reader.signature()?.as_bytes()).ok()?;
        let place = match (code, kind) {
            (PATH, [b'o']) => &mut self.path,
            (MEMBER, [b's']) => &mut self.member,
            (ERROR_NAME, [b's']) => &mut self.error,
            (SENDER, [b's']) => &mut self.sender,
            (REPLY_SERIAL, [b'u']) => {
                let first = self.answers.is_none();
                self.answers = Some(reader.number()?);
                return first.then_some(());
            }
            (SIGNATURE, [b'g']) => {
                let first = self.signature.is_empty();
                reader.signature()?.clone_into(&mut self.signature);
                return first.then_some(());
            }
            (INTERFACE | DESTINATION, [b's']) => return reader.text().map(|_| ()),
            // D-Bus Specification, Header Fields: "implementations must not send or accept known
            // header fields with the wrong type".
            (0..=SIGNATURE, _) => return None,
            // D-Bus Specification, Header Fields: "if an implementation sees a header field code
            // that it does not expect, it must ignore that field".
            (_, [kind]) => return reader.skip(kind),
        };
        let first = place.is_none();
        *place = Some(reader.text()?.to_owned());
        first.then_some(())
    }

    /// The first value of the body, if it is text, the name of an object, or a variant with one of
    /// these.
    pub fn text(&self) -> Option<&str> {
        let mut reader = Reader { bytes: &self.body, at: 0, little: self.little };
        match self.signature.as_bytes().first()? {
            b's' | b'o' => reader.text(),
            b'v' => match reader.signature()? {
                "s" | "o" => reader.text(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The first value of the body, if it is a number.
    pub fn number(&self) -> Option<u32> {
        let mut reader = Reader { bytes: &self.body, at: 0, little: self.little };
        (self.signature.as_bytes().first()? == &b'u').then(|| reader.number())?
    }
}

/// Bytes that are no message for us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over [`MESSAGE_BYTES_MAX`].
    #[error("a message with {fields} bytes of fields and {body} of body is too long")]
    TooLong {
        /// Of its body.
        body: u32,
        /// Of the fields of its header.
        fields: u32,
    },
    /// Not as the specification has it.
    #[error("the message does not read")]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Call<'static> {
        Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        }
    }

    /// Written by hand after the tables of the specification, not by this code.
    #[test]
    fn dbus_message_format_a_call_is_these_bytes() {
        let mut expect = b"l\x01\0\x01\0\0\0\0\x07\0\0\0\x6d\0\0\0".to_vec();
        expect.extend(b"\x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0");
        expect.extend(b"\x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0");
        expect.extend(b"\x03\x01s\0\x05\0\0\0Hello\0\0\0");
        expect.extend(b"\x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0");
        assert_eq!(hello().to_bytes(7), expect);
    }

    #[test]
    fn dbus_message_format_what_is_written_reads_back() {
        let arguments = [Argument::Number(7), Argument::Text("a")];
        let call = Call { arguments: &arguments, ..hello() };
        let read = Message::parse(&call.to_bytes(3)).unwrap();
        assert_eq!((read.kind, read.serial), (Kind::Call, 3));
        assert_eq!(read.member.as_deref(), Some("Hello"));
        assert_eq!(read.path.as_deref(), Some("/org/freedesktop/DBus"));
        assert_eq!((read.signature.as_str(), read.number(), read.text()), ("us", Some(7), None));
        let check = |body, kind, text: Option<&str>| {
            let read = Message::parse(&reply(2, 3, ":1.4", body)).unwrap();
            assert_eq!((read.kind, read.answers, read.text()), (kind, Some(3), text));
        };
        check(BodyText::Text("x"), Kind::Return, Some("x"));
        check(BodyText::Object("/a/b"), Kind::Return, Some("/a/b"));
        check(BodyText::Variant("nginx.service"), Kind::Return, Some("nginx.service"));
        check(BodyText::Error("a.b"), Kind::Error, None);
    }

    #[test]
    fn dbus_message_format_the_other_order_of_bytes_is_read() {
        let mut big = b"B\x02\0\x01\0\0\0\x07\0\0\0\x01\0\0\0\x0f\x05\x01u\0\0\0\0\x09".to_vec();
        big.extend(b"\x08\x01g\0\x01s\0\0\0\0\0\x02hi\0");
        let read = Message::parse(&big).unwrap();
        assert_eq!((read.answers, read.text()), (Some(9), Some("hi")));
    }

    #[test]
    fn dbus_message_format_a_message_that_is_not_whole_is_refused() {
        let whole = reply(2, 3, ":1.4", BodyText::Text("x"));
        for length in 0..whole.len() {
            assert_eq!(Message::parse(&whole[..length]), Err(MessageError::Malformed), "{length}");
        }
        let longer = [whole.clone(), vec![0]].concat();
        assert_eq!(Message::parse(&longer), Err(MessageError::Malformed));
        let check = |at: usize, byte: u8| {
            let mut wrong = whole.clone();
            wrong[at] = byte;
            assert!(Message::parse(&wrong).is_err(), "{at}");
        };
        check(0, b'x');
        check(1, 0);
        check(3, 2);
        check(8, 0);
        // A string as the serial of a reply; a field of the invalid code; padding that is not nul.
        let of_reply = whole.iter().rposition(|byte| *byte == b'u').unwrap();
        check(of_reply, b's');
        check(of_reply - 2, 0);
        check(30, 1);
        let mut twice = Writer(whole[..16].to_vec());
        for _ in 0..2 {
            begin_field(&mut twice, REPLY_SERIAL, 'u');
            twice.number(3);
        }
        twice.0[4..8].fill(0);
        twice.0[12..16].copy_from_slice(&16_u32.to_le_bytes());
        assert_eq!(Message::parse(&twice.0), Err(MessageError::Malformed));
    }

    #[test]
    fn dbus_message_format_lengths_are_bounded() {
        let mut head = *b"l\x02\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0";
        assert_eq!(length_of(&head), Ok(HEAD_BYTES));
        head[12] = 1;
        assert_eq!(length_of(&head), Ok(HEAD_BYTES + 8));
        head[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        head[12..].copy_from_slice(&u32::MAX.to_le_bytes());
        let too_long = MessageError::TooLong { body: u32::MAX, fields: u32::MAX };
        assert_eq!(length_of(&head), Err(too_long));
    }

    proptest::proptest! {
        #[test]
        fn dbus_message_format_any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            if let Ok(message) = Message::parse(&bytes) {
                let _ = (message.text(), message.number());
            }
        }
    }
}

//! SPIRE's API as its bytes: messages are written and read by the numbers of their fields, with
//! nothing that the server is made of.

use std::sync::Arc;

use http::{Request, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::sign::CertifiedKey;
use rustls::version;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::body::Body;
use x509::Certificate;

use crate::raw::{config, handshake};

/// A field whose contents have a length: text, bytes, a message. One that is empty is left out.
pub(crate) fn bytes(number: u64, contents: impl AsRef<[u8]>) -> Vec<u8> {
    let contents = contents.as_ref();
    let length = u64::try_from(contents.len()).unwrap();
    [varint(number << 3 | 2), varint(length), contents.to_vec()].concat()
}

/// A field that is a number.
pub(crate) fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut written = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            written.push(low);
            return written;
        }
        written.push(low | 0x80);
    }
}

/// A message as its fields, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message(Vec<(u64, Value)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Message {
    pub(crate) fn read(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = read_varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(read_varint(&mut bytes)),
                2 => {
                    let length = usize::try_from(read_varint(&mut bytes)).unwrap();
                    let (contents, rest) = bytes.split_at(length);
                    bytes = rest;
                    Value::Bytes(contents.to_vec())
                }
                kind => panic!("a field of the kind {kind}"),
            };
            fields.push((key >> 3, value));
        }
        Self(fields)
    }

    /// All fields of that number that have a length.
    pub(crate) fn all(&self, number: u64) -> Vec<Vec<u8>> {
        let of = |(found, value): &(u64, Value)| match value {
            Value::Bytes(bytes) if *found == number => Some(bytes.clone()),
            _ => None,
        };
        self.0.iter().filter_map(of).collect()
    }

    pub(crate) fn bytes(&self, number: u64) -> Vec<u8> {
        self.all(number).pop().unwrap_or_default()
    }

    pub(crate) fn text(&self, number: u64) -> String {
        String::from_utf8(self.bytes(number)).unwrap()
    }

    pub(crate) fn message(&self, number: u64) -> Self {
        Self::read(&self.bytes(number))
    }

    pub(crate) fn messages(&self, number: u64) -> Vec<Self> {
        self.all(number).iter().map(|bytes| Self::read(bytes)).collect()
    }

    pub(crate) fn number(&self, number: u64) -> u64 {
        let of = |(found, value): &(u64, Value)| match value {
            Value::Number(value) if *found == number => Some(*value),
            _ => None,
        };
        self.0.iter().find_map(of).unwrap_or_default()
    }

    /// The numbers of the fields that are there.
    pub(crate) fn fields(&self) -> Vec<u64> {
        let mut fields: Vec<_> = self.0.iter().map(|(number, _)| *number).collect();
        fields.dedup();
        fields
    }
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits");
}

/// A connection to the server.
#[derive(Clone)]
pub(crate) struct Frames {
    sender: SendRequest<Body>,
    /// The certificates that the server showed, leaf first.
    pub(crate) server: Vec<Certificate>,
}

impl Frames {
    pub(crate) async fn open(address: &str, own: Option<CertifiedKey>) -> Self {
        let tls = handshake(address, Arc::new(config(own, &version::TLS13))).await.unwrap();
        let (_, session) = tls.get_ref();
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        let shown = session.peer_certificates().unwrap().iter();
        let server = shown.map(|der| Certificate::parse(der).unwrap()).collect();
        let (sender, connection) =
            Builder::new(TokioExecutor::new()).handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, server }
    }

    /// Begins a call.
    pub(crate) async fn begin(&self, path: &str) -> Call {
        let (said, body) = mpsc::unbounded_channel::<Result<Frame<Bytes>, Status>>();
        let body = Body::new(StreamBody::new(UnboundedReceiverStream::new(body)));
        let request = Request::post(format!("https://127.0.0.1/{path}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let mut sender = self.sender.clone();
        let answer = tokio::spawn(async move { sender.send_request(request).await.unwrap() });
        Call { said: Some(said), answer: Answer::Awaited(answer), buffer: Vec::new() }
    }

    /// One message there, one back, or the status.
    pub(crate) async fn call(&self, path: &str, message: Vec<u8>) -> Result<Message, Status> {
        let mut call = self.begin(path).await;
        call.say(&message);
        call.end();
        let answer = call.next().await?.expect("an answer");
        assert_eq!(call.next().await?, None);
        Ok(answer)
    }
}

enum Answer {
    Awaited(tokio::task::JoinHandle<http::Response<Incoming>>),
    Begun(Incoming),
}

/// A call under way.
pub(crate) struct Call {
    said: Option<mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>>,
    answer: Answer,
    buffer: Vec<u8>,
}

impl Call {
    /// gRPC over HTTP2: "Length-Prefixed-Message → Compressed-Flag Message-Length Message".
    pub(crate) fn say(&self, message: &[u8]) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let framed = [&[0], length.as_slice(), message].concat();
        let _ = self.said.as_ref().unwrap().send(Ok(Frame::data(Bytes::from(framed))));
    }

    pub(crate) fn end(&mut self) {
        self.said = None;
    }

    /// The next message; `None` at a good end.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Status> {
        if let Answer::Awaited(answer) = &mut self.answer {
            let answer = answer.await.unwrap();
            if let Some(status) = Status::from_header_map(answer.headers()) {
                return Err(status);
            }
            self.answer = Answer::Begun(answer.into_body());
        }
        let Answer::Begun(body) = &mut self.answer else { unreachable!() };
        loop {
            if let Some((prefix, rest)) = self.buffer.split_at_checked(5) {
                let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
                if let Some((message, _)) = rest.split_at_checked(usize::try_from(length).unwrap())
                {
                    assert_eq!(prefix[0], 0, "not compressed");
                    let (message, used) = (Message::read(message), 5 + message.len());
                    self.buffer.drain(..used);
                    return Ok(Some(message));
                }
            }
            let frame = body.frame().await.expect("a status at the end").unwrap();
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    let status = Status::from_header_map(&trailers).unwrap();
                    return if status.code() == tonic::Code::Ok { Ok(None) } else { Err(status) };
                }
            }
        }
    }
}

//! What clients write into `:authority`, byte by byte as they send it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::world::{World, soon};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// The fields of a call of `FetchX509Bundles`, with incremental indexing.
fn fields(authority: &str) -> Vec<u8> {
    let path = text("/SpiffeWorkloadAPI/FetchX509Bundles");
    let mut block = [&[0x83, 0x86, 0x44][..], &path, &[0x41], &text(authority)].concat();
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers"), ("workload.spiffe.io", "true")]
    {
        block.extend([&[0x40][..], &text(name), &text(value)].concat());
    }
    block
}

/// The first frame other than that of settings and the like that comes for `stream`.
async fn answer(connection: &mut UnixStream, stream: u8) -> u8 {
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        connection.read_exact(&mut payload).await.unwrap();
        if head[8] == stream && matches!(head[3], DATA | HEADERS | RESET) {
            return head[3];
        }
    }
}

/// C core percent-encodes the path of the socket, Java and older cores write it as it is; and the
/// second call of a connection names the first one's fields by their index.
///
/// req: PROV-08 (part)
#[tokio::test]
async fn whatever_stands_for_the_host_a_call_is_answered() {
    let world = World::new();
    let socket = world.socket();
    let socket = socket.to_str().unwrap();
    let encoded = socket.replace('/', "%2F");
    for authority in ["localhost", socket, &encoded, &format!("unix:{socket}"), "a b"] {
        let mut connection = UnixStream::connect(socket).await.unwrap();
        let first = fields(authority);
        // The dynamic table now holds the four last names and values, the newest first.
        let second = [0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
        let second = if authority == "a b" { fields("%2Fother") } else { second.to_vec() };
        let calls = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &first),
            frame(DATA, END_STREAM, 1, &[0; 5]),
            frame(HEADERS, END_HEADERS, 3, &second),
            frame(DATA, END_STREAM, 3, &[0; 5]),
        ];
        connection.write_all(&calls.concat()).await.unwrap();
        assert_eq!(soon(answer(&mut connection, 1)).await, HEADERS, "{authority}");
        assert_eq!(soon(answer(&mut connection, 3)).await, HEADERS, "{authority}, again");
    }
}

//! How much is taken from a process, and what one does to another.

use std::pin::{Pin, pin};

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio_stream::Stream;
use tonic::Code;
use workload::client::{CallError, Client};
use workload::listener::PROCESS_CONNECTIONS_MAX;
use workload::server::PROCESS_CALLS_MAX;
use workload::{REQUEST_BYTES_MAX, SecretText, X509Answer};

use crate::world::{World, first, next, soon};

type Answers = Pin<Box<dyn Stream<Item = Result<X509Answer, CallError>>>>;

async fn open(client: &Client) -> Answers {
    let mut answers: Answers = Box::pin(soon(client.x509()).await.unwrap());
    assert!(next(&mut answers).await.unwrap().is_ok());
    answers
}

#[tokio::test]
async fn the_calls_of_a_process_are_bounded() {
    let world = World::new();
    let (client, another) = (world.client().await, world.client().await);
    let mut open_calls = Vec::new();
    for _ in 0..PROCESS_CALLS_MAX {
        open_calls.push(open(&client).await);
    }
    let shed = CallError::Unavailable { message: "too many calls at once".to_owned() };
    assert_eq!(first(another.x509().await).await.err(), Some(shed.clone()));
    assert_eq!(another.jwt(&["a"], None).await.err(), Some(shed));
    open_calls.pop();
    soon(async {
        while another.jwt(&["a"], None).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.withdraw();
    for answers in &mut open_calls {
        assert!(next(answers).await.unwrap().is_err());
    }
    world.change(|now| now.denied = None);
    assert!(first(another.x509().await).await.is_ok(), "a stream that ended gives its place back");
}

#[tokio::test]
async fn the_connections_of_a_process_are_bounded() {
    let world = World::new();
    let mut held = Vec::new();
    for _ in 0..PROCESS_CONNECTIONS_MAX {
        let client = world.client().await;
        assert!(client.jwt(&["a"], None).await.is_ok());
        held.push(client);
    }
    let mut refused = UnixStream::connect(world.socket()).await.unwrap();
    assert_eq!(soon(refused.read(&mut [0; 64])).await.unwrap(), 0, "closed without a word");
    held.pop();
    soon(async {
        let mut byte = [0; 1];
        while UnixStream::connect(world.socket()).await.unwrap().read(&mut byte).await.unwrap() == 0
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_is_bounded() {
    let world = World::new();
    let client = world.client().await;
    let check = async |bytes: usize, expect: Code| {
        let token = SecretText::new("a".repeat(bytes));
        let found = client.validate_jwt("a", &token).await.err();
        let found = match found {
            Some(CallError::Invalid { .. }) => Some(Code::InvalidArgument as i32),
            Some(CallError::Failed { code, .. }) => Some(code),
            _ => None,
        };
        assert_eq!(found, Some(expect as i32), "{bytes}");
    };
    // Three bytes of the audience, and four that say how long the token is.
    check(REQUEST_BYTES_MAX - 7, Code::InvalidArgument).await;
    check(REQUEST_BYTES_MAX - 6, Code::OutOfRange).await;
}

/// req: PROV-08 (part)
#[tokio::test]
async fn a_slow_reader_holds_back_nobody_but_itself() {
    const CHANGES: usize = 60;
    const BYTES: usize = 256 * 1024;
    let world = World::new();
    let (slow, quick) = (world.client().await, world.client().await);
    world.change(|now| now.bytes = BYTES);
    let mut never_read = pin!(slow.x509().await.unwrap());
    let mut read = pin!(quick.x509().await.unwrap());
    assert!(next(&mut read).await.unwrap().is_ok());
    for at in 0..CHANGES {
        let generation = u8::try_from(at + 2).unwrap();
        world.change(|now| now.generation = generation);
        let answer = next(&mut read).await.unwrap().unwrap();
        assert_eq!(answer.svids[0].chain[0], generation);
    }
    // The quick one got each; of the slow one's only what fits its window was ever made.
    let for_the_slow_one = world.made() - CHANGES - 1;
    assert!(for_the_slow_one < CHANGES / 2, "{for_the_slow_one}");
    let mut last = 0;
    while last != u8::try_from(CHANGES + 1).unwrap() {
        last = next(&mut never_read).await.unwrap().unwrap().svids[0].chain[0];
    }
}

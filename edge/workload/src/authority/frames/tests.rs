use super::{BLOCK_BYTES_MAX, Frames, PREFACE};

const END: u8 = 0x4;
/// `:authority` by static index, `%2Fa`; and as it goes on.
const PATH: &[u8] = b"\x41\x04%2Fa";
const LETTERS: &[u8] = b"\x41\x04xxxx";

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frames.concat()].concat()
}

/// What comes out when it goes in `at_once` bytes a time; not ended.
fn passed(bytes: &[u8], at_once: usize) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::default(), Vec::new());
    for part in bytes.chunks(at_once) {
        frames.take(part, &mut out);
    }
    out
}

fn assert_passes(sent: &[Vec<u8>], received: &[Vec<u8>]) {
    for at_once in [1, 2, 7, 64, usize::MAX] {
        let out = passed(&connection(sent), at_once.min(1 << 20));
        assert_eq!(out, connection(received), "{at_once} at once");
    }
}

#[test]
fn every_request_of_a_connection_gets_an_authority() {
    let settings = frame(4, 0, 0, &[0; 6]);
    let acknowledged = frame(4, 1, 0, &[]);
    let data = frame(0, 1, 1, b"\x41\x04%2Fa and more");
    let sent = [1, 3].map(|stream| frame(1, END, stream, PATH));
    let received = [1, 3].map(|stream| frame(1, END, stream, LETTERS));
    let [first, second] = sent;
    let [letters, letters_again] = received;
    assert_passes(
        &[settings.clone(), first, acknowledged.clone(), data.clone(), second, data.clone()],
        &[settings, letters, acknowledged, data.clone(), letters_again, data],
    );
}

#[test]
fn a_block_in_parts_is_read_as_one() {
    let parts = [
        frame(1, 1, 5, &PATH[..1]),
        frame(9, 0, 5, &[]),
        frame(9, 0, 5, &PATH[1..3]),
        frame(9, END, 5, &PATH[3..]),
    ];
    // END_STREAM (1) stays.
    assert_passes(&parts, &[frame(1, 1 | END, 5, LETTERS)]);
    let host = [frame(1, 0, 5, b"\x41\x02"), frame(9, END, 5, b"ab")];
    assert_passes(&host, &host);
}

#[test]
fn priority_stays_and_padding_goes() {
    let fields = [0, 0, 0, 9, 16];
    let sent = [&[3][..], &fields, PATH, &[0, 0, 0]].concat();
    let received = [&fields[..], LETTERS].concat();
    assert_passes(&[frame(1, END | 0x28, 1, &sent)], &[frame(1, END | 0x20, 1, &received)]);
}

#[test]
fn a_block_that_grows_beyond_a_frame_goes_on_in_two() {
    // 20,000 letters in Huffman code take 12,500 bytes or so, and more than a frame as they are.
    let zeros = 16_000; // five bits each
    let bytes = zeros * 5 / 8;
    let mut value = vec![0x41, 0xff, u8::try_from((bytes + 1 - 127) & 0x7f).unwrap() | 0x80];
    value.push(u8::try_from((bytes + 1 - 127) >> 7).unwrap());
    value.resize(value.len() + bytes, 0);
    // "%" is 010101, then padding: no authority ends so.
    value.push(0b0101_0111);
    let mut more = vec![0x00, 1, b'n', 0x7f, 0x81, 0x06];
    more.resize(more.len() + 127 + 0x81 - 0x80 + (6 << 7), b'v');
    let out = passed(&connection(&[frame(1, END, 1, &[value, more.clone()].concat())]), 1 << 20);
    let mut whole = vec![0x41, 0x7f];
    let rest: usize = zeros + 1 - 127;
    whole.extend([u8::try_from(rest & 0x7f).unwrap() | 0x80, u8::try_from(rest >> 7).unwrap()]);
    whole.resize(whole.len() + zeros + 1, b'x');
    whole.extend(more);
    let (first, second) = whole.split_at(16 * 1024);
    assert_eq!(out, connection(&[frame(1, 0, 1, first), frame(9, END, 1, second)]));
}

#[test]
fn what_is_not_http2_passes_as_it_is() {
    let tail = frame(1, END, 1, PATH);
    for (what, odd) in [
        ("a frame that is too large", frame(0, 0, 1, &vec![0; 16 * 1024 + 1])),
        ("padding longer than the frame", frame(1, END | 0x8, 1, &[9, 0x41])),
        ("no room for a priority", frame(1, END | 0x20, 1, &[0; 4])),
        ("something else within a block", [frame(1, 0, 1, PATH), frame(0, 0, 1, &[])].concat()),
        ("the block of another stream", [frame(1, 0, 1, PATH), frame(9, END, 3, &[])].concat()),
    ] {
        let sent = connection(&[odd, tail.clone()]);
        for at_once in [1, 1 << 20] {
            assert_eq!(passed(&sent, at_once), sent, "{what}");
        }
    }
}

#[test]
fn a_continuation_without_a_block_is_passed_and_the_next_request_read() {
    let stray = frame(9, END, 1, PATH);
    assert_passes(&[stray.clone(), frame(1, END, 1, PATH)], &[stray, frame(1, END, 1, LETTERS)]);
}

#[test]
fn no_more_is_held_than_the_bound() {
    for part in [vec![], vec![0; 1000]] {
        let mut sent = connection(&[frame(1, 0, 1, &[])]);
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        frames.take(&sent, &mut out);
        let parts = BLOCK_BYTES_MAX / (9 + part.len()) + 1;
        for _ in 0..parts {
            let one = frame(9, 0, 1, &part);
            assert!(frames.held.len() <= BLOCK_BYTES_MAX + 9);
            frames.take(&one, &mut out);
            sent.extend(one);
        }
        assert_eq!(out, sent, "nothing is held any more");
    }
}

#[test]
fn what_was_held_back_is_not_lost_at_the_end() {
    let sent = connection(&[frame(1, 0, 1, PATH)]);
    for end in 0..sent.len() {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        frames.take(&sent[..end], &mut out);
        frames.end(&mut out);
        assert_eq!(out, sent[..end]);
    }
}

//! `spec` and `stack` take bytes, facts, `now` and random values and return a value or a refusal:
//! their code must not even mention the world.

use crate::Finding;
use crate::has_word;
use crate::source::{Line, Source};

/// What must not occur, and what to do instead.
const WORLD: &[(&str, &str)] = &[
    ("SystemTime::now", "take `now: UnixTime` as an argument"),
    ("SystemTime", "take `now: UnixTime` as an argument"),
    ("Instant::now", "take `now: UnixTime` as an argument"),
    ("tokio", "return the decision; `flow` awaits"),
    ("async fn", "return the decision; `flow` awaits"),
    ("async move", "return the decision; `flow` awaits"),
    ("std::fs", "take the bytes; `edge` reads the file"),
    ("std::net", "take facts; of `std::net` only addresses are values"),
    ("std::env", "take the setting as an argument"),
    ("std::process", "return a refusal"),
    ("std::thread", "stay sequential; `edge` owns the threads"),
    ("println!", "return it; `edge` and `bin` speak"),
    ("eprintln!", "return it; `edge` and `bin` speak"),
    ("print!", "return it; `edge` and `bin` speak"),
    ("dbg!", "return it; `edge` and `bin` speak"),
    ("rand", "take random bytes as an argument"),
    ("SystemRandom", "take random bytes as an argument"),
    ("tracing", "put the evidence into the error; `edge` logs it"),
];

/// Children of `std` that must not be imported in a group either: `use std::{env, fmt}`.
const STD: &[&str] = &["fs", "net", "env", "process", "thread"];

/// A word that one file may hold, and why. The list may only shrink.
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "spec/jose/src/private_key.rs",
        "rand",
        "aws-lc draws the nonce of a signature itself, and its interface wants a generator named",
    ),
    ("spec/jose/src/private_key.rs", "SystemRandom", "that generator"),
];

/// Exceptions that nothing uses any more, given the pure files.
pub fn check_exceptions<'a>(files: impl Iterator<Item = &'a Source>) -> Vec<Finding> {
    let mut left: Vec<_> = EXCEPTIONS.to_vec();
    for source in files {
        let used = |word: &str| source.product().any(|line| has_word(line.code, word));
        left.retain(|(path, word, _)| *path != source.path || !used(word));
    }
    let stale = left.into_iter().map(|(path, word, _)| {
        let what = format!("the exception `{word}` of `{path}` is not used");
        Finding::at("law/src/purity.rs", 0, what, "delete it")
    });
    stale.collect()
}

fn is_excepted(path: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(file, excepted, _)| *file == path && *excepted == word)
}

/// What `std::net` has that is a value.
const ADDRESSES: &[&str] = &[
    "AddrParseError",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
];

/// Checks a file of a pure crate, outside its tests.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in source.product() {
        for (form, fix) in WORLD {
            let address = *form == "std::net" && names_addresses(line.code);
            if has_word(line.code, form) && !address && !is_excepted(&source.path, form) {
                findings.push(at(source, line, form, fix));
                break;
            }
        }
        if let Some((_, group)) = line.code.split_once("use std::{") {
            for child in STD.iter().filter(|child| has_word(group, child)) {
                findings.push(at(source, line, &format!("std::{child}"), "take it as an argument"));
            }
        }
    }
    findings
}

/// Whether all that a line takes from `std::net` are addresses: values, and no sockets.
fn names_addresses(code: &str) -> bool {
    code.split("std::net").skip(1).all(|rest| {
        let Some(rest) = rest.strip_prefix("::") else { return false };
        let group = rest.strip_prefix('{').map(|group| group.split_once('}'));
        let names = match group {
            Some(Some((names, _))) => names,
            Some(None) => return false,
            None => rest.split(|c| !crate::is_word(c)).next().unwrap_or_default(),
        };
        names.split(',').all(|name| ADDRESSES.contains(&name.trim()))
    })
}

fn at(source: &Source, line: Line<'_>, form: &str, fix: &str) -> Finding {
    Finding::at(&source.path, line.number, format!("pure code mentions `{form}`"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_to_the_world_is_seen() {
        for text in [
            "let now = SystemTime::now();",
            "use std::time::SystemTime;",
            "let now = Instant::now();",
            "use tokio::sync::Mutex;",
            "pub async fn a() {}",
            "use std::fs;",
            "use std::net::TcpStream;",
            "use std::net;",
            "use std::net::{IpAddr, TcpStream};",
            "use std::net::{",
            "let a = std::net::IpAddr::V4(x); let b = std::net::UdpSocket::bind(y);",
            "use std::{env, fmt};",
            "let a = std::env::var(\"A\");",
            "println!(\"a\");",
            "use aws_lc_rs::rand::fill;",
            "tracing::info!(\"a\");",
        ] {
            assert_eq!(check(&Source::new("spec/a/src/lib.rs", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn an_exception_holds_for_its_file_and_dies_with_its_use() {
        let (path, word, _) = EXCEPTIONS[0];
        let text = format!("use {word};\n");
        assert_eq!(check(&Source::new(path, &text)), []);
        assert_eq!(check(&Source::new("spec/a/src/lib.rs", &text)).len(), 1);
        let files = [Source::new(path, &text)];
        assert_eq!(check_exceptions(files.iter()).len(), EXCEPTIONS.len() - 1);
        assert_eq!(check_exceptions([].iter()).len(), EXCEPTIONS.len());
    }

    #[test]
    fn words_comments_literals_and_tests_are_not_the_world() {
        for text in [
            "let brand = strand;",
            "// no tokio here",
            "let a = \"tracing\";",
            "use core::net::IpAddr;",
            "use std::net::{IpAddr, Ipv4Addr};",
            "fn a(b: std::net::SocketAddr) -> bool {",
            "use std::{collections::BTreeMap, fmt};",
            "#[cfg(test)]\nmod tests { use std::fs; }",
        ] {
            assert_eq!(check(&Source::new("spec/a/src/lib.rs", text)), [], "{text}");
        }
    }
}

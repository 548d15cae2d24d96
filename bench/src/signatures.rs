//! Signatures alone, by the library that the product signs with: what ratios are of.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey,
};

use crate::load::{ROUNDS, Watch, cores, count, median};
use crate::table::{Measurement, Row};
use crate::{Failure, Measured};

/// How long one look at them takes.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes that are signed: what a token has.
const MESSAGE_BYTES: usize = 600;

/// Which signatures one request costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    /// How many are verified.
    pub(crate) verified: usize,
    /// How many are made.
    pub(crate) made: usize,
}

impl std::fmt::Display for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} verified and {} made", self.verified, self.made)
    }
}

/// A P-256 key and a signature by it.
struct Key {
    pair: EcdsaKeyPair,
    public: ParsedPublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
    random: SystemRandom,
}

impl Key {
    fn new() -> Result<Self, Failure> {
        let (random, signing) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pair = EcdsaKeyPair::generate(signing).map_err(|_| "no key")?;
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        let public = public.map_err(|_| "no public key")?;
        let message = vec![b'x'; MESSAGE_BYTES];
        let signature = pair.sign(&random, &message).map_err(|_| "no signature")?;
        Ok(Self { pair, public, signature: signature.as_ref().to_vec(), message, random })
    }

    fn run(&self, set: Set) -> bool {
        let verify = || self.public.verify_sig(black_box(&self.message), &self.signature).is_ok();
        let sign = || black_box(self.pair.sign(&self.random, black_box(&self.message))).is_ok();
        (0..set.verified).all(|_| verify()) && (0..set.made).all(|_| sign())
    }
}

/// What sets of signatures cost and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone {
    /// How many sets a second all cores together do.
    pub(crate) rate: f64,
    /// Processor time of a set, in microseconds.
    pub(crate) cpu: f64,
}

/// Makes sets on all cores.
pub(crate) fn alone(set: Set) -> Result<Alone, Failure> {
    let keys = (0..cores()).map(|_| Key::new()).collect::<Result<Vec<_>, _>>()?;
    let (watch, begun) = (Watch::start(), Instant::now());
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = keys
            .iter()
            .map(|key| {
                scope.spawn(move || {
                    let mut done = 0_usize;
                    while begun.elapsed() < LOOK && key.run(set) {
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    let load = watch.stop(vec![Duration::ZERO; done]);
    Ok(Alone { rate: load.rate(), cpu: load.cpu_each() })
}

/// Processor time of a set, in microseconds.
pub(crate) fn cost(set: Set) -> Result<f64, Failure> {
    alone(set).map(|alone| alone.cpu)
}

/// One signature of each kind.
pub(crate) fn measure() -> Measured {
    let mut rows = Vec::new();
    for (of, set) in [
        ("ES256 signatures made, a second and core", Set { verified: 0, made: 1 }),
        ("ES256 signatures verified, a second and core", Set { verified: 1, made: 0 }),
    ] {
        let seen = (0..ROUNDS).map(|_| alone(set)).collect::<Result<Vec<_>, _>>()?;
        let rate = median(seen.iter().map(|one| one.rate).collect());
        rows.push(Row::of(of, rate / count(cores()), "/s"));
        let cpu = median(seen.iter().map(|one| one.cpu).collect());
        rows.push(Row::of("processor time of one", cpu, "us"));
    }
    let how = format!(
        "aws-lc-rs, {MESSAGE_BYTES} bytes, one thread on each of {} cores for {LOOK:?}, median of \
         {ROUNDS}",
        cores()
    );
    Ok(vec![Measurement { what: "signatures alone".to_owned(), how, rows }])
}

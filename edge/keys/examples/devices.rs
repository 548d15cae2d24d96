//! How many signatures a key store gives a second. It makes one key, and destroys it:
//! `cargo run --release -p keys --example devices -- STORE`, where STORE is `disk`,
//! `pkcs11 MODULE TOKEN PIN_FILE` or `tpm ADDRESS`; before it may stand an algorithm, as `RS256`.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use env::{Keys, Purpose};
use jose::Algorithm;
use keys::{Address, Devices, Disk, KeyStore, Place, Token, TpmPlace};

/// How long each row is measured.
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let named = words.first().and_then(|word| Algorithm::parse(word));
    if named.is_some() {
        words.remove(0);
    }
    let algorithm = named.unwrap_or(Algorithm::Es256);
    let purpose = Purpose::for_clients(algorithm).ok_or("none that signs for clients")?;
    let place = match words.as_slice() {
        ["disk"] => Place::Disk,
        ["pkcs11", module, label, pin] => Place::Pkcs11(Token {
            module: PathBuf::from(module),
            label: (*label).to_owned(),
            pin_file: PathBuf::from(pin),
        }),
        ["tpm", address] => {
            Place::Tpm(TpmPlace { address: Address::parse(address)?, owner_auth: None })
        }
        _ => return Err("which store? disk, pkcs11 MODULE TOKEN PIN_FILE, or tpm ADDRESS".into()),
    };
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("keys");
    let disk = Disk::open(&folder, None)?;
    let opened = KeyStore::open(disk, &place, &Devices::default(), "example", &folder).await;
    let store = Arc::new(opened?);
    let begun = Instant::now();
    let (handle, _) = store.generate(purpose, algorithm).await?;
    println!("one key: {:?}", begun.elapsed());
    for askers in [1_u32, 2, 4, 16, 64] {
        let begun = Instant::now();
        let asking = (0..askers).map(|_| {
            let (store, handle) = (Arc::clone(&store), handle.clone());
            tokio::spawn(async move {
                let mut signed = 0_u32;
                while begun.elapsed() < TIME {
                    store.sign(&handle, b"message").await?;
                    signed += 1;
                }
                Ok::<_, env::KeyFault>(signed)
            })
        });
        let mut signed = 0;
        for one in asking.collect::<Vec<_>>() {
            signed += one.await??;
        }
        let rate = f64::from(signed) / begun.elapsed().as_secs_f64();
        println!("{askers:>2} at once: {rate:.0} signatures a second");
    }
    store.destroy(&handle).await?;
    Ok(())
}

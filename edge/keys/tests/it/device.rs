//! Keys in devices: a token of SoftHSM 2, which does by PKCS #11 what an HSM does, and a TPM of
//! swtpm. A test that misses its peer says so; with `CI=true` it fails.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use env::{CannotMake, Handle, KeyFault, Keys, Purpose};
use jose::{Algorithm, PublicKey};
use keys::{Address, Devices, Disk, KeyStore, Place, Token, TpmPlace};
use tempfile::TempDir;

const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const PIN: &str = "peer-pin-1";
const CHILD: &str = "AIMS_TEST_DEVICE";

/// A folder with a token or a TPM, and the keys of a component beside it.
struct Site {
    dir: PathBuf,
    module: PathBuf,
}

/// Runs the test `name` again in a process whose environment names a SoftHSM of its own: SoftHSM
/// reads that once. `None` in the first process, when the second one has done it all.
fn with_token(name: &str) -> Option<Site> {
    let module = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    let Some(module) = module else {
        not_tested("SoftHSM 2 is missing: tests/peers/install.sh --system");
        return None;
    };
    if let Some(dir) = std::env::var_os(CHILD) {
        return Some(Site { dir: PathBuf::from(dir), module });
    }
    let folder = TempDir::new().unwrap();
    let (dir, conf) = (folder.path(), folder.path().join("softhsm2.conf"));
    fs::create_dir(dir.join("tokens")).unwrap();
    let settings = format!("directories.tokendir = {}/tokens\nlog.level = ERROR\n", dir.display());
    fs::write(&conf, settings).unwrap();
    secret(&dir.join("pin"), PIN);
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "peer", "--so-pin", "so-pin-1", "--pin", PIN])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("device::{name}"), "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", &conf)
        .env(CHILD, dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{child:?}");
    None
}

fn not_tested(why: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "CI must be able to run this test: {why}");
    std::io::stderr().write_all(format!("NOT TESTED: {why}\n").as_bytes()).unwrap();
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Site {
    fn token(&self) -> Token {
        let (module, pin_file) = (self.module.clone(), self.dir.join("pin"));
        Token { module, label: "peer".to_owned(), pin_file }
    }

    async fn open(&self, owner: &str) -> KeyStore {
        open(&self.dir, &Place::Pkcs11(self.token()), &Devices::default(), owner).await.unwrap()
    }
}

async fn open(
    dir: &Path,
    place: &Place,
    devices: &Devices,
    owner: &str,
) -> Result<KeyStore, keys::DeviceError> {
    let folder = dir.join(format!("keys-{}", owner.replace('/', "-")));
    let disk = Disk::open(&folder, None).unwrap();
    KeyStore::open(disk, place, devices, owner, &folder).await
}

/// Signs and verifies, in both ways to sign.
async fn signs(store: &KeyStore, handle: &Handle, key: &PublicKey, algorithm: Algorithm) {
    let signature = store.sign(handle, b"message").await.unwrap();
    key.verify(algorithm, b"message", signature.as_bytes()).unwrap();
    let now = store.sign_now(handle, b"message").unwrap();
    key.verify(algorithm, b"message", now.as_bytes()).unwrap();
    assert_eq!(store.export(handle).err(), Some(KeyFault::NotExportable(handle.clone())));
    assert_eq!(store.public(handle).unwrap().thumbprint(), key.thumbprint());
}

/// A key that nobody needs to start is made in the device or not at all, and it is said before.
async fn not_made(store: &KeyStore, purpose: Purpose, place: &'static str) {
    let algorithm = purpose.algorithm();
    let cannot = CannotMake { store: place, algorithm };
    assert_eq!(store.makes(purpose, algorithm), Err(cannot));
    let before = store.count();
    let refused = store.generate(purpose, algorithm).await.unwrap_err();
    let said = format!("this server's key store (`{place}`) makes no {algorithm} keys");
    assert!(refused.to_string().contains(&said), "{refused}");
    assert_eq!(store.count(), before);
}

/// No file below `dir` has the bytes.
fn nowhere(dir: &Path, ending: &str) -> bool {
    fs::read_dir(dir).unwrap().all(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            nowhere(&path, ending)
        } else {
            !path.to_string_lossy().ends_with(ending)
        }
    })
}

/// req: CRED-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_keys_live_in_a_token_and_end_there() {
    let Some(site) = with_token("s6_keys_live_in_a_token_and_end_there") else { return };
    let store = site.open("demo.example/server").await;
    let mut made = Vec::new();
    for (purpose, algorithm) in [
        (Purpose::X509Authority, Algorithm::Es256),
        (Purpose::Wit, Algorithm::Es256),
        (Purpose::Agent, Algorithm::Es256),
        (Purpose::Log, Algorithm::EdDsa),
    ] {
        let (handle, key) = store.generate(purpose, algorithm).await.unwrap();
        assert_eq!((handle.purpose, &handle.id), (purpose, &key.thumbprint().to_base64url()));
        signs(&store, &handle, &key, algorithm).await;
        made.push((handle, key, algorithm));
    }
    for purpose in [Purpose::IdTokenRs256, Purpose::IdTokenPs256] {
        not_made(&store, purpose, "pkcs11").await;
    }
    assert_eq!(store.makes(Purpose::IdTokenEddsa, Algorithm::EdDsa), Ok(()));
    assert!(nowhere(&site.dir.join("keys-demo.example-server"), ".key"));
    assert!(store.is_sealed());
    // A workload's own key is one to hand out, so it is not made there.
    let (workload, _) = store.generate(Purpose::Workload, Algorithm::Es256).await.unwrap();
    assert!(store.export(&workload).is_ok());
    // What the token has no mechanism for lies on disk.
    let (rsa, _) = store.generate(Purpose::JwtSvid, Algorithm::Rs256).await.unwrap();
    assert_eq!((store.count().device, store.count().disk), (4, 1));
    assert!(!store.is_sealed());
    store.destroy(&rsa).await.unwrap();
    // Another start finds them, another component does not.
    drop(store);
    let again = site.open("demo.example/server").await;
    for (handle, key, algorithm) in &made {
        assert_eq!(again.handles(handle.purpose), std::slice::from_ref(handle));
        signs(&again, handle, key, *algorithm).await;
    }
    let other = site.open("demo.example/node").await;
    assert_eq!(other.count().device, 0);
    let gone = &made[0].0;
    assert_eq!(other.sign(gone, b"m").await.err(), Some(KeyFault::Unknown(gone.clone())));
    again.destroy(gone).await.unwrap();
    assert_eq!(again.sign(gone, b"m").await.err(), Some(KeyFault::Unknown(gone.clone())));
    assert_eq!(site.open("demo.example/server").await.count().device, 3);
}

/// req: CRED-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_a_wrong_pin_is_not_tried_twice() {
    let Some(site) = with_token("s6_a_wrong_pin_is_not_tried_twice") else { return };
    secret(&site.dir.join("pin"), "another-pin");
    let (place, devices) = (Place::Pkcs11(site.token()), Devices::default());
    let refused = async || open(&site.dir, &place, &devices, "a").await.unwrap_err();
    let first = refused().await;
    assert!(first.to_string().starts_with("the token `peer` does not take the pin: "), "{first}");
    let again = "the token `peer` refused this pin before; it is not tried again";
    assert_eq!(refused().await.to_string(), again);
    assert!(first.hint().contains("`pin_file`"), "{}", first.hint());
    // The right one serves without a restart.
    secret(&site.dir.join("pin"), &format!("{PIN}\n"));
    open(&site.dir, &place, &devices, "a").await.unwrap();
    // Nobody else may read it, and it is not empty.
    let pin = site.dir.join("pin");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o644)).unwrap();
    let elsewhere = Devices::default();
    let open_to_all = open(&site.dir, &place, &elsewhere, "a").await.unwrap_err();
    assert!(open_to_all.to_string().contains("others can use it"), "{open_to_all}");
    secret(&pin, "\n");
    let empty = open(&site.dir, &place, &elsewhere, "a").await.unwrap_err();
    assert!(empty.to_string().ends_with("holds no pin"), "{empty}");
}

/// req: CRED-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_a_token_that_is_not_there_is_named() {
    let Some(site) = with_token("s6_a_token_that_is_not_there_is_named") else { return };
    let devices = Devices::default();
    for (token, expect) in [
        (Token { label: "other".to_owned(), ..site.token() }, "there is no token `other`"),
        (Token { module: site.dir.join("no.so"), ..site.token() }, "the pkcs#11 module `"),
        (Token { module: site.dir.join("pin"), ..site.token() }, "the pkcs#11 module `"),
    ] {
        let refused = open(&site.dir, &Place::Pkcs11(token), &devices, "a").await.unwrap_err();
        assert!(refused.to_string().starts_with(expect), "{refused}");
    }
}

/// req: CRED-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_a_token_that_was_away_serves_again() {
    let Some(site) = with_token("s6_a_token_that_was_away_serves_again") else { return };
    let store = site.open("a").await;
    let (handle, key) = store.generate(Purpose::Wit, Algorithm::Es256).await.unwrap();
    let (tokens, away) = (site.dir.join("tokens"), site.dir.join("away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let gone = loop {
        // A software token may answer out of its memory for a moment.
        match store.generate(Purpose::Wit, Algorithm::Es256).await {
            Err(KeyFault::Unavailable(why)) => break why,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    };
    assert!(gone.why.contains("; "), "a hint: {gone}");
    fs::remove_dir_all(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    // Each thread has a session of its own, and each finds the way back.
    let mut in_a_row = 0;
    while in_a_row < 20 {
        match store.sign(&handle, b"m").await {
            Ok(signature) => {
                key.verify(Algorithm::Es256, b"m", signature.as_bytes()).unwrap();
                in_a_row += 1;
            }
            Err(why) => {
                assert!(Instant::now() < until, "{why}");
                in_a_row = 0;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    signs(&store, &handle, &key, Algorithm::Es256).await;
}

/// A TPM of swtpm, ended with the test.
struct Swtpm {
    dir: TempDir,
    child: Child,
}

impl Swtpm {
    fn start() -> Option<Self> {
        if Command::new("swtpm").arg("--version").stdout(Stdio::null()).status().is_err() {
            not_tested("swtpm is missing: tests/peers/install.sh --system");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let child = Self::run(&dir);
        Some(Self { dir, child })
    }

    fn run(dir: &TempDir) -> Child {
        let at = dir.path().display();
        let socket = dir.path().join("swtpm.sock");
        let _ = fs::remove_file(&socket);
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={at}")])
            .args(["--server", &format!("type=unixio,path={at}/swtpm.sock")])
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while !socket.exists() {
            assert!(Instant::now() < until, "swtpm did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn place(&self) -> Place {
        let address = format!("unix:{}/swtpm.sock", self.dir.path().display());
        Place::Tpm(TpmPlace { address: Address::parse(&address).unwrap(), owner_auth: None })
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// req: CRED-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_keys_live_in_a_tpm_and_their_blobs_beside_the_state() {
    let Some(mut swtpm) = Swtpm::start() else { return };
    let dir = TempDir::new().unwrap();
    let (place, devices) = (swtpm.place(), Devices::default());
    let store = open(dir.path(), &place, &devices, "server").await.unwrap();
    let mut made = Vec::new();
    // More than a TPM has place for.
    for purpose in [Purpose::X509Authority, Purpose::Wit, Purpose::JwtSvid, Purpose::Component] {
        let (handle, key) = store.generate(purpose, Algorithm::Es256).await.unwrap();
        signs(&store, &handle, &key, Algorithm::Es256).await;
        made.push((handle, key));
    }
    for (handle, key) in &made {
        signs(&store, handle, key, Algorithm::Es256).await;
    }
    for purpose in [Purpose::IdTokenRs256, Purpose::IdTokenPs256, Purpose::IdTokenEddsa] {
        not_made(&store, purpose, "tpm").await;
    }
    assert!(nowhere(&dir.path().join("keys-server"), ".key"));
    // An agent's key ends with the process, and a TPM has no Ed25519: the log's lies on disk.
    let (agent, key) = store.generate(Purpose::Agent, Algorithm::Es256).await.unwrap();
    signs(&store, &agent, &key, Algorithm::Es256).await;
    store.generate(Purpose::Log, Algorithm::EdDsa).await.unwrap();
    assert_eq!((store.count().device, store.count().disk), (5, 1));
    // The TPM is away, and is back with nothing loaded.
    swtpm.stop();
    let gone = store.sign(&made[0].0, b"m").await.unwrap_err();
    assert!(gone.to_string().contains("cannot be used"), "{gone}");
    swtpm.child = Swtpm::run(&swtpm.dir);
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(why) = store.sign(&made[0].0, b"m").await {
        assert!(Instant::now() < until, "{why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Another start finds what is kept. (The emulator serves one at a time.)
    drop((store, devices));
    let again = open(dir.path(), &place, &Devices::default(), "server").await.unwrap();
    assert_eq!(again.count().device, 4);
    for (handle, key) in &made {
        signs(&again, handle, key, Algorithm::Es256).await;
    }
    let gone = &made[0].0;
    again.destroy(gone).await.unwrap();
    assert_eq!(again.sign(gone, b"m").await.err(), Some(KeyFault::Unknown(gone.clone())));
    assert!(nowhere(&dir.path().join("keys-server/tpm"), &format!("{}.tpm", gone.id)));
}

/// req: CRED-08 (part)
#[tokio::test(flavor = "multi_thread")]
async fn s6_a_blob_is_of_use_to_its_tpm_alone() {
    let (Some(mine), Some(other)) = (Swtpm::start(), Swtpm::start()) else { return };
    let dir = TempDir::new().unwrap();
    let store = open(dir.path(), &mine.place(), &Devices::default(), "a").await.unwrap();
    let (handle, _) = store.generate(Purpose::Wit, Algorithm::Es256).await.unwrap();
    drop(store);
    let stolen = open(dir.path(), &other.place(), &Devices::default(), "a").await.unwrap();
    let refused = stolen.sign(&handle, b"m").await.unwrap_err();
    assert!(refused.to_string().contains("not made under this parent"), "{refused}");
    drop(stolen);
    // A blob that was changed, and one under another's name.
    let blob = dir.path().join(format!("keys-a/tpm/wit/{}.tpm", handle.id));
    let bytes = fs::read(&blob).unwrap();
    let tampered = async |bytes: &[u8]| {
        fs::write(&blob, bytes).unwrap();
        open(dir.path(), &mine.place(), &Devices::default(), "a").await.map(|_| ()).unwrap_err()
    };
    let cut = tampered(&bytes[..40]).await;
    assert!(cut.to_string().contains("holds no key of a tpm"), "{cut}");
    fs::write(&blob, &bytes).unwrap();
    fs::rename(&blob, blob.with_file_name("other.tpm")).unwrap();
    let renamed =
        open(dir.path(), &mine.place(), &Devices::default(), "a").await.map(|_| ()).unwrap_err();
    assert!(renamed.to_string().ends_with(&format!("holds the key `{}`", handle.id)), "{renamed}");
}

#[tokio::test]
async fn s6_a_tpm_that_is_not_there_is_named() {
    let dir = TempDir::new().unwrap();
    let address = Address::parse(&format!("unix:{}/no.sock", dir.path().display())).unwrap();
    let place = Place::Tpm(TpmPlace { address, owner_auth: None });
    let refused = open(dir.path(), &place, &Devices::default(), "a").await.unwrap_err();
    assert!(refused.to_string().contains("no.sock` cannot be used"), "{refused}");
    assert!(refused.hint().contains("`tpm` in `[keys]`"), "{}", refused.hint());
}

//! What a folder of keys keeps, gives and refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use env::{Handle, KeyFault, Keys, Purpose};
use jose::Algorithm;
use keys::{Disk, FileError, OpenError, PBKDF2_ITERATIONS, SealingError, SealingKey};
use tempfile::TempDir;

/// A folder for keys, in a folder of its own.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    fn open(&self) -> Disk {
        Disk::open(&self.keys(), None).unwrap()
    }

    fn open_sealed(&self, secret: &str) -> Result<Disk, OpenError> {
        Disk::open(&self.keys(), Some(self.sealing(secret)))
    }

    /// A sealing key from a credential file.
    fn sealing(&self, secret: &str) -> SealingKey {
        let path = self.secret("credential", secret);
        SealingKey::from_credential(&path).unwrap()
    }

    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        path
    }

    fn file(&self, handle: &Handle) -> PathBuf {
        self.keys().join(handle.purpose.name()).join(format!("{}.key", handle.id))
    }
}

const SECRET: &str = "a credential of thirty-two bytes";
const OTHER: &str = "another one of thirty-two bytes.";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn make(disk: &Disk, purpose: Purpose) -> Handle {
    disk.generate(purpose, Algorithm::Es256).await.unwrap().0
}

async fn signs(disk: &Disk, handle: &Handle) -> bool {
    let signature = disk.sign(handle, b"message").await.unwrap();
    let public = disk.public(handle).unwrap();
    let algorithm = public.algorithms().next().unwrap();
    public.verify(algorithm, b"other", signature.as_bytes()).is_err()
        && public.verify(algorithm, b"message", signature.as_bytes()).is_ok()
}

#[tokio::test]
async fn a_key_of_each_algorithm_signs_before_and_after_a_restart() {
    let place = Place::new();
    for sealed in [None, Some(SECRET)] {
        let open = || match sealed {
            None => place.open(),
            Some(secret) => place.open_sealed(secret).unwrap(),
        };
        let disk = open();
        let mut made = Vec::new();
        for algorithm in [
            Algorithm::Es256,
            Algorithm::Es384,
            Algorithm::EdDsa,
            Algorithm::Rs256,
            Algorithm::Ps256,
        ] {
            let (handle, public) = disk.generate(Purpose::AccessToken, algorithm).await.unwrap();
            // RFC 7638: the id is the thumbprint of the public key.
            assert_eq!(handle.id, public.thumbprint().to_base64url());
            assert!(signs(&disk, &handle).await, "{algorithm}");
            made.push((handle, algorithm));
        }
        drop(disk);
        let disk = open();
        for (handle, algorithm) in made {
            assert!(disk.public(&handle).unwrap().may_verify(algorithm));
            assert!(signs(&disk, &handle).await, "{algorithm} after a restart");
        }
    }
}

#[tokio::test]
async fn an_es256_signature_is_64_octets() {
    // RFC 7518 §3.4: "The JWS Signature value MUST be a 64-octet sequence."
    let place = Place::new();
    let disk = place.open();
    let handle = make(&disk, Purpose::Wit).await;
    assert_eq!(disk.sign(&handle, b"").await.unwrap().as_bytes().len(), 64);
}

#[tokio::test]
async fn files_and_folders_are_for_their_owner_alone() {
    let place = Place::new();
    for sealed in [false, true] {
        let disk = if sealed { place.open_sealed(SECRET).unwrap() } else { place.open() };
        assert_eq!(disk.is_sealed(), sealed);
        let handle = make(&disk, Purpose::Log).await;
        assert_eq!(mode(&place.file(&handle)), 0o600);
        assert_eq!(mode(&place.keys()), 0o700);
        assert_eq!(mode(&place.keys().join("log")), 0o700);
    }
}

#[tokio::test]
async fn what_others_can_use_is_refused_with_the_remedy() {
    let place = Place::new();
    let handle = make(&place.open(), Purpose::Wit).await;
    let file = place.file(&handle);
    let folder = file.parent().unwrap().to_owned();
    for (path, wrong, right) in [
        (file, 0o640, 0o600),
        (place.file(&handle), 0o604, 0o600),
        (folder, 0o750, 0o700),
        (place.keys(), 0o701, 0o700),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(wrong)).unwrap();
        let refused = Disk::open(&place.keys(), None).unwrap_err();
        let OpenError::File(FileError::TooOpen { path: named, mode }) = &refused else {
            panic!("{refused}");
        };
        assert_eq!((named, *mode), (&path, wrong));
        assert_eq!(refused.hint(), format!("run `chmod go= {}`", path.display()));
        fs::set_permissions(&path, Permissions::from_mode(right)).unwrap();
    }
    place.open();
}

#[tokio::test]
async fn a_sealed_file_shows_nothing_and_a_plain_one_is_pem() {
    let place = Place::new();
    let plain = make(&place.open(), Purpose::Wit).await;
    let text = fs::read_to_string(place.file(&plain)).unwrap();
    assert!(text.starts_with("algorithm: ES256\n-----BEGIN PRIVATE KEY-----\n"), "{text}");
    let secret = text.lines().nth(2).unwrap().to_owned();

    let disk = place.open_sealed(SECRET).unwrap();
    assert!(signs(&disk, &plain).await);
    let new = make(&disk, Purpose::Wit).await;
    for handle in [&plain, &new] {
        let file = fs::read(place.file(handle)).unwrap();
        assert!(file.starts_with(b"AIMSKEY\x01"), "sealed, or sealed again at open");
        assert!(!file.windows(secret.len()).any(|part| part == secret.as_bytes()));
        assert!(!String::from_utf8_lossy(&file).contains("PRIVATE"));
    }
    assert!(signs(&place.open_sealed(SECRET).unwrap(), &plain).await);
}

#[tokio::test]
async fn a_sealed_file_opens_with_its_key_alone() {
    let place = Place::new();
    let handle = make(&place.open_sealed(SECRET).unwrap(), Purpose::Wit).await;
    let file = place.file(&handle);
    let refused = Disk::open(&place.keys(), None).unwrap_err();
    assert!(matches!(&refused, OpenError::Sealed { path } if *path == file), "{refused}");
    let refused = place.open_sealed(OTHER).unwrap_err();
    assert!(matches!(&refused, OpenError::OtherSealingKey { path } if *path == file), "{refused}");
    assert_eq!(
        refused.to_string(),
        format!("`{}` was sealed with another passphrase or credential", file.display())
    );
}

#[tokio::test]
async fn a_file_that_was_changed_or_moved_is_refused() {
    let place = Place::new();
    let disk = place.open_sealed(SECRET).unwrap();
    let (a, b) = (make(&disk, Purpose::Wit).await, make(&disk, Purpose::Wit).await);
    let (a_file, b_file) = (place.file(&a), place.file(&b));
    let (a_bytes, b_bytes) = (fs::read(&a_file).unwrap(), fs::read(&b_file).unwrap());
    let refused = || place.open_sealed(SECRET).unwrap_err();

    let mut changed = a_bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&a_file, &changed).unwrap();
    assert!(matches!(refused(), OpenError::Tampered { path } if path == a_file));
    fs::write(&a_file, &a_bytes[..30]).unwrap();
    assert!(matches!(refused(), OpenError::Tampered { path } if path == a_file));
    fs::write(&a_file, &b_bytes).unwrap();
    fs::write(&b_file, &a_bytes).unwrap();
    assert!(matches!(refused(), OpenError::Tampered { .. }), "the two changed places");
    fs::write(&a_file, &a_bytes).unwrap();
    fs::write(&b_file, &b_bytes).unwrap();
    place.open_sealed(SECRET).unwrap();
    let elsewhere = place.keys().join("jwt-svid");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o700)).unwrap();
    fs::rename(&a_file, elsewhere.join(a_file.file_name().unwrap())).unwrap();
    assert!(matches!(refused(), OpenError::Tampered { .. }), "another purpose");
}

#[tokio::test]
async fn plain_files_that_changed_places_or_are_no_keys_are_refused() {
    let place = Place::new();
    let disk = place.open();
    let (a, b) = (make(&disk, Purpose::Wit).await, make(&disk, Purpose::Wit).await);
    let file = place.file(&a);
    let refused = || Disk::open(&place.keys(), None).unwrap_err();
    fs::copy(place.file(&b), &file).unwrap();
    assert!(matches!(refused(), OpenError::Misnamed { found, .. } if found == b.id));
    fs::write(&file, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    assert!(matches!(refused(), OpenError::Malformed { path } if path == file));
    fs::write(&file, vec![b'a'; 100_000]).unwrap();
    assert!(matches!(refused(), OpenError::File(FileError::TooLong { .. })));
    fs::remove_file(&file).unwrap();
    symlink(place.file(&b), &file).unwrap();
    assert!(matches!(refused(), OpenError::File(FileError::NotAFile { .. })));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(refused(), OpenError::File(FileError::NotAFile { .. })));
    fs::remove_dir(&file).unwrap();
    fs::remove_dir_all(place.keys()).unwrap();
    fs::write(place.keys(), "").unwrap();
    assert!(matches!(refused(), OpenError::File(FileError::NotAFolder { .. })));
    fs::remove_file(place.keys()).unwrap();
    let nowhere = Disk::open(&place.keys().join("deeper"), None).unwrap_err();
    assert!(matches!(nowhere, OpenError::File(FileError::Io { .. })));
}

/// A process that ends between writing a file and putting it in its place.
#[tokio::test]
async fn half_a_file_is_no_key_and_is_cleared_away() {
    let place = Place::new();
    let handle = make(&place.open(), Purpose::Wit).await;
    let file = place.file(&handle);
    let half = file.with_extension("half");
    fs::write(&half, &fs::read(&file).unwrap()[..50]).unwrap();
    let disk = place.open();
    assert_eq!(disk.handles(Purpose::Wit), std::slice::from_ref(&handle));
    assert!(!half.exists() && signs(&disk, &handle).await);

    fs::rename(&file, &half).unwrap();
    let disk = place.open();
    assert_eq!(disk.handles(Purpose::Wit), []);
    assert_eq!(disk.public(&handle).unwrap_err(), KeyFault::Unknown(handle));
    make(&disk, Purpose::Wit).await;
}

#[tokio::test]
async fn a_destroyed_key_is_gone_for_good() {
    let place = Place::new();
    let disk = place.open();
    for purpose in [Purpose::Wit, Purpose::Workload] {
        let (gone, stays) = (make(&disk, purpose).await, make(&disk, purpose).await);
        disk.destroy(&gone).await.unwrap();
        let unknown = KeyFault::Unknown(gone.clone());
        assert_eq!(disk.sign(&gone, b"").await.unwrap_err(), unknown);
        assert_eq!(disk.destroy(&gone).await.unwrap_err(), unknown);
        assert!(!place.file(&gone).exists());
        assert!(signs(&disk, &stays).await);
    }
    assert_eq!(place.open().handles(Purpose::Wit).len(), 1);
}

/// req: CRED-11 (part)
#[tokio::test]
async fn a_workload_key_lives_in_memory_and_may_leave_and_no_other_may() {
    let place = Place::new();
    let disk = place.open();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256] {
        let (handle, public) = disk.generate(Purpose::Workload, algorithm).await.unwrap();
        let exported = disk.export(&handle).unwrap();
        let signature = exported.sign(b"message");
        assert!(public.verify(algorithm, b"message", signature.as_bytes()).is_ok());
        assert!(!place.keys().join("workload").exists());
    }
    for purpose in [Purpose::X509Authority, Purpose::WebServer, Purpose::Component] {
        let handle = make(&disk, purpose).await;
        assert_eq!(disk.export(&handle).unwrap_err(), KeyFault::NotExportable(handle));
    }
    assert_eq!(place.open().handles(Purpose::Workload), []);
    let (a, b) = (make(&disk, Purpose::Workload).await, make(&disk, Purpose::Workload).await);
    assert_ne!(a, b, "a new key each time");
}

#[tokio::test]
async fn a_handle_is_of_one_purpose() {
    let place = Place::new();
    let disk = place.open();
    let wit = make(&disk, Purpose::Wit).await;
    for purpose in [Purpose::JwtSvid, Purpose::Workload] {
        let other = Handle { purpose, id: wit.id.clone() };
        assert_eq!(disk.sign(&other, b"").await.unwrap_err(), KeyFault::Unknown(other));
    }
    let outside = Handle { purpose: Purpose::Wit, id: format!("../wit/{}", wit.id) };
    assert_eq!(disk.destroy(&outside).await.unwrap_err(), KeyFault::Unknown(outside));
}

#[tokio::test]
async fn a_key_that_cannot_be_stored_is_not_made() {
    let place = Place::new();
    let disk = place.open();
    fs::write(place.keys().join("wit"), "in the way").unwrap();
    let fault = disk.generate(Purpose::Wit, Algorithm::Es256).await.unwrap_err();
    assert!(matches!(&fault, KeyFault::Unavailable(why) if why.part == "keys"), "{fault}");
    assert_eq!(disk.handles(Purpose::Wit), []);
}

#[tokio::test]
async fn a_passphrase_opens_what_it_sealed_with_the_salt_of_then() {
    let place = Place::new();
    let passphrase = |text| place.secret("passphrase", text);
    let key = |text| SealingKey::from_passphrase(&passphrase(text), &place.keys());
    let disk = Disk::open(&place.keys(), Some(key("correct horse battery\n").unwrap())).unwrap();
    let handle = make(&disk, Purpose::Wit).await;
    let salt = place.keys().join("passphrase.salt");
    assert_eq!(mode(&salt), 0o600);
    let text = fs::read_to_string(&salt).unwrap();
    assert!(text.starts_with(&format!("pbkdf2-hmac-sha256 {PBKDF2_ITERATIONS} ")));

    let again = Disk::open(&place.keys(), Some(key("correct horse battery").unwrap())).unwrap();
    assert!(signs(&again, &handle).await, "a line end is no part of it");
    let wrong = Disk::open(&place.keys(), Some(key("correct horse batter").unwrap()));
    assert!(matches!(wrong.unwrap_err(), OpenError::OtherSealingKey { .. }));
    fs::remove_file(&salt).unwrap();
    let lost = Disk::open(&place.keys(), Some(key("correct horse battery").unwrap()));
    assert!(matches!(lost.unwrap_err(), OpenError::OtherSealingKey { .. }));
}

#[test]
fn what_is_no_secret_is_refused() {
    let place = Place::new();
    let keys = place.keys();
    let credential =
        |text: &str| SealingKey::from_credential(&place.secret("s", text)).unwrap_err();
    let passphrase =
        |text: &str| SealingKey::from_passphrase(&place.secret("s", text), &keys).unwrap_err();
    for (refused, found, min) in [
        (credential("thirty-one bytes, no more......"), 31, 32),
        (passphrase("eleven byte\n"), 11, 12),
        (passphrase(""), 0, 12),
    ] {
        assert!(
            matches!(&refused, SealingError::TooShort { found: f, min: m, .. } if (*f, *m) == (found, min)),
            "{refused}"
        );
    }
    let long = credential(&"x".repeat(5_000));
    assert!(matches!(long, SealingError::File(FileError::TooLong { .. })));
    let absent = SealingKey::from_credential(Path::new("absent")).unwrap_err();
    assert!(matches!(absent, SealingError::File(FileError::Io { .. })));

    let path = place.secret("open", SECRET);
    for (mode, as_credential, as_passphrase) in
        [(0o400, true, true), (0o440, true, false), (0o404, false, false), (0o420, false, false)]
    {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(SealingKey::from_credential(&path).is_ok(), as_credential, "{mode:o}");
        assert_eq!(SealingKey::from_passphrase(&path, &keys).is_ok(), as_passphrase, "{mode:o}");
    }

    let salt = keys.join("passphrase.salt");
    let good = fs::read_to_string(&salt).unwrap();
    fs::write(&salt, good.replace(&PBKDF2_ITERATIONS.to_string(), "1000")).unwrap();
    assert!(matches!(passphrase("correct horse"), SealingError::Rounds { found: 1_000, .. }));
    fs::write(&salt, good.replace(&PBKDF2_ITERATIONS.to_string(), "4000000000")).unwrap();
    assert!(matches!(passphrase("correct horse"), SealingError::Rounds { .. }));
    fs::write(&salt, "nothing").unwrap();
    assert!(matches!(passphrase("correct horse"), SealingError::Salt { .. }));
}

#[tokio::test]
async fn debug_shows_no_key() {
    let place = Place::new();
    let disk = place.open();
    let handle = make(&disk, Purpose::Workload).await;
    let shown = format!("{disk:?} {:?} {:?}", place.sealing(SECRET), disk.export(&handle));
    let private = disk.export(&handle).unwrap().to_jwk_private_text().unwrap();
    let secret = private.expose().rsplit('"').nth(1).unwrap();
    assert_eq!(secret.len(), 43);
    assert!(!shown.contains(secret) && !shown.contains(SECRET), "{shown}");
    assert!(shown.contains("SealingKey(…)") && shown.contains("is_sealed: false"), "{shown}");
}

/// An RSA key takes some hundred milliseconds to make: this runtime has one thread, and goes on.
#[tokio::test]
async fn an_rsa_key_is_made_and_used_beside_what_else_is_served() {
    let place = Place::new();
    let disk = Arc::new(place.open());
    let making = (0..3).map(|_| {
        let disk = Arc::clone(&disk);
        tokio::spawn(async move {
            let made = disk.generate(Purpose::IdTokenRs256, Algorithm::Rs256).await;
            let (handle, key) = made.unwrap();
            let signature = disk.sign(&handle, b"message").await.unwrap();
            key.verify(Algorithm::Rs256, b"message", signature.as_bytes()).unwrap();
            signature.as_bytes().len() * 8
        })
    });
    let making: Vec<_> = making.collect();
    let mut turns = 0;
    while !making.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        turns += 1;
    }
    for made in making {
        assert_eq!(made.await.unwrap(), 3_072);
    }
    assert!(turns >= 10, "{turns}");
    let again = place.open();
    let handles = again.handles(Purpose::IdTokenRs256);
    assert_eq!(handles.len(), 3);
    assert!(signs(&again, &handles[0]).await);
}

//! A DevID from files, and TPMs that refuse. That a TPM which does not refuse is believed, is a test
//! against an emulator: `tests/peers/tpm.sh`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use attestors::SecretFileError;
use attestors::tpm::{Address, AttestError, Attester, Devid, DevidError, DevidFiles, TpmError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use x509::CertificateDer;

/// A recorded DevID: its certificate and its key's TPMT_PUBLIC.
fn recorded(text: &str) -> (CertificateDer, Vec<u8>) {
    let vector: Value = serde_json::from_str(text).unwrap();
    let evidence = &vector["input"]["evidence"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let certificate = CertificateDer::from_der(bytes(&evidence["DevIDCert"][0])).unwrap();
    (certificate, bytes(&evidence["DevIDPub"]))
}

fn ecc() -> (CertificateDer, Vec<u8>) {
    recorded(include_str!("../../../../vectors/tpm/devid-ecc.json"))
}

fn files(certificates: &str, public: &[u8]) -> (TempDir, DevidFiles) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let files = DevidFiles {
        certificates: at("certificates", certificates.as_bytes()),
        public: at("public", public),
        private: at("private", b"\0\x04blob"),
        ..DevidFiles::default()
    };
    (folder, files)
}

/// req: ATT-08 (part)
#[test]
fn s7_a_devid_is_a_certificate_and_the_blobs_of_its_key() {
    let (certificate, public) = ecc();
    let (rsa_certificate, rsa_public) =
        recorded(include_str!("../../../../vectors/tpm/devid-rsa.json"));
    let sized = [&[0, u8::try_from(public.len()).unwrap()], public.as_slice()].concat();
    let check = |certificate: &str, public: &[u8], expect: Option<DevidError>| {
        let (_folder, files) = files(certificate, public);
        assert_eq!(Devid::read(&files).err(), expect);
    };
    let pem = certificate.to_pem();
    check(&pem, &public, None);
    check(&pem, &sized, None);
    check(&rsa_certificate.to_pem(), &rsa_public, None);
    check(&pem, &rsa_public, Some(DevidError::OtherKey));
    check(
        &pem,
        &public[1..],
        Some(DevidError::Blob(tpm::Malformed::Algorithm { what: "hash", id: 0x0b00 })),
    );
    check(&pem.repeat(7), &public, Some(DevidError::TooManyCertificates { count: 7 }));
    let sha384 = {
        let mut key = tpm::Public::parse(&public).unwrap();
        key.scheme = Some(tpm::Scheme { kind: tpm::SchemeKind::Ecdsa, hash: tpm::Hash::Sha384 });
        key.to_bytes()
    };
    check(&pem, &sha384, Some(DevidError::Scheme));
    let (_folder, mut without) = files(&pem, &public);
    without.private = PathBuf::from("/nowhere");
    assert!(matches!(Devid::read(&without), Err(DevidError::Unreadable { .. })));
}

#[test]
fn s7_a_password_is_read_from_a_file_of_its_own() {
    let (certificate, public) = ecc();
    let (folder, mut files) = files(&certificate.to_pem(), &public);
    let path = folder.path().join("password");
    fs::write(&path, "secret\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    files.devid_auth = Some(path.clone());
    let open = Devid::read(&files).err();
    let Some(DevidError::Authorization(SecretFileError::TooOpen { .. })) = open else {
        panic!("{open:?}")
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!format!("{:?}", Devid::read(&files).unwrap()).contains("secret"));
}

/// A TPM that answers to each command by its code, and tells at the end what it was asked.
fn scripted(
    folder: &TempDir,
    answer: fn(u32) -> Vec<u8>,
) -> (Address, thread::JoinHandle<Vec<u32>>) {
    let path = folder.path().join("tpm");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut codes = Vec::new();
        let mut header = [0; 10];
        while stream.read_exact(&mut header).is_ok() {
            let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
            let mut body = vec![0; usize::try_from(number(2)).unwrap() - 10];
            stream.read_exact(&mut body).unwrap();
            codes.push(number(6));
            stream.write_all(&answer(number(6))).unwrap();
        }
        codes
    });
    (Address::parse(&format!("unix:{}", path.display())).unwrap(), asked)
}

const CREATE_PRIMARY: u32 = 0x131;
const LOAD: u32 = 0x157;
const FLUSH: u32 = 0x165;

fn code(code: u32) -> Vec<u8> {
    [&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

/// A handle, and parameters of one empty buffer.
fn made() -> Vec<u8> {
    let front = [0x80, 2, 0, 0, 0, 20, 0, 0, 0, 0, 0x80, 0, 0, 1];
    [&front[..], &[0, 0, 0, 2, 0, 0]].concat()
}

fn opened(answer: fn(u32) -> Vec<u8>) -> (AttestError, Vec<u32>) {
    let (certificate, public) = ecc();
    let (folder, files) = files(&certificate.to_pem(), &public);
    let (address, asked) = scripted(&folder, answer);
    let refused = Attester::open(&address, Devid::read(&files).unwrap()).unwrap_err();
    (refused, asked.join().unwrap())
}

/// req: ATT-03 (part)
#[test]
fn s7_a_tpm_that_refuses_is_told_with_its_reason_and_keeps_no_key() {
    let (refused, asked) = opened(|_| code(0x9a2));
    assert!(refused.to_string().contains("an authorization is wrong"), "{refused}");
    assert_eq!(asked, [CREATE_PRIMARY]);
    let (refused, asked) = opened(|asked| match asked {
        CREATE_PRIMARY => made(),
        FLUSH => code(0),
        _ => code(0x1df),
    });
    assert!(refused.to_string().contains("not made under this parent"), "{refused}");
    // The storage key is flushed: a TPM without a resource manager has place for three.
    assert_eq!(asked, [CREATE_PRIMARY, LOAD, FLUSH]);
}

#[test]
fn s7_a_tpm_that_is_busy_is_asked_again_and_not_for_ever() {
    let (refused, asked) = opened(|_| code(0x922));
    assert!(matches!(refused, AttestError::Tpm(TpmError::Refused { code: 0x922, .. })));
    assert_eq!(asked, [CREATE_PRIMARY; 20]);
}

#[test]
fn s7_an_answer_that_does_not_read_and_a_tpm_that_is_not_there_are_told_apart() {
    let (refused, _) = opened(|_| vec![0x80, 2, 0, 0, 0, 12, 0, 0, 0, 0, 0x80, 0]);
    assert!(matches!(refused, AttestError::Tpm(TpmError::Response { .. })), "{refused}");
    let (certificate, public) = ecc();
    let (_folder, files) = files(&certificate.to_pem(), &public);
    let nowhere = Address::parse("/nowhere/tpmrm0").unwrap();
    let refused = Attester::open(&nowhere, Devid::read(&files).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("`/nowhere/tpmrm0` cannot be used"), "{refused}");
}

use proptest::prelude::*;
use time::UnixTime;
use tlog::note::{
    AttachError, Draft, KeyError, KeyKind, NOTE_BYTES_MAX, Note, ParseError, VerifierKey,
    VerifyError,
};
use tlog::{
    Checkpoint, CheckpointParseError, CheckpointRefused, CheckpointWriteError, Cosigned,
    EMPTY_ROOT, HashParseError, ProofError, ProofFile, ProofParseError, ProofRefused, hash_leaf,
    inclusion_proof, root,
};

use crate::{Key, Nodes, ORIGIN, entry};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL\
1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn log_key() -> Key {
    Key::new(ORIGIN, KeyKind::Ed25519, 1)
}

fn witness_key() -> Key {
    Key::new("witness.example/w1", KeyKind::Cosignature, 2)
}

fn signed(text: &str, key: &Key) -> Note {
    let draft = Draft::new(text.to_owned()).unwrap();
    let signature = key.sign(draft.signing_input());
    draft.attach(&key.public, &signature).unwrap()
}

/// req: OBS-06 (part)
#[test]
fn signed_note_example_verifies() {
    let key = VerifierKey::parse(VKEY).unwrap();
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    let opened = note.verify(std::slice::from_ref(&key)).unwrap();
    assert_eq!(opened.text(), "This is an example message.\n");
    assert_eq!(opened.signers()[0].key, key);
    assert_eq!(note.to_string(), NOTE);
    assert_eq!(key.to_string(), VKEY);
}

#[test]
fn signed_note_format_malformed_notes_are_refused() {
    let line = NOTE.split_once("\n\n").unwrap().1;
    let many = |count| format!("text\n\n{}", line.repeat(count));
    let check = |note: &str, refused| assert_eq!(Note::parse(note.as_bytes()), Err(refused));
    check("text\n", ParseError::NoSignatures);
    check(&format!("text\n{line}"), ParseError::NoSignatures);
    check(NOTE.strip_suffix('\n').unwrap(), ParseError::NoSignatures);
    check("text\n\n", ParseError::NoSignatures);
    check(&format!("text\r\n\n{line}"), ParseError::ControlCharacter { at: 4 });
    check(&many(65), ParseError::TooManySignatures);
    check(&" ".repeat(NOTE_BYTES_MAX + 1), ParseError::TooLong { bytes: NOTE_BYTES_MAX + 1 });
    assert_eq!(Note::parse(b"\xff\n\n"), Err(ParseError::NotUtf8));
    for bad in ["- a AAAAAAA=", "\u{2014} a", "\u{2014} a+b AAAAAAA=", "\u{2014}  AAAAAAA="] {
        check(&format!("text\n\n{line}{bad}\n"), ParseError::SignatureLine { line: 1 });
    }
    for bad in ["AAAAAA==", "AAAA", "AAAAAAA", "AAAAAAB=", "AAAAAAA= "] {
        check(&format!("text\n\n\u{2014} a {bad}\n"), ParseError::SignatureLine { line: 0 });
    }
    // "MUST accept at least up to 16 signatures."
    assert!(Note::parse(many(64).as_bytes()).is_ok());
    assert_eq!(Draft::new("text".to_owned()), Err(ParseError::NoNewline));
    assert_eq!(Draft::new("a\tb\n".to_owned()), Err(ParseError::ControlCharacter { at: 1 }));
}

/// req: OBS-06 (part)
#[test]
fn signed_note_signatures_unknown_keys_are_ignored_and_known_keys_must_verify() {
    let (ours, stranger) = (log_key(), Key::new("other.example", KeyKind::Ed25519, 9));
    let same_name = Key::new(ORIGIN, KeyKind::Ed25519, 9);
    let note = signed("text\n", &ours).to_string();
    let verify = |note: &str, keys: &[&Key]| {
        let keys: Vec<VerifierKey> = keys.iter().map(|key| key.public.clone()).collect();
        let opened = Note::parse(note.as_bytes()).unwrap().verify(&keys)?;
        Ok(opened.signers().len())
    };
    assert_eq!(verify(&note, &[&ours]), Ok(1));
    assert_eq!(verify(&note, &[&stranger]), Err(VerifyError::NoKnownKey));
    assert_eq!(verify(&note, &[&same_name]), Err(VerifyError::NoKnownKey));
    assert_eq!(verify(&note, &[]), Err(VerifyError::NoKnownKey));
    assert_eq!(verify(&note, &[&ours, &ours]), Ok(1));
    let line = note.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(verify(&format!("{note}{line}"), &[&ours]), Ok(1), "the same line twice");
    let other = signed("text\n", &stranger).to_string();
    let both = format!("{note}{}", other.split_once("\n\n").unwrap().1);
    assert_eq!(verify(&both, &[&ours]), Ok(1));
    assert_eq!(verify(&both, &[&ours, &stranger]), Ok(2));
    let wrong = both.replacen("text", "TEXT", 1);
    let refused = VerifyError::Signature { name: ORIGIN.to_owned(), id: ours.public.id() };
    assert_eq!(verify(&wrong, &[&ours]), Err(refused));
    // One good signature does not save a bad one of another known key.
    let bad = signed("other text\n", &stranger).to_string();
    let spoilt = format!("{note}{}", bad.split_once("\n\n").unwrap().1);
    let (name, id) = ("other.example".to_owned(), stranger.public.id());
    assert_eq!(verify(&spoilt, &[&ours, &stranger]), Err(VerifyError::Signature { name, id }));
    assert_eq!(verify(&spoilt, &[&ours]), Ok(1));
}

#[test]
fn signed_note_verifier_keys_are_read_exactly() {
    let check = |vkey: &str, refused| assert_eq!(VerifierKey::parse(vkey), Err(refused));
    let key = "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    check("example.com/foo", KeyError::Parts);
    check(&format!("example.com/foo+{key}"), KeyError::Parts);
    check(&format!("+530d903a+{key}"), KeyError::Name { name: String::new() });
    check(&format!("a b+530d903a+{key}"), KeyError::Name { name: "a b".to_owned() });
    check(&format!("a\u{3000}b+530d903a+{key}"), KeyError::Name { name: "a\u{3000}b".to_owned() });
    check("example.com/foo+530d903a+??", KeyError::Base64);
    check("example.com/foo+530d903a+", KeyError::Base64);
    check("example.com/foo+530d903a+AgAA", KeyError::Kind { byte: 2 });
    check("example.com/foo+530d903a+AQAA", KeyError::Length { bytes: 2 });
    let id = |found: &str| KeyError::Id { found: found.to_owned(), expected: 0x530d_903a };
    check(&format!("example.com/foo+530d903b+{key}"), id("530d903b"));
    check(&format!("example.com/foo+530D903A+{key}"), id("530D903A"));
    let witness = witness_key().public;
    assert_eq!(VerifierKey::parse(&witness.to_string()), Ok(witness));
}

#[test]
fn signed_note_a_wrong_signature_is_not_attached() {
    let (key, witness) = (log_key(), witness_key());
    let draft = Draft::new("text\n".to_owned()).unwrap();
    let signature = key.sign(b"other bytes\n");
    let name = ORIGIN.to_owned();
    let refused = draft.clone().attach(&key.public, &signature);
    assert_eq!(refused, Err(AttachError::Signature { name: name.clone() }));
    let refused = draft.attach(&witness.public, &signature);
    assert_eq!(refused, Err(AttachError::Kind { name: "witness.example/w1".to_owned() }));
    let mut note = signed("text\n", &key);
    let at = UnixTime::from_seconds(5);
    let refused = note.attach_cosignature(&key.public, at, &signature);
    assert_eq!(refused, Err(AttachError::Kind { name }));
    let signature = witness.sign(&note.cosigning_input(UnixTime::from_seconds(6)));
    let refused = note.attach_cosignature(&witness.public, at, &signature);
    assert_eq!(refused, Err(AttachError::Signature { name: "witness.example/w1".to_owned() }));
    let signature = witness.sign(&note.cosigning_input(at));
    for _ in 1..64 {
        note.attach_cosignature(&witness.public, at, &signature).unwrap();
    }
    let refused = note.attach_cosignature(&witness.public, at, &signature);
    assert_eq!(refused, Err(AttachError::Full));
}

#[test]
fn tlog_checkpoint_text_is_read_exactly() {
    let root = EMPTY_ROOT.to_string();
    let check = |text: &str, refused| assert_eq!(Checkpoint::parse(text), Err(refused));
    check(&format!("{ORIGIN}\n0\n{root}"), CheckpointParseError::Lines);
    check(&format!("{ORIGIN}\n0\n"), CheckpointParseError::Lines);
    check(&format!("\n0\n{root}\n"), CheckpointParseError::Origin);
    for size in ["00", "01", "+1", "-1", "", "1 ", "18446744073709551616"] {
        let found = size.to_owned();
        check(&format!("{ORIGIN}\n{size}\n{root}\n"), CheckpointParseError::Size { found });
    }
    check(&format!("{ORIGIN}\n1\nAAAA\n"), HashParseError::Length { bytes: 3 }.into());
    check(&format!("{ORIGIN}\n1\n{root}=\n"), HashParseError::Base64.into());
    check(&format!("{ORIGIN}\n1\n{root}\n\nx\n"), CheckpointParseError::EmptyExtension);
    let other = hash_leaf(b"");
    let refused = CheckpointParseError::EmptyRoot { root: other };
    check(&format!("{ORIGIN}\n0\n{other}\n"), refused);
    let plain = format!("{ORIGIN}\n0\n{root}\n");
    assert_eq!(Checkpoint::parse(&plain).unwrap().text(), Ok(plain.clone()));
    // Extension lines are read over and never signed.
    let extended = Checkpoint::parse(&format!("{plain}extension\n")).unwrap();
    assert_eq!((extended.origin(), extended.size()), (ORIGIN, 0));
    assert_eq!(extended.text(), Err(CheckpointWriteError::Extensions));
}

/// req: OBS-06 (part)
#[test]
fn tlog_checkpoint_opens_only_with_a_signature_of_the_log() {
    let (log, witness) = (log_key(), witness_key());
    let text = Checkpoint::new(ORIGIN, 7, hash_leaf(b"x")).unwrap().text().unwrap();
    let at = UnixTime::from_seconds(1_679_315_147);
    let mut note = signed(&text, &log);
    let signature = witness.sign(&note.cosigning_input(at));
    note.attach_cosignature(&witness.public, at, &signature).unwrap();
    let (logs, witnesses) = ([log.public.clone()], [witness.public.clone()]);
    let note = note.to_string();
    let opened = Checkpoint::open(note.as_bytes(), ORIGIN, &logs, &witnesses).unwrap();
    assert_eq!(opened.checkpoint().size(), 7);
    let name = "witness.example/w1".to_owned();
    assert_eq!(opened.cosigned(), [Cosigned { name: name.clone(), time: at }]);
    let open = |note: &str, origin: &str, logs: &[VerifierKey]| {
        Checkpoint::open(note.as_bytes(), origin, logs, &witnesses).unwrap_err()
    };
    assert_eq!(open(&note, ORIGIN, &[]), CheckpointRefused::NotTheLog);
    let refused = CheckpointRefused::Origin {
        found: ORIGIN.to_owned(),
        expected: "log.example/other".to_owned(),
    };
    assert_eq!(open(&note, "log.example/other", &logs), refused);
    let spoilt = note.replacen("\n7\n", "\n8\n", 1);
    let id = log.public.id();
    let refused = VerifyError::Signature { name: ORIGIN.to_owned(), id };
    assert_eq!(open(&spoilt, ORIGIN, &logs), refused.into());
    assert_eq!(open("", ORIGIN, &logs), ParseError::NoSignatures.into());
    let not_a_checkpoint = signed("hello\n", &log).to_string();
    assert_eq!(open(&not_a_checkpoint, ORIGIN, &logs), CheckpointParseError::Lines.into());
    // tlog-cosignature, Format: "It MUST NOT exceed 2^63 - 1". And a cut signature.
    for signature in [[&[0xff; 8][..], &signature].concat(), vec![1; 7]] {
        use base64::Engine as _;
        let id = witness.public.id();
        let bytes = [&id.to_be_bytes()[..], &signature].concat();
        let line = base64::engine::general_purpose::STANDARD.encode(bytes);
        let note = format!("{}\u{2014} {name} {line}\n", signed(&text, &log));
        let refused = VerifyError::Cosignature { name: name.clone(), id };
        assert_eq!(open(&note, ORIGIN, &logs), refused.into());
    }
}

fn proof_file(index: u64, size: u64) -> ProofFile {
    let nodes = Nodes::of(size);
    let checkpoint = Checkpoint::new(ORIGIN, size, root(size, &nodes).unwrap()).unwrap();
    ProofFile {
        extra: None,
        index,
        hashes: inclusion_proof(index, size, &nodes).unwrap(),
        checkpoint: signed(&checkpoint.text().unwrap(), &log_key()).to_string(),
    }
}

/// req: OBS-06 (part)
#[test]
fn tlog_proof_verifies_offline_and_only_for_its_entry() {
    let keys = [log_key().public];
    let written = proof_file(5, 300).to_string();
    let proof = ProofFile::parse(written.as_bytes()).unwrap();
    let included = proof.verify(&hash_leaf(&entry(5)), ORIGIN, &keys, &[]).unwrap();
    assert_eq!((included.index(), included.checkpoint().checkpoint().size()), (5, 300));
    let refused = proof.verify(&hash_leaf(&entry(6)), ORIGIN, &keys, &[]).unwrap_err();
    assert!(matches!(refused, ProofRefused::Inclusion(ProofError::Root { .. })), "{refused:?}");
    let refused = proof.verify(&hash_leaf(&entry(5)), "other.example", &keys, &[]).unwrap_err();
    assert!(matches!(refused, ProofRefused::Checkpoint(CheckpointRefused::Origin { .. })));
}

#[test]
fn tlog_proof_format_is_read_exactly() {
    let proof = proof_file(0, 3);
    let written = proof.to_string();
    assert_eq!(ProofFile::parse(written.as_bytes()), Ok(proof.clone()));
    let with_extra = ProofFile { extra: Some(b"more".to_vec()), ..proof };
    let text = with_extra.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 0\n"), "{text}");
    assert_eq!(ProofFile::parse(text.as_bytes()), Ok(with_extra));
    let check = |text: &str, refused| assert_eq!(ProofFile::parse(text.as_bytes()), Err(refused));
    check(&written.replacen("@v1", "@v2", 1), ProofParseError::FirstLine);
    check(&written.replacen("index 0", "index 00", 1), ProofParseError::Index);
    check(&written.replacen("index 0\n", "", 1), ProofParseError::Index);
    check("c2sp.org/tlog-proof@v1\n\nx", ProofParseError::Index);
    check(&text.replacen("bW9yZQ==", "bW9yZQ", 1), ProofParseError::Extra);
    check("c2sp.org/tlog-proof@v1\nextra AAAA\n\nx", ProofParseError::Index);
    check("c2sp.org/tlog-proof@v1\nindex 0\n", ProofParseError::NoCheckpoint);
    check(
        &written.replacen("index 0\n", "index 0\nAAAA\n", 1),
        HashParseError::Length { bytes: 3 }.into(),
    );
    let many = format!("index 0\n{}", format!("{EMPTY_ROOT}\n").repeat(64));
    check(&written.replacen("index 0\n", &many, 1), ProofParseError::TooManyHashes);
    let long = " ".repeat(NOTE_BYTES_MAX + 128 * 1024 + 1);
    check(&long, ProofParseError::TooLong { bytes: long.len() });
    assert_eq!(ProofFile::parse(b"\xff"), Err(ProofParseError::NotUtf8));
}

proptest! {
    #[test]
    fn signed_note_format_what_is_read_is_printed_the_same(
        text in "([a-z ]{0,9}\n){0,4}", block in "(\u{2014} [a-z+ ]{1,3} [A-B=]{4,9}\n){1,3}",
    ) {
        let note = format!("{text}\n{block}");
        if let Ok(parsed) = Note::parse(note.as_bytes()) {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }

    #[test]
    fn tlog_any_bytes_are_read_without_panic(bytes: Vec<u8>, text: String) {
        let _ = Note::parse(&bytes);
        let _ = Checkpoint::parse(&text);
        let _ = ProofFile::parse(text.as_bytes());
        let _ = VerifierKey::parse(&text);
    }
}

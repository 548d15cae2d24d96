//! Signed notes: a text and the signatures below it (signed-note, and for cosignatures
//! tlog-cosignature, Ed25519 only). ECDSA is verified alone, for logs that are older.
//!
//! Signing takes two steps: a [`Draft`] or [`Note`] names the bytes to sign, whoever holds the key
//! signs them, and the signature is attached if it verifies.

mod key;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::UnixTime;

pub use key::{KeyError, KeyKind, VerifierKey};

// signed-note, Format: "Verifiers SHOULD apply a maximum limit to the number of signatures in a
// note (or, equivalently, to the overall size of a note), but MUST accept at least up to 16
// signatures."
/// Signature lines a note can have.
pub const SIGNATURES_MAX: usize = 64;
/// Bytes a note can have: 64 signatures of 5 kB in base64, and a text.
pub const NOTE_BYTES_MAX: usize = 512 * 1024;

/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;
// tlog-cosignature, Format: "It MUST NOT exceed 2^63 - 1".
const TIMESTAMP_MAX: u64 = i64::MAX as u64;

/// A text that nobody has signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    text: String,
}

impl Draft {
    /// A text that can become a note: it ends in a newline and has no other control characters.
    pub fn new(text: String) -> Result<Self, ParseError> {
        check_characters(&text)?;
        // signed-note, Format: "A signed note consists of a text ending in newline (U+000A)".
        if !text.ends_with('\n') {
            return Err(ParseError::NoNewline);
        }
        Ok(Self { text })
    }

    /// The bytes that an Ed25519 key signs.
    pub fn signing_input(&self) -> &[u8] {
        // signed-note, Ed25519 signatures: "generated according to [RFC 8032][] over the note
        // text."
        self.text.as_bytes()
    }

    /// The note with its first signature, which must verify.
    pub fn attach(
        self,
        key: &VerifierKey,
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<Note, AttachError> {
        if key.kind() != KeyKind::Ed25519 {
            return Err(AttachError::Kind { name: key.name().to_owned() });
        }
        let line = SignatureLine {
            name: key.name().to_owned(),
            id: key.id(),
            signature: signature.to_vec(),
        };
        if verify_line(&self.text, &line, key).is_err() {
            return Err(AttachError::Signature { name: key.name().to_owned() });
        }
        Ok(Note { text: self.text, signatures: vec![line] })
    }
}

/// A text with signatures that nobody has verified yet: only [`Note::verify`] lets it be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl Note {
    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(ParseError::TooLong { bytes: bytes.len() });
        }
        let note = str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8)?;
        check_characters(note)?;
        // signed-note, Format: "The note text MAY contain empty lines; the text is separated from
        // the signatures by the last empty line in the note." The text keeps its newline.
        let gap = note.rfind("\n\n").ok_or(ParseError::NoSignatures)?;
        let (text, block) = note.split_at_checked(gap + 1).ok_or(ParseError::NoSignatures)?;
        let block = block.strip_prefix('\n').ok_or(ParseError::NoSignatures)?;
        let lines = block.strip_suffix('\n').ok_or(ParseError::NoSignatures)?;
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(ParseError::TooManySignatures);
        }
        let signatures = lines
            .split('\n')
            .enumerate()
            .map(|(line, text)| {
                SignatureLine::parse(text).ok_or(ParseError::SignatureLine { line })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Checks the signatures of the keys that are known and returns the text with who signed it.
    pub fn verify(&self, known: &[VerifierKey]) -> Result<Opened, VerifyError> {
        let mut signers: Vec<Signed> = Vec::new();
        for line in &self.signatures {
            // signed-note, Signatures: "Verifiers MUST ignore signatures from unknown keys, even
            // if they share a name or ID (but not both) with a known key."
            let mut keys = known.iter().filter(|k| k.name() == line.name && k.id() == line.id);
            let Some(key) = keys.next() else { continue };
            if keys.any(|other| other != key) {
                return Err(VerifyError::Ambiguous { name: line.name.clone(), id: line.id });
            }
            // "If the key name and ID match a known key, verifiers MUST verify the signature. If a
            // signature from a known key fails to verify, clients SHOULD reject the whole note."
            let time = verify_line(&self.text, line, key)?;
            if !signers.iter().any(|signed| signed.key == *key) {
                signers.push(Signed { key: key.clone(), time });
            }
        }
        // "If no signature from a known key verifies successfully, clients MUST reject the note."
        if signers.is_empty() {
            return Err(VerifyError::NoKnownKey);
        }
        Ok(Opened { text: self.text.clone(), signers })
    }

    /// The bytes that a witness signs at `time`.
    pub fn cosigning_input(&self, time: UnixTime) -> Vec<u8> {
        cosigned_message(&self.text, time.seconds())
    }

    /// Adds the cosignature of a witness, which must verify.
    pub fn attach_cosignature(
        &mut self,
        key: &VerifierKey,
        time: UnixTime,
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), AttachError> {
        if key.kind() != KeyKind::Cosignature {
            return Err(AttachError::Kind { name: key.name().to_owned() });
        }
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(AttachError::Full);
        }
        // tlog-cosignature, Format: "struct { u64 timestamp; [...] opaque ed25519_signature[64]; }"
        let mut bytes = time.seconds().to_be_bytes().to_vec();
        bytes.extend_from_slice(signature);
        let name = key.name().to_owned();
        let line = SignatureLine { name, id: key.id(), signature: bytes };
        if verify_line(&self.text, &line, key).is_err() {
            return Err(AttachError::Signature { name: line.name });
        }
        self.signatures.push(line);
        Ok(())
    }
}

/// The note as it is published.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| {
            let mut bytes = line.id.to_be_bytes().to_vec();
            bytes.extend_from_slice(&line.signature);
            // signed-note, Signatures: "— <key name> base64(32-bit key ID || signature)"
            writeln!(f, "\u{2014} {} {}", line.name, STANDARD.encode(bytes))
        })
    }
}

/// A text that at least one known key signed, and no known key signed wrongly.
/// Made only by [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    text: String,
    signers: Vec<Signed>,
}

impl Opened {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The known keys that signed, each once.
    pub fn signers(&self) -> &[Signed] {
        &self.signers
    }
}

/// A key whose signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub key: VerifierKey,
    /// When a witness says that it cosigned.
    pub time: Option<UnixTime>,
}

/// Why bytes are no signed note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("a note of {bytes} bytes")]
    TooLong { bytes: usize },
    #[error("the note is not UTF-8")]
    NotUtf8,
    #[error("the note has a control character at byte {at}")]
    ControlCharacter { at: usize },
    #[error("the text does not end in a newline")]
    NoNewline,
    #[error("the note has no block of signatures")]
    NoSignatures,
    #[error("the note has more signatures than can be read")]
    TooManySignatures,
    #[error("signature line {line} is malformed")]
    SignatureLine { line: usize },
}

/// Why a note is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("no key that is known here signed the note")]
    NoKnownKey,
    #[error("the signature of `{name}` ({id:08x}) does not verify")]
    Signature { name: String, id: u32 },
    #[error("the cosignature of `{name}` ({id:08x}) is malformed")]
    Cosignature { name: String, id: u32 },
    #[error("two known keys are called `{name}` ({id:08x})")]
    Ambiguous { name: String, id: u32 },
}

/// Why a signature was not attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    #[error("the key of `{name}` makes another kind of signature")]
    Kind { name: String },
    #[error("the signature made by `{name}` does not verify")]
    Signature { name: String },
    #[error("the note has as many signatures as can be read")]
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SignatureLine {
    name: String,
    id: u32,
    signature: Vec<u8>,
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        // signed-note, Format: "em dash (U+2014), space (U+0020), key name, space, base64-encoded
        // signature, newline".
        let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        if !key::is_name(name) {
            return None;
        }
        let bytes = STANDARD.decode(signature).ok()?;
        // "Signatures are the base64 encoding of 4+n bytes. The first four bytes in the signature
        // are the uint32 key ID stored in big-endian order."
        let (id, signature) = bytes.split_first_chunk()?;
        if signature.is_empty() {
            return None;
        }
        let id = u32::from_be_bytes(*id);
        Some(Self { name: name.to_owned(), id, signature: signature.to_vec() })
    }
}

/// Verifies one line; returns the time that a cosignature carries.
fn verify_line(
    text: &str,
    line: &SignatureLine,
    key: &VerifierKey,
) -> Result<Option<UnixTime>, VerifyError> {
    let evidence = || (line.name.clone(), line.id);
    let wrong = |()| {
        let (name, id) = evidence();
        VerifyError::Signature { name, id }
    };
    match key.kind() {
        KeyKind::Ed25519 | KeyKind::Ecdsa => {
            key.verify(text.as_bytes(), &line.signature).map_err(wrong)?;
            Ok(None)
        }
        KeyKind::Cosignature => {
            let parts = line.signature.split_first_chunk();
            let parts = parts.map(|(time, rest)| (u64::from_be_bytes(*time), rest));
            let Some((seconds, signature)) = parts.filter(|(time, _)| *time <= TIMESTAMP_MAX)
            else {
                let (name, id) = evidence();
                return Err(VerifyError::Cosignature { name, id });
            };
            key.verify(&cosigned_message(text, seconds), signature).map_err(wrong)?;
            Ok(Some(UnixTime::from_seconds(seconds)))
        }
    }
}

fn cosigned_message(text: &str, seconds: u64) -> Vec<u8> {
    // tlog-cosignature, Ed25519 signed message: "two newline (U+000A) terminated lines (one header
    // line and one timestamp line) followed by the whole note body of the cosigned checkpoint".
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

fn check_characters(text: &str) -> Result<(), ParseError> {
    // signed-note, Format: "MUST NOT contain any ASCII control characters (those below U+0020)
    // other than newline."
    match text.bytes().position(|byte| byte < 0x20 && byte != b'\n') {
        Some(at) => Err(ParseError::ControlCharacter { at }),
        None => Ok(()),
    }
}

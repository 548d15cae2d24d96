//! Commands and responses (TPM 2.0 Part 3), as far as somebody here needs them.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::Duration;

use tpm::wire::{Reader, Writer};
use tpm::{Hash, Malformed, PcrSelection, Public, Signature};
use zeroize::Zeroizing;

use crate::address::{Address, Transport};

/// A handle: an object, a session, a hierarchy or an index.
pub type Handle = u32;
/// `TPM_RH_OWNER`.
pub const OWNER: Handle = 0x4000_0001;
/// `TPM_RH_ENDORSEMENT`.
pub const ENDORSEMENT: Handle = 0x4000_000b;
/// `TPM_RH_NULL`.
const NO_HANDLE: Handle = 0x4000_0007;
/// `TPM_RS_PW`: the authorization is a password.
const PASSWORD: Handle = 0x4000_0009;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const NULL: u16 = 0x0010;
/// `TPM_ST_HASHCHECK`.
const HASH_CHECK: u16 = 0x8024;
/// `TPM_SE_POLICY`.
const POLICY: u8 = 1;
/// Responses that mean "ask again": `TPM_RC_YIELDED`, `TPM_RC_TESTING`, `TPM_RC_RETRY`.
const AGAIN: [u32; 3] = [0x908, 0x90a, 0x922];
const TURNS_MAX: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// What is read of an index at once, in bytes: less than any TPM's buffer.
const NV_PART: u16 = 512;

/// Why a TPM did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// It cannot be reached.
    #[error("the tpm at `{address}` cannot be used: {source}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It refused.
    #[error("the tpm refused {command} with `{code:#x}`{}", meaning(*code))]
    Refused {
        /// The command.
        command: &'static str,
        /// Its response code.
        code: u32,
    },
    /// What it said does not read.
    #[error("the tpm's answer to {command} does not read: {why}")]
    Response {
        /// The command.
        command: &'static str,
        /// What is wrong.
        why: Malformed,
    },
}

/// Part 2 §6.6, the codes that operators meet, whatever handle or parameter they are about.
fn meaning(code: u32) -> &'static str {
    const FORMAT_ONE: u32 = 0x80;
    if code & FORMAT_ONE == 0 {
        return match code {
            0x100 => ": it was not started",
            0x921 => ": it is locked after too many wrong authorizations",
            0x902 => ": it has no place for another key",
            _ => "",
        };
    }
    match code & 0x3f {
        0x0b => ": there is no such handle",
        0x0e | 0x22 => ": an authorization is wrong",
        0x1f => {
            ": the blob was not made under this parent; was the parent's template another one, or \
             the tpm cleared since?"
        }
        0x04 | 0x0a | 0x14 => ": it does not support this kind of key",
        _ => "",
    }
}

/// What a key was loaded or made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// TPM2B_PRIVATE without its size: wrapped by the TPM, of use to no other.
    pub private: Vec<u8>,
    /// TPMT_PUBLIC.
    pub public: Vec<u8>,
}

/// How a handle is authorized.
#[derive(Debug)]
pub enum Auth<'a> {
    /// By a password, empty for none.
    Password(&'a [u8]),
    /// By a session.
    Session(Handle),
}

/// An open TPM.
#[derive(Debug)]
pub struct Tpm {
    transport: Transport,
    address: Address,
}

/// The parameters of a command, and the code by which it is known.
struct Command {
    name: &'static str,
    code: u32,
    returns_handle: bool,
}

const fn command(name: &'static str, code: u32) -> Command {
    Command { name, code, returns_handle: false }
}

const fn making(name: &'static str, code: u32) -> Command {
    Command { name, code, returns_handle: true }
}

/// A response without its header: the handle, if there is one, and the parameters.
struct Answer {
    command: &'static str,
    handle: Handle,
    parameters: Vec<u8>,
}

impl Answer {
    /// Reads the parameters; what follows them is passed over.
    fn read<T>(
        &self,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, TpmError> {
        let mut reader = Reader::new(&self.parameters);
        let read = reader.as_mut().map_err(|why| *why).and_then(read);
        read.map_err(|why| TpmError::Response { command: self.command, why })
    }
}

impl Tpm {
    /// Opens the way there.
    pub fn open(address: &Address) -> Result<Self, TpmError> {
        let transport = address.open().map_err(|source| unreachable_at(address, source))?;
        Ok(Self { transport, address: address.clone() })
    }

    /// Part 1 §18: header, handles, authorizations, parameters.
    fn run(
        &mut self,
        command: &Command,
        handles: &[Handle],
        auths: &[Auth<'_>],
        parameters: &[u8],
    ) -> Result<Answer, TpmError> {
        let sent = written(command, handles, auths, parameters);
        for _ in 0..TURNS_MAX {
            let exchanged = self.transport.exchange(&sent);
            let response = exchanged.map_err(|source| unreachable_at(&self.address, source))?;
            let name = command.name;
            let (code, answer) = answered(command, &response)
                .map_err(|why| TpmError::Response { command: name, why })?;
            match code {
                0 => return Ok(answer),
                code if AGAIN.contains(&code) => thread::sleep(PAUSE),
                code => return Err(TpmError::Refused { command: name, code }),
            }
        }
        Err(TpmError::Refused { command: command.name, code: 0x922 })
    }

    /// Part 3 §24.1. Returns the handle and the TPMT_PUBLIC.
    pub fn create_primary(
        &mut self,
        hierarchy: Handle,
        auth: &[u8],
        template: &Public,
    ) -> Result<(Handle, Vec<u8>), TpmError> {
        let answer = self.run(
            &making("TPM2_CreatePrimary", 0x131),
            &[hierarchy],
            &[Auth::Password(auth)],
            &creation(template),
        )?;
        let public = answer.read(|reader| reader.sized().map(<[u8]>::to_vec))?;
        Ok((answer.handle, public))
    }

    /// Part 3 §12.1.
    pub fn create(&mut self, parent: Handle, template: &Public) -> Result<Made, TpmError> {
        let parameters = creation(template);
        let (command, auths) = (command("TPM2_Create", 0x153), [Auth::Password(&[])]);
        self.run(&command, &[parent], &auths, &parameters)?.read(|reader| {
            Ok(Made { private: reader.sized()?.to_vec(), public: reader.sized()?.to_vec() })
        })
    }

    /// Part 3 §12.2.
    pub fn load(&mut self, parent: Handle, key: &Made) -> Result<Handle, TpmError> {
        let parameters = Writer::default().sized(&key.private).sized(&key.public).into_bytes();
        let (command, auths) = (making("TPM2_Load", 0x157), [Auth::Password(&[])]);
        Ok(self.run(&command, &[parent], &auths, &parameters)?.handle)
    }

    /// Part 3 §28.4.
    pub fn flush(&mut self, handle: Handle) -> Result<(), TpmError> {
        let parameters = Writer::default().u32(handle).into_bytes();
        self.run(&command("TPM2_FlushContext", 0x165), &[], &[], &parameters).map(|_| ())
    }

    /// Part 3 §11.1 and §23.4: a policy session that satisfies PolicyA.
    pub fn endorsement_session(&mut self, auth: &[u8]) -> Result<Handle, TpmError> {
        let parameters = Writer::default()
            .sized(&[0; 16])
            .sized(&[])
            .u8(POLICY)
            .u16(NULL)
            .u16(Hash::Sha256.id())
            .into_bytes();
        let start = making("TPM2_StartAuthSession", 0x176);
        let session = self.run(&start, &[NO_HANDLE, NO_HANDLE], &[], &parameters)?.handle;
        // Nonce, cpHash and policyRef are empty, and it does not expire.
        let parameters = Writer::default().sized(&[]).sized(&[]).sized(&[]).u32(0).into_bytes();
        let satisfied = self.run(
            &command("TPM2_PolicySecret", 0x151),
            &[ENDORSEMENT, session],
            &[Auth::Password(auth)],
            &parameters,
        );
        if satisfied.is_err() {
            let _ = self.flush(session);
        }
        satisfied.map(|_| session)
    }

    /// Part 3 §12.5. The session ends with it.
    pub fn activate(
        &mut self,
        attestation: Handle,
        endorsement: Handle,
        session: Handle,
        credential: (&[u8], &[u8]),
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let parameters = Writer::default().sized(credential.0).sized(credential.1).into_bytes();
        let activated = self.run(
            &command("TPM2_ActivateCredential", 0x147),
            &[attestation, endorsement],
            &[Auth::Password(&[]), Auth::Session(session)],
            &parameters,
        );
        if activated.is_err() {
            let _ = self.flush(session);
        }
        activated?.read(|reader| reader.sized().map(|secret| Zeroizing::new(secret.to_vec())))
    }

    /// Part 3 §18.2: TPMS_ATTEST and TPMT_SIGNATURE.
    pub fn certify(
        &mut self,
        key: (Handle, &[u8]),
        attestation: Handle,
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let parameters = Writer::default().sized(&[]).u16(NULL).into_bytes();
        let answer = self.run(
            &command("TPM2_Certify", 0x148),
            &[key.0, attestation],
            &[Auth::Password(key.1), Auth::Password(&[])],
            &parameters,
        )?;
        answer.read(attested)
    }

    /// Part 3 §18.4: TPMS_ATTEST and TPMT_SIGNATURE.
    pub fn quote(
        &mut self,
        attestation: Handle,
        nonce: &[u8],
        pcrs: &PcrSelection,
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let front = Writer::default().sized(nonce).u16(NULL);
        let parameters = PcrSelection::write_list(std::slice::from_ref(pcrs), front).into_bytes();
        let (command, auths) = (command("TPM2_Quote", 0x158), [Auth::Password(&[])]);
        self.run(&command, &[attestation], &auths, &parameters)?.read(attested)
    }

    /// Part 3 §15.4 and §20.2: the TPM hashes, so that a restricted key signs too.
    pub fn sign(
        &mut self,
        key: (Handle, &[u8]),
        hash: Hash,
        scheme: Option<tpm::Scheme>,
        message: &[u8],
    ) -> Result<Signature, TpmError> {
        let parameters = Writer::default().sized(message).u16(hash.id()).u32(OWNER).into_bytes();
        let hashed = self.run(&command("TPM2_Hash", 0x17d), &[], &[], &parameters)?;
        // The digest, and behind it the ticket as it is.
        let parameters = hashed.read(|reader| {
            let digest = Writer::default().sized(reader.sized()?);
            Ok(tpm::Scheme::write(scheme, digest).bytes(reader.rest()).into_bytes())
        })?;
        let (command, auths) = (command("TPM2_Sign", 0x15d), [Auth::Password(key.1)]);
        self.run(&command, &[key.0], &auths, &parameters)?.read(Signature::read)
    }

    /// Part 3 §20.2, of what was hashed here: for keys that are not restricted.
    pub fn sign_digest(
        &mut self,
        key: Handle,
        digest: &[u8],
        scheme: Option<tpm::Scheme>,
    ) -> Result<Signature, TpmError> {
        let digest = Writer::default().sized(digest);
        // Part 3 §20.2: a restricted key alone needs the ticket of a hash; this is a null one.
        let ticket = tpm::Scheme::write(scheme, digest).u16(HASH_CHECK).u32(NO_HANDLE).sized(&[]);
        let (command, auths) = (command("TPM2_Sign", 0x15d), [Auth::Password(&[])]);
        self.run(&command, &[key], &auths, &ticket.into_bytes())?.read(Signature::read)
    }

    /// Part 3 §22.4, as often as the TPM needs for all of them.
    pub fn pcrs(&mut self, indices: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, TpmError> {
        let mut values = BTreeMap::new();
        for _ in 0..indices.len() {
            let missing = indices.iter().copied().filter(|index| !values.contains_key(index));
            let asked = PcrSelection::new(Hash::Sha256, missing);
            if asked.indices().is_empty() {
                break;
            }
            let parameters = PcrSelection::write_list(&[asked], Writer::default()).into_bytes();
            let answer = self.run(&command("TPM2_PCR_Read", 0x17e), &[], &[], &parameters)?;
            let (found, digests) = answer.read(|reader| {
                let _counter = reader.u32()?;
                let found = PcrSelection::read_list(reader)?;
                let count = reader.u32()?.min(u32::from(tpm::PCRS_MAX));
                let digests = (0..count).map(|_| reader.sized().map(<[u8]>::to_vec));
                Ok((found, digests.collect::<Result<Vec<_>, _>>()?))
            })?;
            values.extend(found.iter().flat_map(PcrSelection::indices).zip(digests));
        }
        Ok(values)
    }

    /// Part 3 §31.6 and §31.13: the contents of an index that anybody may read.
    pub fn nv(&mut self, index: Handle) -> Result<Vec<u8>, TpmError> {
        let public = self.run(&command("TPM2_NV_ReadPublic", 0x169), &[index], &[], &[])?;
        let size = public.read(|reader| {
            let mut area = Reader::new(reader.sized()?)?;
            let _index_name_attributes = (area.u32()?, area.u16()?, area.u32()?);
            let _policy = area.sized()?;
            area.u16()
        })?;
        let mut contents = Vec::new();
        while contents.len() < usize::from(size) {
            let offset = u16::try_from(contents.len()).unwrap_or(size);
            let part = size.saturating_sub(offset).min(NV_PART);
            let parameters = Writer::default().u16(part).u16(offset).into_bytes();
            let (command, auths) = (command("TPM2_NV_Read", 0x14e), [Auth::Password(&[])]);
            let answer = self.run(&command, &[index, index], &auths, &parameters)?;
            let read = answer.read(|reader| reader.sized().map(<[u8]>::to_vec))?;
            if read.is_empty() {
                break;
            }
            contents.extend(read);
        }
        Ok(contents)
    }
}

fn unreachable_at(address: &Address, source: io::Error) -> TpmError {
    TpmError::Unreachable { address: address.to_string(), source }
}

/// TPM2B_SENSITIVE_CREATE without authorization and data, the template, no outside data, no PCRs.
fn creation(template: &Public) -> Vec<u8> {
    let sensitive = Writer::default().sized(&[]).sized(&[]).into_bytes();
    let front = Writer::default().sized(&sensitive).sized(&template.to_bytes());
    front.sized(&[]).u32(0).into_bytes()
}

/// TPM2B_ATTEST, TPMT_SIGNATURE.
fn attested(reader: &mut Reader<'_>) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    Ok((reader.sized()?.to_vec(), Signature::read(reader)?.to_bytes()))
}

fn written(
    command: &Command,
    handles: &[Handle],
    auths: &[Auth<'_>],
    parameters: &[u8],
) -> Zeroizing<Vec<u8>> {
    let mut area = Writer::default();
    for auth in auths {
        // TPMS_AUTH_COMMAND: session, nonce, attributes, password or HMAC.
        area = match auth {
            Auth::Password(password) => area.u32(PASSWORD).sized(&[]).u8(0).sized(password),
            Auth::Session(session) => area.u32(*session).sized(&[]).u8(0).sized(&[]),
        };
    }
    let area = Zeroizing::new(area.into_bytes());
    let mut body = handles.iter().fold(Writer::default(), |body, handle| body.u32(*handle));
    if !auths.is_empty() {
        body = body.u32(u32::try_from(area.len()).unwrap_or(u32::MAX)).bytes(&area);
    }
    let body = Zeroizing::new(body.bytes(parameters).into_bytes());
    let size = u32::try_from(body.len().saturating_add(10)).unwrap_or(u32::MAX);
    let tag = if auths.is_empty() { NO_SESSIONS } else { SESSIONS };
    let whole = Writer::default().u16(tag).u32(size).u32(command.code).bytes(&body);
    Zeroizing::new(whole.into_bytes())
}

fn answered(command: &Command, response: &[u8]) -> Result<(u32, Answer), Malformed> {
    let mut reader = Reader::new(response)?;
    let (tag, size, code) = (reader.u16()?, reader.u32()?, reader.u32()?);
    if usize::try_from(size) != Ok(response.len()) {
        return Err(Malformed::Size { what: "a response", bytes: response.len() });
    }
    let mut answer = Answer { command: command.name, handle: 0, parameters: Vec::new() };
    if code != 0 {
        return Ok((code, answer));
    }
    if command.returns_handle {
        answer.handle = reader.u32()?;
    }
    answer.parameters = if tag == SESSIONS {
        let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        reader.bytes(size)?.to_vec()
    } else {
        reader.rest().to_vec()
    };
    Ok((code, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_1_18_a_command_is_framed() {
        let hash = command("TPM2_Hash", 0x17d);
        assert_eq!(*written(&hash, &[], &[], &[7]), [0x80, 1, 0, 0, 0, 11, 0, 0, 1, 0x7d, 7]);
        let load = making("TPM2_Load", 0x157);
        let sent = written(&load, &[0x8000_0000], &[Auth::Password(b"pw")], &[7]);
        let expect = [
            &[0x80, 2, 0, 0, 0, 30, 0, 0, 1, 0x57, 0x80, 0, 0, 0, 0, 0, 0, 11][..],
            &[0x40, 0, 0, 9, 0, 0, 0, 0, 2, b'p', b'w', 7],
        ];
        assert_eq!(*sent, expect.concat());
    }

    #[test]
    fn part_1_18_a_response_is_read_strictly() {
        let load = making("TPM2_Load", 0x157);
        let read = |bytes: &[u8]| {
            answered(&load, bytes).map(|(code, it)| (code, it.handle, it.parameters))
        };
        let good = [0x80, 2, 0, 0, 0, 19, 0, 0, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 1, 7];
        assert_eq!(read(&good), Ok((0, 0x8000_0001, vec![7])));
        assert_eq!(read(&good[..18]), Err(Malformed::Size { what: "a response", bytes: 18 }));
        let refused = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0xdf];
        assert_eq!(read(&refused), Ok((0x1df, 0, Vec::new())));
        let cut = [0x80, 2, 0, 0, 0, 12, 0, 0, 0, 0, 0x80, 0];
        assert_eq!(read(&cut), Err(Malformed::Short));
    }

    #[test]
    fn part_2_6_6_codes_that_operators_meet_are_explained() {
        for (code, words) in [
            (0x1df, "not made under this parent"),
            (0x98e, "authorization"),
            (0x9a2, "authorization"),
            (0x18b, "no such handle"),
            (0x921, "locked"),
        ] {
            let told = TpmError::Refused { command: "TPM2_Load", code }.to_string();
            assert!(told.contains(words), "{told}");
        }
    }
}

//! One token: a session each thread, and what is done in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session as RawSession, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use env::{Handle, Purpose};
use jose::{Algorithm, PublicKey, Signature};
use zeroize::Zeroizing;

use super::module::{Module, State};
use super::object::{Curve, UNFINISHED, label, search};
use crate::file::{self, FileError, NOT_OWNER_NOR_READING_GROUP};

/// The longest PIN, in bytes.
const PIN_BYTES_MAX: usize = 1_024;
/// The most keys that are looked at in one token for one purpose.
const FOUND_MAX: usize = crate::WORKLOAD_KEYS_MAX;
/// What a new key signs before it is believed.
const PROBE: &[u8] = b"aims: does this key sign";

/// Which token, as the settings name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The module: a shared library of the token's maker.
    pub module: PathBuf,
    /// The label of the token.
    pub label: String,
    /// The file with its PIN.
    pub pin_file: PathBuf,
}

/// Why a token did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its module cannot be used.
    #[error("the pkcs#11 module `{}` cannot be used: {error}", path.display())]
    Module {
        /// The module.
        path: PathBuf,
        /// What is wrong.
        error: Error,
    },
    /// The module shows no such token.
    #[error("there is no token `{label}`")]
    Absent {
        /// What it should be called.
        label: String,
    },
    /// Two tokens have that name.
    #[error("several tokens are called `{label}`")]
    Several {
        /// The name.
        label: String,
    },
    /// It was gone a moment ago.
    #[error("the token is away")]
    Away,
    /// The file with the PIN is not used.
    #[error(transparent)]
    PinFile(#[from] FileError),
    /// The file holds no PIN.
    #[error("`{}` holds no pin", path.display())]
    Pin {
        /// The file.
        path: PathBuf,
    },
    /// The token does not take the PIN.
    #[error("the token `{label}` does not take the pin: {error}")]
    WrongPin {
        /// The token.
        label: String,
        /// What it said.
        error: Error,
    },
    /// It did not take this PIN before; a token locks itself after some wrong ones.
    #[error("the token `{label}` refused this pin before; it is not tried again")]
    RefusedBefore {
        /// The token.
        label: String,
    },
    /// There is no such key in it.
    #[error("the token holds no key `{0}`")]
    NoKey(String),
    /// A key was not made as it was asked for.
    #[error("the token made a key that {0}")]
    BadKey(&'static str),
    /// Nobody waits for the answer any longer.
    #[error("the token answered too late")]
    TooLate,
    /// It refused.
    #[error("the token refused: {0}")]
    Refused(#[from] Error),
}

impl TokenError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Module { .. } => "check `module` in `[keys]`, and what its maker says of it",
            Self::Absent { .. } | Self::Away => {
                "put the token in, or check `token` in `[keys]`; nothing has to be restarted"
            }
            Self::Several { .. } => "give each token a label of its own",
            Self::PinFile(error) => return error.hint(),
            Self::Pin { .. } => "write the pin into it, and nothing else",
            Self::WrongPin { .. } | Self::RefusedBefore { .. } => {
                "put the right pin into `pin_file`; the next order reads it"
            }
            Self::NoKey(_) => "give the token back that it was made in, or let a new key be made",
            Self::BadKey(_) => "use another token: this one does not keep keys to itself",
            Self::TooLate | Self::Refused(_) => "see what the token's own tools and log say",
        }
        .to_owned()
    }

    /// Whether another try may help: its session, or the whole token, was lost.
    fn is_lost(&self) -> bool {
        let why = match self {
            // A token that was taken out and put back holds nothing for some modules.
            Self::Absent { .. } | Self::NoKey(_) => return true,
            Self::Refused(Error::Pkcs11(why, _)) => why,
            _ => return false,
        };
        matches!(
            why,
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::DeviceError
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::SlotIdInvalid
                | RvError::CryptokiNotInitialized
                | RvError::ObjectHandleInvalid
                | RvError::KeyHandleInvalid
                | RvError::GeneralError
                | RvError::FunctionFailed
        )
    }
}

/// A token that all threads of the process share.
#[derive(Debug)]
pub(crate) struct TokenAt {
    pub(crate) module: Arc<Module>,
    pub(crate) token: Token,
    /// SHA-256 of the PIN that was refused.
    refused: Mutex<Option<[u8; digest::SHA256_OUTPUT_LEN]>>,
}

impl TokenAt {
    pub(crate) fn new(module: Arc<Module>, token: Token) -> Self {
        Self { module, token, refused: Mutex::default() }
    }

    fn slot(&self, state: &State) -> Result<Slot, TokenError> {
        let label = &self.token.label;
        let mut found = Vec::new();
        for slot in state.library.get_slots_with_token()? {
            // One that cannot be asked now is not the one that is looked for.
            let info = state.library.get_token_info(slot);
            if info.is_ok_and(|info| info.label().trim_end() == label) {
                found.push(slot);
            }
        }
        match found.as_slice() {
            [slot] => Ok(*slot),
            [] => Err(TokenError::Absent { label: label.clone() }),
            _ => Err(TokenError::Several { label: label.clone() }),
        }
    }

    fn open(&self, state: &State) -> Result<Open, TokenError> {
        let slot = self.slot(state)?;
        // Closed here and never by dropping: after the module began anew, the same number may be
        // another's session.
        let session = state.library.open_rw_session_no_drop(slot)?;
        match self.login(&session) {
            Ok(()) => Ok(Open { generation: state.generation, session, found: HashMap::new() }),
            Err(why) => {
                let _ = session.close();
                Err(why)
            }
        }
    }

    fn login(&self, session: &RawSession) -> Result<(), TokenError> {
        let label = || self.token.label.clone();
        let pin = read_pin(&self.token.pin_file)?;
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, pin.as_bytes()).as_ref());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if *refused == Some(hash) {
            return Err(TokenError::RefusedBefore { label: label() });
        }
        match session.login(UserType::User, Some(&AuthPin::from(pin.as_str()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(
                error @ Error::Pkcs11(
                    RvError::PinIncorrect
                    | RvError::PinInvalid
                    | RvError::PinLenRange
                    | RvError::PinExpired
                    | RvError::PinLocked,
                    _,
                ),
            ) => {
                *refused = Some(hash);
                Err(TokenError::WrongPin { label: label(), error })
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn read_pin(path: &Path) -> Result<Zeroizing<String>, TokenError> {
    let bytes = file::read(path, NOT_OWNER_NOR_READING_GROUP, PIN_BYTES_MAX)?;
    let none = || TokenError::Pin { path: path.to_owned() };
    let pin = std::str::from_utf8(&bytes).map_err(|_| none())?;
    let pin = pin.trim_end_matches(['\r', '\n']);
    if pin.is_empty() { Err(none()) } else { Ok(Zeroizing::new(pin.to_owned())) }
}

/// A session that is open.
struct Open {
    generation: u64,
    session: RawSession,
    found: HashMap<Vec<u8>, ObjectHandle>,
}

/// One thread's session; opened when it is needed, and again when it was lost.
pub(crate) struct Session {
    at: Arc<TokenAt>,
    open: Option<Open>,
}

impl Session {
    pub(crate) fn new(at: Arc<TokenAt>) -> Self {
        Self { at, open: None }
    }

    /// Does `work` in a session, and once more in a new one if it was lost meanwhile.
    fn with<T>(
        &mut self,
        work: impl Fn(&mut Open) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        match self.once(&work) {
            Err((generation, why)) if why.is_lost() => {
                self.open = None;
                self.at.module.begin_anew(generation)?;
                self.once(&work).map_err(|(_, again)| again)
            }
            other => other.map_err(|(_, why)| why),
        }
    }

    fn once<T>(
        &mut self,
        work: impl Fn(&mut Open) -> Result<T, TokenError>,
    ) -> Result<T, (u64, TokenError)> {
        let state = self.at.module.state().map_err(|why| (0, why))?;
        let generation = state.generation;
        let mut open = match self.open.take().filter(|open| open.generation == generation) {
            Some(open) => open,
            None => self.at.open(&state).map_err(|why| (generation, why))?,
        };
        let done = work(&mut open).map_err(|why| (generation, why));
        self.open = Some(open);
        done
    }

    /// Whether keys for `algorithm` can be made and used here.
    pub(crate) fn takes(&mut self, algorithm: Algorithm) -> Result<bool, TokenError> {
        let Some(curve) = Curve::of(algorithm) else { return Ok(false) };
        let state = self.at.module.state()?;
        let can = state.library.get_mechanism_list(self.at.slot(&state)?)?;
        Ok(curve.needs().iter().all(|needed| can.contains(needed)))
    }

    /// Makes a key that never leaves, and tries it. `is_late` asks whether it is still wanted.
    pub(crate) fn generate(
        &mut self,
        owner: &str,
        purpose: Purpose,
        algorithm: Algorithm,
        is_late: impl Fn() -> bool,
    ) -> Result<PublicKey, TokenError> {
        let curve = Curve::of(algorithm).ok_or(TokenError::BadKey("nobody asked for"))?;
        let label = label(owner, purpose);
        self.with(|open| {
            let (public, private) = curve.templates(&label);
            let pair = open.session.generate_key_pair(&curve.generation(), &public, &private)?;
            let made = open.finish(curve, pair).and_then(|(id, key)| {
                if is_late() { Err(TokenError::TooLate) } else { Ok((id, key)) }
            });
            match made {
                Ok((id, key)) => {
                    open.found.insert(id, pair.1);
                    Ok(key)
                }
                Err(why) => {
                    let _ = open.session.destroy_object(pair.1);
                    let _ = open.session.destroy_object(pair.0);
                    Err(why)
                }
            }
        })
    }

    /// Signs as JWS does.
    pub(crate) fn sign(
        &mut self,
        owner: &str,
        handle: &Handle,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Result<Signature, TokenError> {
        let curve = Curve::of(algorithm).ok_or_else(|| TokenError::NoKey(handle.to_string()))?;
        let label = label(owner, handle.purpose);
        self.with(|open| {
            let key = open.private(&label, handle)?;
            let (mechanism, data) = curve.signing(message);
            Ok(Signature::from_bytes(&open.session.sign(&mechanism, key, &data)?))
        })
    }

    /// Destroys both halves.
    pub(crate) fn destroy(&mut self, owner: &str, handle: &Handle) -> Result<(), TokenError> {
        let (label, id) = (label(owner, handle.purpose), handle.id.as_bytes());
        self.with(|open| {
            open.found.remove(id);
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                for half in open.session.find_objects(&search(class, &label, Some(id)))? {
                    open.session.destroy_object(half)?;
                }
            }
            Ok(())
        })
    }

    /// The keys of a purpose. What a process left half made is removed: nobody was told of it.
    pub(crate) fn list(
        &mut self,
        owner: &str,
        purpose: Purpose,
    ) -> Result<Vec<PublicKey>, TokenError> {
        let label = label(owner, purpose);
        self.with(|open| {
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                let left = search(class, &label, Some(UNFINISHED));
                for half in open.session.find_objects(&left)? {
                    open.session.destroy_object(half)?;
                }
            }
            let mut keys = Vec::new();
            let publics = search(ObjectClass::PUBLIC_KEY, &label, None);
            for half in open.session.find_objects(&publics)?.into_iter().take(FOUND_MAX) {
                let point = open.point(half)?;
                let curves = [Curve::P256, Curve::Ed25519];
                keys.extend(curves.iter().find_map(|curve| curve.key(&point)));
            }
            Ok(keys)
        })
    }

    /// Signs with a key that others made, by its own label: that of a company's authority.
    pub(crate) fn sign_as(
        &mut self,
        label: &str,
        mechanism: &Mechanism<'_>,
        data: &[u8],
    ) -> Result<Vec<u8>, TokenError> {
        let template = search(ObjectClass::PRIVATE_KEY, label.as_bytes(), None);
        self.with(|open| match open.session.find_objects(&template)?.as_slice() {
            [key] => Ok(open.session.sign(mechanism, *key, data)?),
            [] => Err(TokenError::NoKey(label.to_owned())),
            _ => Err(TokenError::BadKey("shares its label with another")),
        })
    }
}

impl Open {
    /// Names a new key by its public half, and looks whether it is what was asked for.
    fn finish(
        &self,
        curve: Curve,
        (public, private): (ObjectHandle, ObjectHandle),
    ) -> Result<(Vec<u8>, PublicKey), TokenError> {
        let unread = TokenError::BadKey("does not read");
        let key = curve.key(&self.point(public)?).ok_or(unread)?;
        let kept = self
            .session
            .get_attributes(private, &[AttributeType::Sensitive, AttributeType::Extractable])?;
        let keeps = |wanted: &Attribute| kept.contains(wanted);
        if !keeps(&Attribute::Sensitive(true)) || !keeps(&Attribute::Extractable(false)) {
            return Err(TokenError::BadKey("could leave it"));
        }
        let (mechanism, data) = curve.signing(PROBE);
        let signature = self.session.sign(&mechanism, private, &data)?;
        if key.verify(curve.algorithm(), PROBE, &signature).is_err() {
            return Err(TokenError::BadKey("signs wrongly"));
        }
        let id = key.thumbprint().to_base64url().into_bytes();
        for half in [public, private] {
            self.session.update_attributes(half, &[Attribute::Id(id.clone())])?;
        }
        Ok((id, key))
    }

    fn point(&self, public: ObjectHandle) -> Result<Vec<u8>, TokenError> {
        let read = self.session.get_attributes(public, &[AttributeType::EcPoint])?;
        match read.into_iter().next() {
            Some(Attribute::EcPoint(point)) => Ok(point),
            _ => Err(TokenError::BadKey("has no point")),
        }
    }

    fn private(&mut self, label: &[u8], handle: &Handle) -> Result<ObjectHandle, TokenError> {
        let id = handle.id.as_bytes();
        if let Some(found) = self.found.get(id) {
            return Ok(*found);
        }
        let template = search(ObjectClass::PRIVATE_KEY, label, Some(id));
        let found = self.session.find_objects(&template)?.into_iter().next();
        let found = found.ok_or_else(|| TokenError::NoKey(handle.to_string()))?;
        self.found.insert(id.to_vec(), found);
        Ok(found)
    }
}

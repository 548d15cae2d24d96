//! A module that was loaded, and the way back to it when its token was away.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::TokenError;

/// The least time between two attempts to begin anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A module: one for the process, whatever components and tokens use it.
#[derive(Debug)]
pub(crate) struct Module {
    path: PathBuf,
    state: RwLock<State>,
}

/// INVARIANT: whoever calls the module holds the lock for reading; whoever ends and begins it, for
/// writing. PKCS #11 v3.0 §5.4: "the behavior of C_Finalize is undefined if it is called while
/// other threads are making Cryptoki calls."
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) library: Pkcs11,
    /// How often it was begun. What was opened under an earlier number is gone.
    pub(crate) generation: u64,
    is_begun: bool,
    begun: Instant,
}

impl Module {
    /// Loads a module, and begins.
    pub(crate) fn load(path: &Path) -> Result<Self, TokenError> {
        let unloadable = |error| TokenError::Module { path: path.to_owned(), error };
        let library = Pkcs11::new(path).map_err(unloadable)?;
        begin(&library).map_err(unloadable)?;
        let state = State { library, generation: 1, is_begun: true, begun: Instant::now() };
        Ok(Self { path: path.to_owned(), state: RwLock::new(state) })
    }

    /// The module as it is, for as long as this is held. One that did not begin again is begun.
    pub(crate) fn state(&self) -> Result<RwLockReadGuard<'_, State>, TokenError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.is_begun {
            return Ok(state);
        }
        let generation = state.generation;
        drop(state);
        self.begin_anew(generation)?;
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the module and begins it anew: a token that was taken out and is back is seen then.
    /// Nothing if that was done since `generation`, or a moment ago.
    pub(crate) fn begin_anew(&self, generation: u64) -> Result<(), TokenError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return Ok(());
        }
        if state.begun.elapsed() < AGAIN_AFTER {
            return if state.is_begun { Ok(()) } else { Err(TokenError::Away) };
        }
        if state.is_begun {
            // What it says does not matter: it is begun anew all the same.
            let _ = state.library.clone().finalize();
        }
        state.generation = state.generation.saturating_add(1);
        state.begun = Instant::now();
        let begun = begin(&state.library);
        state.is_begun = begun.is_ok();
        begun.map_err(|error| TokenError::Module { path: self.path.clone(), error })
    }
}

fn begin(library: &Pkcs11) -> Result<(), Error> {
    // PKCS #11 v3.0 §5.4: with this flag "the library can use the native operating system threading
    // model for locking".
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

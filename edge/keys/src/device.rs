//! The devices of this process: each module, token and TPM is opened once, whichever components use
//! it. An emulated TPM serves one caller at a time, and a module is begun once a process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chip::{Chip, TpmPlace};
use crate::pkcs11::{Module, Session, Token, TokenAt, TokenError};
use crate::store::DeviceError;
use crate::workers::{ANSWER_TIME_MAX, Workers};

/// Threads, each with a session, that serve a token.
pub(crate) const TOKEN_THREADS: usize = 4;

/// What is open. A clone is the same.
#[derive(Clone, Default)]
pub struct Devices(Arc<Mutex<Opened>>);

#[derive(Default)]
struct Opened {
    modules: HashMap<PathBuf, Arc<Module>>,
    tokens: HashMap<Token, Arc<Workers<Session>>>,
    tpms: Vec<(TpmPlace, Arc<Workers<Chip>>)>,
}

impl Devices {
    /// The threads of a token. Loading its module may take a while.
    pub(crate) async fn token(&self, token: &Token) -> Result<Arc<Workers<Session>>, DeviceError> {
        let (this, token) = (self.clone(), token.clone());
        let opened = tokio::task::spawn_blocking(move || this.open(&token)).await;
        opened.map_err(|error| DeviceError::Silent(error.to_string()))?
    }

    fn open(&self, token: &Token) -> Result<Arc<Workers<Session>>, DeviceError> {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workers) = opened.tokens.get(token) {
            return Ok(Arc::clone(workers));
        }
        let module = match opened.modules.get(&token.module) {
            Some(module) => Arc::clone(module),
            None => {
                let loaded = Module::load(&token.module).map(Arc::new);
                let loaded = loaded.map_err(|why: TokenError| DeviceError::from(why))?;
                opened.modules.insert(token.module.clone(), Arc::clone(&loaded));
                loaded
            }
        };
        let at = Arc::new(TokenAt::new(module, token.clone()));
        let states = (0..TOKEN_THREADS).map(|_| Session::new(Arc::clone(&at))).collect();
        let workers = Workers::start("token", states, ANSWER_TIME_MAX);
        let workers = Arc::new(workers.map_err(|error| DeviceError::Silent(error.to_string()))?);
        opened.tokens.insert(token.clone(), Arc::clone(&workers));
        Ok(workers)
    }

    /// The thread of a TPM.
    pub(crate) fn tpm(&self, place: &TpmPlace) -> Result<Arc<Workers<Chip>>, DeviceError> {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = opened.tpms.iter().find(|(known, _)| known.address == place.address);
        if let Some((_, workers)) = known {
            return Ok(Arc::clone(workers));
        }
        let states = vec![Chip::new(place.clone())];
        let workers = Workers::start("tpm", states, ANSWER_TIME_MAX);
        let workers = Arc::new(workers.map_err(|error| DeviceError::Silent(error.to_string()))?);
        opened.tpms.push((place.clone(), Arc::clone(&workers)));
        Ok(workers)
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Devices")
    }
}

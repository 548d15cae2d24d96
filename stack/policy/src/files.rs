//! The files of a policy set: bounded, named, and hashed into its version.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use pdp::PolicyVersion;
use serde::{Deserialize, Serialize};

/// The most files of a set.
pub(crate) const FILES_MAX: usize = 1_024;
/// The largest set, in bytes.
pub(crate) const BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest file name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 200;

/// The texts of a policy directory by their path below it, with `/` between segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// The files, if their names and sizes are within bounds.
    pub fn new(files: BTreeMap<String, String>) -> Result<Self, FilesError> {
        if files.len() > FILES_MAX {
            return Err(FilesError::TooMany { count: files.len() });
        }
        let bytes = files.values().map(String::len).sum();
        if bytes > BYTES_MAX {
            return Err(FilesError::TooLarge { bytes });
        }
        if let Some(name) = files.keys().find(|name| !is_plain(name)) {
            return Err(FilesError::Name { name: name.clone() });
        }
        Ok(Self(files))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Those below a folder with this ending.
    pub fn below(&self, folder: &str, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        let wanted = move |name: &str| {
            name.strip_prefix(folder).is_some_and(|rest| {
                rest.strip_prefix('/').is_some_and(|rest| rest.ends_with(ending))
            })
        };
        self.iter().filter(move |(name, _)| wanted(name))
    }

    /// SHA-256 over each name and text with their lengths: the version of the set.
    pub fn version(&self) -> PolicyVersion {
        let mut context = digest::Context::new(&digest::SHA256);
        for (name, text) in &self.0 {
            for part in [name.as_bytes(), text.as_bytes()] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        PolicyVersion::of_digest(&digest)
    }
}

/// A name that means the same on every machine.
fn is_plain(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= NAME_BYTES_MAX
        && name.split('/').all(|segment| {
            !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(fit)
        })
}

impl TryFrom<BTreeMap<String, String>> for Files {
    type Error = FilesError;

    fn try_from(files: BTreeMap<String, String>) -> Result<Self, FilesError> {
        Self::new(files)
    }
}

impl From<Files> for BTreeMap<String, String> {
    fn from(files: Files) -> Self {
        files.0
    }
}

/// A directory that cannot be a policy set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// Over [`FILES_MAX`].
    #[error("{count} files in the policy directory, at most {FILES_MAX} are read")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Over [`BYTES_MAX`].
    #[error("{bytes} bytes in the policy directory, at most {BYTES_MAX} are read")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A name with other characters than letters, digits, `.`, `_`, `-`, or a hidden file.
    #[error("the file name `{name}` has other characters than letters, digits, `.`, `_` and `-`")]
    Name {
        /// The name.
        name: String,
    },
}

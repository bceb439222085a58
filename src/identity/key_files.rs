//! The files of keys, read again and again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::key::Key;
use super::key_file::{self, MAX_KEYS, NamedKey, Problem};

/// The largest file of keys, in bytes: 256 keys RS256 of 4,096 bits, and their scopes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where keys come from. Several may be given; no id may occur twice in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySources {
    /// A JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// A directory of public keys, each in a file that is named for its id: `ID.pem`, `ID.jwk` or `ID.json`.
    pub keys_dir: Option<PathBuf>,
    /// A secret for HS256, with the name of its file, without extension, for its id.
    pub hs256_secret_file: Option<PathBuf>,
}

/// What is wrong with a file of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct KeyFault {
    /// The file, or the directory.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// What is wrong with the files of keys, each once. Displays one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct KeyFaults(pub Vec<KeyFault>);

impl fmt::Display for KeyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The files as they were read last.
pub(super) struct KeyFiles {
    sources: KeySources,
    files: BTreeMap<PathBuf, LastRead>,
    /// Of the directory: what was wrong with it, so that it is told once.
    directory: Option<Problem>,
    /// Ids that two files had, so that they are told once.
    twice: Vec<KeyFault>,
}

/// A file as it was read last.
struct LastRead {
    /// The hash of its content, or why it could not be read.
    found: Result<[u8; 32], Problem>,
    /// The keys of the last content that was right.
    keys: Vec<(String, Arc<Key>)>,
}

/// How a file is read.
#[derive(Clone, Copy)]
enum Form {
    Set,
    Jwk,
    Pem,
    Secret,
}

impl fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFiles").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// What another look at the files brought.
pub(super) struct Refreshed {
    /// The keys, if they have changed.
    pub(super) keys: Option<HashMap<String, Arc<Key>>>,
    /// What is wrong since this look.
    pub(super) faults: Vec<KeyFault>,
}

impl KeyFiles {
    pub(super) const fn new(sources: KeySources) -> Self {
        Self { sources, files: BTreeMap::new(), directory: None, twice: Vec::new() }
    }

    /// A place where a key could be.
    pub(super) fn any_source(&self) -> PathBuf {
        let KeySources { jwks_file, keys_dir, hs256_secret_file } = &self.sources;
        let mut sources = [keys_dir, jwks_file, hs256_secret_file].into_iter().flatten();
        sources.next().cloned().unwrap_or_default()
    }

    /// Reads what has changed. By content: a Secret of Kubernetes is changed by moving a symbolic link above it. A file
    /// that is not right any more keeps the keys that it had; one that is gone from the directory loses them.
    pub(super) fn refresh(&mut self) -> Refreshed {
        let mut faults = Vec::new();
        let listed = self.list(&mut faults);
        let before = self.files.len();
        self.files.retain(|file, _| listed.contains_key(file));
        let mut changed = self.files.len() != before;
        for (file, form) in listed {
            let content = content(&file);
            let found = content.as_ref().map(|content| Sha256::digest(content).into()).map_err(Clone::clone);
            let known = self
                .files
                .entry(file.clone())
                .or_insert_with(|| LastRead { found: Err(String::new()), keys: Vec::new() });
            if known.found == found {
                continue;
            }
            known.found = found;
            match content.and_then(|content| parse(&file, form, &content)) {
                Ok(keys) => {
                    known.keys = keys.into_iter().map(|(id, key)| (id, Arc::new(key))).collect();
                    changed = true;
                }
                Err(problem) => faults.push(KeyFault { file, problem }),
            }
        }
        let keys = changed.then(|| self.assemble(&mut faults));
        Refreshed { keys, faults }
    }

    /// The files that there are to read.
    fn list(&mut self, faults: &mut Vec<KeyFault>) -> BTreeMap<PathBuf, Form> {
        let mut listed = BTreeMap::new();
        if let Some(directory) = &self.sources.keys_dir {
            let found = list_directory(directory);
            let problem = found.as_ref().err().cloned();
            match found {
                Ok(files) => listed.extend(files),
                // All of them at once are hardly meant to be gone.
                Err(_) => {
                    let known = self.files.keys().filter(|file| file.parent() == Some(directory));
                    listed.extend(known.filter_map(|file| Some((file.clone(), form(file)?))));
                }
            }
            if let Some(problem) = problem.clone().filter(|_| problem != self.directory) {
                faults.push(KeyFault { file: directory.clone(), problem });
            }
            self.directory = problem;
        }
        listed.extend(self.sources.jwks_file.clone().map(|file| (file, Form::Set)));
        listed.extend(self.sources.hs256_secret_file.clone().map(|file| (file, Form::Secret)));
        listed
    }

    /// All keys by their ids. An id that occurs twice has the key of the file whose path comes first.
    fn assemble(&mut self, faults: &mut Vec<KeyFault>) -> HashMap<String, Arc<Key>> {
        let mut by_id: HashMap<String, (&Path, Arc<Key>)> = HashMap::new();
        let mut twice = Vec::new();
        for (file, read) in &self.files {
            for (id, key) in &read.keys {
                if let Some((other, _)) = by_id.get(id) {
                    let problem = format!("its key {id:?} is in {} too, which is used", other.display());
                    twice.push(KeyFault { file: file.clone(), problem });
                } else if by_id.len() >= MAX_KEYS {
                    let problem = format!("its key {id:?} is one too many: there may be {MAX_KEYS}");
                    twice.push(KeyFault { file: file.clone(), problem });
                } else {
                    by_id.insert(id.clone(), (file, Arc::clone(key)));
                }
            }
        }
        faults.extend(twice.iter().filter(|fault| !self.twice.contains(fault)).cloned());
        self.twice = twice;
        by_id.into_iter().map(|(id, (_, key))| (id, key)).collect()
    }
}

fn list_directory(directory: &Path) -> Result<Vec<(PathBuf, Form)>, Problem> {
    let told = |error: io::Error| format!("cannot be listed: {error}");
    let mut files = Vec::new();
    for entry in directory.read_dir().map_err(told)? {
        let file = entry.map_err(told)?.path();
        // The directories `..data` of Kubernetes begin with a dot.
        let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let Some(form) = form(&file).filter(|_| !hidden && file.is_file()) else { continue };
        if files.len() == MAX_KEYS {
            return Err(format!("has more than {MAX_KEYS} files of keys"));
        }
        files.push((file, form));
    }
    Ok(files)
}

fn form(file: &Path) -> Option<Form> {
    match file.extension()?.to_str()? {
        "pem" => Some(Form::Pem),
        "jwk" | "json" => Some(Form::Jwk),
        _ => None,
    }
}

fn content(file: &Path) -> Result<Vec<u8>, Problem> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let mut content = Vec::new();
    File::open(file).map_err(told)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(told)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(content)
}

fn parse(file: &Path, form: Form, content: &[u8]) -> Result<Vec<NamedKey>, Problem> {
    let id = || {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        key_file::id_of(stem)
    };
    let text = || str::from_utf8(content).map_err(|_| "is no UTF-8".to_owned());
    match form {
        Form::Set => key_file::read_jwks(text()?),
        Form::Jwk => Ok(vec![key_file::read_named_jwk(&id()?, text()?)?]),
        Form::Pem => Ok(vec![key_file::read_pem(&id()?, text()?)?]),
        Form::Secret => Ok(vec![key_file::read_secret(&id()?, content)?]),
    }
}

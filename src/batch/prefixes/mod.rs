//! Prompts kept on disk: the keys and values of a long beginning are computed once for a model.
//!
//! In: the tokens of prompts, and the keys and values that an engine has of them. Out: files in a
//! folder, and for a prompt the file that has most of its beginning. What cannot be used is told by
//! name, once, and computed anew; what cannot be kept is told and not kept. Nothing here ends a
//! run.

mod file;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use self::file::{PrefixFile, is_ours};
use super::request::Request;
use super::text::{Chat, Message, Prompt, TextModel};
use crate::engine::{Engine, PrefixKey};
use crate::model::resolve::check_room;
use crate::size::MemorySize;

/// Tokens that are worth a file: below it, computing them takes no longer than reading and checking
/// one.
pub const LEAST_KEPT: usize = 32;

/// What the files of a folder may take together, where nobody says.
pub const DEFAULT_LIMIT: MemorySize = MemorySize(4 << 30);

/// Which beginnings are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepRule {
    /// All before the first question of conversations with a system message: of later turns
    /// nothing, which come once.
    System,
    /// These, and of other prompts what they have in common with the one before.
    Shared,
    /// These, and other prompts whole: for a run that has one.
    Whole,
}

/// The folder of kept prompts, for one engine.
#[derive(Debug)]
pub struct PrefixStore {
    folder: PathBuf,
    limit: u64,
    rule: KeepRule,
    key: PrefixKey,
    /// Files of this key, as they were when the folder was read, and those written since.
    files: Vec<Arc<PrefixFile>>,
    /// Those whose checksum holds.
    sound: HashSet<PathBuf>,
    /// The prompt before, to find what two have in common.
    last: Vec<u32>,
    notes: Vec<String>,
}

/// Why there are no kept prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixStoreError {
    /// The engine does not give its keys and values away.
    #[error(
        "--prompt-cache: keys and values are kept of the processor and without adapters for all \
         requests; use --device cpu, and leave out either --prompt-cache or --lora"
    )]
    Device,
    /// The folder cannot be used.
    #[error("--prompt-cache {folder}: {source}", folder = .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Keys and values of a prompt's beginning.
#[derive(Debug)]
pub(super) struct KeptPrefix {
    file: Arc<PrefixFile>,
    pub positions: usize,
}

/// A kept prompt as a list of them tells it.
#[derive(Debug, serde::Serialize)]
pub struct PrefixEntry {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub size_in_bytes: u64,
    /// The tokens that it is of; `None` where it is no kept prompt or cannot be read.
    pub tokens: Option<usize>,
    /// The beginning of the root hash of the model that it is of.
    pub model: Option<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl PrefixStore {
    /// Opens a folder, and makes it where it is not there.
    ///
    /// # Errors
    /// The engine has no keys and values to keep, or the folder cannot be used.
    pub fn open(
        folder: &Path,
        limit: MemorySize,
        rule: KeepRule,
        engine: &dyn Engine,
    ) -> Result<Self, PrefixStoreError> {
        let key = engine.prefix_key().ok_or(PrefixStoreError::Device)?;
        let failed = |source| PrefixStoreError::Folder { folder: folder.into(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut store = Self {
            folder: folder.into(),
            limit: limit.0,
            rule,
            key,
            files: Vec::new(),
            sound: HashSet::new(),
            last: Vec::new(),
            notes: Vec::new(),
        };
        for path in file::files(folder).map_err(failed)? {
            match PrefixFile::open(&path) {
                Ok(found) if found.key == key => store.files.push(Arc::new(found)),
                // Of another model, or of other settings: it is for another run.
                Ok(_) => {}
                Err(error) => store.refuse(&path, &error),
            }
        }
        Ok(store)
    }

    fn refuse(&mut self, path: &Path, error: &dyn std::error::Error) {
        let error = error.to_string();
        // Errors of PixelFS name the file themselves.
        let path = path.display().to_string();
        let what = if error.contains(&path) { error } else { format!("{path}: {error}") };
        self.notes.push(format!("{what}; the prompt is computed instead"));
    }

    /// What a person should hear, once.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The longest beginning of a prompt that is kept, of at most `limit` positions and at least
    /// `least`.
    pub(super) fn find(
        &mut self,
        tokens: &[u32],
        limit: usize,
        least: usize,
    ) -> Option<KeptPrefix> {
        loop {
            let common = |file: &PrefixFile| shared_len(&file.tokens, tokens).min(limit);
            let best = self.files.iter().max_by_key(|file| common(file))?;
            let (file, positions) = (Arc::clone(best), common(best));
            if positions < least.max(LEAST_KEPT) {
                return None;
            }
            if self.sound.contains(file.path()) {
                return Some(KeptPrefix { file, positions });
            }
            match file.verify() {
                Ok(()) => {
                    self.sound.insert(file.path().to_owned());
                    touch(file.path());
                }
                Err(error) => {
                    self.files.retain(|other| !Arc::ptr_eq(other, &file));
                    self.refuse(file.path(), &error);
                }
            }
        }
    }

    /// How many of a request's first tokens are worth keeping; 0 where a file has them already.
    pub(super) fn worth_keeping(
        &mut self,
        request: &Request,
        tokens: &[u32],
        text: &dyn TextModel,
    ) -> usize {
        let common = shared_len(&self.last, tokens);
        self.last = tokens.to_vec();
        let system = match &request.prompt {
            Prompt::Chat(chat) => head_of_chat(chat, tokens, text),
            _ => 0,
        };
        let head = match self.rule {
            _ if system > 0 => system,
            KeepRule::System => 0,
            KeepRule::Shared => common,
            KeepRule::Whole => tokens.len(),
        };
        let kept = self.files.iter().map(|file| shared_len(&file.tokens, tokens).min(head)).max();
        // The last position is computed in any case, and a few tokens more are not worth a file.
        let head = head.min(tokens.len() - 1);
        if head < kept.unwrap_or(0) + LEAST_KEPT { 0 } else { head }
    }

    /// Keeps the first positions of a slot, whose tokens are these. What stands in the way is told.
    pub(super) fn keep(&mut self, engine: &dyn Engine, slot: usize, tokens: &[u32]) {
        let path = self.folder.join(file::name(&self.key, tokens));
        let size = file::size_in_bytes(&self.key, tokens.len());
        let count = tokens.len();
        if size > self.limit {
            self.notes.push(format!(
                "a prompt of {count} tokens takes {size} bytes, more than --prompt-cache-limit \
                 allows: it is not kept"
            ));
            return;
        }
        self.make_room(size);
        let advice = "make room, or name another folder by --prompt-cache";
        let written = check_room(&self.folder, size, 0, advice)
            .map_err(|error| error.to_string())
            .and_then(|()| {
                let mut rows = |stride: usize, out: &mut dyn Write| {
                    engine.export_prefix(slot, count, stride, out)
                };
                file::write(&path, &self.key, tokens, &mut rows).map_err(|error| error.to_string())
            })
            .and_then(|()| PrefixFile::open(&path).map_err(|error| error.to_string()));
        match written {
            Ok(file) => {
                self.files.retain(|other| other.path() != path);
                self.sound.insert(path);
                self.files.push(Arc::new(file));
            }
            Err(error) => self.notes.push(format!("a prompt is not kept: {error}")),
        }
    }

    /// Removes the files that were not used for longest until another has room.
    fn make_room(&mut self, size: u64) {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = file::files(&self.folder)
            .unwrap_or_default()
            .into_iter()
            .filter(|path| is_ours(path))
            .filter_map(|path| {
                let about = fs::metadata(&path).ok()?;
                Some((about.modified().ok()?, about.len(), path))
            })
            .collect();
        entries.sort();
        let mut taken: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, old, path) in entries {
            if taken.saturating_add(size) <= self.limit {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                taken -= old;
                self.files.retain(|file| file.path() != path);
                self.notes.push(format!("{}: removed to make room", path.display()));
            }
        }
    }
}

impl KeptPrefix {
    /// Gives its keys and values to a slot; false where the engine cannot take them.
    pub(super) fn load(&self, engine: &mut dyn Engine, slot: usize) -> bool {
        let Ok(rows) = self.file.rows() else { return false };
        engine.import_prefix(slot, self.positions, rows)
    }
}

/// Tells that a file was used; one that cannot be touched is only removed earlier.
fn touch(path: &Path) {
    let _ = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// How many of a conversation's tokens are before its first question, whatever that is; 0 without a
/// system message.
fn head_of_chat(chat: &Chat, tokens: &[u32], text: &dyn TextModel) -> usize {
    if chat.messages.first().is_none_or(|message| message.role != "system") {
        return 0;
    }
    // What two other questions leave the same. One could begin as the prompt's own does.
    let heads = ["?", "0 1"].map(|question| {
        let system = chat.messages[0].clone();
        let messages = vec![system, Message::new("user", question)];
        let other = Chat { messages, continues_last: false, ..chat.clone() };
        text.encode(&Prompt::Chat(other)).map_or(0, |other| shared_len(&other, tokens))
    });
    heads[0].min(heads[1])
}

fn shared_len(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The kept prompts of a folder, whoever they are for.
///
/// # Errors
/// The folder cannot be read.
pub fn entries(folder: &Path) -> io::Result<Vec<PrefixEntry>> {
    let entry = |path: PathBuf| {
        let size_in_bytes = fs::metadata(&path).map_or(0, |about| about.len());
        let found = PrefixFile::open(&path);
        let model = |file: &PrefixFile| crate::pxi::hex(&file.key.model[..8]);
        PrefixEntry {
            size_in_bytes,
            tokens: found.as_ref().ok().map(|file| file.tokens.len()),
            model: found.as_ref().ok().map(model),
            problem: found.err().map(|error| error.to_string()),
            file: path,
        }
    };
    Ok(file::files(folder)?.into_iter().map(entry).collect())
}

/// Removes the kept prompts of a folder, and gives them. Files of other names stay.
///
/// # Errors
/// The folder cannot be read, or a file not be removed.
pub fn clear(folder: &Path) -> io::Result<Vec<PrefixEntry>> {
    let ours = entries(folder)?.into_iter().filter(|entry| is_ours(&entry.file));
    ours.map(|entry| fs::remove_file(&entry.file).map(|()| entry)).collect()
}

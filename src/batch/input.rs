//! A file of requests, checked as a whole before the first one runs.
//!
//! Comes in: a file, or standard input, which is first copied to a temporary file. Goes out: every
//! line that is wrong, or an [`InputFile`] that gives the requests one by one.
//!
//! Memory is bounded: of each line only its offset, its number, a 128-bit hash of its id and one of
//! what it asks are kept, 48 bytes in all, and each line is read again when its turn comes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::request::{
    Defaults, LineProblems, Parsed, Request, RequestDigest, id_of_bad_line, parse_line,
};

/// The longest line that is read. It holds a prompt of more tokens than any context.
pub const MAX_LINE_IN_BYTES: usize = 16 << 20;

/// How many wrong lines are kept for the report; the others are counted.
pub(crate) const MAX_REPORTED_LINES: usize = 100;

/// How many unknown field names are kept for warnings.
const MAX_IGNORED_NAMES: usize = 64;

/// Why an input cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file could not be read, at first or when a line's turn came.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file, as the user named it.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input could not be kept.
    #[error("cannot copy standard input to a temporary file: {0}")]
    Spool(#[source] io::Error),
    /// Some lines are no requests.
    #[error(transparent)]
    BadLines(Box<BadLines>),
    /// There is no request in the file.
    #[error("{name}: there is no request in it")]
    Empty {
        /// The file, as the user named it.
        name: String,
    },
    /// A line is not what it was when the file was checked.
    #[error("{name}: line {line} has changed since the file was checked")]
    Changed {
        /// The file, as the user named it.
        name: String,
        /// The line, from 1.
        line: u64,
    },
}

/// The lines of an input that are no requests.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {count} of {lines} lines cannot be run, the first at {first}")]
pub struct BadLines {
    /// The file, as the user named it.
    pub name: String,
    /// How many lines are no requests; `errors` may have fewer.
    pub count: u64,
    /// Of how many that are not blank.
    pub lines: u64,
    /// The first of them.
    pub first: LineError,
    /// The first hundred of them.
    pub errors: Vec<LineError>,
}

/// A line that is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {problems}")]
pub struct LineError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    #[source]
    pub problems: LineProblems,
}

/// A hash of an id that stands for the id: 128 bits of SHA-256, so that two ids never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdHash([u64; 2]);

impl IdHash {
    /// The hash of an id.
    pub fn of(id: &str) -> Self {
        let digest = Sha256::digest(id.as_bytes());
        let word = |at: usize| {
            u64::from_be_bytes(
                digest[at..at + 8].try_into().expect("a slice of 8 bytes is an array of 8"),
            )
        };
        Self([word(0), word(8)])
    }

    /// The first 64 bits.
    pub(crate) fn first_word(self) -> u64 {
        self.0[0]
    }
}

/// A part of an input, by the hashes of its ids: the same lines whatever else is in the file, and
/// about as many in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which of them, from 1.
    number: u64,
    /// How many there are.
    count: u64,
}

impl Shard {
    fn has(self, id: IdHash) -> bool {
        id.first_word() % self.count == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `K/N`: the K-th of N.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err("expected K/N with K from 1 to N, such as 3/1000".into()),
        }
    }
}

/// What is kept of a line.
#[derive(Clone, Copy, Debug)]
struct InputEntry {
    id: IdHash,
    offset: u64,
    line: u32,
    digest: RequestDigest,
}

/// A line that is no request and has an id of its own.
#[derive(Clone, Copy, Debug)]
struct BadEntry {
    offset: u64,
    finished: bool,
}

/// An input of which every line was checked: what is kept is where each lies.
#[derive(Debug)]
pub struct InputFile {
    name: String,
    file: File,
    entries: Vec<InputEntry>,
    /// InputEntry indices in the order of their id hashes.
    by_id: Vec<u32>,
    /// Which entries need not run.
    finished: Vec<bool>,
    bad: BTreeMap<IdHash, BadEntry>,
    skipped: Vec<LineError>,
    skipped_count: u64,
    ignored: BTreeMap<String, u64>,
}

impl InputFile {
    /// Checks a file. With `skip_bad`, lines that are no requests are left out and reported by
    /// [`skipped`](Self::skipped); without, they are the error.
    pub fn open(path: &Path, defaults: &Defaults, skip_bad: bool) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let file =
            File::open(path).map_err(|source| InputError::Read { name: name.clone(), source })?;
        // A pipe cannot be read twice, so it goes the way of standard input.
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            Self::check(name, file, defaults, skip_bad)
        } else {
            Self::spool(name, file, defaults, skip_bad)
        }
    }

    /// Copies a stream to a temporary file and checks that.
    pub fn spool(
        name: String,
        mut stream: impl Read,
        defaults: &Defaults,
        skip_bad: bool,
    ) -> Result<Self, InputError> {
        let mut file = tempfile::tempfile().map_err(InputError::Spool)?;
        io::copy(&mut stream, &mut file).map_err(InputError::Spool)?;
        file.rewind().map_err(InputError::Spool)?;
        Self::check(name, file, defaults, skip_bad)
    }

    fn check(
        name: String,
        file: File,
        defaults: &Defaults,
        skip_bad: bool,
    ) -> Result<Self, InputError> {
        let mut input = Self {
            name,
            file,
            entries: Vec::new(),
            by_id: Vec::new(),
            finished: Vec::new(),
            bad: BTreeMap::new(),
            skipped: Vec::new(),
            skipped_count: 0,
            ignored: BTreeMap::new(),
        };
        let lines = input.read_all(defaults)?;
        input.refuse_duplicates(defaults)?;
        input.skipped.sort_by_key(|error| error.line);
        input.skipped.truncate(MAX_REPORTED_LINES);
        if let (false, Some(first)) = (skip_bad, input.skipped.first()) {
            return Err(InputError::BadLines(Box::new(BadLines {
                name: input.name,
                count: input.skipped_count,
                lines,
                first: first.clone(),
                errors: input.skipped,
            })));
        }
        // A line whose id a request has is not told of under that id: it has the request's result.
        for entry in &input.entries {
            input.bad.remove(&entry.id);
        }
        if input.entries.is_empty() && input.bad.is_empty() {
            return Err(InputError::Empty { name: input.name });
        }
        input.finished = vec![false; input.entries.len()];
        Ok(input)
    }

    fn failed(&self, source: io::Error) -> InputError {
        InputError::Read { name: self.name.clone(), source }
    }

    fn skip(&mut self, line: u64, problems: LineProblems) {
        self.skipped_count += 1;
        // Duplicates are found after all other problems and may come before them, hence twice the
        // room.
        if self.skipped.len() < 2 * MAX_REPORTED_LINES {
            self.skipped.push(LineError { line, problems });
        }
    }

    /// Reads every line once and gives their number without the blank ones.
    fn read_all(&mut self, defaults: &Defaults) -> Result<u64, InputError> {
        let file = self.file.try_clone().map_err(|source| self.failed(source))?;
        let mut lines = InputLines::new(BufReader::new(file));
        let mut count = 0;
        while let Some((offset, line, text)) = lines.next().map_err(|source| self.failed(source))? {
            if matches!(text, Ok(text) if text.trim_ascii().is_empty()) {
                continue;
            }
            count += 1;
            let id = text.as_ref().ok().copied();
            match text.and_then(|text| parse_line(text, defaults)) {
                Ok(Parsed { request, ignored, .. }) => {
                    let id = IdHash::of(&request.id);
                    // 32 bits keep an entry at 48 bytes; more lines than they count would take
                    // 200 GB of entries.
                    let line = u32::try_from(line).unwrap_or(u32::MAX);
                    self.entries.push(InputEntry { id, offset, line, digest: request.digest() });
                    for name in ignored {
                        // A file may have any number of names; memory is bounded.
                        if self.ignored.len() < MAX_IGNORED_NAMES
                            || self.ignored.contains_key(&name)
                        {
                            *self.ignored.entry(name).or_default() += 1;
                        }
                    }
                }
                Err(problems) => {
                    if let Some(id) = id.and_then(id_of_bad_line) {
                        let entry = BadEntry { offset, finished: false };
                        self.bad.entry(IdHash::of(&id)).or_insert(entry);
                    }
                    self.skip(line, problems);
                }
            }
        }
        Ok(count)
    }

    /// Takes out every line whose id an earlier line has, and sorts the ids.
    fn refuse_duplicates(&mut self, defaults: &Defaults) -> Result<(), InputError> {
        self.sort_ids();
        let first_of_id = |pair: &[u32]| {
            let [first, second] = [pair[0], pair[1]].map(|index| self.entries[index as usize]);
            (first.id == second.id).then_some((pair[0], pair[1]))
        };
        let mut first_line = BTreeMap::new();
        let mut duplicates = Vec::new();
        for (first, second) in self.by_id.windows(2).filter_map(first_of_id) {
            // Equal ids are in the order of their lines, so the first of three is the first of all.
            let line = *first_line.get(&first).unwrap_or(&self.entries[first as usize].line);
            first_line.insert(second, line);
            duplicates.push((second, u64::from(line)));
        }
        if duplicates.is_empty() {
            return Ok(());
        }
        for &(index, first_line) in &duplicates {
            let entry = self.entries[index as usize];
            // Only a hash of the id was kept, and the message has the id itself.
            let Parsed { request, id_column, .. } = self.parse_again(entry, defaults)?;
            let message = format!("the id {:?} was already used on line {first_line}", request.id);
            self.skip(entry.line.into(), LineProblems::one(id_column, message));
        }
        let taken: std::collections::HashSet<u32> =
            duplicates.iter().map(|&(index, _)| index).collect();
        let mut index = 0;
        self.entries.retain(|_| {
            index += 1;
            !taken.contains(&(index - 1))
        });
        // The indices were those from before lines were taken out.
        self.sort_ids();
        Ok(())
    }

    fn sort_ids(&mut self) {
        self.by_id = (0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)).collect();
        self.by_id.sort_unstable_by_key(|&index| (self.entries[index as usize].id, index));
    }

    fn parse_again(&self, entry: InputEntry, defaults: &Defaults) -> Result<Parsed, InputError> {
        let changed = || InputError::Changed { name: self.name.clone(), line: entry.line.into() };
        let text = self.read_again(entry.offset)?.ok_or_else(changed)?;
        let parsed = parse_line(&text, defaults).map_err(|_| changed())?;
        // A file that changed since must not give an answer to another request's id.
        if IdHash::of(&parsed.request.id) == entry.id { Ok(parsed) } else { Err(changed()) }
    }

    /// The text of the line at an offset.
    fn read_again(&self, offset: u64) -> Result<Option<String>, InputError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset)).map_err(|source| self.failed(source))?;
        let mut lines = InputLines::new(BufReader::new(file));
        let line = lines.next().map_err(|source| self.failed(source))?;
        Ok(line.and_then(|(_, _, text)| text.ok().map(str::to_owned)))
    }

    /// The lines that are no requests and have an id that no request has, with what is wrong;
    /// without those that are marked as finished.
    pub(crate) fn bad_requests<'a>(
        &'a self,
        defaults: &'a Defaults,
    ) -> impl Iterator<Item = Result<(String, LineProblems), InputError>> + 'a {
        // The map is in the order of hashes; results go in that of the lines.
        let mut offsets: Vec<u64> =
            self.bad.values().filter(|entry| !entry.finished).map(|entry| entry.offset).collect();
        offsets.sort_unstable();
        offsets.into_iter().filter_map(|offset| {
            let text = match self.read_again(offset) {
                Ok(text) => text?,
                Err(error) => return Some(Err(error)),
            };
            let problems = parse_line(&text, defaults).err()?;
            Some(Ok((id_of_bad_line(&text)?, problems)))
        })
    }

    /// Leaves out what falls to other shards.
    pub fn keep_shard(&mut self, shard: Shard) {
        self.entries.retain(|entry| shard.has(entry.id));
        self.bad.retain(|id, _| shard.has(*id));
        self.finished = vec![false; self.entries.len()];
        self.sort_ids();
    }

    /// The digest of the request with an id; `None` where there is none.
    pub fn digest(&self, id: IdHash) -> Option<RequestDigest> {
        self.place_of(id).map(|index| self.entries[index].digest)
    }

    fn place_of(&self, id: IdHash) -> Option<usize> {
        let found = self.by_id.binary_search_by_key(&id, |&index| self.entries[index as usize].id);
        found.ok().map(|place| self.by_id[place] as usize)
    }

    /// How many requests there are, finished or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether every line is one that cannot run.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many requests are still to run.
    pub fn remaining(&self) -> usize {
        self.finished.iter().filter(|&&finished| !finished).count()
    }

    /// The first hundred lines that were left out, in order.
    pub fn skipped(&self) -> &[LineError] {
        &self.skipped
    }

    /// How many lines were left out.
    pub fn skipped_count(&self) -> u64 {
        self.skipped_count
    }

    /// Fields that nothing here knows, and in how many lines they are.
    pub fn ignored(&self) -> &BTreeMap<String, u64> {
        &self.ignored
    }

    /// Marks a request, or a line that is none, as one whose result is there. False where the input
    /// has no such id.
    pub fn mark_finished(&mut self, id: IdHash) -> bool {
        if let Some(bad) = self.bad.get_mut(&id) {
            bad.finished = true;
            return true;
        }
        let place = self.place_of(id);
        if let Some(index) = place {
            self.finished[index] = true;
        }
        place.is_some()
    }

    /// The requests that are still to run, in the order of their lines, each read when it is asked
    /// for.
    pub fn requests<'a>(
        &'a self,
        defaults: &'a Defaults,
    ) -> impl Iterator<Item = Result<Request, InputError>> + 'a {
        let waiting = self.entries.iter().zip(&self.finished).filter(|(_, finished)| !**finished);
        waiting.map(|(&entry, _)| self.parse_again(entry, defaults).map(|parsed| parsed.request))
    }
}

/// The lines of a file, with their offsets and numbers, in one buffer.
pub(crate) struct InputLines<R> {
    reader: R,
    buffer: Vec<u8>,
    offset: u64,
    line: u64,
}

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &str = "\u{feff}";

impl<R: BufRead> InputLines<R> {
    /// From the first line on.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), offset: 0, line: 0 }
    }

    /// The next line: where it begins, its number, and its text or why it has none.
    pub fn next(&mut self) -> io::Result<Option<(u64, u64, Result<&str, LineProblems>)>> {
        self.buffer.clear();
        // One more, for the line break, which is no part of the line.
        let limit = MAX_LINE_IN_BYTES as u64 + 1;
        let mut len = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer)? as u64;
        if len == 0 {
            return Ok(None);
        }
        let too_long = len == limit && self.buffer.last() != Some(&b'\n');
        if too_long {
            len += skip_line(&mut self.reader)?;
        }
        let offset = self.offset;
        self.offset += len;
        self.line += 1;
        let text = if too_long {
            let message = format!("the line is longer than {MAX_LINE_IN_BYTES} bytes");
            Err(LineProblems::one(1, message))
        } else {
            match str::from_utf8(&self.buffer) {
                Ok(text) => Ok(text
                    .strip_prefix(BYTE_ORDER_MARK)
                    .unwrap_or(text)
                    .trim_end_matches(['\r', '\n'])),
                Err(error) => {
                    // Columns are counted in characters, as in all messages.
                    let before = String::from_utf8_lossy(&self.buffer[..error.valid_up_to()])
                        .chars()
                        .count();
                    Err(LineProblems::one(before + 1, "not valid UTF-8"))
                }
            }
        };
        Ok(Some((offset, self.line, text)))
    }
}

/// Reads to the end of a line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        skipped += used as u64;
        if end.is_some() {
            return Ok(skipped);
        }
    }
}

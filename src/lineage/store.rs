//! The lineage in its file: read, and one entry more; and the files of children beside it.
//!
//! Each change takes the lock, reads and checks everything, and replaces the file whole. A file
//! that contradicts itself is reported and never replaced.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::document::{Lineage, Unreadable};
use super::entry::{
    FilePlace, GateUse, LineageEntry, LineageParent, LineageVerdict, MadeBy, MakingOf, ParentRole,
    PlaceWord, TextUse, short,
};
use super::error::{LineageError, LineageProblem};
use super::tally::LineageSettings;
use super::texts::disjoint;
use crate::model::PixelModel;
use crate::pxi::{DocumentError, LockedFile, hex};

/// The file's name in a model's data folder.
pub const LINEAGE_FILE: &str = "lineage.json";
/// The folder of children's files beside it.
pub const CHILDREN_FOLDER: &str = "children";

/// The largest file that is read: a hundred thousand entries stay below it.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Where a lineage is kept.
#[derive(Clone, Debug)]
pub struct LineageStore {
    file: LockedFile,
}

/// A child that was made, and what is to judge it.
#[derive(Clone, Debug)]
pub struct LineageProposal {
    /// The child as a `.pxi` file in the lineage's folder; it is moved to its place.
    pub file: PathBuf,
    /// What it was made of.
    pub parents: Vec<LineageParent>,
    /// How.
    pub how: MakingOf,
    /// The texts that were looked at.
    pub texts: Vec<TextUse>,
    /// By whom.
    pub by: MadeBy,
    /// What is to judge it.
    pub gate: GateUse,
}

/// The root hash of a model, in hexadecimal.
pub fn digest_of(model: &PixelModel) -> String {
    hex(&model.header().root)
}

impl LineageStore {
    /// A lineage in this file, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { file: LockedFile::new(path) }
    }

    /// That of a model's data folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self::new(folder.join(LINEAGE_FILE))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.file.folder()
    }

    /// Whether there is a lineage.
    pub fn exists(&self) -> bool {
        self.file.exists()
    }

    /// The lineage as it is now.
    ///
    /// # Errors
    /// There is none, or it cannot be read, is damaged or contradicts itself.
    pub fn read(&self) -> Result<Lineage, LineageError> {
        if !self.exists() {
            return Err(LineageError::None(self.path().to_owned()));
        }
        let of_document = |error| match error {
            DocumentError::Io(error) => LineageError::io(self.path(), "read")(error),
            DocumentError::Damaged { line, column, reason } => {
                LineageError::Damaged { path: self.path().to_owned(), line, column, reason }
            }
        };
        let text = self.file.read_text(MAX_FILE_BYTES).map_err(of_document)?;
        Lineage::parse(&text).map_err(|error| match error {
            Unreadable::Document(error) => of_document(error),
            Unreadable::Problem(problem) => self.problem(problem),
        })
    }

    fn problem(&self, problem: LineageProblem) -> LineageError {
        LineageError::Problem { path: self.path().to_owned(), problem }
    }

    fn lock(&self) -> Result<File, LineageError> {
        let failed = |(action, error)| LineageError::io(self.file.lock_path(), action)(error);
        self.file.lock().map_err(failed)
    }

    /// Begins the lineage with a founder, unless it is there.
    ///
    /// # Errors
    /// It is that of other models, cannot be read, or cannot be written.
    pub fn found(&self, founder: &PixelModel) -> Result<Lineage, LineageError> {
        fs::create_dir_all(self.folder()).map_err(LineageError::io(self.folder(), "make"))?;
        let _lock = self.lock()?;
        let child = digest_of(founder);
        if self.exists() {
            let lineage = self.read()?;
            if lineage.verdict(&child).is_none() {
                let (own, opened) = (lineage.title(), short(&child).to_owned());
                return Err(LineageError::OtherModel { own, opened });
            }
            return Ok(lineage);
        }
        let mut lineage = Lineage::new(&name_of(founder));
        let founder = LineageEntry {
            child,
            parents: Vec::new(),
            how: MakingOf::new("founder"),
            texts: Vec::new(),
            by: MadeBy::a_person(),
            figures: Vec::new(),
            gate: None,
            verdict: LineageVerdict::Promoted,
            place: FilePlace::Word(PlaceWord::Founder),
            time: Zoned::now(),
            replaces: None,
            chain: String::new(),
        };
        lineage.push(founder).map_err(|problem| self.problem(problem))?;
        self.file.replace(lineage.text().as_bytes())?;
        Ok(lineage)
    }

    /// Adds an entry that `make` makes of the lineage as it is now. When this returns, the entry is
    /// on the disk; when it fails, nothing has changed.
    ///
    /// # Errors
    /// What `make` says; or the lineage cannot be read, has no room for the entry, or cannot be
    /// written.
    pub fn append(
        &self,
        make: impl FnOnce(&Lineage) -> Result<LineageEntry, LineageError>,
    ) -> Result<Lineage, LineageError> {
        if !self.exists() {
            return Err(LineageError::None(self.path().to_owned()));
        }
        let _lock = self.lock()?;
        let mut lineage = self.read()?;
        let entry = make(&lineage)?;
        lineage.push(entry).map_err(|problem| self.problem(problem))?;
        self.file.replace(lineage.text().as_bytes())?;
        Ok(lineage)
    }

    /// Takes a child into the lineage. Its file is moved to its place first: a file that no entry
    /// has is no child.
    ///
    /// # Errors
    /// It is known, its texts overlap, it is over the budget, or a file cannot be read or written.
    pub fn propose(
        &self,
        proposal: LineageProposal,
        settings: &LineageSettings,
    ) -> Result<LineageEntry, LineageError> {
        let child = digest_of(&PixelModel::open(&proposal.file)?);
        let bytes = fs::metadata(&proposal.file);
        let bytes = bytes.map_err(LineageError::io(&proposal.file, "read"))?.len();
        disjoint(&proposal.texts)?;
        let place = format!("{CHILDREN_FOLDER}/{}.pxi", short(&child));
        let lineage = self.append(|lineage| {
            if let Some(verdict) = lineage.verdict(&child) {
                return Err(LineageError::Known { child: child.clone(), verdict });
            }
            settings.check(lineage, bytes, proposal.how.seconds)?;
            let to = self.folder().join(&place);
            let folder = self.folder().join(CHILDREN_FOLDER);
            fs::create_dir_all(&folder).map_err(LineageError::io(&folder, "make"))?;
            fs::rename(&proposal.file, &to).map_err(LineageError::io(&to, "move the child to"))?;
            Ok(LineageEntry {
                child: child.clone(),
                parents: proposal.parents,
                how: proposal.how,
                texts: proposal.texts,
                by: proposal.by,
                figures: Vec::new(),
                gate: Some(proposal.gate),
                verdict: LineageVerdict::Candidate,
                place: FilePlace::File { file: place, bytes },
                time: Zoned::now(),
                replaces: None,
                chain: String::new(),
            })
        })?;
        Ok(lineage.now(&child).expect("it was added"))
    }

    /// A note of a child that is known: what became of it.
    pub(super) fn note(
        lineage: &Lineage,
        child: &str,
        verdict: LineageVerdict,
        by: &MadeBy,
    ) -> Result<LineageEntry, LineageError> {
        let unknown = || LineageError::UnknownChild(child.to_owned());
        let now = lineage.now(child).ok_or_else(unknown)?;
        let replaces = (verdict == LineageVerdict::Promoted).then(|| lineage.current());
        Ok(LineageEntry {
            texts: Vec::new(),
            figures: Vec::new(),
            gate: None,
            verdict,
            by: by.clone(),
            time: Zoned::now(),
            replaces: replaces.flatten().map(str::to_owned),
            ..now
        })
    }

    /// Takes the current child out of use: what it took the place of is in use again.
    ///
    /// # Errors
    /// The founder is in use, what would be is not there, or the lineage cannot be read or written.
    pub fn back(&self, by: &MadeBy) -> Result<Lineage, LineageError> {
        self.append(|lineage| {
            let refused = |child: &str, why: &str| LineageError::Refused {
                child: child.to_owned(),
                why: why.to_owned(),
            };
            let [.., before, current] = lineage.promoted() else {
                let founder = lineage.current().unwrap_or_default();
                return Err(refused(founder, "it is the founder: there is nothing to go back to"));
            };
            self.file_of(lineage, before)?;
            Self::note(lineage, current, LineageVerdict::RolledBack, by)
        })
    }

    /// Deletes a child's file and notes it. Its entries stay.
    ///
    /// # Errors
    /// It is in use or others stand on it, or the file or the lineage cannot be changed.
    pub fn delete(&self, child: &str, by: &MadeBy) -> Result<Lineage, LineageError> {
        let mut file = None;
        let lineage = self.append(|lineage| {
            if lineage.promoted().iter().any(|in_use| in_use == child) {
                return Err(LineageError::Refused {
                    child: child.to_owned(),
                    why: "it is in use, or can be gone back to: `lineage back` first".into(),
                });
            }
            let mut entry = Self::note(lineage, child, LineageVerdict::Gone, by)?;
            if let FilePlace::File { file: name, .. } = &entry.place {
                file = Some(self.folder().join(name));
            }
            entry.place = FilePlace::Word(PlaceWord::Gone);
            Ok(entry)
        })?;
        // After the entry: a file that is there although it is gone does no harm.
        if let Some(file) = file.filter(|file| file.exists()) {
            fs::remove_file(&file).map_err(LineageError::io(&file, "delete"))?;
        }
        Ok(lineage)
    }

    /// The path of a child's file; `None` of the founder, whose file is the user's own.
    ///
    /// # Errors
    /// It is not there.
    pub fn file_of(&self, lineage: &Lineage, child: &str) -> Result<Option<PathBuf>, LineageError> {
        let unknown = || LineageError::UnknownChild(child.to_owned());
        let missing = |path: PathBuf| LineageError::MissingFile { path, child: child.to_owned() };
        match lineage.now(child).ok_or_else(unknown)?.place {
            FilePlace::Word(PlaceWord::Founder) => Ok(None),
            FilePlace::Word(PlaceWord::Gone) => {
                Err(missing(self.folder().join(CHILDREN_FOLDER).join(short(child))))
            }
            FilePlace::File { file, .. } => {
                let path = self.folder().join(file);
                if path.is_file() { Ok(Some(path)) } else { Err(missing(path)) }
            }
        }
    }

    /// Opens a child and makes sure that it is the one: every tile is checked. `founder` stands for
    /// the model that all others come from.
    ///
    /// # Errors
    /// Its file is not there, is another one, or is damaged.
    pub fn open(
        &self,
        lineage: &Lineage,
        child: &str,
        founder: &std::sync::Arc<PixelModel>,
    ) -> Result<std::sync::Arc<PixelModel>, LineageError> {
        let path = self.file_of(lineage, child)?;
        let model = match &path {
            None => std::sync::Arc::clone(founder),
            Some(path) => std::sync::Arc::new(PixelModel::open(path)?),
        };
        let found = digest_of(&model);
        if found != child {
            let path = path.unwrap_or_else(|| founder.path().to_owned());
            return Err(LineageError::OtherFile { path, child: child.to_owned(), found });
        }
        model.check_tiles()?;
        Ok(model)
    }
}

/// What people call a model.
pub fn name_of(model: &PixelModel) -> String {
    let name = model.metadata().str("general.name").ok().flatten();
    name.map_or_else(|| model.path().display().to_string(), str::to_owned)
}

/// A parent that was changed.
pub fn base(digest: impl Into<String>) -> LineageParent {
    LineageParent { digest: digest.into(), role: ParentRole::Base }
}

//! Families: sabotaged children, killed programs, full disks, and a family that agents make alone.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod family;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use assert_cmd::Command;
use pixel_llm::lineage::{
    CorpusExams, FigureKind, FigureName, Gate, GateLine, GateUse, Judge, Judgement, Lineage,
    LineageError, LineageProposal, LineageSettings, LineageStore, LineageVerdict, MadeBy, MakingOf,
    MeasureListener, base, digest, digest_of,
};
use pixel_llm::model::convert::convert;
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::rewrite::{matrices, rewrite};
use pixel_llm::model::{Encoding, PixelModel};

/// The built-in model.
pub fn founder() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

/// The program with settings and data in a folder of the test's.
pub fn pixel_llm(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.env("PIXEL_LLM_CONFIG", folder.join("config"));
    command
}

fn line(figure: FigureKind) -> GateLine {
    GateLine {
        figure: FigureName::plain(figure),
        better_than: None,
        errors: None,
        no_worse_than: None,
        by: None,
        at_most: None,
        at_least: None,
    }
}

/// Smaller than the parent, and near to it.
fn gate() -> GateUse {
    let smaller = GateLine { better_than: Some(Default::default()), ..line(FigureKind::Bytes) };
    let near = GateLine { at_most: Some(0.05), ..line(FigureKind::Divergence) };
    let lines = vec![smaller, near];
    let data =
        Gate { description: String::new(), tokens: 512, seed: 7, exams: Default::default(), lines };
    GateUse::new("near", data)
}

/// The founder with all matrices in an encoding, after `spoil` has changed the file.
fn child(folder: &Path, encoding: Encoding, spoil: impl FnOnce(&mut [u8])) -> PathBuf {
    let model = founder();
    let mut encodings: Vec<Encoding> =
        model.tensors().iter().map(|tensor| tensor.encoding()).collect();
    matrices(&model).for_each(|at| encodings[at] = encoding);
    let (between, file) = (folder.join("between.gguf"), folder.join("made.pxi"));
    let importance = vec![None; encodings.len()];
    rewrite(&model, &encodings, &importance, &[], &between, &|_| ()).unwrap();
    let mut bytes = std::fs::read(&between).unwrap();
    spoil(&mut bytes);
    std::fs::write(&between, bytes).unwrap();
    convert(&Gguf::open(&between).unwrap(), &file, &|_| ()).unwrap();
    std::fs::remove_file(between).unwrap();
    file
}

/// The last weights are others.
fn noise(bytes: &mut [u8]) {
    let from = bytes.len() - bytes.len() / 5;
    let mut state = 1_u32;
    for byte in &mut bytes[from..] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Of a scale these bits make no number that is none.
        *byte ^= (state >> 16) as u8 & 0x33;
    }
}

struct Quiet(AtomicBool);

impl MeasureListener for Quiet {
    fn begins(&self, _: &str) {}

    fn stop(&self) -> &AtomicBool {
        &self.0
    }
}

/// A family in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
    store: LineageStore,
    founder: Arc<PixelModel>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LineageStore::in_folder(folder.path());
        let founder = founder();
        store.found(&founder).unwrap();
        Self { folder, store, founder }
    }

    fn try_propose(&self, file: PathBuf, parent: &str) -> Result<String, LineageError> {
        let proposal = LineageProposal {
            file,
            parents: vec![base(parent)],
            how: MakingOf::new("test"),
            texts: Vec::new(),
            by: MadeBy::agent("tester"),
            gate: gate(),
        };
        Ok(self.store.propose(proposal, &LineageSettings::default())?.child)
    }

    fn propose(&self, file: PathBuf) -> String {
        self.try_propose(file, &digest_of(&self.founder)).unwrap()
    }

    fn with_judge(
        &self,
        work: impl FnOnce(&Judge<'_>) -> Result<Judgement, LineageError>,
    ) -> Result<Judgement, LineageError> {
        let assets = pixel_llm::app::kinds::assets();
        let (exams, listener) = (CorpusExams { assets: &assets }, Quiet(AtomicBool::new(false)));
        let (store, founder) = (&self.store, &self.founder);
        work(&Judge { store, founder, exams: &exams, listener: &listener })
    }

    fn promote(&self, child: &str) -> Result<Judgement, LineageError> {
        self.with_judge(|judge| judge.promote(child, &MadeBy::agent("tester")))
    }

    fn judge(&self, child: &str) -> Result<Judgement, LineageError> {
        self.with_judge(|judge| judge.judge(child, None, &MadeBy::agent("tester")))
    }

    fn lineage(&self) -> Lineage {
        self.store.read().unwrap()
    }
}

#[test]
fn a_sabotaged_candidate_is_rejected_whatever_is_written_of_it() {
    let place = Place::new();
    let bad = place.propose(child(place.folder.path(), Encoding::Q5_1, noise));
    let judged = place.judge(&bad).unwrap();
    assert!(!judged.passes, "{:#?}", judged.child.gate);
    assert_eq!(judged.child.verdict, LineageVerdict::Rejected);
    // By hand: it passed, with a better figure. The end of the chain is mended too.
    let path = place.store.path();
    let text = std::fs::read_to_string(path).unwrap();
    let far = judged.child.figures.iter().find(|it| it.name.to_string() == "divergence").unwrap();
    let better = text
        .replace("\"verdict\":\"rejected\"", "\"verdict\":\"passed\"")
        .replace(&format!("\"child\":{}", far.child), "\"child\":0.001");
    assert_ne!(better, text);
    std::fs::write(path, &better).unwrap();
    let error = place.store.read().unwrap_err().to_string();
    assert!(error.contains("the last entry, 3, was changed"), "{error}");
    let error = place.promote(&bad).unwrap_err().to_string();
    assert!(error.contains("the chain is broken"), "{error}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), better, "it is left as it is");
    let last_entry = better.lines().rfind(|line| line.starts_with("{\"child\"")).unwrap();
    let end = better.rfind("\"last\": \"").unwrap() + 9;
    let mended = format!("{}{}\"\n}}\n", &better[..end], digest(last_entry));
    std::fs::write(path, mended).unwrap();
    let now = place.lineage();
    assert_eq!(now.verdict(&bad), Some(LineageVerdict::Passed), "the file says so");
    let judged = place.promote(&bad).unwrap();
    assert!(!judged.passes && judged.child.verdict == LineageVerdict::Rejected);
    assert_eq!(place.lineage().current(), Some(&*digest_of(&place.founder)));
    // The same without noise passes, is promoted, and can be taken back.
    let good = place.propose(child(place.folder.path(), Encoding::Q5_1, |_| ()));
    let promoted = place.promote(&good).unwrap();
    assert!(promoted.passes, "{:#?}", promoted.child.gate);
    assert_eq!(place.lineage().current(), Some(&*good));
    let report = promoted.child.texts.iter().map(|text| text.role.name()).collect::<Vec<_>>();
    assert_eq!(report, ["gate", "report"], "the report's text was looked at once it passed");
    let refused = place.store.delete(&good, &MadeBy::a_person()).unwrap_err().to_string();
    assert!(refused.contains("it is in use"), "{refused}");
    let back = place.store.back(&MadeBy::a_person()).unwrap();
    assert_eq!(back.current(), Some(&*digest_of(&place.founder)));
    assert_eq!(back.verdict(&good), Some(LineageVerdict::RolledBack));
    let founder = place.store.back(&MadeBy::a_person()).unwrap_err().to_string();
    assert!(founder.contains("it is the founder"), "{founder}");
    // It can be promoted again, measured again; and its file can be deleted when it is not in use.
    assert!(place.promote(&good).unwrap().passes);
    place.store.back(&MadeBy::a_person()).unwrap();
    place.store.delete(&good, &MadeBy::a_person()).unwrap();
    let error = place.promote(&good).unwrap_err().to_string();
    assert!(error.contains("is not there"), "{error}");
}

#[test]
fn a_child_of_absurd_weights_is_rejected() {
    let place = Place::new();
    // A half float of 61,280, wherever a scale begins.
    let spoil = |bytes: &mut [u8]| {
        let end = bytes.len() - bytes.len() / 5;
        bytes[end..].fill(0x7b);
    };
    let bad = place.propose(child(place.folder.path(), Encoding::Q5_1, spoil));
    match place.promote(&bad) {
        Ok(judged) => assert_eq!(judged.child.verdict, LineageVerdict::Rejected),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(place.lineage().current(), Some(&*digest_of(&place.founder)));
}

#[test]
fn another_file_a_missing_one_and_another_base_are_told_by_name() {
    let place = Place::new();
    let made = child(place.folder.path(), Encoding::Q5_1, |_| ());
    let copy = place.folder.path().join("copy.pxi");
    std::fs::copy(&made, &copy).unwrap();
    let first = place.propose(made);
    let again = place.try_propose(copy, &digest_of(&place.founder)).unwrap_err().to_string();
    assert!(again.contains("is there already: it is not judged"), "{again}");
    let second = place.propose(child(place.folder.path(), Encoding::Q5_0, |_| ()));
    assert!(place.promote(&first).unwrap().passes);
    let refused = place.promote(&second).unwrap_err().to_string();
    assert!(refused.contains("is current") && refused.contains("lineage back"), "{refused}");
    let unknown = place.lineage().find("zz").unwrap_err().to_string();
    assert!(unknown.contains("\"zz\""), "{unknown}");
    // Its file is another one, then none.
    let file = |child: &str| place.folder.path().join(format!("children/{}.pxi", &child[..12]));
    std::fs::copy(file(&second), file(&first)).unwrap();
    let other = place
        .judge(&second)
        .map(|_| ())
        .and(place.store.open(&place.lineage(), &first, &place.founder).map(|_| ()));
    let other = other.unwrap_err().to_string();
    assert!(other.contains("it is") && other.contains("and not"), "{other}");
    std::fs::remove_file(file(&second)).unwrap();
    let mut list = pixel_llm(place.folder.path());
    list.args(["lineage", "--folder"]).arg(place.folder.path());
    let told = list.assert().code(1).get_output().clone();
    let words = String::from_utf8(told.stderr).unwrap();
    assert!(words.contains("the file of") && words.contains("lineage delete"), "{words}");
    let mut show = pixel_llm(place.folder.path());
    show.args(["lineage", "--json", "show", &second[..8], "--folder"]).arg(place.folder.path());
    let told = show.assert().success().get_output().stdout.clone();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["child"], second);
}

#[test]
fn a_gguf_of_a_child_tells_where_it_comes_from() {
    let place = Place::new();
    let first = place.propose(child(place.folder.path(), Encoding::Q5_1, |_| ()));
    let output = place.folder.path().join("child.gguf");
    let mut write = pixel_llm(place.folder.path());
    write.args(["lineage", "write", &first[..10], "--output"]).arg(&output);
    write.arg("--folder").arg(place.folder.path()).assert().success();
    let gguf = Gguf::open(&output).unwrap();
    let of = |key: &str| gguf.metadata().str(key).unwrap().unwrap().to_owned();
    let parent = digest_of(&place.founder);
    assert!(of("general.base_model.0.name").contains("Seedling"));
    assert_eq!(of("pixel_llm.lineage.parent_root"), parent);
    assert_eq!(of("general.lineage.chain"), place.lineage().entry_digest(1));
    // The weights are the child's, bit for bit.
    let back = place.folder.path().join("back.pxi");
    convert(&gguf, &back, &|_| ()).unwrap();
    assert_eq!(digest_of(&PixelModel::open(&back).unwrap()), first);
}

#[cfg(unix)]
#[test]
fn killed_at_any_step_the_lineage_is_as_before_or_as_after() {
    use std::process::Stdio;
    use std::time::Duration;
    let place = Place::new();
    let made = child(place.folder.path(), Encoding::Q5_1, |_| ());
    let good = place.propose(made);
    let assets = place.folder.path().join("assets");
    let mut before = place.lineage();
    let mut grew = 0;
    for kill in 0..12 {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("pixel-llm"));
        command.args(["lineage", "promote", &good[..12], "--folder"]).arg(place.folder.path());
        command.env("PIXEL_LLM_CONFIG", &assets).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 * kill * kill));
        let _ = running.kill();
        running.wait().unwrap();
        // A file that was half written lies beside it under another name.
        std::fs::write(place.folder.path().join(".pixel-llm-1-1.tmp"), "{\"form").unwrap();
        let now = place.lineage();
        let (entries, seen) = (now.entries(), before.entries());
        assert!(entries.len() >= seen.len() && entries[..seen.len()] == *seen);
        let is_in_use = now.verdict(&good) == Some(LineageVerdict::Promoted);
        assert_eq!(now.current() == Some(&*good), is_in_use);
        grew += usize::from(entries.len() > seen.len());
        before = now;
        if is_in_use {
            before = place.store.back(&MadeBy::a_person()).unwrap();
        }
    }
    assert!(grew > 0, "none of them came as far as a verdict");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let place = Place::new();
    let good = place.propose(child(place.folder.path(), Encoding::Q5_1, |_| ()));
    let before = std::fs::read(place.store.path()).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("pixel-llm");
    // No file may grow: writing fails as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" lineage promote \"$1\" --folder \"$2\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).arg(program).arg(&good[..12]).arg(place.folder.path());
    let output = shell.env("PIXEL_LLM_CONFIG", place.folder.path().join("c")).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && words.contains("File too large"), "{words}");
    assert_eq!(std::fs::read(place.store.path()).unwrap(), before);
}

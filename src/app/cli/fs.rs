//! `pixel-llm fs`: PixelFS from the command line. Each command is a few calls of [`crate::pxi`].

use super::{
    numbers::thousands,
    output::{Exit, Output, error_line, progress_bytes},
    table::{Align, Table},
};
use crate::files::open_regular;
use crate::outputs::{Format, check_output, refuse_ending, refuse_existing, refuse_input};
use crate::pxi::{
    self, Compression, PxiError, PxiFile, PxiHeader, PxiStore, PxiWriter, Target, WriteOptions,
};
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  pixel-llm fs write notes.txt notes.pxi          Store a file as pixels
  tar c src | pixel-llm fs write - src.pxi        Store a stream of any length
  pixel-llm fs read notes.pxi > notes.txt         Get the bytes back
  pixel-llm fs read big.pxi --offset 0x1000 --length 64 | xxd
  pixel-llm fs verify *.pxi                       Exit code 1 if a file is damaged
  pixel-llm fs view notes.pxi                     Make notes.png
  pixel-llm fs --store ~/pixels list              Use names inside a folder

Exit codes: 0 done, 1 verify found a damaged file, 2 the command could not be run.";

/// Arguments of `pixel-llm fs`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct FsArgs {
    /// Take each FILE as a name inside this folder, and never leave it.
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    #[command(subcommand)]
    command: FsCommand,
}

#[derive(Debug, Subcommand)]
enum FsCommand {
    /// Store bytes as pixels.
    #[command(
        allow_missing_positional = true,
        after_help = "\
Examples:
  pixel-llm fs write notes.txt notes.pxi --png
  pixel-llm fs write log.txt log.pxi --compression rle --width 256
  pixel-llm fs write notes.txt notes.pxi --force      Replace an old notes.pxi
  some-program | pixel-llm fs write out.pxi"
    )]
    Write(FsWriteArgs),
    /// Get the bytes back: all of them, after checking them, or a slice.
    #[command(after_help = "\
Examples:
  pixel-llm fs read notes.pxi --output notes.txt
  pixel-llm fs read big.pxi --offset 0x1000 --length 64 | xxd
  pixel-llm fs read damaged.pxi --unverified > rescued.bin")]
    Read(FsReadArgs),
    /// Show what the headers say.
    #[command(after_help = "Example:\n  pixel-llm fs info *.pxi --json")]
    Info(FilesArgs),
    /// Check every byte of files against their checksums.
    #[command(after_help = "Example:\n  pixel-llm fs verify *.pxi && echo all good")]
    Verify(FilesArgs),
    /// List the .pxi files of a folder and its subfolders.
    #[command(after_help = "Examples:\n  pixel-llm fs list\n  pixel-llm fs list ~/pixels --json")]
    List {
        /// The folder; the store's or the current one by default.
        folder: Option<PathBuf>,
    },
    /// Make a PNG picture of the pixels.
    #[command(after_help = "\
Examples:
  pixel-llm fs view notes.pxi
  pixel-llm fs view notes.pxi --output - | display -")]
    View {
        /// The .pxi file.
        file: String,
        /// The picture, or - for standard output; FILE with .png by default.
        #[arg(long, short, value_name = "PNG")]
        output: Option<PathBuf>,
        /// Replace the picture if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Delete .pxi files.
    #[command(after_help = "Example:\n  pixel-llm fs delete notes.pxi")]
    Delete(FilesArgs),
    /// Write, check and read back a small file of text.
    #[command(after_help = "Example:\n  pixel-llm fs demo && pixel-llm fs view demo.pxi")]
    Demo {
        /// The file to write.
        #[arg(default_value = "demo.pxi")]
        file: String,
    },
}

#[derive(Debug, Args)]
struct FsWriteArgs {
    /// Where the bytes come from; - or nothing is standard input.
    #[arg(value_name = "INPUT", default_value = "-")]
    input: PathBuf,
    /// The .pxi file to write; it appears when it is whole.
    #[arg(value_name = "OUTPUT")]
    file: String,
    /// Replace OUTPUT if it is a .pxi file, and its picture. What is no .pxi file is never
    /// replaced.
    #[arg(long)]
    force: bool,
    /// The width of the picture, in pixels.
    #[arg(long, default_value_t = pxi::DEFAULT_WIDTH,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(pxi::MAX_WRITTEN_WIDTH)))]
    width: u32,
    /// How to store the bytes. Only `none` can be read in slices without decoding.
    #[arg(long, value_enum, default_value_t = CompressionArg::None)]
    compression: CompressionArg,
    /// Also write the picture, as OUTPUT with .png.
    #[arg(long)]
    png: bool,
}

#[derive(Debug, Args)]
struct FsReadArgs {
    /// The .pxi file.
    file: String,
    /// The first byte of a slice; 0x introduces hexadecimal.
    #[arg(long, value_parser = parse_number)]
    offset: Option<u64>,
    /// The length of a slice in bytes; to the end by default.
    #[arg(long, value_parser = parse_number)]
    length: Option<u64>,
    /// Where the bytes go; - is standard output.
    #[arg(long, short, default_value = "-")]
    output: PathBuf,
    /// Replace the output if it exists. It is never FILE itself.
    #[arg(long)]
    force: bool,
    /// Do not check the payload before reading the whole of it. (A slice is never checked.)
    #[arg(long)]
    unverified: bool,
}

#[derive(Debug, Args)]
struct FilesArgs {
    /// The .pxi files.
    #[arg(required = true)]
    files: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionArg {
    /// As they are.
    None,
    /// Run lengths: pictures with large even areas.
    Rle,
    /// One LZ4 block: text and other data that repeats, up to 2 GB.
    Lz4,
}

impl From<CompressionArg> for Compression {
    fn from(arg: CompressionArg) -> Self {
        match arg {
            CompressionArg::None => Self::None,
            CompressionArg::Rle => Self::RunLength,
            CompressionArg::Lz4 => Self::Lz4,
        }
    }
}

/// Does what `fs` is asked for, with files by path or by name in a store.
pub fn run(args: FsArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let files = match &args.store {
        Some(folder) => FileArgument::InStore(PxiStore::open(folder)?),
        None => FileArgument::ByPath,
    };
    match args.command {
        FsCommand::Write(write_args) => write(&files, &write_args, out),
        FsCommand::Read(read_args) => read(&files, &read_args, out),
        FsCommand::Info(FilesArgs { files: names }) => info(&files, &names, out),
        FsCommand::Verify(FilesArgs { files: names }) => verify(&files, &names, out),
        FsCommand::List { folder } => list(&files, folder, out),
        FsCommand::View { file, output, force } => view(&files, &file, output, force, out),
        FsCommand::Delete(FilesArgs { files: names }) => delete(&files, &names, out),
        FsCommand::Demo { file } => demo(&files, &file, out),
    }
}

/// What a FILE argument means.
enum FileArgument {
    ByPath,
    InStore(PxiStore),
}

impl FileArgument {
    fn path(&self, name: &str) -> Result<PathBuf, PxiError> {
        match self {
            Self::ByPath => Ok(name.into()),
            Self::InStore(store) => store.path(name),
        }
    }

    fn open(&self, name: &str) -> Result<PxiFile, PxiError> {
        PxiFile::open(self.path(name)?)
    }

    fn writer(
        &self,
        name: &str,
        options: WriteOptions,
        force: bool,
    ) -> Result<PxiWriter, PxiError> {
        match self {
            Self::ByPath => PxiWriter::create(Target::new(name, force), options),
            Self::InStore(store) => store.write_with(name, options, force),
        }
    }
}

/// What is said about a file: the JSON shape of `info`, `write`, `list` and `demo`.
#[derive(Debug, Serialize)]
struct FsReport {
    file: String,
    file_len: Option<u64>,
    #[serde(flatten)]
    header: Option<HeaderReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    png: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct HeaderReport {
    version: String,
    payload_len: u64,
    width: u32,
    height: u32,
    compression: &'static str,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Reports {
    files: Vec<FsReport>,
}

impl FsReport {
    fn of(name: &str, header: &PxiHeader, file_len: u64) -> Self {
        let header = HeaderReport {
            version: format!("{}.{}", pxi::VERSION.0, header.minor()),
            payload_len: header.original_size(),
            width: header.width(),
            height: header.height(),
            compression: header.compression().name(),
            sha256: pxi::hex(header.checksum()),
        };
        Self {
            file: name.into(),
            file_len: Some(file_len),
            header: Some(header),
            png: None,
            error: None,
        }
    }

    fn of_file(name: &str, file: &PxiFile) -> Self {
        Self::of(name, file.header(), file.file_len())
    }

    fn lines(&self) -> String {
        let Some(header) = &self.header else {
            return format!(
                "{}\n  error        {}\n",
                self.file,
                self.error.as_deref().unwrap_or_default()
            );
        };
        let mut lines = format!(
            "{}\n  version      {}\n  payload      {} bytes\n  picture      {} x {} pixels\n  \
             compression  {}\n  file         {} bytes\n  sha-256      {}\n",
            self.file,
            header.version,
            thousands(header.payload_len),
            header.width,
            header.height,
            header.compression,
            thousands(self.file_len.unwrap_or_default()),
            header.sha256,
        );
        if let Some(png) = &self.png {
            lines.push_str(&format!("  png          {png}\n"));
        }
        lines
    }
}

fn write(files: &FileArgument, args: &FsWriteArgs, out: &mut Output) -> anyhow::Result<Exit> {
    // The input is opened first, so that a wrong name costs nothing.
    let (mut input, len): (Box<dyn Read>, Option<u64>) = if is_standard_stream(&args.input) {
        (Box::new(io::stdin().lock()), None)
    } else {
        let open = || File::open(&args.input).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) =
            open().with_context(|| format!("{}: cannot open", args.input.display()))?;
        (Box::new(file), Some(len))
    };
    check_write(files, args)?;
    let options = WriteOptions { width: args.width, compression: args.compression.into() };
    let mut writer = files.writer(&args.file, options, args.force)?;
    let bar = progress_bytes("writing", len);
    let mut piece = vec![0; pxi::PIECE_LEN];
    loop {
        let read_len = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(read_len) => read_len,
            // A signal is no fault of the input.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{}: cannot read", args.input.display()));
            }
        };
        writer
            .write_all(&piece[..read_len])
            .with_context(|| format!("{}: cannot write", args.file))?;
        bar.inc(read_len as u64);
    }
    writer.finish()?;
    bar.finish_and_clear();
    // Opened anew, so that what is told is what the disk has.
    let file = files.open(&args.file)?;
    let mut report = FsReport::of_file(&args.file, &file);
    if args.png {
        let picture = file.path().with_extension("png");
        pxi::view::write_png_file(&file, Target::new(&picture, args.force))?;
        report.png = Some(picture.display().to_string());
    }
    out.print(&report, FsReport::lines)?;
    Ok(Exit::Ok)
}

/// Refuses an output, or a picture beside it, by which a file would be lost.
fn check_write(files: &FileArgument, args: &FsWriteArgs) -> anyhow::Result<()> {
    let output = files.path(&args.file)?;
    refuse_input(&output, [args.input.as_path()])?;
    refuse_ending(&output, Format::Pxi)?;
    // Whatever leave there is: `--force` is for .pxi files alone.
    refuse_other(&output)?;
    refuse_existing(&output, args.force)?;
    if args.png {
        let picture = output.with_extension("png");
        // Its folder may be one that a store makes.
        refuse_input(&picture, [args.input.as_path(), &output])?;
        refuse_existing(&picture, args.force)?;
    }
    Ok(())
}

/// Refuses to replace a file that does not begin as a .pxi file does, whatever leave was given: who
/// mixes up input and output has named something else.
fn refuse_other(output: &Path) -> anyhow::Result<()> {
    if !output.metadata().is_ok_and(|about| about.is_file()) {
        return Ok(());
    }
    let mut magic = pxi::MAGIC.map(|_| 0);
    let begins = open_regular(output).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    if !begins || magic != pxi::MAGIC {
        bail!(
            "{} exists and is no .pxi file, so it is not replaced; give another name",
            output.display()
        );
    }
    Ok(())
}

#[derive(Serialize)]
struct FsReadReport {
    file: String,
    offset: u64,
    length: u64,
    output: String,
}

fn read(files: &FileArgument, args: &FsReadArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let file = files.open(&args.file)?;
    check_output(&args.output, [file.path()], Format::Bytes, args.force)?;
    let payload_len = file.header().original_size();
    let offset = args.offset.unwrap_or(0);
    let length = args.length.unwrap_or(payload_len.saturating_sub(offset));
    let is_slice = args.offset.is_some() || args.length.is_some();
    // The checksum is of the whole payload: to check a slice is to read all of it.
    if !is_slice && !args.unverified {
        let bar = progress_bytes("checking", Some(payload_len));
        file.verify_with(&|hashed_len| bar.set_position(hashed_len))?;
        bar.finish_and_clear();
    }
    if is_standard_stream(&args.output) {
        file.copy_range(offset, length, out.bytes())?;
        return Ok(Exit::Ok);
    }
    write_output(&args.output, args.force, |sink| file.copy_range(offset, length, sink))?;
    let report = FsReadReport {
        file: args.file.clone(),
        offset,
        length,
        output: args.output.display().to_string(),
    };
    out.print(&report, |report| format!("{}: {} bytes", report.output, thousands(report.length)))?;
    Ok(Exit::Ok)
}

fn info(files: &FileArgument, names: &[String], out: &mut Output) -> anyhow::Result<Exit> {
    let reports: Result<Vec<_>, PxiError> = names
        .iter()
        .map(|name| files.open(name).map(|file| FsReport::of_file(name, &file)))
        .collect();
    let reports = Reports { files: reports? };
    out.print(&reports, |reports| {
        reports.files.iter().map(FsReport::lines).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct VerifyReports {
    ok: bool,
    files: Vec<FsVerifyReport>,
}

#[derive(Serialize)]
struct FsVerifyReport {
    file: String,
    /// `ok`, `damaged`, or `unreadable` when the file could not be checked.
    status: &'static str,
    error: Option<String>,
}

fn verify(files: &FileArgument, names: &[String], out: &mut Output) -> anyhow::Result<Exit> {
    let mut worst = Exit::Ok;
    let mut reports = Vec::new();
    for name in names {
        let checked = files.open(name).and_then(|file| {
            let bar = progress_bytes("checking", Some(file.header().original_size()));
            let verified = file.verify_with(&|hashed_len| bar.set_position(hashed_len));
            bar.finish_and_clear();
            verified
        });
        let (status, exit) = match &checked {
            Ok(()) => ("ok", Exit::Ok),
            Err(error) if error.is_damage() => ("damaged", Exit::FoundBad),
            Err(_) => ("unreadable", Exit::CannotRun),
        };
        // Exit codes rise from good to bad.
        worst = worst.max(exit);
        let error = checked.err().map(|error| error_line(&error.into()));
        reports.push(FsVerifyReport { file: name.clone(), status, error });
    }
    let reports = VerifyReports { ok: worst == Exit::Ok, files: reports };
    out.print(&reports, |reports| {
        let line = |report: &FsVerifyReport| match &report.error {
            None => format!("{:<10}  {}\n", report.status, report.file),
            // The error begins with the file's path already.
            Some(error) => format!("{:<10}  {error}\n", report.status),
        };
        reports.files.iter().map(line).collect()
    })?;
    Ok(worst)
}

fn list(files: &FileArgument, folder: Option<PathBuf>, out: &mut Output) -> anyhow::Result<Exit> {
    let store = match (files, folder) {
        (FileArgument::InStore(_), Some(_)) => bail!("give a folder or --store, not both"),
        (FileArgument::InStore(store), None) => store.clone(),
        (FileArgument::ByPath, folder) => PxiStore::open(folder.unwrap_or_else(|| ".".into()))?,
    };
    let report = |entry: pxi::PxiEntry| match entry.header {
        Ok(header) => FsReport::of(&entry.name, &header, entry.file_len.unwrap_or_default()),
        Err(error) => {
            let error = Some(error_line(&error.into()));
            FsReport { file: entry.name, file_len: entry.file_len, header: None, png: None, error }
        }
    };
    let reports = Reports { files: store.list()?.into_iter().map(report).collect() };
    out.print(&reports, |reports| {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("PAYLOAD", Align::Right),
            ("FILE", Align::Right),
            ("PICTURE", Align::Right),
            ("KIND", Align::Left),
            ("SHA-256", Align::Left),
        ]);
        for report in &reports.files {
            let file_len = report.file_len.map(thousands).unwrap_or_default();
            let rest = match &report.header {
                Some(header) => [
                    thousands(header.payload_len),
                    file_len,
                    format!("{} x {}", header.width, header.height),
                    header.compression.into(),
                    // A SHA-256 has 64 hexadecimal digits; 16 tell files apart.
                    header.sha256[..16].into(),
                ],
                None => ["-".into(), file_len, "-".into(), "damaged".into(), String::new()],
            };
            let [payload, file, picture, kind, sha256] = rest;
            table.row([report.file.clone(), payload, file, picture, kind, sha256]);
        }
        table.render()
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct ViewReport {
    file: String,
    png: String,
    width: u32,
    height: u32,
}

fn view(
    files: &FileArgument,
    name: &str,
    output: Option<PathBuf>,
    force: bool,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let file = files.open(name)?;
    let picture = output.unwrap_or_else(|| file.path().with_extension("png"));
    check_output(&picture, [file.path()], Format::Png, force)?;
    if is_standard_stream(&picture) {
        pxi::view::write_png(&file.contents(), out.bytes())
            .map_err(|error| error.at(file.path()))?;
        return Ok(Exit::Ok);
    }
    pxi::view::write_png_file(&file, Target::new(&picture, force))?;
    let (width, height) = (file.header().width(), file.header().height());
    let report =
        ViewReport { file: name.into(), png: picture.display().to_string(), width, height };
    out.print(&report, |report| {
        format!("{}: {} x {} pixels", report.png, report.width, report.height)
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct DeleteReport {
    deleted: Vec<String>,
}

fn delete(files: &FileArgument, names: &[String], out: &mut Output) -> anyhow::Result<Exit> {
    for name in names {
        let path = files.path(name)?;
        // A damaged file may be deleted, so its contents are not asked; its name must be that of a
        // .pxi file.
        if path.extension().is_none_or(|extension| extension != "pxi") {
            bail!("{}: not a .pxi file, so it is not deleted", path.display());
        }
        fs::remove_file(&path).with_context(|| format!("{}: cannot delete", path.display()))?;
    }
    let report = DeleteReport { deleted: names.to_vec() };
    out.print(&report, |report| {
        report.deleted.iter().map(|name| format!("deleted {name}\n")).collect()
    })?;
    Ok(Exit::Ok)
}

fn demo(files: &FileArgument, name: &str, out: &mut Output) -> anyhow::Result<Exit> {
    let path = files.path(name)?;
    refuse_ending(&path, Format::Pxi)?;
    let is_demo = || {
        PxiFile::open(&path)
            .and_then(|file| file.read_all())
            .is_ok_and(|bytes| bytes == pxi::demo::payload())
    };
    if path.is_file() && !is_demo() {
        bail!(
            "{} exists and is not the demo, so it is not replaced; give another name",
            path.display()
        );
    }
    // May replace what is there, which is the demo.
    let mut writer = files.writer(name, WriteOptions::default(), path.is_file())?;
    writer.write_all(&pxi::demo::payload()).with_context(|| format!("{name}: cannot write"))?;
    writer.finish()?;
    let file = files.open(name)?;
    file.verify()?;
    let line = String::from_utf8_lossy(&file.read_range(0, 19)?).into_owned();
    out.print(&FsReport::of_file(name, &file), |report| {
        format!("{}  verified     yes\n  begins with  {line}\n", report.lines())
    })?;
    Ok(Exit::Ok)
}

/// Writes a result to a file atomically, or straight to what is no regular file, such as a device
/// or a pipe.
fn write_output(
    path: &Path,
    force: bool,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), PxiError>,
) -> anyhow::Result<()> {
    let is_special =
        fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    if is_special {
        let context = || format!("{}: cannot write", path.display());
        let mut sink = File::options().write(true).open(path).with_context(context)?;
        return produce(&mut sink).with_context(context);
    }
    let mut file = pxi::AtomicFile::create(Target::new(path, force))?;
    produce(&mut file).with_context(|| format!("{}: cannot write", path.display()))?;
    Ok(file.commit()?)
}

fn is_standard_stream(path: &Path) -> bool {
    path == Path::new("-")
}

fn parse_number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

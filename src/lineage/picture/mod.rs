//! The lineage as islands: a row for each generation, an island for each child with its small
//! poster, a canal to each parent. Gold is what was promoted, hatched what was rejected.

mod layout;
mod shapes;

use std::sync::Arc;

use super::document::Lineage;
use super::entry::{LineageEntry, LineageVerdict, short};
use super::error::LineageError;
use super::figure::{Against, FigureKind, MeasuredFigure};
use super::store::LineageStore;
use crate::model::PixelModel;
use crate::model::colour::Rgb;
use crate::model::poster::{Picture, text::Pen};
use crate::size::MemorySize;
use crate::terminal::one_line;
use crate::words::counted;
use layout::{IslandSpot, Islands};
use shapes::Coast;

const NIGHT: Rgb = [9, 13, 22];
const WATER: Rgb = [17, 30, 50];
const CANAL: Rgb = [58, 96, 138];
const GOLD: Rgb = [242, 196, 92];
const STONE: Rgb = [104, 116, 128];
const PALE: Rgb = [188, 206, 224];
const RED: Rgb = [206, 96, 84];
const LAND: Rgb = [11, 14, 20];
const TITLE: Rgb = [242, 214, 142];
const WORDS: Rgb = [172, 190, 182];
const FAINT: Rgb = [116, 134, 144];

/// Islands that have their poster: painting one reads every weight.
const MOST_POSTERS: usize = 48;
/// Islands beneath which there are words; smaller ones would have letters that cannot be read.
const LEAST_WIDTH_OF_WORDS: f32 = 150.0;

/// A picture of a lineage, and where on it each child is.
#[derive(Clone, Debug)]
pub struct FamilyPainting {
    /// The picture.
    pub picture: Picture,
    /// Of each child in order.
    pub islands: Vec<Island>,
    /// From the founder to the current one, by their numbers in `islands`.
    pub way: Vec<usize>,
}

/// A child on the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Island {
    /// How it was made, and what became of it.
    pub title: String,
    /// Its digest, who made it, and every figure with its error.
    pub figures: Vec<String>,
    /// Of each line of its gate whether it holds, and why.
    pub gate: Vec<(bool, String)>,
    /// Where it is, in pixels: left, top, width, height, with its words.
    pub place: [f32; 4],
}

impl Island {
    fn of(child: &LineageEntry, lineage: &Lineage, spot: IslandSpot) -> Self {
        let by = [&child.by.agent, &child.by.person].into_iter().flatten();
        let by: Vec<String> = by.map(|name| one_line(name).into_owned()).collect();
        let mut figures = vec![format!("digest {}", short(&child.child))];
        if !by.is_empty() {
            figures.push(format!("by {}", by.join(" and ")));
        }
        figures.extend(child.figures.iter().map(|figure| {
            let against = match figure.against {
                Against::Parent => String::new(),
                Against::Uniform => " (beside the uniform file)".into(),
            };
            let error = if figure.error > 0.0 {
                format!(", error {:.4}", figure.error)
            } else {
                String::new()
            };
            format!("{}{error}{against}", figure_words(figure))
        }));
        let lines = child.gate.iter().flat_map(|gate| &gate.outcome);
        Self {
            title: format!("{}: {}", made(child), verdict_words(child, lineage)),
            figures,
            gate: lines.map(|line| (line.holds, line.because.clone())).collect(),
            place: [
                spot.x - spot.width / 2.0,
                spot.top(),
                spot.width,
                // The words beneath take about so much.
                spot.height + spot.width * 0.4,
            ],
        }
    }
}

/// Paints a lineage. Children whose files are not there are islands without a poster.
///
/// # Errors
/// The founder's weights cannot be read.
pub fn paint(
    lineage: &Lineage,
    store: &LineageStore,
    founder: &Arc<PixelModel>,
) -> Result<FamilyPainting, LineageError> {
    let children = lineage.children();
    let islands = Islands::new(lineage, &children);
    let mut picture = Picture::new(islands.size, NIGHT);
    shapes::sea(&mut picture, WATER);
    for (child, spot) in children.iter().zip(&islands.spots) {
        for (from, is_main) in islands.parents_of(child, lineage) {
            let (colour, width) = if is_main { (GOLD, 5.0) } else { (CANAL, 4.0) };
            shapes::canal(&mut picture, islands.canal(from, *spot), (colour, width));
        }
    }
    let posters = with_posters(lineage, &children);
    for (at, (child, spot)) in children.iter().zip(&islands.spots).enumerate() {
        let poster = posters[at].then(|| poster_of(child, store, founder, *spot)).flatten();
        island(&mut picture, lineage, child, (*spot, poster.as_ref()));
    }
    if islands.spots.first().is_some_and(|spot| spot.width >= LEAST_WIDTH_OF_WORDS) {
        for (child, spot) in children.iter().zip(&islands.spots) {
            caption(&mut picture, lineage, child, *spot);
        }
    }
    head(&mut picture, lineage, &children);
    legend(&mut picture);
    let at = |digest: &String| children.iter().position(|child| child.child == *digest);
    Ok(FamilyPainting {
        picture,
        islands: children
            .iter()
            .zip(&islands.spots)
            .map(|(child, spot)| Island::of(child, lineage, *spot))
            .collect(),
        way: lineage.promoted().iter().filter_map(at).collect(),
    })
}

/// Which children have a poster: those in use first, then the newest.
fn with_posters(lineage: &Lineage, children: &[LineageEntry]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..children.len()).collect();
    let is_in_use = |at: usize| lineage.promoted().contains(&children[at].child);
    order.sort_by_key(|&at| (!is_in_use(at), std::cmp::Reverse(at)));
    let mut has = vec![false; children.len()];
    order.into_iter().take(MOST_POSTERS).for_each(|at| has[at] = true);
    has
}

fn poster_of(
    child: &LineageEntry,
    store: &LineageStore,
    founder: &Arc<PixelModel>,
    spot: IslandSpot,
) -> Option<Picture> {
    let side = spot.width as u32;
    if side < 24 {
        return None;
    }
    let opened = match &child.place {
        super::entry::FilePlace::File { file, .. } => {
            Some(Arc::new(PixelModel::open(&store.folder().join(file)).ok()?))
        }
        super::entry::FilePlace::Word(super::entry::PlaceWord::Founder) => {
            Some(Arc::clone(founder))
        }
        super::entry::FilePlace::Word(super::entry::PlaceWord::Gone) => None,
    };
    // Smaller than letters that can be read, so that it has none.
    crate::model::poster::paint(&*opened?, side, &|_| ()).ok()
}

fn island(
    picture: &mut Picture,
    lineage: &Lineage,
    child: &LineageEntry,
    (spot, poster): (IslandSpot, Option<&Picture>),
) {
    let coast = Coast::new(spot, &child.child);
    let (colour, is_hatched) = look(child.verdict);
    let is_current = lineage.current() == Some(&*child.child);
    let strength = if is_current { 2.0 } else { 1.0 };
    shapes::ground(picture, &coast, (colour, LAND, strength));
    if let Some(poster) = poster {
        shapes::poster(picture, &coast, poster);
    }
    if is_hatched {
        shapes::hatch(picture, &coast, colour);
    }
}

/// The colour of a coast, and whether the land is hatched.
const fn look(verdict: LineageVerdict) -> (Rgb, bool) {
    match verdict {
        LineageVerdict::Promoted => (GOLD, false),
        LineageVerdict::Rejected => (RED, true),
        LineageVerdict::Candidate | LineageVerdict::Passed => (PALE, false),
        LineageVerdict::RolledBack => (STONE, false),
        LineageVerdict::Gone => (STONE, true),
    }
}

/// Beneath an island: its digest and verdict, how it was made, and what was measured.
fn caption(picture: &mut Picture, lineage: &Lineage, child: &LineageEntry, spot: IslandSpot) {
    let size = (spot.width / 15.0).clamp(11.0, 19.0);
    let (colour, _) = look(child.verdict);
    let verdict = verdict_words(child, lineage);
    let first = Pen::new(size, colour);
    let mut lines = vec![(first, format!("{}  {verdict}", short(&child.child)))];
    lines.push((Pen::new(size, WORDS), made(child)));
    lines.extend(measured(child).map(|text| (Pen::new(size * 0.92, FAINT), text)));
    let mut y = spot.bottom() + size * 0.6;
    // Canals pass beneath words.
    let across = lines.iter().map(|(pen, text)| pen.width(text)).fold(0.0, f32::max);
    let down = lines.iter().map(|(pen, _)| pen.line()).sum::<f32>();
    shapes::shade(picture, [spot.x - across / 2.0, y, across, down], NIGHT);
    for (pen, text) in lines {
        let x = spot.x - pen.width(&text) / 2.0;
        pen.write(picture, [x.max(2.0), y], &text);
        y += pen.line();
    }
}

/// What became of a child; of the one in use, that it is.
fn verdict_words(child: &LineageEntry, lineage: &Lineage) -> &'static str {
    let is_current = lineage.current() == Some(&*child.child);
    if is_current { "current" } else { child.verdict.words() }
}

/// How a child was made, in a few words.
fn made(child: &LineageEntry) -> String {
    let how = &child.how;
    let first = how.parameters.iter().find(|(name, _)| {
        matches!(name.as_str(), "bits" | "corpus" | "subject" | "heads" | "layers")
    });
    let with = first.map_or_else(String::new, |(name, value)| match value.as_str() {
        Some(text) => format!(" {}", one_line(text)),
        None => format!(" {value} {name}"),
    });
    format!("{}{with}", one_line(&how.action).replace('_', " "))
}

/// The figures that its gate asked for, two of them.
fn measured(child: &LineageEntry) -> impl Iterator<Item = String> + use<> {
    let gate = child.gate.iter().flat_map(|gate| &gate.data.lines);
    let wanted: Vec<_> = gate.map(|line| line.figure.clone()).collect();
    let figures = child.figures.iter().filter(|figure| wanted.contains(&figure.name));
    let mut seen = Vec::new();
    let mut lines = Vec::new();
    for figure in figures {
        if !seen.contains(&figure.name) {
            seen.push(figure.name.clone());
            lines.push(figure_words(figure));
        }
    }
    lines.into_iter().take(3)
}

fn figure_words(figure: &MeasuredFigure) -> String {
    let name = &figure.name;
    let arrow = |before: String, after: String| format!("{before} to {after}");
    let shown = match name.kind {
        FigureKind::Bytes => {
            let size = |bytes: f64| MemorySize(bytes as u64).to_string();
            arrow(size(figure.parent), size(figure.child))
        }
        FigureKind::ExactMatch => {
            let share = |part: f64| format!("{:.0} %", 100.0 * part);
            arrow(share(figure.parent), share(figure.child))
        }
        FigureKind::Divergence if figure.against == Against::Parent => {
            format!("{:.4}", figure.child)
        }
        _ => arrow(format!("{:.4}", figure.parent), format!("{:.4}", figure.child)),
    };
    let name = name.to_string().replace('_', " ").replace('.', ", ");
    format!("{name}: {shown}")
}

fn head(picture: &mut Picture, lineage: &Lineage, children: &[LineageEntry]) {
    let (title, about) = (Pen::new(34.0, TITLE), Pen::new(18.0, WORDS));
    let count = |verdict| children.iter().filter(|child| child.verdict == verdict).count() as u64;
    let name = one_line(&lineage.name);
    title.write(picture, [28.0, 18.0], &name);
    let text = format!(
        "{} of one family: {} promoted, {} rejected; {} is in use",
        counted(children.len() as u64, "model"),
        count(LineageVerdict::Promoted) - 1,
        count(LineageVerdict::Rejected),
        short(lineage.current().unwrap_or_default())
    );
    about.write(picture, [28.0, 62.0], &text);
}

/// What the colours say.
fn legend(picture: &mut Picture) {
    let pen = Pen::new(16.0, FAINT);
    let y = picture.height as f32 - 34.0;
    let mut x = 28.0;
    let signs = [
        (GOLD, false, "promoted"),
        (RED, true, "rejected"),
        (PALE, false, "not judged, or waits for leave"),
        (STONE, false, "rolled back"),
        (STONE, true, "its file is gone"),
    ];
    for (colour, is_hatched, text) in signs {
        let spot = IslandSpot { x: x + 16.0, y: y + 9.0, width: 32.0, height: 18.0 };
        let coast = Coast::new(spot, text);
        shapes::ground(picture, &coast, (colour, LAND, 1.0));
        if is_hatched {
            shapes::hatch(picture, &coast, colour);
        }
        pen.write(picture, [x + 40.0, y], text);
        x += 40.0 + pen.width(text) + 30.0;
    }
}

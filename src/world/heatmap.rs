//! Colour layers over the map, made of what the coach's surveys found: a value per tile or per
//! head.
//!
//! In: the files of reports in the queue's folder. Out: rectangles of cells with values; `panel`
//! draws them. A file belongs to a model by its root hash: that of another one is refused, however
//! alike their tiles and heads are. Spec: `specs/agents.md`.

use std::path::Path;

use bevy::prelude::Resource;
use serde::Deserialize;

use crate::coach::work::{HEAD_IMPORTANCE_FILE, SENSITIVITY_FILE, TILE_STATISTICS_FILE};
use crate::model::plan::Rect;
use crate::model::rewrite::{matrices, size_in};
use crate::model::{Encoding, PixelModel};
use crate::refit::Sensitivities;

/// The largest file of a survey that is read: 7 billion weights have some tens of thousands of
/// tiles.
const MAX_BYTES: u64 = 64 << 20;

/// Why there is no layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeatmapError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    File {
        /// Its name in the queue's folder.
        file: String,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// The file is no survey.
    #[error("{file}: {source}")]
    Json {
        /// Its name in the queue's folder.
        file: String,
        /// Where it is no survey, and why.
        source: serde_json::Error,
    },
    /// The survey is of another model, or does not say of which it is.
    #[error("{file}: a survey of {}, and this model has the root hash {expected:.12}", of(found))]
    OtherModel {
        /// Its name in the queue's folder.
        file: String,
        /// The root hash that it says, in hexadecimal digits.
        found: Option<String>,
        /// That of the model.
        expected: String,
    },
    /// The survey has no tile or head, or one that the model does not have.
    #[error("{file}: a survey of {found} {what}, and this model has {expected}")]
    Incomplete {
        /// Its name in the queue's folder.
        file: String,
        /// What it counts: tiles or heads.
        what: &'static str,
        /// How many it has of the model's.
        found: usize,
        /// How many there are.
        expected: usize,
    },
}

/// Whose survey it is, in words.
fn of(root: &Option<String>) -> String {
    match root {
        Some(root) => format!("the model {:.12}", crate::terminal::one_line(root)),
        None => "no model that it names".into(),
    }
}

/// Refuses a survey of another model.
fn belongs(file: &str, found: Option<String>, model: &PixelModel) -> Result<(), HeatmapError> {
    let expected = crate::model::hex(&model.header().root);
    if found.as_ref() == Some(&expected) {
        return Ok(());
    }
    Err(HeatmapError::OtherModel { file: file.into(), found, expected })
}

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeatmapScale {
    /// From the smallest to the largest, by their logarithms.
    Logarithmic,
    /// Below and above zero, as far as the largest of either.
    Signed,
    /// From zero to the largest: twice the value is twice the light.
    Changed,
}

/// A value per rectangle of cells.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatmapLayer {
    /// Its name, by which it is chosen and saved.
    pub name: &'static str,
    /// What it shows, with the unit.
    pub title: &'static str,
    /// How values become colours.
    pub scale: HeatmapScale,
    /// Rectangles on the map, each with its value.
    pub cells: Vec<(Rect, f32)>,
    /// The smallest and the largest value.
    pub range: [f32; 2],
}

impl HeatmapLayer {
    pub(crate) fn new(
        name: &'static str,
        title: &'static str,
        scale: HeatmapScale,
        cells: Vec<(Rect, f32)>,
    ) -> Self {
        // A number beyond f32 is read as infinite, and would leave one colour for all others.
        let cells: Vec<(Rect, f32)> =
            cells.into_iter().filter(|(_, value)| value.is_finite()).collect();
        let values = || cells.iter().map(|&(_, value)| value);
        let range =
            [values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max)];
        Self { name, title, scale, cells, range }
    }

    /// Where a value stands: from 0 to 1, or from -1 to 1 where it has a sign. Of what differs
    /// nowhere it is 0.
    pub fn part(&self, value: f32) -> f32 {
        let [low, high] = self.range;
        match self.scale {
            // All values may be zero.
            HeatmapScale::Signed => value / low.abs().max(high.abs()).max(f32::MIN_POSITIVE),
            HeatmapScale::Changed => value / high.max(f32::MIN_POSITIVE),
            HeatmapScale::Logarithmic => {
                // Zero has no logarithm, and where all tiles are alike there is no range.
                let log = |value: f32| value.max(f32::MIN_POSITIVE).ln();
                ((log(value) - log(low)) / (log(high) - log(low)).max(1e-6)).clamp(0.0, 1.0)
            }
        }
    }
}

#[derive(Deserialize)]
struct TileSurvey {
    model: Option<String>,
    tiles: Vec<SurveyedTile>,
}

#[derive(Deserialize)]
struct SurveyedTile {
    tile: u32,
    spread: f32,
    peak: f32,
}

#[derive(Deserialize)]
struct HeadSurvey {
    model: Option<String>,
    heads: Vec<SurveyedHead>,
}

#[derive(Deserialize)]
struct SurveyedHead {
    layer: u32,
    head: u32,
    importance: f32,
}

/// The layers of a survey of tiles.
///
/// # Errors
/// It is none, or one of another model.
pub(crate) fn of_statistics(
    file: &str,
    text: &str,
    model: &PixelModel,
) -> Result<Vec<HeatmapLayer>, HeatmapError> {
    let read: TileSurvey = serde_json::from_str(text)
        .map_err(|source| HeatmapError::Json { file: file.into(), source })?;
    belongs(file, read.model, model)?;
    let is_there = |tile: &&SurveyedTile| tile.tile < model.tile_count();
    let found = read.tiles.iter().filter(is_there).count();
    let expected = model.tile_count() as usize;
    if found != expected || read.tiles.len() != expected {
        return Err(HeatmapError::Incomplete { file: file.into(), what: "tiles", found, expected });
    }
    let cells = |value: fn(&SurveyedTile) -> f32| -> Vec<(Rect, f32)> {
        let of_tile = |tile: &SurveyedTile| {
            let (tensor, _) = model.tile_shape(tile.tile);
            let index = u64::from(tile.tile - model.tensors()[tensor].first_tile);
            let rects = model.plan().tile_rects(model.tensors(), tensor, index);
            rects.into_iter().map(|rect| (rect, value(tile))).collect::<Vec<_>>()
        };
        read.tiles.iter().flat_map(of_tile).collect()
    };
    Ok(vec![
        HeatmapLayer::new(
            "spread",
            "spread of each tile",
            HeatmapScale::Logarithmic,
            cells(|tile| tile.spread),
        ),
        HeatmapLayer::new(
            "peak",
            "largest weight of each tile",
            HeatmapScale::Logarithmic,
            cells(|tile| tile.peak),
        ),
    ])
}

/// The layer of a survey of heads.
///
/// # Errors
/// It is none, or one of another model.
pub(crate) fn of_heads(
    file: &str,
    text: &str,
    model: &PixelModel,
) -> Result<HeatmapLayer, HeatmapError> {
    let read: HeadSurvey = serde_json::from_str(text)
        .map_err(|source| HeatmapError::Json { file: file.into(), source })?;
    belongs(file, read.model, model)?;
    let config = model.config();
    let (found, expected) = (read.heads.len(), (config.layer_count * config.head_count) as usize);
    let rect_of = |head: &SurveyedHead| {
        let heads = &model.plan().heads;
        heads
            .iter()
            .find(|place| (place.layer, place.head) == (head.layer, head.head))
            .map(|place| place.rect)
    };
    let cells: Vec<(Rect, f32)> =
        read.heads.iter().filter_map(|head| Some((rect_of(head)?, head.importance))).collect();
    // The number may be right while a head is one that this model does not have.
    if found != expected || cells.len() != expected {
        let found = cells.len();
        return Err(HeatmapError::Incomplete { file: file.into(), what: "heads", found, expected });
    }
    let title = "importance of each head: nats of loss that muting it costs";
    Ok(HeatmapLayer::new("heads", title, HeatmapScale::Signed, cells))
}

/// The layer of a survey of sensitivities: of each matrix what its smallest encoding costs, per
/// weight, since a large matrix costs more because it is large.
///
/// # Errors
/// It is none, or one of another model.
pub(crate) fn of_sensitivities(
    file: &str,
    text: &str,
    model: &PixelModel,
) -> Result<HeatmapLayer, HeatmapError> {
    let read: Sensitivities = serde_json::from_str(text)
        .map_err(|source| HeatmapError::Json { file: file.into(), source })?;
    belongs(file, Some(read.model.clone()), model)?;
    let mut cells = Vec::new();
    for (at, tensor) in model.tensors().iter().enumerate() {
        let size = |encoding| size_in(model, at, encoding);
        let measured = Encoding::ALL
            .into_iter()
            .filter_map(|encoding| Some((size(encoding)?, read.get(&tensor.name, encoding)?.mean)));
        let Some((_, cost)) = measured.min_by_key(|(bytes, _)| *bytes) else { continue };
        let value = (cost / tensor.weight_count() as f64 * 1e6) as f32;
        for tile in 0..tensor.tiles().len() as u64 {
            let rects = model.plan().tile_rects(model.tensors(), at, tile);
            cells.extend(rects.into_iter().map(|rect| (rect, value)));
        }
    }
    if cells.is_empty() {
        let (what, expected) = ("matrices", matrices(model).count());
        return Err(HeatmapError::Incomplete { file: file.into(), what, found: 0, expected });
    }
    let title = "sensitivity: nats a token that its smallest encoding costs, per million weights";
    Ok(HeatmapLayer::new("sensitivity", title, HeatmapScale::Logarithmic, cells))
}

/// The layers that there are, and the one that is shown.
#[derive(Resource, Debug, Clone, Default, PartialEq)]
pub struct Heatmaps {
    /// Those that there are.
    pub all: Vec<HeatmapLayer>,
    /// The name of the one that is shown.
    pub shown: Option<String>,
}

impl Heatmaps {
    /// The layer that is shown.
    pub(crate) fn current(&self) -> Option<&HeatmapLayer> {
        let shown = self.shown.as_deref()?;
        self.all.iter().find(|overlay| overlay.name == shown)
    }

    /// Reads the surveys in a folder; what is of another model, or none, is left out.
    pub fn load(&mut self, folder: &Path, model: &PixelModel) -> Vec<HeatmapError> {
        let mut problems = Vec::new();
        let mut found = Vec::new();
        for file in [TILE_STATISTICS_FILE, HEAD_IMPORTANCE_FILE, SENSITIVITY_FILE] {
            let path = folder.join(file);
            let read = || -> std::io::Result<Option<String>> {
                match std::fs::metadata(&path) {
                    Ok(about) if about.len() > MAX_BYTES => Err(std::io::Error::other(format!(
                        "{} bytes, at most {MAX_BYTES}",
                        about.len()
                    ))),
                    Ok(_) => crate::files::read_to_string(&path).map(Some),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            };
            let overlays = match read() {
                Ok(None) => continue,
                Ok(Some(text)) if file == TILE_STATISTICS_FILE => of_statistics(file, &text, model),
                Ok(Some(text)) if file == SENSITIVITY_FILE => {
                    of_sensitivities(file, &text, model).map(|overlay| vec![overlay])
                }
                Ok(Some(text)) => of_heads(file, &text, model).map(|overlay| vec![overlay]),
                Err(source) => Err(HeatmapError::File { file: file.into(), source }),
            };
            match overlays {
                Ok(overlays) => found.extend(overlays),
                Err(problem) => problems.push(problem),
            }
        }
        self.all = found;
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::coach::TaskAction;
    use crate::coach::work::{ModelContext, PauseToken};

    #[test]
    fn what_surveys_find_becomes_layers_whose_places_are_on_the_map() {
        let folder = tempfile::tempdir().unwrap();
        let model = Arc::new(crate::app::kinds::assets().default_model().unwrap());
        let context =
            ModelContext::new(Arc::clone(&model), folder.path(), Arc::new(PauseToken::default()))
                .unwrap();
        let mut overlays = Heatmaps::default();
        assert!(overlays.load(folder.path(), &model).is_empty() && overlays.all.is_empty());
        context.perform(&TaskAction::SurveyStatistics, &mut |_| ()).unwrap();
        context.perform(&TaskAction::SurveyHeads, &mut |_| ()).unwrap();
        let problems = overlays.load(folder.path(), &model);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            overlays.all.iter().map(|overlay| overlay.name).collect::<Vec<_>>(),
            ["spread", "peak", "heads"]
        );
        let [width, height] = model.plan().size;
        for overlay in &overlays.all {
            for (rect, value) in &overlay.cells {
                assert!(
                    rect.x >= 0 && rect.x + rect.width <= width && rect.y + rect.height <= height,
                    "{rect:?}"
                );
                assert!((-1.0..=1.0).contains(&overlay.part(*value)), "{value}");
            }
        }
        let heads = &overlays.all[2];
        assert_eq!(
            heads.cells.len() as u32,
            model.config().layer_count * model.config().head_count
        );
        assert!(
            heads.cells.iter().any(|(_, value)| heads.part(*value).abs() == 1.0),
            "the largest has the full colour"
        );
        context
            .perform(&TaskAction::SurveySensitivity { tokens: 256, seed: 1 }, &mut |_| ())
            .unwrap();
        assert!(overlays.load(folder.path(), &model).is_empty());
        let sensitivity = overlays.all.last().unwrap();
        assert_eq!(sensitivity.name, "sensitivity");
        let tiles: u32 = matrices(&model).map(|at| model.tensors()[at].tiles().len() as u32).sum();
        assert!(sensitivity.cells.len() as u32 >= tiles, "every matrix has its colour");
        assert!(sensitivity.cells.iter().all(|(_, value)| *value > 0.0));
    }

    #[test]
    fn a_survey_of_another_model_and_no_survey_are_refused() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let heads = |root: &str| {
            let text = format!("{{\"model\": \"{root}\", \"heads\": []}}");
            of_heads("h.json", &text, &model).unwrap_err().to_string()
        };
        let own = crate::model::hex(&model.header().root);
        assert!(heads(&own).contains("a survey of 0 heads"), "{}", heads(&own));
        assert!(heads("abcdef").contains("a survey of the model abcdef"), "{}", heads("abcdef"));
        let error = of_heads("h.json", "{\"heads\": []}", &model).unwrap_err().to_string();
        assert!(error.contains("no model that it names"), "{error}");
        assert!(
            of_statistics("s.json", "{\"tiles\": 3}", &model)
                .unwrap_err()
                .to_string()
                .contains("s.json")
        );
    }
}

//! The losses of a run as a picture.
//!
//! In: the lines of a log. Out: an SVG or PNG file, losses on a logarithmic scale over steps. The
//! words are drawn in the typeface of the window.

use std::path::{Path, PathBuf};

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::run::LogLine;
use crate::pxi::{AtomicFile, PxiError};

/// Pixels of the picture.
const SIZE: (u32, u32) = (960, 540);

/// Steps that one point of the smooth line stands for, as a share of all.
const SMOOTH: f64 = 0.03;

const TRAIN: RGBColor = RGBColor(150, 170, 200);
const SMOOTH_TRAIN: RGBColor = RGBColor(40, 90, 160);
const VALID: RGBColor = RGBColor(200, 110, 20);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CurveError {
    /// The name is of neither form.
    #[error("{}: a curve is written as .png or .svg; end its name so", .0.display())]
    Ending(PathBuf),
    /// It cannot be drawn.
    #[error("the curve cannot be drawn: {0}")]
    Draw(String),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] PxiError),
}

/// Whether a name is that of a picture.
///
/// # Errors
/// It ends otherwise.
pub fn check(path: &Path) -> Result<(), CurveError> {
    match ending(path).as_deref() {
        Some("png" | "svg") => Ok(()),
        _ => Err(CurveError::Ending(path.to_owned())),
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_string_lossy().to_lowercase())
}

/// Draws the losses of a log.
///
/// # Errors
/// The name has another ending, or the file cannot be written.
pub fn draw(path: &Path, log: &[LogLine], title: &str) -> Result<(), CurveError> {
    check(path)?;
    let typeface = epaint_default_fonts::UBUNTU_LIGHT;
    // A second time changes nothing.
    register_font("sans-serif", FontStyle::Normal, typeface)
        .map_err(|_| CurveError::Draw("the typeface cannot be read".into()))?;
    let failed = |error: String| CurveError::Draw(error);
    let bytes = if ending(path).as_deref() == Some("svg") {
        let mut svg = String::new();
        chart(SVGBackend::with_string(&mut svg, SIZE), log, title).map_err(failed)?;
        svg.into_bytes()
    } else {
        let mut pixels = vec![0; (SIZE.0 * SIZE.1 * 3) as usize];
        chart(BitMapBackend::with_buffer(&mut pixels, SIZE), log, title).map_err(failed)?;
        png(&pixels).map_err(|error| failed(error.to_string()))?
    };
    Ok(AtomicFile::replace(path, &bytes)?)
}

fn png(pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}

/// Steps and losses of both kinds, of those that a logarithm takes.
fn points(log: &[LogLine]) -> (Vec<(f64, f64)>, Vec<(f64, f64)>) {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for line in log {
        match line {
            LogLine::Step(line) => train.push((line.step as f64, line.loss)),
            LogLine::Evaluation(line) => valid.push((line.step as f64, line.valid_loss)),
        }
    }
    for points in [&mut train, &mut valid] {
        points.retain(|(_, loss)| loss.is_finite() && *loss > 0.0);
    }
    (train, valid)
}

/// The mean over the steps up to each one, those further back counting less.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (points.len() as f64 * SMOOTH).max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mean = |&(step, loss): &(f64, f64)| {
        sum = sum * keep + loss;
        weight = weight * keep + 1.0;
        (step, sum / weight)
    };
    points.iter().map(mean).collect()
}

fn chart<B: DrawingBackend>(backend: B, log: &[LogLine], title: &str) -> Result<(), String> {
    let failed = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
    let (train, valid) = points(log);
    let all = || train.iter().chain(&valid);
    let least = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = all().map(|point| point.1).fold(0.0, f64::max);
    let last = all().map(|point| point.0).fold(1.0, f64::max);
    let (least, most) = if least.is_finite() { (least, most) } else { (0.1, 1.0) };
    let area = backend.into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let losses = (least / 1.3..most * 1.3).log_scale();
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("Loss: {title}"), ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, losses)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc("nats per target")
        .label_style(("sans-serif", 14))
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|loss| {
            if *loss < 0.1 { format!("{loss:.4}") } else { format!("{loss:.2}") }
        })
        .draw()
        .map_err(failed)?;
    chart.draw_series(LineSeries::new(train.iter().copied(), TRAIN)).map_err(failed)?;
    let named = [(smooth(&train), SMOOTH_TRAIN, "train"), (valid.clone(), VALID, "valid")];
    for (points, colour, name) in named {
        if points.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let dot = |&point: &(f64, f64)| Circle::new(point, 4, VALID.filled());
    chart.draw_series(valid.iter().map(dot)).map_err(failed)?;
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 15))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()
        .map_err(failed)?;
    area.present().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::run::{EvaluationLine, StepLine};

    fn log() -> Vec<LogLine> {
        let step = |step: u64| {
            LogLine::Step(StepLine {
                step,
                epoch: 0.0,
                loss: 4.0 / step as f64,
                rate: 0.1,
                gradient_norm: 1.0,
                targets: 5,
                columns: 40,
                tokens_per_second: 20.0,
                memory_bytes: None,
            })
        };
        let look = |step: u64, valid_loss: f64| {
            let (right, asked) = (None, None);
            LogLine::Evaluation(EvaluationLine { step, valid_loss, right, asked })
        };
        let mut log = vec![look(0, 5.0)];
        log.extend((1..=40).map(step));
        log.push(look(40, 0.2));
        log
    }

    #[test]
    fn a_curve_is_drawn_in_both_forms() {
        let folder = tempfile::tempdir().unwrap();
        let svg = folder.path().join("a.svg");
        draw(&svg, &log(), "facts.jsonl").unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        for part in ["<svg", "facts.jsonl", "nats per target", "valid", "polyline"] {
            assert!(text.contains(part), "{part}");
        }
        let picture = folder.path().join("a.png");
        draw(&picture, &log(), "facts.jsonl").unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&picture).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let is_valid = |pixel: &&[u8]| **pixel == [VALID.0, VALID.1, VALID.2];
        assert!(pixels.chunks(3).filter(is_valid).count() > 100, "the orange line is drawn");
        assert!(pixels.chunks(3).filter(|it| it.iter().all(|b| *b < 60)).count() > 100, "words");
    }

    #[test]
    fn a_log_without_a_loss_is_an_empty_picture() {
        let folder = tempfile::tempdir().unwrap();
        draw(&folder.path().join("a.svg"), &[], "nothing").unwrap();
        let said = draw(&folder.path().join("a.jpg"), &[], "x").unwrap_err().to_string();
        assert!(said.contains(".png or .svg"), "{said}");
    }
}

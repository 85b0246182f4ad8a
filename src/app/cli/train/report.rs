//! What is told of a run, while it goes and behind it.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::app::cli::numbers::thousands;
use crate::app::cli::output::{print_note, print_warning};
use crate::training::run::{EvaluationLine, LogLine, RunEvent, StepLine};
use crate::words::counted;

/// Draws a run and writes its log.
pub(super) struct TrainView {
    bar: ProgressBar,
    log: Option<(PathBuf, BufWriter<File>)>,
    quiet: bool,
    loss: Option<f64>,
    valid: Option<f64>,
    speed: f64,
}

impl TrainView {
    /// A view of a run of so many steps, some of them made before. The log gets what was made
    /// before too.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn new(
        steps: u64,
        before: &[LogLine],
        log: Option<&Path>,
        quiet: bool,
    ) -> io::Result<Self> {
        let bar = if quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template("[{bar:24}] step {pos}/{len}, {msg} {eta}");
            let style = style.expect("the template is well formed");
            ProgressBar::new(steps).with_style(style.progress_chars("=> "))
        };
        let log = match log {
            Some(path) => Some((path.to_owned(), BufWriter::new(File::create(path)?))),
            None => None,
        };
        let mut view = Self { bar, log, quiet, loss: None, valid: None, speed: 0.0 };
        before.iter().for_each(|line| view.note(line));
        view.bar.reset_eta();
        Ok(view)
    }

    /// Takes what happens.
    pub fn take(&mut self, event: RunEvent<'_>) {
        match event {
            RunEvent::Line(line) => {
                self.note(line);
                if let LogLine::Evaluation(line) = line
                    && self.bar.is_hidden()
                    && !self.quiet
                {
                    print_note(&evaluation(line));
                }
            }
            RunEvent::Evaluating => self.message("evaluating"),
            RunEvent::NotSaved(problem) => {
                self.bar.suspend(|| print_warning(&format!("{problem}; the run goes on")));
            }
            RunEvent::Saved(_) => (),
        }
    }

    fn note(&mut self, line: &LogLine) {
        if let Some((path, log)) = &mut self.log {
            let written = serde_json::to_writer(&mut *log, line)
                .map_err(io::Error::from)
                .and_then(|()| log.write_all(b"\n"))
                .and_then(|()| log.flush());
            if let Err(error) = written {
                // Once: the run itself goes on.
                print_warning(&format!("the log {} ends here: {error}", path.display()));
                self.log = None;
            }
        }
        match line {
            LogLine::Step(StepLine { step, loss, tokens_per_second, .. }) => {
                self.bar.set_position(*step);
                self.loss = Some(*loss);
                self.speed = *tokens_per_second;
            }
            LogLine::Evaluation(line) => self.valid = Some(line.valid_loss),
        }
        self.message("");
    }

    fn message(&self, doing: &str) {
        let mut parts = Vec::new();
        parts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
        parts.extend(self.valid.map(|loss| format!("valid {loss:.4}")));
        if self.speed > 0.0 {
            parts.push(format!("{:.0} tokens/s", self.speed));
        }
        parts.extend((!doing.is_empty()).then(|| doing.to_owned()));
        self.bar.set_message(parts.join(", "));
    }

    /// Ends the drawing.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn evaluation(line: &EvaluationLine) -> String {
    let answers = match (line.right, line.asked) {
        (Some(right), Some(asked)) if asked > 0 => format!(", {right} of {asked} answers right"),
        _ => String::new(),
    };
    format!("after {}: valid loss {:.4}{answers}", counted(line.step, "step"), line.valid_loss)
}

/// What came of a run.
#[derive(Debug, Serialize)]
pub(super) struct TrainReport {
    pub model: String,
    pub data: String,
    pub device: String,
    /// `done`, `stopped` or `no_number`.
    pub end: &'static str,
    pub steps: u64,
    pub steps_in_all: u64,
    pub valid_loss_before: Option<f64>,
    pub valid_loss: Option<f64>,
    pub best_valid_loss: Option<f64>,
    pub best_step: Option<u64>,
    pub right_before: Option<usize>,
    pub right: Option<usize>,
    pub asked: Option<usize>,
    pub train_loss: Option<f64>,
    pub tokens: u64,
    pub seconds: f64,
    pub tokens_per_second: f64,
    pub peak_memory_in_bytes: Option<u64>,
    pub duplicates: usize,
    pub truncated: usize,
    /// `adapter` or `model`.
    pub learnt: &'static str,
    pub output: Option<String>,
    pub checkpoint: Option<String>,
    /// What went wrong, or how to go on.
    pub message: Option<String>,
}

impl TrainReport {
    /// The figures of a log; of the other fields nothing is known yet.
    pub fn of_log(log: &[LogLine], begun: Instant) -> Self {
        let steps: Vec<&StepLine> = log
            .iter()
            .filter_map(|line| match line {
                LogLine::Step(line) => Some(line),
                LogLine::Evaluation(_) => None,
            })
            .collect();
        let looks: Vec<&EvaluationLine> = log
            .iter()
            .filter_map(|line| match line {
                LogLine::Evaluation(line) => Some(line),
                LogLine::Step(_) => None,
            })
            .collect();
        let (first, last) = (looks.first().filter(|it| it.step == 0), looks.last());
        let best = looks.iter().min_by(|one, other| one.valid_loss.total_cmp(&other.valid_loss));
        let tokens: u64 = steps.iter().map(|line| line.columns as u64).sum();
        let seconds: f64 =
            steps.iter().map(|it| it.columns as f64 / it.tokens_per_second.max(1e-9)).sum();
        Self {
            model: String::new(),
            data: String::new(),
            device: String::new(),
            end: "done",
            steps: steps.last().map_or(0, |line| line.step),
            steps_in_all: 0,
            valid_loss_before: first.map(|it| it.valid_loss),
            valid_loss: last.map(|it| it.valid_loss),
            best_valid_loss: best.map(|it| it.valid_loss),
            best_step: best.map(|it| it.step),
            right_before: first.and_then(|it| it.right),
            right: last.and_then(|it| it.right),
            asked: last.and_then(|it| it.asked),
            train_loss: steps.last().map(|it| it.loss),
            tokens,
            seconds: begun.elapsed().as_secs_f64(),
            tokens_per_second: tokens as f64 / seconds.max(1e-9),
            peak_memory_in_bytes: crate::memory::peak_in_bytes(),
            duplicates: 0,
            truncated: 0,
            learnt: "adapter",
            output: None,
            checkpoint: None,
            message: None,
        }
    }

    /// The report in words.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        match (self.valid_loss_before, self.valid_loss, self.train_loss) {
            (Some(before), Some(now), _) if self.steps > 0 => {
                parts.push(format!("valid loss {} -> {}", short(before), short(now)));
            }
            (_, Some(now), _) => parts.push(format!("valid loss {}", short(now))),
            (_, None, Some(loss)) => parts.push(format!("loss of the last step {}", short(loss))),
            _ => (),
        }
        if let (Some(right), Some(asked)) = (self.right, self.asked.filter(|asked| *asked > 0)) {
            let before = match self.right_before.filter(|_| self.steps > 0) {
                Some(before) => format!(" ({before} before)"),
                None => String::new(),
            };
            parts.push(format!("{right} of {asked} answers right{before}"));
        }
        if let (Some(best), Some(step), Some(last)) =
            (self.best_valid_loss, self.best_step, self.valid_loss)
            && best < last
        {
            parts.push(format!("the best was {} after step {step}", short(best)));
        }
        let time = Duration::from_secs_f64(self.seconds.max(0.0));
        let made = format!(
            "{} of {} steps, {} tokens, {:.0} tokens/s, {}",
            self.steps,
            self.steps_in_all,
            thousands(self.tokens),
            self.tokens_per_second,
            indicatif::HumanDuration(time),
        );
        let mut lines = vec![parts.join("; "), made];
        lines.extend(self.output.as_ref().map(|path| format!("the {} is in {path}", self.learnt)));
        lines.extend(self.message.clone());
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }
}

/// A loss in three digits or so.
fn short(loss: f64) -> String {
    if loss.abs() < 0.1 { format!("{loss:.4}") } else { format!("{loss:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(step: u64, valid_loss: f64, right: usize) -> LogLine {
        let (right, asked) = (Some(right), Some(50));
        LogLine::Evaluation(EvaluationLine { step, valid_loss, right, asked })
    }

    #[test]
    fn a_summary_is_in_words() {
        let step = StepLine {
            step: 1,
            epoch: 1.0,
            loss: 3.0,
            rate: 0.1,
            gradient_norm: 1.0,
            targets: 5,
            columns: 40,
            tokens_per_second: 20.0,
            memory_bytes: None,
        };
        let log = [look(0, 8.12, 0), LogLine::Step(step), look(1, 0.124, 45)];
        let mut report = TrainReport::of_log(&log, Instant::now());
        report.steps_in_all = 1;
        let words = report.words();
        assert!(
            words.starts_with("valid loss 8.12 -> 0.12; 45 of 50 answers right (0 before)\n"),
            "{words}"
        );
        assert!(words.contains("1 of 1 steps, 40 tokens, 20 tokens/s"), "{words}");
    }
}

//! The figures of `bench` as a page and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::measure::{BenchPlan, Throughput};
use super::statistics::MedianOfSamples;
use super::streaming::Streaming;
use crate::app::cli::numbers::{human_bytes, thousands};
use crate::app::cli::table::{Align, Table};
use crate::engine::{DeviceLimits, EngineProfile};
use crate::model::tensors::main_encoding;
use crate::model::{Architecture, Encoding, PixelModel};

/// The model that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct BenchModel {
    file: String,
    name: Option<String>,
    family: Architecture,
    encoding: Encoding,
    parameters: u64,
}

impl BenchModel {
    /// What there is to say about a model.
    pub fn of(model: &PixelModel) -> Self {
        Self {
            file: model.path().display().to_string(),
            name: model.metadata().str("general.name").ok().flatten().map(str::to_owned),
            family: model.config().architecture,
            encoding: main_encoding(model.tensors()),
            parameters: model.weight_count(),
        }
    }
}

/// How long it took until the first token, in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Startup {
    open_model_seconds: f64,
    engine_ready_seconds: f64,
    first_token_seconds: f64,
}

impl Startup {
    /// The three steps, each by itself.
    pub fn new(open_model: Duration, engine_ready: Duration, first_token: Duration) -> Self {
        Self {
            open_model_seconds: open_model.as_secs_f64(),
            engine_ready_seconds: engine_ready.as_secs_f64(),
            first_token_seconds: first_token.as_secs_f64(),
        }
    }
}

/// A speed: of the prompt, or of some answers at once.
#[derive(Debug, Serialize)]
struct Speed {
    what: &'static str,
    /// How many answers are made at once; 1 for a prompt.
    parallel: usize,
    tokens_per_second: MedianOfSamples,
    /// Of weights, at the median: those of a pass by the time of a pass. `None` for a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    gigabytes_per_second: Option<f64>,
}

/// What a stage takes of one pass.
#[derive(Debug, Serialize)]
struct StageReport {
    name: &'static str,
    dispatches: f64,
    microseconds: f64,
    /// Of the whole pass.
    share: f64,
    weight_bytes: f64,
    gigabytes_per_second: f64,
    multiplications: f64,
    /// The time that the device's limits would allow, where they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_microseconds: Option<f64>,
}

/// What the device does at most.
#[derive(Clone, Copy, Debug, Serialize)]
struct Limits {
    /// In one streaming read, in 1e9 bytes a second.
    read_gigabytes_per_second: f64,
    /// Of weights with activations that are in the caches, in 1e9 a second.
    billion_multiplications_per_second: f64,
}

impl Limits {
    /// The time in microseconds that a stage cannot be faster than.
    fn of(self, stage: &StageReport) -> f64 {
        let reading = stage.weight_bytes / (self.read_gigabytes_per_second * GIGA);
        let multiplying = stage.multiplications / (self.billion_multiplications_per_second * GIGA);
        reading.max(multiplying) * 1e6
    }
}

/// The passes of one kind, stage by stage.
#[derive(Debug, Serialize)]
struct Passes {
    passes: u32,
    microseconds: f64,
    dispatches: f64,
    stages: Vec<StageReport>,
    /// What belongs to no stage.
    rest_microseconds: f64,
}

/// Everything that `bench` tells.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    model: BenchModel,
    device: String,
    prompt_tokens: usize,
    tokens: usize,
    repetitions: usize,
    speeds: Vec<Speed>,
    /// Of one answer; several at once share them.
    weight_bytes_per_token: u64,
    /// Of one answer; `null` where the engine cannot tell.
    dispatches_per_token: Option<f64>,
    decode: Option<Passes>,
    /// Of the most answers at once, if these are several.
    decode_together: Option<Passes>,
    prefill: Option<Passes>,
    /// Where the model does not fit the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<Streaming>,
    /// With `--compare`, where the engine can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    startup: Startup,
    peak_memory_in_bytes: Option<u64>,
}

const GIGA: f64 = 1e9;

impl BenchReport {
    /// Puts the figures together. `weight_bytes` is what a pass reads of the model.
    pub fn new(
        model: BenchModel,
        device: String,
        plan: &BenchPlan,
        measured: &Throughput,
        weight_bytes: u64,
        startup: Startup,
    ) -> Self {
        let prefill = Speed {
            what: "prefill",
            parallel: 1,
            tokens_per_second: MedianOfSamples::of(&measured.prefill),
            // Passes of a prompt compute more than they read.
            gigabytes_per_second: None,
        };
        let decode = plan.parallel.iter().zip(&measured.decode).map(|(&parallel, rates)| {
            let tokens_per_second = MedianOfSamples::of(rates);
            // A pass makes a token of every answer and reads the weights once for all.
            let passes_per_second = tokens_per_second.median / parallel as f64;
            let gigabytes_per_second = Some(passes_per_second * weight_bytes as f64 / GIGA);
            Speed { what: "decode", parallel, tokens_per_second, gigabytes_per_second }
        });
        let profiles = measured.profiles.as_ref();
        Self {
            model,
            device,
            prompt_tokens: plan.prompt,
            tokens: plan.tokens,
            repetitions: plan.repetitions,
            speeds: std::iter::once(prefill).chain(decode).collect(),
            weight_bytes_per_token: weight_bytes,
            dispatches_per_token: profiles.map(|profiles| profiles.decode.dispatches_per_pass()),
            decode: profiles.map(|profiles| Passes::of(&profiles.decode)),
            decode_together: profiles
                .and_then(|profiles| profiles.together.as_ref().map(Passes::of)),
            prefill: profiles.map(|profiles| Passes::of(&profiles.prefill)),
            streaming: None,
            limits: None,
            startup,
            peak_memory_in_bytes: crate::memory::peak_in_bytes(),
        }
    }

    /// The same with what streaming did meanwhile, if there was any.
    pub fn streamed(self, streaming: Option<Streaming>) -> Self {
        Self { streaming, ..self }
    }

    /// The same beside what the device does at most.
    pub fn compared(mut self, limits: DeviceLimits) -> Self {
        let limits = Limits {
            read_gigabytes_per_second: limits.read_bytes / GIGA,
            billion_multiplications_per_second: limits.multiplications / GIGA,
        };
        let passes = [&mut self.decode, &mut self.decode_together, &mut self.prefill];
        for stage in passes.into_iter().flatten().flat_map(|passes| &mut passes.stages) {
            stage.limit_microseconds = Some(limits.of(stage)).filter(|limit| *limit > 0.0);
        }
        Self { limits: Some(limits), ..self }
    }

    /// The page: speeds, stages of each kind of pass, streaming, the start and memory.
    pub fn text(&self) -> String {
        let model = &self.model;
        let mut text = format!(
            "{}: {}, {} parameters, mostly {}\n{}; {} tokens of prompt, {} made, medians of {}\n\n",
            model.name.as_deref().unwrap_or(&model.file),
            model.family,
            thousands(model.parameters),
            model.encoding.name(),
            self.device,
            self.prompt_tokens,
            self.tokens,
            self.repetitions,
        );
        text.push_str(&self.speed_table());
        let most = self.speeds.iter().map(|speed| speed.parallel).max().unwrap_or(1);
        for (title, passes) in [
            ("STAGE OF A TOKEN".to_owned(), &self.decode),
            (format!("STAGE OF {most} AT ONCE"), &self.decode_together),
            ("STAGE OF PREFILL".to_owned(), &self.prefill),
        ] {
            if let Some(passes) = passes {
                text.push('\n');
                text.push_str(&stage_table(&title, passes));
            }
        }
        if let Some(streaming) = &self.streaming {
            text.push('\n');
            text.push_str(&streaming.table());
        }
        text.push('\n');
        let mut line = |label: &str, value: String| {
            let _ = writeln!(text, "{label:<17}  {value}");
        };
        let bytes = self.weight_bytes_per_token;
        line("weights per token", format!("{} ({})", thousands(bytes), human_bytes(bytes)));
        line(
            "dispatches",
            match self.dispatches_per_token {
                Some(dispatches) => format!("{dispatches:.0} per token"),
                None => "this engine does not tell".into(),
            },
        );
        let Startup { open_model_seconds, engine_ready_seconds, first_token_seconds } =
            self.startup;
        line(
            "start",
            format!(
                "model open {}, engine ready {}, first token {}: {}",
                duration(open_model_seconds),
                duration(engine_ready_seconds),
                duration(first_token_seconds),
                duration(open_model_seconds + engine_ready_seconds + first_token_seconds),
            ),
        );
        if let Some(limits) = &self.limits {
            line(
                "limits",
                format!(
                    "{:.1} GB/s read from memory, {:.0} billion multiplications/s from caches; \
                     LIMIT is the longer of the two, WITHIN its share of the time",
                    limits.read_gigabytes_per_second, limits.billion_multiplications_per_second,
                ),
            );
        }
        line("peak memory", self.peak_memory_in_bytes.map_or("not told here".into(), human_bytes));
        text
    }

    fn speed_table(&self) -> String {
        let mut table = Table::new([
            ("SPEED", Align::Left),
            ("TOKENS/S", Align::Right),
            ("LEAST", Align::Right),
            ("MOST", Align::Right),
            ("NOISE", Align::Right),
            ("EACH", Align::Right),
            ("GB/S", Align::Right),
        ]);
        for speed in &self.speeds {
            let rate = speed.tokens_per_second;
            let name = match (speed.what, speed.parallel) {
                ("decode", parallel) if parallel > 1 => format!("decode, {parallel} at once"),
                (what, _) => what.to_owned(),
            };
            table.row([
                name,
                number(rate.median),
                number(rate.least),
                number(rate.most),
                format!("{:.0} %", rate.noise() * 100.0),
                if speed.parallel > 1 {
                    number(rate.median / speed.parallel as f64)
                } else {
                    String::new()
                },
                speed.gigabytes_per_second.map_or(String::new(), |rate| format!("{rate:.2}")),
            ]);
        }
        table.render()
    }
}

impl Passes {
    fn of(profile: &EngineProfile) -> Self {
        let passes = f64::from(profile.passes.max(1));
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let total = micros(profile.total).max(1e-3);
        let stage = |stage: &crate::engine::ProfileStage| {
            let seconds = stage.time.as_secs_f64();
            let rate = if seconds > 0.0 { stage.weight_bytes as f64 / seconds / GIGA } else { 0.0 };
            StageReport {
                name: stage.name,
                dispatches: stage.dispatches as f64 / passes,
                microseconds: micros(stage.time) / passes,
                share: micros(stage.time) / total,
                weight_bytes: stage.weight_bytes as f64 / passes,
                gigabytes_per_second: rate,
                multiplications: stage.multiplications as f64 / passes,
                limit_microseconds: None,
            }
        };
        Self {
            passes: profile.passes,
            microseconds: micros(profile.total) / passes,
            dispatches: profile.dispatches_per_pass(),
            stages: profile.stages.iter().map(stage).collect(),
            rest_microseconds: micros(profile.rest()) / passes,
        }
    }
}

/// The stages of a pass.
fn stage_table(title: &str, passes: &Passes) -> String {
    let limits: f64 = passes.stages.iter().filter_map(|stage| stage.limit_microseconds).sum();
    // Without --compare nothing is said of limits: two columns of nothing are not seen.
    let headings = if limits > 0.0 { ["LIMIT", "WITHIN"] } else { ["", ""] };
    let mut table = Table::new([
        (title, Align::Left),
        ("DISPATCHES", Align::Right),
        ("TIME", Align::Right),
        ("SHARE", Align::Right),
        ("WEIGHTS", Align::Right),
        ("GB/S", Align::Right),
        (headings[0], Align::Right),
        (headings[1], Align::Right),
    ]);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    for stage in &passes.stages {
        let reads = stage.weight_bytes > 0.0;
        table.row([
            stage.name.to_owned(),
            format!("{:.0}", stage.dispatches),
            micros(stage.microseconds),
            percent(stage.share),
            if reads { human_bytes(stage.weight_bytes as u64) } else { String::new() },
            if reads { format!("{:.2}", stage.gigabytes_per_second) } else { String::new() },
            stage.limit_microseconds.map_or(String::new(), micros),
            stage
                .limit_microseconds
                .map_or(String::new(), |limit| percent(limit / stage.microseconds.max(1e-9))),
        ]);
    }
    let blank = String::new;
    let rest = passes.rest_microseconds;
    table.row([
        "between them".into(),
        blank(),
        micros(rest),
        percent(rest / passes.microseconds.max(1e-9)),
        blank(),
        blank(),
        blank(),
        blank(),
    ]);
    let bytes: f64 = passes.stages.iter().map(|stage| stage.weight_bytes).sum();
    table.row([
        "all".into(),
        format!("{:.0}", passes.dispatches),
        micros(passes.microseconds),
        percent(1.0),
        human_bytes(bytes as u64),
        format!("{:.2}", bytes / (passes.microseconds * 1e-6).max(1e-9) / GIGA),
        if limits > 0.0 { micros(limits) } else { blank() },
        if limits > 0.0 { percent(limits / passes.microseconds.max(1e-9)) } else { blank() },
    ]);
    table.render()
}

/// A speed in as many digits as mean something.
fn number(value: f64) -> String {
    if value >= 1000.0 { thousands(value.round() as u64) } else { format!("{value:.1}") }
}

fn micros(value: f64) -> String {
    duration(value * 1e-6)
}

/// A time in the unit that suits it.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Profiles;
    use super::*;
    use crate::engine::ProfileStage;

    fn report(profile: Option<EngineProfile>) -> BenchReport {
        let plan = BenchPlan { prompt: 8, tokens: 4, repetitions: 3, parallel: vec![1, 4] };
        let measured = Throughput {
            prefill: vec![900.0, 1000.0, 1300.0],
            decode: vec![vec![100.0; 3], vec![240.0; 3]],
            profiles: profile.map(|profile| Profiles {
                decode: profile.clone(),
                together: None,
                prefill: profile,
            }),
        };
        let subject = BenchModel {
            file: "x.pxi".into(),
            name: None,
            family: Architecture::Llama,
            encoding: Encoding::Q4_1,
            parameters: 1234,
        };
        let startup = Startup::new(
            Duration::from_millis(2),
            Duration::from_micros(30),
            Duration::from_secs(2),
        );
        BenchReport::new(subject, "toy".into(), &plan, &measured, 20_000_000, startup)
    }

    #[test]
    fn bytes_per_second_go_by_passes() {
        let report = report(None);
        let rates: Vec<_> = report.speeds.iter().map(|speed| speed.gigabytes_per_second).collect();
        // 100 and 60 passes a second of 20 MB.
        assert_eq!(rates, [None, Some(2.0), Some(1.2)]);
    }

    #[test]
    fn the_page_has_every_figure() {
        let stage = |name, micros, weight_bytes| ProfileStage {
            name,
            dispatches: 12,
            time: Duration::from_micros(micros),
            weight_bytes,
            multiplications: 10 * weight_bytes,
        };
        let profile = EngineProfile {
            stages: vec![stage("qkv", 60, 400_000), stage("attend", 20, 0)],
            total: Duration::from_micros(100),
            passes: 2,
        };
        let limits = DeviceLimits { read_bytes: 25e9, multiplications: 200e9 };
        let compared = report(Some(profile.clone())).compared(limits).text();
        let squeezed: Vec<String> = compared
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        // 200,000 bytes and two million multiplications a pass: the latter take longer.
        for line in [
            "qkv 6 30.0 us 60.0 % 195.3 KiB 6.67 10.0 us 33.3 %",
            "attend 6 10.0 us 20.0 %",
            "all 12 50.0 us 100.0 % 195.3 KiB 4.00 10.0 us 20.0 %",
        ] {
            assert!(squeezed.iter().any(|found| found == line), "{line}: {compared}");
        }
        let text = report(Some(profile)).text();
        let squeezed: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "x.pxi: llama, 1,234 parameters, mostly Q4_1",
            "prefill 1,000 900.0 1,300 30 %",
            "decode 100.0 100.0 100.0 0 % 2.00",
            "decode, 4 at once 240.0 240.0 240.0 0 % 60.0 1.20",
            "qkv 6 30.0 us 60.0 % 195.3 KiB 6.67",
            "attend 6 10.0 us 20.0 %",
            "between them 10.0 us 20.0 %",
            "all 12 50.0 us 100.0 % 195.3 KiB 4.00",
            "dispatches 12 per token",
            "start model open 2.00 ms, engine ready 30.0 us, first token 2.00 s: 2.00 s",
        ] {
            assert!(squeezed.iter().any(|found| found == line), "{line}\n{text}");
        }
        assert!(report(None).text().contains("this engine does not tell"));
    }
}

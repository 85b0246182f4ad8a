//! A lesson: what is learnt and how, how it goes, and buttons that begin, pause, save and end it.

use std::path::PathBuf;

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Button, DragValue, Ui};

use super::{adapters, curve, questions};
use crate::content::assets::Assets;
use crate::panel::controls::{Explained, clicked};
use crate::panel::frame::drawer::show;
use crate::panel::style::{faint, ink, wrong};
use crate::training::corpus::Corpus;
use crate::training::run::LogLine;
use crate::world::adapters::LoadedAdapters;
use crate::world::learning::{Lesson, LessonData, LessonStage};
use crate::world::notices::Notices;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

/// What is known of corpora, and typed into the panel.
#[derive(Default)]
pub(crate) struct Choices {
    /// Names and what each teaches.
    corpora: Option<Vec<(String, String)>>,
    path: Option<String>,
    refused: Option<String>,
}

/// What a person has asked for.
enum LessonAsked {
    Begin,
    Pause,
    Stop,
    Save(PathBuf),
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    (settings, drawer, assets): (Res<Settings>, Res<Drawer>, Res<Assets>),
    mut lesson: ResMut<Lesson>,
    mut loaded: ResMut<LoadedAdapters>,
    mut notices: ResMut<Notices>,
    mut choices: Local<Choices>,
) -> Result {
    if drawer.0 != Some(Tab::Learning) {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let corpora = choices.corpora.get_or_insert_with(|| known_corpora(&assets)).clone();
    show(context, theme, (&drawer, Tab::Learning), |ui| {
        let is_open = lesson.is_under_way();
        let mut asked = None;
        if is_open {
            buttons(ui, &lesson, &mut asked);
        } else {
            choose(ui, theme, &corpora, &mut lesson);
            let words = "the model learns these lines while you walk about";
            if clicked(ui, true, Button::new("Start"), words) {
                asked = Some(LessonAsked::Begin);
            }
        }
        if let Some(problem) = lesson.problem.as_ref().or(choices.refused.as_ref()) {
            ui.colored_label(wrong(theme), problem);
        }
        if lesson.stage != LessonStage::Idle {
            ui.colored_label(ink(theme), standing(&lesson));
            curve::draw(ui, theme, &lesson.log, lesson.progress().1);
            figures(ui, theme, &lesson);
            questions::draw(ui, theme, &lesson.questions);
            if matches!(lesson.stage, LessonStage::Paused | LessonStage::Done) {
                save(ui, &lesson, &mut choices.path, &mut asked);
            }
        }
        ui.add_space(8.0);
        ui.separator();
        ui.strong("Adapters over the model");
        adapters::draw(ui, theme, &mut loaded);
        match asked {
            None => {}
            Some(LessonAsked::Begin) => {
                choices.refused = None;
                lesson.begin();
            }
            Some(LessonAsked::Pause) => lesson.pause(),
            Some(LessonAsked::Stop) => lesson.stop(),
            Some(LessonAsked::Save(path)) => match lesson.save(&path, &loaded) {
                Ok(told) => {
                    choices.refused = None;
                    notices.tell(told);
                }
                Err(why) => choices.refused = Some(why),
            },
        }
    });
    Ok(())
}

fn known_corpora(assets: &Assets) -> Vec<(String, String)> {
    let all = assets.all::<Corpus>("corpus").unwrap_or_default();
    all.into_iter().map(|(name, corpus)| (name, corpus.description)).collect()
}

/// What the next lesson is about, and how it is learnt.
fn choose(ui: &mut Ui, theme: Theme, corpora: &[(String, String)], lesson: &mut Lesson) {
    let settings = &mut lesson.settings;
    let name = settings.data.name();
    let shown = egui::ComboBox::from_id_salt("lesson").width(180.0).selected_text(&name);
    let chosen = shown.show_ui(ui, |ui| {
        for (corpus, about) in corpora {
            let is_chosen = *corpus == name;
            if ui.selectable_label(is_chosen, corpus).explained(about).clicked() {
                settings.data = LessonData::Corpus(corpus.clone());
            }
        }
    });
    chosen.response.explained("what is learnt: a corpus, or a file by --learn FILE.jsonl");
    let about = corpora.iter().find(|(corpus, _)| *corpus == name).map(|(_, about)| about.as_str());
    ui.colored_label(faint(theme), about.unwrap_or("lines of your own"));
    egui::Grid::new("how").spacing([8.0, 3.0]).show(ui, |ui| {
        let mut row = |name: &str, drag: DragValue<'_>, words: &str| {
            ui.colored_label(faint(theme), name);
            ui.add(drag).explained(words);
            ui.end_row();
        };
        row(
            "times",
            DragValue::new(&mut settings.epochs).range(1..=1000),
            "how often all lines are learnt",
        );
        row(
            "tokens a step",
            DragValue::new(&mut settings.batch_tokens).range(16..=4096),
            "few short lines want small steps",
        );
        let rate = DragValue::new(&mut settings.rate).speed(1e-5).range(1e-6..=1e-1);
        row("rate", rate.max_decimals(6), "how far a step goes; too far, and nothing is learnt");
        row(
            "rank",
            DragValue::new(&mut settings.rank).range(1..=64),
            "rows of an adapter's first matrix, columns of its second",
        );
        row(
            "seed",
            DragValue::new(&mut settings.seed),
            "what everything that is drawn follows from: the same seed gives the same losses",
        );
    });
}

fn buttons(ui: &mut Ui, lesson: &Lesson, asked: &mut Option<LessonAsked>) {
    let (is_learning, is_paused) =
        (lesson.stage == LessonStage::Learning, lesson.stage == LessonStage::Paused);
    ui.horizontal(|ui| {
        let (name, words) = if is_paused {
            ("Go on", "goes on with the next step")
        } else {
            ("Pause", "rests after the steps under way; what was learnt lies over the model then")
        };
        if clicked(ui, is_learning || is_paused, Button::new(name), words) {
            *asked = Some(LessonAsked::Pause);
        }
        let words = "ends the lesson; what was learnt so far stays over the model";
        if clicked(ui, is_learning || is_paused, Button::new("Stop"), words) {
            *asked = Some(LessonAsked::Stop);
        }
    });
}

fn save(ui: &mut Ui, lesson: &Lesson, path: &mut Option<String>, asked: &mut Option<LessonAsked>) {
    let path = path.get_or_insert_with(|| format!("{}.gguf", lesson.settings.data.name()));
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        let words = "a file that --lora and llama.cpp take";
        if clicked(ui, true, Button::new("Save"), words) {
            *asked = Some(LessonAsked::Save(PathBuf::from(&*path)));
        }
        let field = egui::TextEdit::singleline(path).desired_width(200.0);
        ui.add(field).explained("where the adapter is written");
    });
}

/// How far it is, in a line.
fn standing(lesson: &Lesson) -> String {
    let (done, steps) = lesson.progress();
    match lesson.stage {
        LessonStage::Idle => String::new(),
        LessonStage::Reading => "reading the lines".into(),
        LessonStage::Learning if done == 0 => "looking at held-out lines before step 1".into(),
        LessonStage::Learning | LessonStage::Ending => {
            let left = lesson.left().map_or(String::new(), |left| {
                let seconds = left.as_secs();
                format!(", {}:{:02} left", seconds / 60, seconds % 60)
            });
            format!("step {done} of {steps}{left}")
        }
        LessonStage::Paused => format!("paused after step {done} of {steps}"),
        LessonStage::Done => format!("over after step {done} of {steps}"),
    }
}

/// The last step and the last look in numbers.
fn figures(ui: &mut Ui, theme: Theme, lesson: &Lesson) {
    let look = lesson.log.iter().rev().find_map(|line| match line {
        LogLine::Evaluation(look) => Some(look),
        LogLine::Step(_) => None,
    });
    let Some(step) = lesson.last_step() else { return };
    egui::Grid::new("figures").spacing([12.0, 1.0]).show(ui, |ui| {
        let mut cell = |name: &str, value: String| {
            ui.colored_label(faint(theme), name);
            ui.monospace(value);
        };
        cell("loss", format!("{:.4}", step.loss));
        cell("held out", look.map_or("-".into(), |look| format!("{:.4}", look.valid_loss)));
        ui.end_row();
        let mut cell = |name: &str, value: String| {
            ui.colored_label(faint(theme), name);
            ui.monospace(value);
        };
        cell("gradient", format!("{:.3}", step.gradient_norm));
        cell("rate", format!("{:.1e}", step.rate));
        ui.end_row();
        ui.colored_label(faint(theme), "speed");
        ui.monospace(format!("{:.0} tok/s", step.tokens_per_second));
        ui.end_row();
    });
}

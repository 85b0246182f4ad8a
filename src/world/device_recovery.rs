//! A graphics device that is lost: a driver that starts anew, a machine that slept, a card that is
//! gone. The window lives on.
//!
//! In: what Bevy says of the device. Out: as soon as there is one, another device, on which Bevy's
//! `RenderStartup` puts everything as it was: the model, edits, muted heads. Until then nothing is
//! drawn, the window's title and the terminal say why, and prompts are refused in words.

use std::time::{Duration, Instant};

use bevy::ecs::schedule::Schedules;
use bevy::prelude::*;
use bevy::render::error_handler::{ErrorType, RenderError, RenderErrorHandler, RenderErrorPolicy};
use bevy::render::renderer::RenderDevice;
use bevy::render::settings::RenderCreation;
use bevy::render::sync_world::TemporaryRenderEntity;
use bevy::render::{ExtractSchedule, RenderApp};
use bevy::window::PrimaryWindow;

use super::WorldSystems;
use super::notices::Notices;
use super::think::Generation;
use super::tour::{self, TourStep, TourSystems};

/// Between two attempts to get another device: long enough for a driver to come back, short enough
/// to wait for.
const BETWEEN: Duration = Duration::from_secs(3);
/// A device that lived shorter than this is not followed by another at once: it would be lost as
/// soon.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// A frame without a device takes this long at least: nothing else slows it down.
const PAUSE: Duration = Duration::from_millis(20);
/// Seconds for which a person is told that there is another device.
const TOLD: f32 = 20.0;

/// The device that all is drawn and computed on.
#[derive(Resource, Debug)]
pub struct GraphicsDevice {
    /// Opens another one, or says why there is none. Without it a lost device stays lost.
    pub open: Option<fn() -> Result<RenderCreation, String>>,
    /// How often one was lost.
    pub losses: u32,
    /// Why there is none, in words.
    pub lost: Option<String>,
    since: Instant,
    next_attempt: Instant,
    title: Option<String>,
}

impl GraphicsDevice {
    /// A device that is there, and what opens another one.
    pub fn new(open: Option<fn() -> Result<RenderCreation, String>>) -> Self {
        let now = Instant::now();
        Self { open, losses: 0, lost: None, since: now, next_attempt: now, title: None }
    }
}

/// Adds [`GraphicsDevice`], unless there is one, and answers for lost ones.
pub(super) struct DeviceRecoveryPlugin;

impl Plugin for DeviceRecoveryPlugin {
    fn build(&self, app: &mut App) {
        if !app.world().contains_resource::<GraphicsDevice>() {
            app.insert_resource(GraphicsDevice::new(None));
        }
        app.add_systems(
            Update,
            (
                tour::hold.in_set(TourSystems::Hold).run_if(is_lost),
                follow_tour.in_set(WorldSystems::Act),
            ),
        );
        if app.get_sub_app(RenderApp).is_some() {
            // The first device is inserted in the same way, but nothing is lost then.
            let is_another = resource_exists_and_changed::<RenderDevice>.and_then(is_lost);
            app.insert_resource(RenderErrorHandler(answer))
                // Pictures are asked for in `Last`, and no earlier than there is a device again.
                .add_systems(First, (tell_found.run_if(is_another), ask_device).chain());
        }
    }
}

/// Gives the device up where a tour does.
fn follow_tour(mut steps: MessageReader<TourStep>, device: Option<Res<RenderDevice>>) {
    // Counted to the end: `any` would leave the steps behind the first for the next frame.
    let is_given_up = steps.read().filter(|step| **step == TourStep::LoseDevice).count() > 0;
    if let Some(device) = device.filter(|_| is_given_up) {
        lose(&device);
    }
}

fn is_lost(device: Res<GraphicsDevice>) -> bool {
    device.lost.is_some()
}

/// Lets the graphics library find out whether the device is lost, before Bevy asks it.
fn ask_device(device: Option<Res<RenderDevice>>) {
    let Some(device) = device else { return };
    // A lost device is told to Bevy by a callback; what else may be wrong is told to whoever waits
    // for something.
    if let Err(error) = device.poll(wgpu::PollType::Poll) {
        debug!("polling the device: {error}");
    }
}

/// Gives a device up, and lets Bevy know of it.
pub fn lose(device: &RenderDevice) {
    device.wgpu_device().destroy();
    // It is told once nothing is under way on it.
    if let Err(error) = device.poll(wgpu::PollType::wait_indefinitely()) {
        debug!("waiting for a device that was given up: {error}");
    }
}

/// What is done about an error of the graphics library. While a device is lost this is asked every
/// frame.
fn answer(error: &RenderError, main: &mut World, render: &mut World) -> RenderErrorPolicy {
    if !matches!(error.ty, ErrorType::DeviceLost) {
        // It was used wrongly, and would be in the next frame too.
        error!("the graphics library reports an error ({:?}), and the program ends", error.ty);
        main.write_message(AppExit::error());
        return RenderErrorPolicy::StopRendering;
    }
    forget_the_frame(render);
    let now = Instant::now();
    let mut device = main.resource_mut::<GraphicsDevice>();
    if device.lost.is_none() {
        device.losses += 1;
        let lived = now - device.since;
        // The first loss is answered at once, however soon it comes: only a second one shows that
        // devices do not last here.
        device.next_attempt =
            if lived < SHORT_LIFE && device.losses > 1 { now + BETWEEN } else { now };
        let why = match error.description.as_str() {
            "" => "the graphics device is lost".to_owned(),
            reason => format!("the graphics device is lost ({reason})"),
        };
        device.lost = Some(why.clone());
        error!("{why}; edits, muted heads and settings are kept, and another device is looked for");
        tell_lost(main, &why);
    }
    let device = main.resource::<GraphicsDevice>();
    let Some(open) = device.open.filter(|_| now >= device.next_attempt) else {
        std::thread::sleep(PAUSE);
        return RenderErrorPolicy::StopRendering;
    };
    match open() {
        Ok(creation) => RenderErrorPolicy::Recover(creation),
        Err(problem) => {
            warn!("there is no other device yet: {problem}");
            main.resource_mut::<GraphicsDevice>().next_attempt = Instant::now() + BETWEEN;
            RenderErrorPolicy::StopRendering
        }
    }
}

/// Drops what was extracted for a frame that is not drawn. Otherwise it would lie there until one
/// is.
fn forget_the_frame(render: &mut World) {
    // Extracted entities wait as commands, which Bevy applies in `Render`; that does not run now.
    render.resource_scope(|render, mut schedules: Mut<Schedules>| {
        if let Some(schedule) = schedules.get_mut(ExtractSchedule) {
            schedule.apply_deferred(render);
        }
    });
    let mut temporary = render.query_filtered::<Entity, With<TemporaryRenderEntity>>();
    let entities: Vec<Entity> = temporary.iter(render).collect();
    entities.into_iter().for_each(|entity| _ = render.despawn(entity));
}

fn tell_lost(main: &mut World, why: &str) {
    main.resource_mut::<Generation>().lose_device(why);
    let text = format!("{why}: nothing is drawn until there is another");
    main.resource_mut::<Notices>().tell(text);
    let mut windows = main.query_filtered::<&mut Window, With<PrimaryWindow>>();
    let Ok(mut window) = windows.single_mut(main) else { return };
    let title = std::mem::replace(
        &mut window.title,
        "pixel-llm - the graphics device is lost; waiting for another".into(),
    );
    main.resource_mut::<GraphicsDevice>().title = Some(title);
}

fn tell_found(main: &mut World) {
    let mut device = main.resource_mut::<GraphicsDevice>();
    let why = device.lost.take().unwrap_or_default();
    device.since = Instant::now();
    let title = device.title.take();
    main.resource_mut::<Generation>().find_device();
    let text = format!(
        "{why}, and another was opened.\nEdits, mutes and settings are kept. An answer that was \
         under way has ended: ask again."
    );
    main.resource_mut::<Notices>().tell_for(text, TOLD);
    let mut windows = main.query_filtered::<&mut Window, With<PrimaryWindow>>();
    if let (Ok(mut window), Some(title)) = (windows.single_mut(main), title) {
        window.title = title;
    }
    warn!("another graphics device was opened");
}

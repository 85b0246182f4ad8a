//! A shader from a folder takes the place of ours, and one that does not compile stops the forward
//! pass with its name and not the program.

use std::sync::Arc;

use bevy::render::RenderApp;
use pixel_llm::engine::gpu::headless::prepare;
use pixel_llm::forward::gpu::kernels::KernelFamily;
use pixel_llm::forward::gpu::model::{GpuModelPlugin, GpuModelSource, Sizes, Step};
use pixel_llm::forward::gpu::shaders::embedded;
use pixel_llm::forward::gpu::{ForwardState, ForwardStatus, run_forward};
use pixel_llm::residency::compute::StreamTuning;

/// The state after some frames in which a step was there, with `text` as `embed.wgsl`, and that in
/// which it is taken.
fn states_with(text: &str) -> Option<[ForwardState; 2]> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("kernels")).expect("a folder in it");
    std::fs::write(folder.path().join("kernels/embed.wgsl"), text).expect("a file in it");
    let mut app = crate::common::gpu::forward_app(Some(folder.path()))?;
    app.add_plugins(GpuModelPlugin {
        model: GpuModelSource {
            model: Arc::new(
                pixel_llm::app::kinds::assets()
                    .default_model()
                    .expect("the built-in model is sound"),
            ),
            sizes: Sizes { slots: 1, context: 16, columns: 1, steps: 1 },
            family: KernelFamily { split: true, subgroups: false, textures: false },
            persistent_workgroups: 0,
            compile_ahead: false,
            memory: None,
            tuning: StreamTuning::default(),
        },
    });
    prepare(&mut app);
    let step = Step { columns: 1, tokens: vec![0], only: Some("embed"), ..Step::default() };
    app.sub_app_mut(RenderApp).insert_resource(step);
    for _ in 0..5 {
        app.update();
    }
    let told = app.world().resource::<ForwardStatus>().state.clone();
    Some([told, run_forward(app.sub_app_mut(RenderApp).world_mut(), 1)])
}

#[test]
fn a_shader_from_a_folder_is_compiled_in_the_place_of_ours() {
    let (_, ours) = embedded().into_iter().find(|(name, _)| *name == "kernels/embed.wgsl").unwrap();

    let Some(unchanged) = states_with(ours) else { return };
    assert_eq!(unchanged, [ForwardState::Ready, ForwardState::Ready]);

    let import =
        ours.lines().find(|line| line.starts_with("#import pixel_llm::")).expect("it imports");
    let broken_import = ours.replacen(import, "#import pixel_llm::nothing::at_all", 1);
    for (broken, why) in [
        (
            format!("{ours}\nfn more() -> u32 {{ return nothing_of_that_name; }}\n"),
            "a name that is not there",
        ),
        (format!("{ours}\nfn more() -> u32 {{ return 1u * true; }}\n"), "a type that does not fit"),
        (broken_import, "no such import"),
    ] {
        assert_ne!(&broken, ours, "{why}");
        let states = states_with(&broken).unwrap();
        let ForwardState::Failed(message) = &states[0] else { panic!("{why}: {states:?}") };
        assert!(message.starts_with("embed: "), "{why}: {message}");
        assert_eq!(states[1], states[0], "{why}: no step is taken");
    }
}

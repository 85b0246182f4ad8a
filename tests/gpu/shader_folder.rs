//! A shader from a folder takes the place of ours, and one that does not compile stops the forward
//! pass with its name and not the program.

use std::sync::Arc;

use bevy::render::RenderApp;
use pixel_llm::engine::gpu::headless::prepare;
use pixel_llm::forward::gpu::kernels::KernelFamily;
use pixel_llm::forward::gpu::model::{GpuModelPlugin, GpuModelSource, Sizes, Step};
use pixel_llm::forward::gpu::shaders::embedded;
use pixel_llm::forward::gpu::{ForwardRequest, ForwardState, ForwardStatus};

/// The status after a step was wanted for some frames, with `text` as `embed.wgsl`.
fn status_with(text: &str) -> Option<ForwardStatus> {
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
            sizes: Sizes { slots: 1, context: 16, columns: 1, repeats: 1 },
            family: KernelFamily { split: true, subgroups: false, textures: false },
            persistent_workgroups: 0,
            compile_ahead: false,
            memory: None,
        },
    });
    prepare(&mut app);
    let step = Step { columns: 1, tokens: vec![0], only: Some("embed"), ..Step::default() };
    app.sub_app_mut(RenderApp).insert_resource(step);
    app.world_mut().resource_mut::<ForwardRequest>().steps = 1;
    for _ in 0..5 {
        app.update();
    }
    Some(app.world().resource::<ForwardStatus>().clone())
}

#[test]
fn a_shader_from_a_folder_is_compiled_in_the_place_of_ours() {
    let (_, ours) = embedded().into_iter().find(|(name, _)| *name == "kernels/embed.wgsl").unwrap();

    let Some(unchanged) = status_with(ours) else { return };
    assert_eq!(unchanged.state, ForwardState::Ready);
    assert_eq!(unchanged.steps_done, 1);

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
        let status = status_with(&broken).unwrap();
        let ForwardState::Failed(message) = &status.state else { panic!("{why}: {status:?}") };
        assert!(message.starts_with("embed: "), "{why}: {message}");
        assert_eq!(status.steps_done, 0, "{why}");
    }
}

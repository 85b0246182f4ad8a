//! A shader from a folder takes the place of ours, and one that does not compile stops the forward pass with its
//! name and not the program.

mod common;

use pixel_llm::{
    app::headless::prepare,
    passes::{ForwardRequest, ForwardState, ForwardStatus},
    shaders::EMBEDDED,
};

/// The status after a step was wanted for some frames, with `text` as `rms_norm.wgsl`.
fn status_with(text: &str) -> Option<ForwardStatus> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("rms_norm.wgsl"), text).expect("a file in it");
    let mut app = common::gpu::forward_app(Some(folder.path()))?;
    prepare(&mut app);
    app.world_mut().resource_mut::<ForwardRequest>().steps = 1;
    for _ in 0..5 {
        app.update();
    }
    Some(app.world().resource::<ForwardStatus>().clone())
}

#[test]
fn a_shader_from_a_folder_is_compiled_in_the_place_of_ours() {
    let (_, ours) = EMBEDDED.iter().find(|(name, _)| *name == "rms_norm.wgsl").unwrap();

    let Some(changed) = status_with(&ours.replace("* weight[i]", "* weight[i] * 2.0")) else { return };
    assert_eq!(changed.state, ForwardState::Ready);
    assert_eq!(changed.steps_done, 1);

    for (broken, why) in [
        (ours.replace("* weight[i]", "* weigth[i]"), "a name that is not there"),
        (ours.replace("* weight[i]", "* true"), "a type that does not fit"),
        (ours.replace("pixel_llm::reduce::workgroup_sum", "pixel_llm::reduce::sum"), "no such import"),
    ] {
        let status = status_with(&broken).unwrap();
        let ForwardState::Failed(message) = &status.state else { panic!("{why}: {status:?}") };
        assert!(message.starts_with("rms_norm: "), "{why}: {message}");
        assert_eq!(status.steps_done, 0, "{why}");
    }
}

//! The coach's work on kernels, on the GPU: each is compared with its twin and timed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::sync::Arc;

use pixel_llm::coach::work::GpuDevices;
use pixel_llm::coach::work::{ModelContext, PauseToken};
use pixel_llm::coach::{BenchSubject, TaskAction};

#[test]
fn kernels_are_compared_with_their_twins_and_timed_on_the_gpu_too() {
    let folder = tempfile::tempdir().unwrap();
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let shop = ModelContext::new(model, folder.path(), Arc::new(PauseToken::default())).unwrap();
    let alone = shop.perform(&TaskAction::KernelTwins, &mut |_| ()).unwrap();
    assert!(alone.summary.contains("no GPU was compared"), "{}", alone.summary);

    let shop = shop.with_devices(Box::new(GpuDevices));
    let twins = shop.perform(&TaskAction::KernelTwins, &mut |_| ()).unwrap();
    if twins.summary.contains("no GPU was compared") {
        assert!(std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none(), "{}", twins.summary);
        eprintln!("SKIPPED, nothing was tested: there is no graphics adapter");
        return;
    }
    for kernel in ["embed", "qkv", "attend", "gate_up", "project_down", "logits"] {
        let error = twins.metrics[&format!("gpu_error_{kernel}")];
        assert!(error < 1e-4, "{kernel}: {error}");
    }
    let worst = twins.metrics["gpu_max_relative_error"];
    assert!(
        worst > 0.0,
        "sums in another order are not the same to the bit: was anything compared?"
    );
    assert!(twins.metrics["max_relative_error"] >= worst);

    let speeds =
        shop.perform(&TaskAction::Bench { subject: BenchSubject::Kernels }, &mut |_| ()).unwrap();
    for metric in [
        "gpu_tokens_per_second",
        "gpu_qkv_us",
        "gpu_attend_us",
        "gpu_logits_us",
        "tokens_per_second",
    ] {
        assert!(speeds.metrics[metric] > 0.0, "{metric}: {:?}", speeds.metrics);
    }
}

//! The kernel `rms_norm` in the render graph gives what its twin gives.

mod common;

use std::time::Duration;

use bevy::{
    prelude::*,
    render::{
        RenderApp, RenderStartup,
        render_resource::{
            BindGroup, Buffer, BufferInitDescriptor, BufferUsages, ComputePassDescriptor, PipelineCache,
        },
        renderer::{RenderContext, RenderDevice, RenderQueue},
    },
};
use pixel_llm::{
    app::headless::prepare,
    passes::{
        Forward, ForwardBudget, ForwardRequest, ForwardState, ForwardStatus, ForwardSystems, PassesSystems,
        kernels::{Kernels, rms_norm::workgroups},
        params::RmsNormParams,
        readback::read_buffer,
        reference,
    },
};

/// Not a multiple of the workgroup, and prime.
const WIDTH: u32 = 1757;
const ROWS: u32 = 3;

/// What the kernel may differ from its twin, relative to the value. A lane adds ceil(1757 / 64) = 28 squares and the
/// reduction 6 partial sums, so the sum of positive terms is within 35 half-units (2^-24) of the exact one, and the
/// division adds 5 (2.5 ULP); the square root halves that to 20. To it come inverseSqrt with 4 (2 ULP) and two
/// products: 26, rounded up to the next power of two.
const RELATIVE_ERROR: f32 = 32.0 / (1 << 24) as f32;

#[derive(Resource, Clone)]
struct Input {
    params: RmsNormParams,
    x: Vec<f32>,
    weight: Vec<f32>,
}

impl Input {
    /// Values of all sizes and both signs, the same each time.
    fn new() -> Self {
        let mut state = 0x9E37_79B9_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let x = (0..ROWS * WIDTH).map(|_| next() * 2f32.powf(20.0 * next())).collect();
        let weight = (0..WIDTH).map(|_| 1.0 + next()).collect();
        Self { params: RmsNormParams::new(ROWS, WIDTH, 1e-5), x, weight }
    }
}

#[derive(Resource)]
struct Bound {
    group: BindGroup,
    y: Buffer,
}

fn bind(
    mut commands: Commands,
    input: Res<Input>,
    device: Res<RenderDevice>,
    cache: Res<PipelineCache>,
    kernels: Res<Kernels>,
) {
    let buffer = |label, contents: &[u8], usage| {
        device.create_buffer_with_data(&BufferInitDescriptor { label: Some(label), contents, usage })
    };
    let params = buffer("params", bytemuck::bytes_of(&input.params), BufferUsages::UNIFORM);
    let x = buffer("x", bytemuck::cast_slice(&input.x), BufferUsages::STORAGE);
    let weight = buffer("weight", bytemuck::cast_slice(&input.weight), BufferUsages::STORAGE);
    let unwritten = vec![f32::NAN; input.x.len()];
    let y = buffer("y", bytemuck::cast_slice(&unwritten), BufferUsages::STORAGE | BufferUsages::COPY_SRC);
    let resources = [&params, &x, &weight, &y].map(|buffer| buffer.as_entire_binding());
    let group = kernels.rms_norm.bind(&device, &cache, &resources);
    commands.insert_resource(Bound { group, y });
}

fn normalise(
    mut context: RenderContext,
    input: Res<Input>,
    bound: Res<Bound>,
    device: Res<RenderDevice>,
    cache: Res<PipelineCache>,
    kernels: Res<Kernels>,
) -> Result {
    let mut pass = context.command_encoder().begin_compute_pass(&ComputePassDescriptor {
        label: Some("passes:rms_norm"),
        timestamp_writes: None,
    });
    pass.set_bind_group(0, &bound.group, &[]);
    kernels.rms_norm.dispatch(&mut pass, &device, &cache, workgroups(&input.params))?;
    Ok(())
}

fn update_until_steps_done(app: &mut App, steps: u64) -> usize {
    for frames in 1..=50 {
        app.update();
        let status = app.world().resource::<ForwardStatus>();
        assert!(!matches!(status.state, ForwardState::Failed(_)), "{status:?}");
        if status.steps_done == steps {
            return frames;
        }
        assert!(status.steps_done < steps, "{status:?}: no more than were asked for");
    }
    panic!("50 frames passed with {:?}", app.world().resource::<ForwardStatus>());
}

#[test]
fn rms_norm_in_the_render_graph_is_as_its_twin_within_the_error_budget() {
    let Some(mut app) = common::gpu::forward_app(None) else { return };
    let input = Input::new();
    app.sub_app_mut(RenderApp)
        .insert_resource(input.clone())
        .add_systems(RenderStartup, bind.after(PassesSystems::Kernels))
        .add_systems(Forward, normalise.in_set(ForwardSystems::Layers));
    prepare(&mut app);

    // No step is done that is not asked for.
    for _ in 0..5 {
        app.update();
    }
    assert_eq!(app.world().resource::<ForwardStatus>().steps_done, 0);
    assert_eq!(app.world().resource::<ForwardStatus>().state, ForwardState::Ready);

    app.world_mut().resource_mut::<ForwardRequest>().steps = 1;
    update_until_steps_done(&mut app, 1);

    let device = app.world().resource::<RenderDevice>();
    let queue = app.world().resource::<RenderQueue>();
    let y = &app.sub_app(RenderApp).world().resource::<Bound>().y;
    let bytes = read_buffer(device, queue, y).unwrap();
    let on_gpu: &[f32] = bytemuck::cast_slice(&bytes);

    let mut on_cpu = vec![0.0; input.x.len()];
    reference::rms_norm(&input.params, &input.x, &input.weight, &mut on_cpu);
    assert_eq!(on_gpu.len(), on_cpu.len());
    let mut largest = 0f32;
    for (index, (gpu, cpu)) in on_gpu.iter().zip(&on_cpu).enumerate() {
        let error = (gpu - cpu).abs();
        assert!(error <= RELATIVE_ERROR * cpu.abs(), "y[{index}] is {gpu}, its twin says {cpu}");
        if *cpu != 0.0 {
            largest = largest.max(error / cpu.abs());
        }
    }
    println!("largest relative error {largest:.2e} of {RELATIVE_ERROR:.2e}");

    // Unbounded, all that are wanted are done in one frame, and the next one says so.
    app.world_mut().resource_mut::<ForwardRequest>().steps = 11;
    assert_eq!(update_until_steps_done(&mut app, 11), 2);

    // No time at all still does one step per frame.
    let mut request = app.world_mut().resource_mut::<ForwardRequest>();
    request.budget = ForwardBudget::Time(Duration::ZERO);
    request.steps = 14;
    assert_eq!(update_until_steps_done(&mut app, 14), 4);
}

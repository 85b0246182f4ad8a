//! Tokens drawn on the GPU are those that the CPU's sampler draws from the same logits.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::path::Path;
use std::sync::Arc;

use crate::common::gpu::{ask, columns, engine};
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::{Batch, Column, Engine, QueryKind};
use pixel_llm::forward::sampling::{Sampler, SamplingParams};
use pixel_llm::model::PixelModel;

fn seedling() -> Arc<PixelModel> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/seedling.pxi");
    Arc::new(PixelModel::open(&path).unwrap())
}

/// Many ways to draw.
fn ways() -> Vec<SamplingParams> {
    let mut ways = vec![SamplingParams::greedy()];
    let base = SamplingParams {
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        temperature: 1.0,
        ..SamplingParams::default()
    };
    for temperature in [0.01, 0.7, 1.0, 5.0, 100.0] {
        ways.push(SamplingParams { temperature, ..base.clone() });
        for top_k in [1, 2, 5, 40, 200, 511, 100_000] {
            ways.push(SamplingParams { temperature, top_k, ..base.clone() });
        }
        for top_p in [0.01, 0.3, 0.5, 0.9, 0.95, 0.999] {
            ways.push(SamplingParams { temperature, top_p, ..base.clone() });
            ways.push(SamplingParams { temperature, top_p, top_k: 8, ..base.clone() });
        }
        for min_p in [0.001, 0.05, 0.5, 1.0] {
            ways.push(SamplingParams { temperature, min_p, ..base.clone() });
            ways.push(SamplingParams { temperature, min_p, top_k: 3, top_p: 0.8, ..base.clone() });
        }
    }
    let logit_bias = vec![(5, 3.0), (17, -100.0), (5, 2.5), (300, 8.0)];
    let penalised = SamplingParams {
        repeat_penalty: 1.3,
        frequency_penalty: 0.4,
        presence_penalty: -0.2,
        repeat_last_n: 5,
        ..SamplingParams::default()
    };
    ways.push(SamplingParams { logit_bias: logit_bias.clone(), ..base });
    ways.push(SamplingParams {
        temperature: 0.0,
        logit_bias: logit_bias.clone(),
        ..penalised.clone()
    });
    ways.push(SamplingParams { logit_bias, repeat_last_n: 64, ..penalised.clone() });
    ways.push(penalised);
    ways
}

/// What the CPU draws from the device's own logits, draw after draw.
fn expected(
    gpu: &mut GpuEngine,
    params: &SamplingParams,
    ids: &[u32],
    first: u32,
    draws: u32,
) -> Vec<u32> {
    let (mut ids, mut drawn) = (ids.to_vec(), Vec::new());
    for index in first..first + draws {
        let last = ids.len() as u32 - 1;
        let logits = gpu
            .logits(&Batch { columns: columns(&ids, 0, 0), steps: 1, ..Batch::default() }, &[last])
            .unwrap();
        let QueryKind::Draw { words, window, bias, .. } = ask(0, params, index, &ids).kind else {
            unreachable!()
        };
        let token = Sampler::default().sample(&logits[0], &words, &window, &bias).unwrap();
        ids.push(token);
        drawn.push(token);
    }
    drawn
}

#[test]
fn every_way_to_draw_gives_the_tokens_of_the_twin() {
    let Some(mut gpu) = engine(seedling(), 1) else { return };
    let ids = [1, 44, 90, 200, 17, 44, 44, 5];
    for (number, params) in (0..).zip(ways()) {
        let params = SamplingParams { seed: number, ..params };
        let first = number as u32 * 31;
        let batch = Batch {
            columns: columns(&ids, 0, 0),
            asks: vec![ask(ids.len() as u32 - 1, &params, first, &ids)],
            steps: 1,
            ..Batch::default()
        };
        let drawn = gpu.step(&batch).unwrap()[0][0].token;
        assert_eq!(drawn, expected(&mut gpu, &params, &ids, first, 1)[0], "{params:?}");
    }
}

#[test]
fn tokens_fed_back_on_the_device_are_those_of_one_step_after_the_other() {
    let Some(mut gpu) = engine(seedling(), 1) else { return };
    let ids = [1, 44, 90, 200, 17];
    let steps = gpu.capacity().steps as u32;
    assert!(steps > 1);
    for params in ways().into_iter().rev().step_by(9) {
        let (before, last) = ids.split_at(ids.len() - 1);
        gpu.step(&Batch { columns: columns(before, 0, 0), steps: 1, ..Batch::default() }).unwrap();
        let column = Column { token: last[0], slot: 0, position: before.len() as u32 };
        let asks = vec![ask(0, &params, 3, &ids)];
        let drawn =
            gpu.step(&Batch { columns: vec![column], asks, steps, ..Batch::default() }).unwrap();
        let drawn: Vec<u32> = drawn[0].iter().map(|sampled| sampled.token).collect();
        assert_eq!(drawn, expected(&mut gpu, &params, &ids, 3, steps), "{params:?}");
    }
}

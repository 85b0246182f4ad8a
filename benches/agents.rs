//! A tick of 1,000 agents and 10,000 tasks on one core: the part of a frame that agents may cost.
//!
//! Every tick of many is measured; the slowest are what a person would notice.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pixel_llm::agents::simulation::{Simulation, SimulationRng};
use pixel_llm::agents::{AgentProfile, jobs_of_model, load_profiles};
use std::time::{Duration, Instant};

const AGENTS: u32 = 1_000;
const TASKS: usize = 10_000;
/// Ticks in which tasks do not run out.
const TICKS: usize = 200;

fn simulation() -> Simulation {
    let assets = pixel_llm::app::kinds::assets();
    let model = assets.default_model().expect("the built-in model is sound");
    let rng = SimulationRng { seed: 1, failure: 0.02 };
    let profiles: Vec<AgentProfile> = load_profiles(&assets)
        .expect("the built-in agents are sound")
        .into_iter()
        .map(|profile| AgentProfile { count: profile.count * AGENTS / 10, ..profile })
        .collect();
    let jobs = jobs_of_model(&model, TASKS, &rng);
    let size = model.plan().size.map(|cells| cells as f64);
    Simulation::new(profiles, jobs, size, rng).expect("the jobs can be on a board")
}

fn ticks(criterion: &mut Criterion) {
    let mut world = simulation();
    let mut times: Vec<Duration> = (0..TICKS)
        .map(|_| {
            let start = Instant::now();
            world.tick();
            let time = start.elapsed();
            world.write_trace(&mut std::io::sink()).expect("a sink takes everything");
            time
        })
        .collect();
    assert!(world.board().open() > TASKS / 10, "tasks ran out");
    let mean = times.iter().sum::<Duration>() / TICKS as u32;
    let first = times[0];
    times.sort();
    println!(
        "a tick of {AGENTS} agents and {TASKS} tasks: mean {mean:.2?}, median {:.2?}, 99 of 100 \
         {:.2?}, slowest {:.2?} (the first {first:.2?})",
        times[TICKS / 2],
        times[TICKS * 99 / 100],
        times[TICKS - 1]
    );

    let mut group = criterion.benchmark_group("agents");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.bench_function(
        format!("{TICKS} ticks of {AGENTS} agents and {TASKS} tasks"),
        |bencher| {
            bencher.iter_batched(
                simulation,
                |mut world| (0..TICKS).for_each(|_| world.tick()),
                BatchSize::LargeInput,
            );
        },
    );
    group.finish();
}

criterion_group!(benches, ticks);
criterion_main!(benches);

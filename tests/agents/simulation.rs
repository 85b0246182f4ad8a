//! A world of agents in simulated time: every job done once, nobody idle who could work, and the
//! same again under the same seed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::collections::HashMap;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bevy::ecs::entity::Entity;
use pixel_llm::agents::simulation::{
    Incident, Simulation, SimulationRng, SimulationTrace, WorldSnapshot,
};
use pixel_llm::agents::{
    ATTEMPT_LIMIT, Activity, Agent, AgentId, AgentProfile, Board, Decision, Energy, Job,
    JobEntities, JobId, JobOutcome, JobState, OnBoard, Position, Roster, Thoughts, WorkerPool,
    jobs_of_model, load_profiles,
};

const JOBS: usize = 1000;
/// Far more than ten agents need for a thousand jobs of 25 ticks.
const TICKS_AT_MOST: u64 = 30_000;

fn profiles() -> Vec<AgentProfile> {
    load_profiles(&pixel_llm::app::kinds::assets()).unwrap()
}

fn simulation(seed: u64) -> Simulation {
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let rng = SimulationRng { seed, failure: 0.02 };
    let jobs = jobs_of_model(&model, JOBS, &rng);
    let size = model.plan().size.map(|cells| cells as f64);
    let simulation = Simulation::new(profiles(), jobs, size, rng).unwrap();
    assert_eq!(simulation.world().resource::<Roster>().entities().len(), 10);
    simulation
}

fn run_to_the_end(simulation: &mut Simulation, text: &mut Vec<u8>) {
    while simulation.board().open() > 0 && simulation.now() < TICKS_AT_MOST {
        simulation.tick();
        simulation.write_trace(text).unwrap();
    }
}

/// Agents that do nothing although a job is ready that they could do; the job, by agent.
fn idle_beside_work(simulation: &Simulation) -> HashMap<AgentId, Vec<JobId>> {
    let (world, board) = (simulation.world(), simulation.board());
    let mut found = HashMap::new();
    for &entity in world.resource::<Roster>().entities() {
        if *world.get::<Activity>(entity).unwrap() != Activity::Idle {
            continue;
        }
        let agent = world.get::<Agent>(entity).unwrap();
        let can = |job: &JobId| {
            let job = &board.entry(*job).job;
            agent.profile.level(&job.action, job.wanted) > 0.0
        };
        found.insert(agent.id, board.ready().filter(can).collect());
    }
    found
}

#[test]
fn ten_agents_do_a_thousand_jobs_each_once_and_are_never_idle_beside_work() {
    let mut simulation = simulation(7);
    let (mut holder, mut finished, mut failures) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (mut rests, mut handed_over, mut idle_before) =
        (0, 0, HashMap::<AgentId, Vec<JobId>>::new());
    while simulation.board().open() > 0 && simulation.now() < TICKS_AT_MOST {
        simulation.tick();
        for entry in simulation.world().resource::<SimulationTrace>().entries() {
            let (agent, tick) = (entry.agent, entry.tick);
            match entry.incident {
                Incident::Takes { job, .. } => {
                    assert_eq!(
                        holder.insert(job, agent),
                        None,
                        "job {job:?} is taken twice at once in tick {tick}"
                    );
                    let job = &simulation.board().entry(job).job;
                    assert!(
                        job.after.iter().all(|before| finished.contains_key(before)),
                        "{job:?} in tick {tick}"
                    );
                }
                Incident::Finishes { job } => {
                    assert_eq!(holder.remove(&job), Some(agent));
                    assert_eq!(finished.insert(job, tick), None, "job {job:?} is done twice");
                }
                Incident::Fails { job, again } => {
                    assert_eq!(holder.remove(&job), Some(agent));
                    let count = failures.entry(job).or_insert(0);
                    *count += 1;
                    assert_eq!(again, *count < ATTEMPT_LIMIT);
                }
                Incident::HandsOver { job } | Incident::Leaves { job } => {
                    assert_eq!(holder.remove(&job), Some(agent));
                    handed_over += 1;
                }
                Incident::Rests => rests += 1,
                _ => {}
            }
        }
        *simulation.world_mut().resource_mut::<SimulationTrace>() = SimulationTrace::enabled();
        assert_eq!(entities_of_jobs(&mut simulation), open_jobs(&simulation), "the open jobs");
        // What became ready in a tick is seen in the next: two ticks beside the same job are one
        // too many.
        let idle = idle_beside_work(&simulation);
        for (agent, jobs) in &idle {
            let missed = idle_before
                .get(agent)
                .and_then(|before| jobs.iter().find(|job| before.contains(job)));
            assert_eq!(
                missed,
                None,
                "agent {agent:?} is idle beside it in tick {}",
                simulation.now()
            );
        }
        idle_before = idle;
    }
    let board = simulation.board();
    let undone = board.entries().iter().filter(|entry| entry.state != JobState::Done).count();
    assert_eq!((undone, finished.len()), (0, JOBS), "after {} ticks", simulation.now());
    assert!(
        rests > 0 && handed_over > 0 && !failures.is_empty(),
        "{rests} {handed_over} {failures:?}"
    );

    let jobs = simulation.world().resource::<JobEntities>();
    assert!((0..JOBS as u32).all(|id| jobs.entity(JobId(id)).is_none()), "no job is open");
}

/// The jobs that are entities, each found by its number too.
fn entities_of_jobs(simulation: &mut Simulation) -> Vec<JobId> {
    let mut query = simulation.world_mut().query::<(Entity, &OnBoard, &Position)>();
    let world = simulation.world();
    let (entities, board) = (world.resource::<JobEntities>(), world.resource::<Board>());
    let job = |(entity, &OnBoard(job), &place)| {
        assert_eq!(entities.entity(job), Some(entity));
        assert_eq!(board.entry(job).job.place, place);
        job
    };
    let mut jobs: Vec<JobId> = query.iter(world).map(job).collect();
    jobs.sort();
    jobs
}

fn open_jobs(simulation: &Simulation) -> Vec<JobId> {
    let jobs = (0..).map(JobId).zip(simulation.board().entries());
    jobs.filter(|(_, entry)| entry.state.is_open()).map(|(job, _)| job).collect()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_gives_another() {
    let run = |seed| {
        let mut text = Vec::new();
        run_to_the_end(&mut simulation(seed), &mut text);
        String::from_utf8(text).unwrap()
    };
    let trace = run(7);
    assert!(trace.lines().count() > 3 * JOBS);
    assert!(trace == run(7), "the same seed");
    assert!(trace != run(8), "another seed");
    let first: serde_json::Value = serde_json::from_str(trace.lines().next().unwrap()).unwrap();
    assert_eq!((&first["tick"], &first["event"]), (&1.into(), &"takes".into()));
    assert!(first["why"]["distance"].is_number(), "{first}");
}

#[test]
fn a_saved_world_comes_back_the_same_and_goes_on_as_it_would_have() {
    for tick in [1, 137, 500, 911] {
        let mut straight = simulation(3);
        while straight.now() < tick {
            straight.tick();
        }
        straight.write_trace(&mut Vec::new()).unwrap();
        let saved = straight.snapshot();
        let read = WorldSnapshot::parse("saved", &saved.to_text()).unwrap();
        assert!(read == saved, "what is read is what was written, at tick {tick}");
        let mut resumed = Simulation::resume(&read).unwrap();
        assert!(resumed.snapshot() == saved, "what is restored is what was saved, at tick {tick}");

        let (mut one, mut other) = (Vec::new(), Vec::new());
        run_to_the_end(&mut straight, &mut one);
        run_to_the_end(&mut resumed, &mut other);
        let (one, other) = (String::from_utf8(one).unwrap(), String::from_utf8(other).unwrap());
        let difference = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert_eq!(difference, None, "saved at tick {tick}");
        assert!(one == other && straight.snapshot() == resumed.snapshot(), "saved at tick {tick}");
    }
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let mut simulation = simulation(3);
    (0..20).for_each(|_| simulation.tick());
    let text = simulation.snapshot().to_text();
    let broken = text.replacen("state: Taken(", "state: Taken(9", 1);
    let message = WorldSnapshot::parse("world.ron", &broken).unwrap_err().to_string();
    assert!(message.starts_with("world.ron: "), "{message}");
    let message = WorldSnapshot::parse("world.ron", &text.replacen("clock:", "clok:", 1))
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("world.ron:3:") && message.contains("clok"), "{message}");
    assert!(WorldSnapshot::parse("world.ron", &text[..text.len() / 2]).is_err());
}

#[test]
fn a_tired_agent_hands_over_and_another_goes_on_where_it_stopped() {
    let profile = || {
        let mut profile =
            profiles().into_iter().find(|profile| profile.name == "surveyor").unwrap();
        (profile.count, profile.energy_rates.work) = (2, 0.05);
        profile
    };
    let job = Job::new("long".parse().unwrap(), "verify_tiles", Position::new(10.0, 10.0), 30.0);
    let mut simulation =
        Simulation::new(vec![profile()], [job], [20.0, 20.0], SimulationRng::default()).unwrap();
    let mut workers = Vec::new();
    while simulation.board().open() > 0 && simulation.now() < 200 {
        simulation.tick();
    }
    for entry in simulation.world().resource::<SimulationTrace>().entries() {
        if let Incident::Begins { .. } = entry.incident {
            workers.push(entry.agent);
        }
    }
    assert!(workers.len() > 1 && workers[0] != workers[1], "{workers:?}");
    // 30 ticks of work, some steps and a tick or two between agents; begun anew each time it would
    // never be done.
    assert!(simulation.now() < 60, "{} ticks", simulation.now());
    let world = simulation.world();
    let tired = world.resource::<Roster>().entity(workers[0]).unwrap();
    assert_eq!(
        (world.get::<Decision>(tired), world.get::<Activity>(tired)),
        (Some(&Decision::Rest), Some(&Activity::Resting))
    );
    assert!(
        world.get::<Thoughts>(tired).unwrap().rest > 0.0
            && world.get::<Energy>(tired).unwrap().0 < 1.0
    );
}

#[test]
fn real_work_runs_beside_the_ticks_once_per_job_and_within_its_benches() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let jobs: Vec<Job> = (0..12)
        .map(|tile| {
            let task = tile.to_string().parse().unwrap();
            Job::new(task, "verify_tiles", Position::new(f64::from(tile), 0.0), 1.0)
        })
        .collect();
    let mut simulation =
        Simulation::new(profiles(), jobs, [10.0, 10.0], SimulationRng::default()).unwrap();
    let (calls, at_once, most_at_once) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let work = {
        let (calls, at_once, most) = (calls.clone(), at_once.clone(), most_at_once.clone());
        move |job: &Job, agent: &str| {
            assert!(!agent.is_empty());
            calls.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let tile: u32 = job.task.as_str().parse().unwrap();
            let sound = model.tile(tile).is_ok();
            std::thread::sleep(std::time::Duration::from_millis(2));
            at_once.fetch_sub(1, Ordering::SeqCst);
            if sound && tile != 5 {
                JobOutcome::Done
            } else {
                JobOutcome::Failed(format!("tile {tile}"))
            }
        }
    };
    simulation.world_mut().insert_resource(WorkerPool::new(Arc::new(work), 2, 1.0));
    simulation.world_mut().resource_mut::<WorkerPool>().on_hold = true;
    (0..30).for_each(|_| simulation.tick());
    assert_eq!(calls.load(Ordering::Relaxed), 0, "nothing begins while it is on hold");
    simulation.world_mut().resource_mut::<WorkerPool>().on_hold = false;
    let start = std::time::Instant::now();
    while simulation.board().open() > 0 && start.elapsed().as_secs() < 60 {
        simulation.tick();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let states: Vec<_> = simulation.board().entries().iter().map(|entry| entry.state).collect();
    let expected = |tile| if tile == 5 { JobState::Failed } else { JobState::Done };
    assert_eq!(states, (0..12).map(expected).collect::<Vec<_>>());
    assert_eq!(calls.load(Ordering::Relaxed), 11 + ATTEMPT_LIMIT);
    assert!(most_at_once.load(Ordering::SeqCst) <= 2);
    let failures = simulation.world_mut().resource_mut::<WorkerPool>().take_failures();
    assert_eq!(failures.len() as u32, ATTEMPT_LIMIT);
    assert_eq!(failures[0], (JobId(5), "tile 5".into()));
}

//! Agents on the coach's queue: two groups at once, each task done once, and what one has done is
//! what the other sees.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Zoned;
use pixel_llm::agents::simulation::{Simulation, SimulationRng};
use pixel_llm::agents::{QueueWorkers, load_profiles};
use pixel_llm::coach::work::{ModelContext, PauseToken};
use pixel_llm::coach::{
    QueueStore, SharedQueue, Status, Task, TaskAction, TaskId, TaskRunner, TaskStep, plan,
};
use pixel_llm::model::PixelModel;

const PLAN: &str = "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [])])";
const TASKS: u32 = 48;

type Began = Arc<Mutex<BTreeMap<TaskId, u32>>>;

fn workers(path: &Path, model: &Arc<PixelModel>, began: &Began) -> Simulation {
    let shared = Arc::new(SharedQueue::new(QueueStore::new(path)).unwrap());
    let context = ModelContext::new(
        Arc::clone(model),
        path.parent().unwrap(),
        Arc::new(PauseToken::default()),
    )
    .unwrap();
    let runner = Arc::new(TaskRunner::new(shared, context, None, None));
    let size = model.plan().size.map(|cells| cells as f64);
    let profiles = load_profiles(&pixel_llm::app::kinds::assets()).unwrap();
    let mut simulation = Simulation::new(profiles, [], size, SimulationRng::default()).unwrap();
    let began = Arc::clone(began);
    let tell = move |step| {
        if let TaskStep::Began(task, _) = step {
            *began.lock().unwrap().entry(task.id).or_default() += 1;
        }
    };
    QueueWorkers::employ(
        simulation.world_mut(),
        runner,
        Vec::new(),
        None,
        (3, 1.0),
        Arc::new(tell),
    );
    simulation
}

#[test]
fn two_crews_on_one_queue_do_each_task_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coach.json");
    let now = Zoned::now();
    let mut queue = plan::parse("p", PLAN, &now).unwrap();
    let name = |number: u32| -> TaskId { format!("t{number}").parse().unwrap() };
    for number in 0..TASKS {
        let mut task =
            Task::new(name(number), "x", TaskAction::WarmUp { layer: Some(number % 4) }, &now);
        // Threes in a row, one after the other.
        task.dependencies = if number % 3 == 0 { Vec::new() } else { vec![name(number - 1)] };
        queue.add(task, &now).unwrap();
    }
    QueueStore::new(&path).create(&queue, false).unwrap();

    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let began = Began::default();
    let mut groups = [workers(&path, &model, &began), workers(&path, &model, &began)];
    let start = Instant::now();
    while !groups.iter().all(|workers| QueueWorkers::is_done(workers.world())) {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", groups[0].board().entries());
        for workers in &mut groups {
            workers.tick();
            workers.world().resource::<QueueWorkers>().runner().shared_queue().refresh().unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let queue = QueueStore::new(&path).read().unwrap();
    let began = began.lock().unwrap();
    for task in queue.tasks() {
        assert_eq!((task.status, began[&task.id]), (Status::Completed, 1), "{}", task.id);
        for before in &task.dependencies {
            let before = queue.task(before).unwrap();
            assert!(
                before.finished <= task.started,
                "{} began before {} was done",
                task.id,
                before.id
            );
        }
    }
    let workers = |name: &str| {
        queue.tasks().iter().filter(|task| task.history[0].what.contains(name)).count()
    };
    assert_eq!(workers("begun by"), TASKS as usize);
    assert!(workers("surveyor") > 0);
}

#[test]
fn a_crew_that_has_asked_its_question_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coach.json");
    let now = Zoned::now();
    let mut queue = plan::parse("p", PLAN, &now).unwrap();
    let question = TaskAction::AskPerson { question: "?".into() };
    queue.add(Task::new("ask".parse().unwrap(), "x", question, &now), &now).unwrap();
    QueueStore::new(&path).create(&queue, false).unwrap();
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let mut workers = workers(&path, &model, &Began::default());
    let start = Instant::now();
    loop {
        workers.tick();
        if QueueWorkers::is_done(workers.world()) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
    let task = QueueStore::new(&path).read().unwrap().tasks()[0].clone();
    assert_eq!(
        (task.status, task.needs_person),
        (Status::Review, true),
        "it is a person's to answer"
    );
}

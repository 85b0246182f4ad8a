//! Agents on the coach's queue: two crews at once, each task done once, and what one has done is
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
use pixel_llm::coach::{Action, SharedQueue, Status, Step, Store, Task, TaskId, TaskRunner, plan};
use pixel_llm::model::PixelModel;

const PLAN: &str = "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [])])";
const TASKS: u32 = 48;

type Began = Arc<Mutex<BTreeMap<TaskId, u32>>>;

fn crew(path: &Path, model: &Arc<PixelModel>, began: &Began) -> Simulation {
    let desk = Arc::new(SharedQueue::new(Store::new(path)).unwrap());
    let shop = ModelContext::new(
        Arc::clone(model),
        path.parent().unwrap(),
        Arc::new(PauseToken::default()),
    )
    .unwrap();
    let hands = Arc::new(TaskRunner::new(desk, shop, None, None));
    let size = model.plan().size.map(|cells| cells as f64);
    let profiles = load_profiles(&pixel_llm::app::kinds::assets()).unwrap();
    let mut simulation = Simulation::new(profiles, [], size, SimulationRng::default()).unwrap();
    let began = Arc::clone(began);
    let tell = move |step| {
        if let Step::Began(task, _) = step {
            *began.lock().unwrap().entry(task.id).or_default() += 1;
        }
    };
    QueueWorkers::employ(simulation.world_mut(), hands, Vec::new(), None, (3, 1.0), Arc::new(tell));
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
            Task::new(name(number), "x", Action::WarmUp { layer: Some(number % 4) }, &now);
        // Threes in a row, one after the other.
        task.dependencies = if number % 3 == 0 { Vec::new() } else { vec![name(number - 1)] };
        queue.add(task, &now).unwrap();
    }
    Store::new(&path).create(&queue, false).unwrap();

    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let began = Began::default();
    let mut crews = [crew(&path, &model, &began), crew(&path, &model, &began)];
    let start = Instant::now();
    while !crews.iter().all(|crew| QueueWorkers::is_done(crew.world())) {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", crews[0].board().entries());
        for crew in &mut crews {
            crew.tick();
            crew.world().resource::<QueueWorkers>().hands().desk().refresh().unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let queue = Store::new(&path).read().unwrap();
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
    let question = Action::AskPerson { question: "?".into() };
    queue.add(Task::new("ask".parse().unwrap(), "x", question, &now), &now).unwrap();
    Store::new(&path).create(&queue, false).unwrap();
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let mut crew = crew(&path, &model, &Began::default());
    let start = Instant::now();
    loop {
        crew.tick();
        if QueueWorkers::is_done(crew.world()) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
    let task = Store::new(&path).read().unwrap().tasks()[0].clone();
    assert_eq!(
        (task.status, task.needs_person),
        (Status::Review, true),
        "it is a person's to answer"
    );
}

//! What depends on what: is it a graph without cycles, and who is downstream?

use std::collections::HashMap;

use super::{CoachError, Task, TaskId, error::nearest};

/// Where each task is in the list.
pub(super) fn index(tasks: &[Task]) -> Result<HashMap<TaskId, usize>, CoachError> {
    let mut index = HashMap::with_capacity(tasks.len());
    for (at, task) in tasks.iter().enumerate() {
        if index.insert(task.id.clone(), at).is_some() {
            return Err(CoachError::Duplicate(task.id.clone()));
        }
    }
    Ok(index)
}

/// For each task those that depend on it directly.
///
/// # Errors
/// A dependency that is not there, or tasks that wait for each other.
pub(super) fn dependents(
    tasks: &[Task],
    index: &HashMap<TaskId, usize>,
) -> Result<Vec<Vec<usize>>, CoachError> {
    let mut dependents = vec![Vec::new(); tasks.len()];
    let mut open = vec![0_usize; tasks.len()];
    for (at, task) in tasks.iter().enumerate() {
        for dependency in &task.dependencies {
            let Some(&before) = index.get(dependency) else {
                let names = tasks.iter().map(|task| task.id.as_str());
                let nearest = nearest(dependency.as_str(), names);
                return Err(CoachError::MissingDependency {
                    id: task.id.clone(),
                    dependency: dependency.clone(),
                    nearest,
                });
            };
            dependents[before].push(at);
            open[at] += 1;
        }
    }
    // Take away what waits for nothing, again and again: what is left waits for itself.
    let mut free: Vec<usize> = (0..tasks.len()).filter(|&at| open[at] == 0).collect();
    let mut taken = 0;
    while let Some(at) = free.pop() {
        taken += 1;
        for &after in &dependents[at] {
            open[after] -= 1;
            if open[after] == 0 {
                free.push(after);
            }
        }
    }
    if taken < tasks.len() {
        Err(CoachError::Cycle(cycle(tasks, index, &open)))
    } else {
        Ok(dependents)
    }
}

/// One cycle among the tasks that are left, from a task back to itself.
fn cycle(tasks: &[Task], index: &HashMap<TaskId, usize>, open: &[usize]) -> Vec<TaskId> {
    let start = open.iter().position(|&open| open > 0).expect("the caller found some left");
    let mut path = vec![start];
    loop {
        // Finitely many are left, and each waits for another of them: the way meets itself.
        let here = &tasks[*path.last().expect("it has a start")];
        let before = here.dependencies.iter().map(|id| index[id]).find(|&at| open[at] > 0);
        let before = before.expect("what is left waits for something that is left");
        if let Some(first) = path.iter().position(|&at| at == before) {
            let mut ids: Vec<_> = path[first..].iter().map(|&at| tasks[at].id.clone()).collect();
            ids.push(tasks[before].id.clone());
            return ids;
        }
        path.push(before);
    }
}

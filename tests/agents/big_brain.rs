//! big-brain, written for an older Bevy, thinks in a world of today's: the proof that `compat/` is
//! enough.

use bevy::prelude::*;
use bevy_for_big_brain::Commands as BrainCommands;
use big_brain::prelude::*;

/// How much the actor wants to eat; it wants to rest as much as is left to one.
#[derive(Component, Clone, Copy)]
struct Hunger(f32);

/// What was done to its end, in order.
#[derive(Resource, Default, Debug, PartialEq)]
struct Done(Vec<CompletedJob>);

#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
enum CompletedJob {
    Eat,
    Rest,
}

/// Marks the scorer of a deed.
#[derive(Component)]
struct WantsTo(CompletedJob);

#[derive(Debug)]
struct Wanting(CompletedJob);

impl ScorerBuilder for Wanting {
    fn build(&self, commands: &mut BrainCommands, scorer: Entity, _actor: Entity) {
        commands.entity(scorer).insert(WantsTo(self.0));
    }

    fn label(&self) -> Option<&str> {
        Some("Wanting")
    }
}

#[derive(Debug)]
struct Doing(CompletedJob);

impl ActionBuilder for Doing {
    fn build(&self, commands: &mut BrainCommands, action: Entity, _actor: Entity) {
        commands.entity(action).insert(self.0);
    }
}

fn score(actors: Query<&Hunger>, mut scorers: Query<(&Actor, &WantsTo, &mut Score)>) {
    for (Actor(actor), WantsTo(deed), mut score) in &mut scorers {
        // The scorers of an actor that is gone live until the end of the frame.
        let Ok(&Hunger(hunger)) = actors.get(*actor) else { continue };
        score.set(match deed {
            CompletedJob::Eat => hunger,
            CompletedJob::Rest => 1.0 - hunger,
        });
    }
}

/// A deed takes two frames: it begins in one and ends in the next.
fn act(mut done: ResMut<Done>, mut actions: Query<(&CompletedJob, &mut ActionState)>) {
    for (deed, mut state) in &mut actions {
        match *state {
            ActionState::Requested => *state = ActionState::Executing,
            ActionState::Executing => {
                *state = ActionState::Success;
                done.0.push(*deed);
            }
            ActionState::Cancelled => *state = ActionState::Failure,
            ActionState::Init | ActionState::Success | ActionState::Failure => {}
        }
    }
}

fn world_with_a_thinker(hunger: f32) -> (App, Entity) {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, BigBrainPlugin::new(PreUpdate)))
        .init_resource::<Done>()
        .add_systems(
            PreUpdate,
            (score.in_set(BigBrainSet::Scorers), act.in_set(BigBrainSet::Actions)),
        );
    let thinker = Thinker::build()
        .picker(Highest)
        .when(Wanting(CompletedJob::Eat), Doing(CompletedJob::Eat))
        .when(Wanting(CompletedJob::Rest), Doing(CompletedJob::Rest));
    let actor = app.world_mut().spawn((Hunger(hunger), thinker)).id();
    (app, actor)
}

fn update_until_done(app: &mut App, count: usize) -> Vec<CompletedJob> {
    for _ in 0..50 {
        app.update();
        let done = &app.world().resource::<Done>().0;
        if done.len() >= count {
            return done.clone();
        }
    }
    panic!("50 frames passed with {:?}", app.world().resource::<Done>());
}

#[test]
fn a_thinker_does_what_scores_highest_to_its_end() {
    for (hunger, deed) in [(0.9, CompletedJob::Eat), (0.1, CompletedJob::Rest)] {
        let (mut app, _) = world_with_a_thinker(hunger);
        assert_eq!(update_until_done(&mut app, 1), [deed], "at a hunger of {hunger}");
    }
}

#[test]
fn another_score_is_another_choice() {
    let (mut app, actor) = world_with_a_thinker(0.9);
    assert_eq!(update_until_done(&mut app, 1), [CompletedJob::Eat]);
    app.world_mut().get_mut::<Hunger>(actor).unwrap().0 = 0.1;
    // A deed that has begun may still end; the next one is the new choice.
    let done = update_until_done(&mut app, 3);
    assert_eq!(done.last(), Some(&CompletedJob::Rest), "{done:?}");
}

#[test]
fn the_thoughts_of_an_actor_that_is_gone_go_too() {
    let (mut app, actor) = world_with_a_thinker(0.9);
    update_until_done(&mut app, 1);
    let thoughts = |app: &mut App| app.world_mut().query::<&Actor>().iter(app.world()).count();
    assert!(thoughts(&mut app) > 0);
    app.world_mut().despawn(actor);
    app.update();
    app.update();
    assert_eq!(thoughts(&mut app), 0);
}

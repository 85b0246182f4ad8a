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
struct Done(Vec<Behaviour>);

#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Eat,
    Rest,
}

/// Marks the scorer of a behaviour.
#[derive(Component)]
struct WantsTo(Behaviour);

#[derive(Debug)]
struct Wanting(Behaviour);

impl ScorerBuilder for Wanting {
    fn build(&self, commands: &mut BrainCommands, scorer: Entity, _actor: Entity) {
        commands.entity(scorer).insert(WantsTo(self.0));
    }

    fn label(&self) -> Option<&str> {
        Some("Wanting")
    }
}

#[derive(Debug)]
struct Doing(Behaviour);

impl ActionBuilder for Doing {
    fn build(&self, commands: &mut BrainCommands, action: Entity, _actor: Entity) {
        commands.entity(action).insert(self.0);
    }
}

fn score(actors: Query<&Hunger>, mut scorers: Query<(&Actor, &WantsTo, &mut Score)>) {
    for (Actor(actor), WantsTo(behaviour), mut score) in &mut scorers {
        // The scorers of an actor that is gone live until the end of the frame.
        let Ok(&Hunger(hunger)) = actors.get(*actor) else { continue };
        score.set(match behaviour {
            Behaviour::Eat => hunger,
            Behaviour::Rest => 1.0 - hunger,
        });
    }
}

/// A behaviour takes two frames: it begins in one and ends in the next.
fn act(mut done: ResMut<Done>, mut actions: Query<(&Behaviour, &mut ActionState)>) {
    for (behaviour, mut state) in &mut actions {
        match *state {
            ActionState::Requested => *state = ActionState::Executing,
            ActionState::Executing => {
                *state = ActionState::Success;
                done.0.push(*behaviour);
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
        .when(Wanting(Behaviour::Eat), Doing(Behaviour::Eat))
        .when(Wanting(Behaviour::Rest), Doing(Behaviour::Rest));
    let actor = app.world_mut().spawn((Hunger(hunger), thinker)).id();
    (app, actor)
}

fn update_until_done(app: &mut App, count: usize) -> Vec<Behaviour> {
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
    for (hunger, behaviour) in [(0.9, Behaviour::Eat), (0.1, Behaviour::Rest)] {
        let (mut app, _) = world_with_a_thinker(hunger);
        assert_eq!(update_until_done(&mut app, 1), [behaviour], "at a hunger of {hunger}");
    }
}

#[test]
fn another_score_is_another_choice() {
    let (mut app, actor) = world_with_a_thinker(0.9);
    assert_eq!(update_until_done(&mut app, 1), [Behaviour::Eat]);
    app.world_mut().get_mut::<Hunger>(actor).unwrap().0 = 0.1;
    // A behaviour that has begun may still end; the next one is the new choice.
    let done = update_until_done(&mut app, 3);
    assert_eq!(done.last(), Some(&Behaviour::Rest), "{done:?}");
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

//! The protocol of a lease, checked to the end: processes, a store and a broker, in every order in which their steps can come, with
//! crashes, stalls, lost and late replies, and requests that come again.
//!
//! The model's steps call the functions that run in production: the verdict table decides, and the memory store's rules answer.
//! The order of things is the model's own. It is checked breadth first, so that a counterexample is a shortest story,
//! and it is printed as one.
//!
//! Run alone: `cargo test --manifest-path tests/model/Cargo.toml -- --nocapture`. `IDEM_MODEL=large` checks two faults at a time,
//! which takes minutes for each pair.

mod normal;
mod possible;
mod steps;
mod store;
mod world;

use std::time::Instant;

use idem_core::UncertainRun;
use stateright::{Checker as _, HasDiscoveries, Model, Property};

use self::possible::Step;
use self::world::{Bounds, Place, World};

/// Two members of a group, the messages of one key, and what may go wrong.
struct Lease {
    policy: UncertainRun,
    bounds: Bounds,
}

impl Model for Lease {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        possible::possible(self.policy, world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        steps::take(self.policy, &mut next, step);
        Some(next.normal())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("invariant 1: at most one live lease", |_, world: &World| {
                world.live_leases() <= 1
            }),
            Property::always("invariant 2: a finished claim changes nothing", |_, world: &World| {
                !world.broken.stale_token
            }),
            Property::always("invariant 3: completed stays completed", |_, world: &World| {
                !world.was_completed || world.is_completed()
            }),
            Property::always("invariant 4: no run of a key that is another's or done", |_, world: &World| {
                !world.broken.bad_start
            }),
            Property::always("invariant 5: acked only when completed", |_, world: &World| {
                !world.broken.bad_ack
            }),
            Property::always("invariant 7: fences grow", |_, world: &World| !world.broken.fence),
            Property::always(
                "lease mode: no second run but after one that was not recorded before its lease ended",
                |_, world: &World| !world.broken.double_run,
            ),
            Property::eventually("every message is settled", |_, world: &World| {
                world.messages.iter().all(|place| matches!(place, Place::Acked | Place::Dead))
            }),
            // Not vacuous: each of these can be reached.
            Property::sometimes("a message is acked", |_, world: &World| {
                world.messages.contains(&Place::Acked)
            }),
            Property::sometimes("a run is in doubt", |_, world: &World| world.is_in_doubt()),
        ];
        properties.push(match self.policy {
            UncertainRun::Run => Property::sometimes("without a policy an effect is doubled", |_, world: &World| {
                world.effects > 1
            }),
            UncertainRun::Check => Property::always(
                "check: never run again after a run that may have had its effect, unless the check said that nothing happened",
                |_, world: &World| !world.broken.run_in_doubt && (world.effects <= 1 || world.check_said_no),
            ),
            UncertainRun::Hold => Property::always(
                "hold: never run again after a run that may have had its effect",
                |_, world: &World| !world.broken.run_in_doubt && world.effects <= 1,
            ),
        });
        properties
    }
}

/// Checks to the end, and prints how much that was; a counterexample is printed as a story. Whether there is none.
fn check(policy: UncertainRun, bounds: &Bounds) -> bool {
    let begun = Instant::now();
    let checker = Lease { policy, bounds: bounds.clone() }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{policy:?} with {bounds:?}: {} states, {} of them different, {} steps deep, in {:.1?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    let mut is_right = true;
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        let is_sometimes = matches!(property.expectation, stateright::Expectation::Sometimes);
        match found {
            Some(path) if !is_sometimes => {
                is_right = false;
                println!("broken: {}", property.name);
                for (world, step) in path.into_vec() {
                    if let Some(step) = step {
                        println!("  {step:?}\n      {}", world.shown());
                    } else {
                        println!("  at last: {}", world.shown());
                    }
                }
            }
            None if is_sometimes => {
                is_right = false;
                println!("never reached: {}", property.name);
            }
            _ => {}
        }
    }
    is_right
}

/// One fault at a time; with `IDEM_MODEL=large`, each two of them.
fn bounds() -> Vec<Bounds> {
    let none = Bounds { messages: 2, members: 2, crashes: 0, stalls: 0, lost: 0, late: 0, breaks: 0 };
    let single = vec![
        Bounds { crashes: 1, ..none.clone() },
        Bounds { stalls: 1, ..none.clone() },
        Bounds { lost: 1, ..none.clone() },
        Bounds { late: 1, ..none.clone() },
        Bounds { breaks: 1, ..none },
    ];
    if std::env::var("IDEM_MODEL").is_ok_and(|size| size == "large") {
        let pairs = single
            .iter()
            .enumerate()
            .flat_map(|(place, one)| single[place..].iter().map(|other| one.with(other)));
        return pairs.collect();
    }
    single
}

#[test]
fn lease_mode_keeps_its_promise() {
    bounds().into_iter().for_each(|bounds| assert!(check(UncertainRun::Run, &bounds), "the story is above"));
}

#[test]
fn hold_keeps_its_promise() {
    bounds().into_iter().for_each(|bounds| assert!(check(UncertainRun::Hold, &bounds), "the story is above"));
}

#[test]
fn check_keeps_its_promise() {
    bounds()
        .into_iter()
        .for_each(|bounds| assert!(check(UncertainRun::Check, &bounds), "the story is above"));
}

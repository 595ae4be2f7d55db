//! The steps that can come next.

use idem_core::UncertainRun;

use super::world::{End, Member, PATIENCE, Phase, Place, Tick, Work, World};

/// A step that can come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A second passes.
    Tick,
    /// The broker delivers a message to a member.
    Deliver {
        member: usize,
        message: usize,
    },
    /// A member's request comes to the store, and the reply goes off.
    Arrive {
        member: usize,
    },
    /// The reply is lost; the member asks again.
    Lose {
        member: usize,
    },
    /// A copy of the request stays on its way.
    Copy {
        member: usize,
    },
    /// A copy comes to the store.
    CopyArrives {
        copy: usize,
    },
    /// The member reads the reply.
    Read {
        member: usize,
    },
    /// The check answers.
    Answer {
        member: usize,
        says: Option<Truth>,
    },
    /// The handler makes its effect.
    Effect {
        member: usize,
    },
    /// The handler ends.
    Return {
        member: usize,
        end: End,
    },
    /// The lease is renewed, and the member knows it or not.
    Renew {
        member: usize,
        is_heard: bool,
    },
    /// The member sees that its lease is over, and cancels the handler.
    Cancel {
        member: usize,
    },
    Stall {
        member: usize,
    },
    Wake {
        member: usize,
    },
    Crash {
        member: usize,
    },
}

/// A check that answers says what is true at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Truth;

/// All steps that can come next.
pub(crate) fn possible(policy: UncertainRun, world: &World, steps: &mut Vec<Step>) {
    if may_tick(world) {
        steps.push(Step::Tick);
    }
    steps.extend((0..world.late.len()).map(|copy| Step::CopyArrives { copy }));
    for (number, member) in world.members.iter().enumerate() {
        of_member(policy, world, number, member, steps);
    }
}

fn of_member(policy: UncertainRun, world: &World, number: usize, member: &Member, steps: &mut Vec<Step>) {
    let left = &world.left;
    let is_awake = member.stalled.is_none();
    match &member.phase {
        Phase::Idle => {
            let due = world
                .messages
                .iter()
                .enumerate()
                .filter(|(_, place)| matches!(place, Place::Queued { from, .. } if *from <= world.now));
            steps.extend(due.map(|(message, _)| Step::Deliver { member: number, message }));
            return;
        }
        Phase::Asking { answer: None, .. } => {
            steps.push(Step::Arrive { member: number });
            if left.late > 0 {
                steps.push(Step::Copy { member: number });
            }
        }
        Phase::Asking { answer: Some(_), .. } => {
            if is_awake {
                steps.push(Step::Read { member: number });
            }
            if left.lost > 0 {
                steps.push(Step::Lose { member: number });
            }
        }
        Phase::Checking { work } if is_awake => {
            debug_assert_eq!(policy, UncertainRun::Check);
            if world.now >= work.deadline {
                steps.push(Step::Cancel { member: number });
            } else {
                steps.push(Step::Answer { member: number, says: Some(Truth) });
                if left.breaks > 0 {
                    steps.push(Step::Answer { member: number, says: None });
                }
            }
        }
        Phase::Checking { .. } => {}
        Phase::Running { work, .. } => {
            // Also beyond the lease, and while the process that would cancel it stands still.
            if !work.did {
                steps.push(Step::Effect { member: number });
            }
            if is_awake {
                running(world, number, work, steps);
            }
        }
    }
    if is_awake {
        if left.stalls > 0 {
            steps.push(Step::Stall { member: number });
        }
    } else {
        steps.push(Step::Wake { member: number });
    }
    if left.crashes > 0 {
        steps.push(Step::Crash { member: number });
    }
}

fn running(world: &World, number: usize, work: &Work, steps: &mut Vec<Step>) {
    let ended = |end| Step::Return { member: number, end };
    if work.did {
        steps.push(ended(End::Ok));
    }
    if world.left.breaks > 0 {
        // A clean error says that nothing was done.
        steps.extend((!work.did).then(|| ended(End::Failed)));
        steps.extend([End::Panicked, End::TimedOut].map(ended));
    }
    if world.now >= work.deadline {
        steps.push(Step::Cancel { member: number });
    } else if world.now.saturating_add(1) >= work.deadline {
        steps.push(Step::Renew { member: number, is_heard: true });
        if world.left.lost > 0 {
            steps.push(Step::Renew { member: number, is_heard: false });
        }
    }
}

/// Whether anything waits for the time. A member takes its time for each thing that it does, and not for ever.
fn may_tick(world: &World) -> bool {
    let waits =
        world.messages.iter().any(|place| matches!(place, Place::Queued { from, .. } if *from > world.now));
    let is_busy = world.members.iter().any(|member| member.phase != Phase::Idle);
    let long = |since: Tick| world.now.saturating_sub(since) >= PATIENCE;
    let is_over = |member: &Member| match (&member.phase, member.stalled) {
        (_, Some(since)) => long(since),
        (Phase::Asking { since, .. } | Phase::Running { began: since, .. }, None) => long(*since),
        (Phase::Checking { work }, None) => world.now > work.deadline,
        (Phase::Idle, None) => false,
    };
    (waits || is_busy) && !world.members.iter().any(is_over)
}

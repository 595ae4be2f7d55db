//! The steps from one state to the next: the verdict table decides.

use std::ops::ControlFlow;
use std::time::Duration;

use idem_core::engine::verdict::{self, Admit, Arrival, Completion, Patience, RunEnd, Settlement};
use idem_core::store::{Attempts, Claim};
use idem_core::{
    Backoff, Decision, Disposition, Fence, Happened, Policy, Settings, State, UncertainRun, Verdict,
};

use super::possible::{Step, Truth};
use super::store::{a_doubt, ask, time};
use super::world::{
    Counting, End, LEASE, Member, PATIENCE, Phase, Place, Reply, Request, Tick, Work, World, token,
};

/// Takes a step.
pub(crate) fn take(policy: UncertainRun, world: &mut World, step: Step) {
    match step {
        Step::Tick => world.now = world.now.saturating_add(1),
        Step::Deliver { member, message } => deliver(world, member, message),
        Step::Arrive { member } => arrive(world, member),
        Step::Lose { member } => {
            world.left.lost = world.left.lost.saturating_sub(1);
            if let Phase::Asking { answer, .. } = &mut world.members[member].phase {
                *answer = None;
            }
        }
        Step::Copy { member } => {
            world.left.late = world.left.late.saturating_sub(1);
            if let Phase::Asking { request, .. } = world.members[member].phase {
                world.late.push(request);
            }
        }
        Step::CopyArrives { copy } => {
            let request = world.late.remove(copy);
            ask(world, request);
        }
        Step::Read { member } => read(policy, world, member),
        Step::Answer { member, says } => answer(policy, world, member, says),
        Step::Effect { member } => {
            // More than two say no more than two.
            world.effects = world.effects.saturating_add(1).min(2);
            if let Phase::Running { work, .. } = &mut world.members[member].phase {
                work.did = true;
            }
        }
        Step::Return { member, end } => {
            if end != End::Ok {
                world.left.breaks = world.left.breaks.saturating_sub(1);
            }
            over(policy, world, member, end);
        }
        Step::Renew { member, is_heard } => renew(policy, world, member, is_heard),
        Step::Cancel { member } => over(policy, world, member, End::LeaseLost),
        Step::Stall { member } => {
            world.left.stalls = world.left.stalls.saturating_sub(1);
            world.members[member].stalled = Some(world.now);
        }
        Step::Wake { member } => world.members[member].stalled = None,
        Step::Crash { member } => crash(world, member),
    }
}

fn deliver(world: &mut World, member: usize, message: usize) {
    let Place::Queued { redeliveries, failures, .. } = world.messages[message] else { return };
    world.messages[message] = Place::Delivered { redeliveries, failures };
    world.tokens = world.tokens.saturating_add(1);
    let work = Work {
        message,
        token: world.tokens,
        attempt: 0,
        deadline: world.now.saturating_add(LEASE),
        did: false,
        is_covered: false,
        began: false,
        end: None,
        fence: 0,
        doubt: None,
    };
    let request = Request::Claim { token: work.token };
    send(world, member, work, request);
}

fn send(world: &mut World, member: usize, work: Work, request: Request) {
    world.members[member].phase = Phase::Asking { work, request, since: world.now, answer: None };
}

fn arrive(world: &mut World, member: usize) {
    let Phase::Asking { request, .. } = world.members[member].phase else { return };
    let reply = ask(world, request);
    if let Phase::Asking { answer, .. } = &mut world.members[member].phase {
        *answer = Some(reply);
    }
}

/// Goes on with the store's answer.
fn read(policy: UncertainRun, world: &mut World, member: usize) {
    let Phase::Asking { work, request, answer: Some(reply), .. } = world.members[member].phase else {
        return;
    };
    match request {
        Request::Claim { .. } => admit(policy, world, member, work, reply),
        Request::Renew { .. } if reply == Reply::Done => start(policy, world, member, work, true),
        Request::Renew { .. } => {
            world.members[member].phase = Phase::Checking { work };
            over(policy, world, member, End::LeaseLost);
        }
        Request::Complete { .. } => completed(policy, world, member, work, reply),
        Request::Release { .. } => {
            world.members[member].phase = Phase::Idle;
            let decision = match work.end {
                Some(End::DeadLetter) | None => return,
                Some(End::TooLate) => verdict::in_progress(&resolved(policy), Duration::from_secs(1), 0),
                Some(end) => {
                    let run_end = run_end(end);
                    let doubt = verdict::doubt(&run_end, work.began);
                    verdict::ended(
                        &resolved(policy),
                        &arrival(world, work.message),
                        work.attempt,
                        &run_end,
                        doubt,
                    )
                }
            };
            settle(world, work, &decision);
        }
    }
}

fn admit(policy: UncertainRun, world: &mut World, member: usize, mut work: Work, reply: Reply) {
    let claim = match reply {
        Reply::Claimed { attempt, fence, doubt } => {
            (work.fence, work.doubt) = (fence, doubt);
            Claim::Claimed { fence: Fence(fence), attempt, after: doubt.map(a_doubt) }
        }
        Reply::InProgress { remaining } => {
            Claim::InProgress { remaining: time(remaining), fingerprint: None }
        }
        Reply::Completed => Claim::Completed { fingerprint: None, reply: None },
        Reply::Done | Reply::Lost => return,
    };
    let message = arrival(world, work.message);
    match verdict::claim(&resolved(policy), &message, &Patience::default(), &Ok(claim)) {
        Admit::Run { attempt } => {
            work.attempt = attempt;
            if world.now >= work.deadline {
                work.end = Some(End::TooLate);
                release(world, member, work, Counting::Keep, None);
            } else if policy == UncertainRun::Check && work.doubt.is_some() {
                world.members[member].phase = Phase::Checking { work };
            } else {
                start(policy, world, member, work, false);
            }
        }
        Admit::DeadLetter(_) => {
            // The broker confirms the dead letter first.
            world.messages[work.message] = Place::Dead;
            work.end = Some(End::DeadLetter);
            release(world, member, work, Counting::Reset, None);
        }
        Admit::Decide(decision) => {
            world.members[member].phase = Phase::Idle;
            settle(world, work, &decision);
        }
        other => panic!("the model has no such policy: {other:?}"),
    }
}

fn start(policy: UncertainRun, world: &mut World, member: usize, mut work: Work, is_checked: bool) {
    if world.now >= work.deadline {
        work.end = Some(End::TooLate);
        return release(world, member, work, Counting::Keep, None);
    }
    let is_ours = world
        .record()
        .is_some_and(|record| record.token == token(work.token) && record.state == State::InProgress);
    world.broken.bad_start |= !is_ours;
    let overtaken = |work: &Work| work.did && world.now >= work.deadline;
    let is_overtaken = world.members.iter().filter_map(Member::work).any(overtaken);
    world.broken.double_run |= world.effects > 0 && !world.unrecorded && !is_overtaken;
    let another_runs = world
        .members
        .iter()
        .any(|member| matches!(member.phase, Phase::Running { work, .. } if !work.is_covered));
    world.broken.run_in_doubt |=
        policy != UncertainRun::Run && !is_checked && (world.unanswered || another_runs);
    work.began = true;
    world.members[member].phase = Phase::Running { work, began: world.now };
}

fn answer(policy: UncertainRun, world: &mut World, member: usize, says: Option<Truth>) {
    let Phase::Checking { work } = world.members[member].phase else { return };
    if says.is_none() {
        world.left.breaks = world.left.breaks.saturating_sub(1);
    }
    let happened = match says {
        None => Happened::Unknown,
        Some(Truth) if world.effects > 0 => Happened::Yes,
        Some(Truth) => Happened::No,
    };
    match verdict::checked(Some(Ok(happened))) {
        ControlFlow::Break(RunEnd::Ok) => over(policy, world, member, End::FoundDone),
        ControlFlow::Break(_) => over(policy, world, member, End::Unknown),
        ControlFlow::Continue(()) => {
            world.check_said_no = true;
            world.unanswered = false;
            world
                .members
                .iter_mut()
                .filter_map(Member::work_mut)
                .for_each(|work| work.is_covered = work.began);
            send(world, member, work, Request::Renew { token: work.token, ends_doubt: work.doubt });
        }
    }
}

fn renew(policy: UncertainRun, world: &mut World, member: usize, is_heard: bool) {
    let Phase::Running { mut work, began } = world.members[member].phase else { return };
    let reply = ask(world, Request::Renew { token: work.token, ends_doubt: None });
    match reply {
        _ if !is_heard => world.left.lost = world.left.lost.saturating_sub(1),
        Reply::Done => {
            work.deadline = world.now.saturating_add(LEASE);
            world.members[member].phase = Phase::Running { work, began };
        }
        _ => over(policy, world, member, End::LeaseLost),
    }
}

/// A run or a check is over.
fn over(policy: UncertainRun, world: &mut World, member: usize, end: End) {
    let (Phase::Running { mut work, .. } | Phase::Checking { mut work }) = world.members[member].phase else {
        return;
    };
    work.end = Some(end);
    if matches!(end, End::Ok | End::FoundDone) {
        return send(world, member, work, Request::Complete { token: work.token });
    }
    world.unrecorded |= work.did;
    world.unanswered |= work.began && !work.is_covered && end != End::Failed;
    let run_end = run_end(end);
    let cause = verdict::doubt(&run_end, work.began);
    let doubt = cause.map(|_| work.fence);
    match verdict::settlement(&resolved(policy), work.attempt, &run_end, cause) {
        Settlement::Complete => unreachable!("it has not returned Ok"),
        Settlement::Release(attempts) => release(world, member, work, counting(attempts), doubt),
        Settlement::Hold => {
            world.messages[work.message] = Place::Dead;
            work.end = Some(End::DeadLetter);
            release(world, member, work, Counting::Reset, doubt);
        }
    }
}

fn release(world: &mut World, member: usize, work: Work, attempts: Counting, doubt: Option<u64>) {
    send(world, member, work, Request::Release { token: work.token, attempts, doubt });
}

fn completed(policy: UncertainRun, world: &mut World, member: usize, work: Work, reply: Reply) {
    let completion = match reply {
        Reply::Done if work.end == Some(End::FoundDone) => Completion::FoundDone,
        Reply::Done => Completion::Recorded,
        _ if world.is_completed() => Completion::RecordedElsewhere,
        _ => Completion::Lost,
    };
    if reply != Reply::Done {
        world.unrecorded |= work.did;
        world.unanswered |= work.did && !work.is_covered && completion == Completion::Lost;
    }
    let message = arrival(world, work.message);
    let decision = verdict::completion(&resolved(policy), &message, work.attempt, completion, false);
    world.members[member].phase = Phase::Idle;
    settle(world, work, &decision);
}

/// Does with a message what was decided.
fn settle(world: &mut World, work: Work, decision: &Decision) {
    let Place::Delivered { redeliveries, failures } = world.messages[work.message] else { return };
    world.messages[work.message] = match decision.verdict {
        Verdict::Ack => {
            world.broken.bad_ack |= !world.is_completed();
            Place::Acked
        }
        Verdict::DeadLetter => Place::Dead,
        Verdict::Retry(delay) => {
            let delay = Tick::try_from(delay.as_secs()).unwrap_or(Tick::MAX).min(LEASE);
            let failures = verdict::failures(decision, failures.into());
            Place::Queued {
                from: world.now.saturating_add(delay),
                redeliveries: redeliveries.saturating_add(1).min(2),
                failures: u8::try_from(failures).unwrap_or(u8::MAX),
            }
        }
        Verdict::Leave => Place::Queued { from: world.now, redeliveries, failures },
    };
}

fn crash(world: &mut World, member: usize) {
    world.left.crashes = world.left.crashes.saturating_sub(1);
    let phase = std::mem::replace(&mut world.members[member].phase, Phase::Idle);
    world.members[member].stalled = None;
    let work = match phase {
        Phase::Idle => return,
        Phase::Running { work, .. } => {
            world.unanswered |= !work.is_covered;
            world.unrecorded |= work.did;
            work
        }
        Phase::Asking { work, request: Request::Complete { .. }, .. } => {
            let is_recorded = world
                .record()
                .is_some_and(|record| record.state == State::Completed && record.token == token(work.token));
            world.unanswered |= work.did && !work.is_covered && !is_recorded;
            world.unrecorded |= work.did && !is_recorded;
            work
        }
        Phase::Asking { work, .. } | Phase::Checking { work } => work,
    };
    if let Place::Delivered { redeliveries, failures } = world.messages[work.message] {
        let redeliveries = redeliveries.saturating_add(1).min(2);
        world.messages[work.message] = Place::Queued { from: world.now, redeliveries, failures };
    }
}

/// The settings of the handler, in the model's short seconds.
fn resolved(uncertain: UncertainRun) -> Policy {
    let settings = Settings::new()
        .lease(time(LEASE))
        .timeout(time(PATIENCE))
        .max_attempts(2)
        .backoff(Backoff::fixed(time(1)))
        .uncertain(uncertain);
    settings.resolve().expect("settings that fit")
}

fn arrival(world: &World, message: usize) -> Arrival {
    let (Place::Delivered { redeliveries, failures } | Place::Queued { redeliveries, failures, .. }) =
        world.messages[message]
    else {
        return Arrival::default();
    };
    Arrival { fingerprint: None, redeliveries: redeliveries.into(), failures: failures.into() }
}

fn run_end(end: End) -> RunEnd {
    match end {
        End::Ok | End::FoundDone => RunEnd::Ok,
        End::Failed => {
            let reason = "no stock".into();
            RunEnd::Failed { disposition: Disposition::Retry(None), is_uncertain: false, reason }
        }
        End::Panicked => RunEnd::Panicked,
        End::TimedOut => RunEnd::TimedOut,
        End::LeaseLost | End::TooLate | End::DeadLetter => RunEnd::LeaseLost,
        End::Unknown => verdict::unknown("pending"),
    }
}

const fn counting(attempts: Attempts) -> Counting {
    match attempts {
        Attempts::Keep => Counting::Keep,
        Attempts::Count => Counting::Count,
        Attempts::Reset => Counting::Reset,
    }
}

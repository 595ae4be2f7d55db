//! A state of the model.

use std::time::Duration;

use idem_core::store::RecordPlace;
use idem_core::{IdempotencyKey, Namespace, Record, RecordKey, State, Token};

/// How much there is, and how often something may go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) members: usize,
    /// A member dies, and another one is started in its place.
    pub(crate) crashes: u8,
    /// A member stands still, while its handler goes on.
    pub(crate) stalls: u8,
    /// A reply is lost.
    pub(crate) lost: u8,
    /// A request comes to the store once more, at any later time.
    pub(crate) late: u8,
    /// A handler fails, panics or takes too long.
    pub(crate) breaks: u8,
}

impl Bounds {
    /// The faults of both.
    pub(crate) fn with(&self, other: &Self) -> Self {
        Self {
            crashes: self.crashes + other.crashes,
            stalls: self.stalls + other.stalls,
            lost: self.lost + other.lost,
            late: self.late + other.late,
            breaks: self.breaks + other.breaks,
            ..*self
        }
    }
}

/// A moment, in seconds. A lease has [`LEASE`].
pub(crate) type Tick = u8;

pub(crate) const LEASE: Tick = 2;
/// The moment of every state.
pub(super) const NOW: Tick = 8;
pub(super) const MICROS: u64 = 1_000_000;
/// How long a run, a question to the store and a stall last at most.
pub(crate) const PATIENCE: Tick = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Tick,
    /// The record's byte form, and when its life ends.
    pub(super) record: Option<(Vec<u8>, Duration)>,
    pub(crate) messages: Vec<Place>,
    pub(crate) members: Vec<Member>,
    /// Requests that are still on their way, though nobody waits for them.
    pub(crate) late: Vec<Request>,
    /// How many tokens were drawn.
    pub(crate) tokens: u8,
    pub(crate) left: Left,
    /// How often the effect was made.
    pub(crate) effects: u8,
    /// A run that had made it ended otherwise than by a recorded completion.
    pub(crate) unrecorded: bool,
    /// A run began, and nobody has an answer of it.
    pub(crate) unanswered: bool,
    pub(crate) check_said_no: bool,
    pub(crate) was_completed: bool,
    /// The fence of the newest claim, and its token.
    pub(crate) newest: (u64, u8),
    pub(crate) broken: Broken,
}

/// How often something may still go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) crashes: u8,
    pub(crate) stalls: u8,
    pub(crate) lost: u8,
    pub(crate) late: u8,
    pub(crate) breaks: u8,
}

/// The properties that were broken on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub(crate) struct Broken {
    pub(crate) stale_token: bool,
    pub(crate) bad_start: bool,
    /// A run began beside or behind one that had made the effect, and whose lease was not over.
    pub(crate) double_run: bool,
    pub(crate) bad_ack: bool,
    pub(crate) fence: bool,
    pub(crate) run_in_doubt: bool,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// At the broker, which delivers it from that moment on.
    Queued {
        from: Tick,
        redeliveries: u8,
        failures: u8,
    },
    /// A member has it.
    Delivered {
        redeliveries: u8,
        failures: u8,
    },
    Acked,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) phase: Phase,
    /// It stands still since then.
    pub(crate) stalled: Option<Tick>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    Idle,
    /// It asks the store, and repeats that until it has an answer.
    Asking {
        work: Work,
        request: Request,
        since: Tick,
        answer: Option<Reply>,
    },
    /// Its check is asked about a doubt.
    Checking {
        work: Work,
    },
    /// The handler runs.
    Running {
        work: Work,
        began: Tick,
    },
}

/// A message that a member works on, and what is known of its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Work {
    pub(crate) message: usize,
    pub(crate) token: u8,
    pub(crate) attempt: u32,
    /// The lease's end by the member's own clock.
    pub(crate) deadline: Tick,
    /// Whether the handler has made its effect.
    pub(crate) did: bool,
    /// A check has said since then that nothing happened.
    pub(crate) is_covered: bool,
    /// Whether the handler was polled.
    pub(crate) began: bool,
    /// How the run has ended.
    pub(crate) end: Option<End>,
    /// The number of the claim.
    pub(crate) fence: u64,
    /// The fence of the doubt that the claim has found.
    pub(crate) doubt: Option<u64>,
}

/// The ends of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum End {
    Ok,
    /// The check said that it is done.
    FoundDone,
    Failed,
    Panicked,
    TimedOut,
    LeaseLost,
    Unknown,
    /// It never began, because its lease was over.
    TooLate,
    /// A dead letter without a run: its number of attempts, or its doubt.
    DeadLetter,
}

/// A request to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Request {
    Claim {
        token: u8,
    },
    Renew {
        token: u8,
        ends_doubt: Option<u64>,
    },
    Complete {
        token: u8,
    },
    /// `doubt` is the fence of the run that leaves one.
    Release {
        token: u8,
        attempts: Counting,
        doubt: Option<u64>,
    },
}

/// [`Attempts`](idem_core::store::Attempts), which has no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Counting {
    Keep,
    Count,
    Reset,
}

/// The store's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    Claimed { attempt: u32, fence: u64, doubt: Option<u64> },
    InProgress { remaining: Tick },
    Completed,
    Done,
    Lost,
}

impl Member {
    pub(crate) fn work_mut(&mut self) -> Option<&mut Work> {
        match &mut self.phase {
            Phase::Idle => None,
            Phase::Asking { work, .. } | Phase::Checking { work } | Phase::Running { work, .. } => Some(work),
        }
    }

    pub(crate) fn work(&self) -> Option<&Work> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Asking { work, .. } | Phase::Checking { work } | Phase::Running { work, .. } => Some(work),
        }
    }

    pub(super) fn works_on(&self, message: usize) -> bool {
        self.work().is_some_and(|work| work.message == message)
    }
}

impl World {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let &Bounds { messages, members, crashes, stalls, lost, late, breaks } = bounds;
        Self {
            now: NOW,
            record: None,
            messages: vec![Place::Queued { from: NOW, redeliveries: 0, failures: 0 }; messages],
            members: vec![Member { phase: Phase::Idle, stalled: None }; members],
            late: Vec::new(),
            tokens: 0,
            left: Left { crashes, stalls, lost, late, breaks },
            effects: 0,
            unrecorded: false,
            unanswered: false,
            check_said_no: false,
            was_completed: false,
            newest: (0, 0),
            broken: Broken::default(),
        }
    }

    pub(crate) fn record(&self) -> Option<Record> {
        let (bytes, _) = self.record.as_ref()?;
        Some(Record::decode(bytes).expect("the model's own bytes"))
    }

    /// The store's place of the key, for one of its rules.
    pub(crate) fn place(&self) -> RecordPlace {
        let record = self
            .record
            .as_ref()
            .map(|(bytes, expires)| (Record::decode(bytes).expect("the model's own bytes"), *expires));
        RecordPlace::new(key(), record)
    }

    pub(crate) fn put(&mut self, place: RecordPlace) {
        self.record = place.into_record().map(|(record, expires)| (record.encode(), expires));
        self.was_completed |= self.is_completed();
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.record().is_some_and(|record| record.state == State::Completed)
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.record().is_some_and(|record| record.doubt.is_some())
    }

    /// How many members take a lease for their own.
    pub(crate) fn live_leases(&self) -> usize {
        let is_live = |member: &&Member| match &member.phase {
            Phase::Running { work, .. } | Phase::Checking { work } => self.now < work.deadline,
            _ => false,
        };
        self.members.iter().filter(is_live).count()
    }

    /// On a line.
    pub(crate) fn shown(&self) -> String {
        let record = self.record().map_or_else(
            || "no record".to_owned(),
            |record| {
                let doubt = record.doubt.map_or("", |_| ", in doubt");
                format!(
                    "{:?} by {} until {}{doubt}, {} attempts",
                    record.state,
                    record.token.to_bytes()[15],
                    record.lease_end.as_secs(),
                    record.attempts
                )
            },
        );
        let members: Vec<_> = self.members.iter().map(|member| format!("{:?}", member.phase)).collect();
        format!(
            "{} s, {record}, {} effects; {:?}; {}",
            self.now,
            self.effects,
            self.messages,
            members.join("; ")
        )
    }
}

pub(crate) fn key() -> RecordKey {
    RecordKey::new(Namespace::new(["model"]), IdempotencyKey::new("order-7").expect("a key"))
}

pub(crate) fn token(number: u8) -> Token {
    let mut bytes = [0; 16];
    bytes[15] = number;
    Token::from_bytes(bytes)
}

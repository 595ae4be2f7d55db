//! One state for all that mean the same.

use std::time::Duration;

use idem_core::State;

use super::world::{MICROS, Member, NOW, PATIENCE, Phase, Place, Reply, Request, Tick, World, token};

impl World {
    /// Of states that mean the same, one is enough: members are alike, and so are messages and tokens; and of times only the
    /// distances count, as far back as something looks.
    pub(crate) fn normal(mut self) -> Self {
        self.shift_time();
        let mut order: Vec<usize> = (0..self.messages.len()).collect();
        let holder = |message: usize| self.members.iter().find(|member| member.works_on(message)).cloned();
        order
            .sort_by_cached_key(|message| (self.messages[*message], holder(*message).map(Member::anonymous)));
        let messages = order.iter().map(|message| self.messages[*message]).collect();
        for member in &mut self.members {
            if let Some(work) = member.work_mut() {
                work.message = order.iter().position(|old| *old == work.message).unwrap_or_default();
            }
        }
        self.messages = messages;
        self.members.sort_by_cached_key(|member| member.clone().anonymous());
        self.rename_tokens();
        self.late.sort_unstable();
        self
    }

    /// Has it be [`NOW`]. A time that is over is just over.
    fn shift_time(&mut self) {
        let (now, older) = (self.now, self.now.saturating_sub(PATIENCE));
        let moved = |tick: Tick| tick.max(older).saturating_add(NOW).saturating_sub(now);
        let ended = |tick: Tick| tick.max(now).saturating_add(NOW).saturating_sub(now);
        for place in &mut self.messages {
            if let Place::Queued { from, .. } = place {
                *from = ended(*from);
            }
        }
        for member in &mut self.members {
            if let Some(since) = &mut member.stalled {
                *since = moved(*since);
            }
            match &mut member.phase {
                Phase::Asking { since: begun, .. } | Phase::Running { began: begun, .. } => {
                    *begun = moved(*begun)
                }
                Phase::Idle | Phase::Checking { .. } => {}
            }
            if let Some(work) = member.work_mut() {
                work.deadline = moved(work.deadline);
            }
        }
        if let Some(mut record) = self.record() {
            record.lease_end = match record.state {
                State::InProgress => Duration::from_secs(
                    ended(Tick::try_from(record.lease_end.as_secs()).unwrap_or(Tick::MAX)).into(),
                ),
                State::Completed | State::Released => Duration::ZERO,
            };
            // Which attempt it was changes nothing.
            if let Some(doubt) = &mut record.doubt {
                doubt.attempt = 1;
            }
            self.record = Some((record.encode(), Duration::MAX));
        }
        self.shift_fences(u64::from(now) * MICROS);
        self.now = NOW;
    }

    /// They are compared with each other and with the clock; those of before it keep their order alone.
    fn shift_fences(&mut self, now: u64) {
        let mut older = Vec::new();
        self.each_fence(&mut |fence| older.extend((*fence < now).then_some(*fence)));
        older.sort_unstable();
        older.dedup();
        let then = u64::from(NOW) * MICROS;
        self.each_fence(&mut |fence| {
            *fence = match older.binary_search(fence) {
                Ok(rank) => then - u64::try_from(older.len() - rank).expect("few fences"),
                Err(_) => *fence - now + then,
            };
        });
    }

    fn each_fence(&mut self, see: &mut impl FnMut(&mut u64)) {
        see(&mut self.newest.0);
        if let Some(mut record) = self.record() {
            see(&mut record.fence.0);
            record.doubt.iter_mut().for_each(|doubt| see(&mut doubt.fence.0));
            self.record = Some((record.encode(), Duration::MAX));
        }
        for member in &mut self.members {
            if let Some(work) = member.work_mut() {
                see(&mut work.fence);
                work.doubt.iter_mut().for_each(&mut *see);
            }
            if let Phase::Asking { request, answer, .. } = &mut member.phase {
                request.fence_mut().into_iter().for_each(&mut *see);
                if let Some(Reply::Claimed { fence, doubt, .. }) = answer {
                    see(fence);
                    doubt.iter_mut().for_each(&mut *see);
                }
            }
        }
        self.late.iter_mut().filter_map(Request::fence_mut).for_each(see);
    }

    /// As they are met, from 1 on; tokens that nobody has are forgotten.
    fn rename_tokens(&mut self) {
        let mut known = Vec::new();
        let mut renamed = |token: &mut u8| {
            let place = known.iter().position(|old| old == token).unwrap_or_else(|| {
                known.push(*token);
                known.len() - 1
            });
            *token = u8::try_from(place + 1).expect("few tokens");
        };
        if let Some(mut record) = self.record() {
            let mut number = record.token.to_bytes()[15];
            renamed(&mut number);
            record.token = token(number);
            self.record = Some((record.encode(), Duration::MAX));
        }
        for member in &mut self.members {
            if let Some(work) = member.work_mut() {
                renamed(&mut work.token);
            }
            if let Phase::Asking { request, .. } = &mut member.phase {
                renamed(request.token_mut());
            }
        }
        self.late.iter_mut().for_each(|request| renamed(request.token_mut()));
        renamed(&mut self.newest.1);
        self.tokens = u8::try_from(known.len()).expect("few tokens");
    }
}

impl Member {
    /// But for its token and its message's number.
    fn anonymous(mut self) -> Self {
        if let Some(work) = self.work_mut() {
            (work.message, work.token) = (0, 0);
        }
        if let Phase::Asking { request, .. } = &mut self.phase {
            *request.token_mut() = 0;
        }
        self
    }
}

impl Request {
    fn fence_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Renew { ends_doubt: fence, .. } | Self::Release { doubt: fence, .. } => fence.as_mut(),
            Self::Claim { .. } | Self::Complete { .. } => None,
        }
    }

    fn token_mut(&mut self) -> &mut u8 {
        match self {
            Self::Claim { token }
            | Self::Renew { token, .. }
            | Self::Complete { token }
            | Self::Release { token, .. } => token,
        }
    }
}

//! Gathers the minibatches of a schedule, ahead of the consumer.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc;
use std::time::Instant;

use super::batch::Minibatch;
use super::build::{Builder, Purpose};
use super::sampler::{Schedule, Window};
use crate::error::Result;
use crate::profile::{Phase, Profile};
use crate::store::Store;

/// Minibatches in flight: one being used, one being gathered or waiting.
pub(super) const BUFFERS: usize = 2;

/// Gathers minibatches; their memory is used again from one pass to the next.
#[derive(Debug)]
pub struct Loader<'a> {
    builder: Builder<'a>,
    prefetch: bool,
    spare: Vec<Minibatch>,
    /// Time of gathering, and of waiting for it.
    pub profile: Profile,
}

impl<'a> Loader<'a> {
    /// Gathers with `builder`; with `prefetch` the next minibatches are gathered by a thread of their own while
    /// one is consumed.
    pub fn new(builder: Builder<'a>, prefetch: bool) -> Self {
        Self { builder, prefetch, spare: Vec::new(), profile: Profile::default() }
    }

    /// Gathers every minibatch of `schedule` from number `first` on in order and hands it to `consume`, which may end
    /// the pass. Stops at the first error.
    ///
    /// # Errors
    /// That of the store or of `consume`.
    pub fn for_each(
        &mut self,
        schedule: &Schedule,
        first: usize,
        purpose: Purpose,
        mut consume: impl FnMut(&Minibatch) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        self.spare.resize_with(BUFFERS, Minibatch::default);
        if self.prefetch {
            return self.prefetched(schedule, first, purpose, consume);
        }
        let Self { builder, spare, profile, .. } = self;
        let mut reading = Reading::new(schedule);
        for (number, samples) in schedule.batches.iter().enumerate().skip(first) {
            let start = Instant::now();
            reading.ahead_of(number, builder.store());
            builder.build(samples, purpose, &mut spare[0])?;
            reading.behind(number, builder.store());
            profile.lap(Phase::Gather, start);
            if consume(&spare[0])?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn prefetched(
        &mut self,
        schedule: &Schedule,
        first: usize,
        purpose: Purpose,
        mut consume: impl FnMut(&Minibatch) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let Self { builder, spare, profile, .. } = self;
        let (full_sender, full) = mpsc::sync_channel::<Result<Minibatch>>(BUFFERS);
        let (empty_sender, empty) = mpsc::sync_channel::<Minibatch>(BUFFERS);
        for buffer in spare.drain(..) {
            // The channel has room for every buffer and its receiver lives on.
            let _ = empty_sender.send(buffer);
        }
        std::thread::scope(|scope| {
            let gathering = scope.spawn(move || {
                let mut profile = Profile::default();
                let mut reading = Reading::new(schedule);
                for (number, samples) in schedule.batches.iter().enumerate().skip(first) {
                    // Either end hanging up means that the consumer stopped early.
                    let Ok(mut batch) = empty.recv() else { break };
                    let start = Instant::now();
                    reading.ahead_of(number, builder.store());
                    let built = builder.build(samples, purpose, &mut batch).map(|()| batch);
                    reading.behind(number, builder.store());
                    profile.lap(Phase::GatherBeside, start);
                    let failed = built.is_err();
                    if full_sender.send(built).is_err() || failed {
                        break;
                    }
                }
                (profile, empty)
            });
            let mut waiting = Instant::now();
            let mut flow = Ok(ControlFlow::Continue(()));
            for batch in &full {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        flow = Err(error);
                        break;
                    }
                };
                profile.lap(Phase::Idle, waiting);
                flow = consume(&batch);
                // The gathering thread may have finished already.
                let _ = empty_sender.send(batch);
                waiting = Instant::now();
                if !matches!(flow, Ok(ControlFlow::Continue(()))) {
                    break;
                }
            }
            drop((full, empty_sender));
            match gathering.join() {
                Ok((gathered, empty)) => {
                    profile.add(&gathered);
                    spare.extend(empty.try_iter());
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
            flow
        })
    }
}

/// Asks for the windows of a schedule ahead of time and lets go of those that are done.
struct Reading<'a> {
    windows: &'a [Window],
    /// Windows that were asked for and are not done.
    there: Range<usize>,
    /// Runs of the window after them that were asked for.
    asked: usize,
}

impl<'a> Reading<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        Self { windows: &schedule.windows, there: 0..0, asked: 0 }
    }

    /// Minibatch `number` is about to be gathered: what it needs is asked for, and a part of the next window. (All of
    /// that at once would fill the disk's queue, and whoever asks would wait.)
    fn ahead_of(&mut self, number: usize, store: &Store) {
        while self.there.is_empty()
            && self.windows.get(self.there.end).is_some_and(|w| w.batches.end <= number)
        {
            // A pass that begins later skips the windows before.
            self.there = self.there.end + 1..self.there.end + 1;
        }
        while let Some(window) = self.windows.get(self.there.end).filter(|w| w.batches.start <= number) {
            self.ask(window, window.rows.len(), store);
            self.asked = 0;
            self.there.end += 1;
        }
        if let Some(next) = self.windows.get(self.there.end).filter(|_| !self.there.is_empty()) {
            let now = &self.windows[self.there.end - 1].batches;
            let goal = next.rows.len() * (number + 1 - now.start) / now.len();
            self.ask(next, goal.min(next.rows.len()), store);
        }
    }

    /// Asks for the runs of the window after those that are there up to number `goal`.
    fn ask(&mut self, window: &Window, goal: usize, store: &Store) {
        for rows in window.rows.get(self.asked..goal).unwrap_or_default() {
            store.will_need(places(rows));
        }
        self.asked = self.asked.max(goal);
    }

    /// Minibatch `number` was gathered. A matrix that is one window is needed again in the next pass.
    fn behind(&mut self, number: usize, store: &Store) {
        while !self.there.is_empty() && self.windows[self.there.start].batches.end <= number + 1 {
            if self.windows.len() > 1 {
                // All of the matrix: the system maps pages around those that are read, and so some of windows that
                // were released before. What is still needed comes back at once.
                store.release(0..store.n_rows());
            }
            self.there.start += 1;
        }
    }
}

fn places(rows: &Range<u32>) -> Range<usize> {
    rows.start as usize..rows.end as usize
}

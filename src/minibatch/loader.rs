//! Gathers the minibatches of a plan, ahead of the consumer.

use std::sync::mpsc;
use std::time::Instant;

use super::batch::Minibatch;
use super::build::{Builder, Purpose};
use crate::error::Result;
use crate::profile::{Phase, Profile};

/// Minibatches in flight: one being used, one waiting, one being gathered.
pub(super) const BUFFERS: usize = 3;

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

    /// Gathers every minibatch of `plan` in order and hands it to `consume`. Stops at the first error.
    ///
    /// # Errors
    /// That of the store or of `consume`.
    pub fn for_each(
        &mut self,
        plan: &[Vec<u32>],
        purpose: Purpose,
        mut consume: impl FnMut(&Minibatch) -> Result<()>,
    ) -> Result<()> {
        self.spare.resize_with(BUFFERS, Minibatch::default);
        if self.prefetch {
            return self.prefetched(plan, purpose, consume);
        }
        let Self { builder, spare, profile, .. } = self;
        plan.iter().try_for_each(|samples| {
            let start = Instant::now();
            builder.build(samples, purpose, &mut spare[0])?;
            profile.lap(Phase::Gather, start);
            consume(&spare[0])
        })
    }

    fn prefetched(
        &mut self,
        plan: &[Vec<u32>],
        purpose: Purpose,
        mut consume: impl FnMut(&Minibatch) -> Result<()>,
    ) -> Result<()> {
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
                for samples in plan {
                    // Either end hanging up means that the consumer stopped early.
                    let Ok(mut batch) = empty.recv() else { break };
                    let start = Instant::now();
                    let built = builder.build(samples, purpose, &mut batch).map(|()| batch);
                    profile.lap(Phase::GatherBeside, start);
                    let failed = built.is_err();
                    if full_sender.send(built).is_err() || failed {
                        break;
                    }
                }
                (profile, empty)
            });
            let mut waiting = Instant::now();
            let consumed = full.iter().try_for_each(|batch| {
                let batch = batch?;
                profile.lap(Phase::Idle, waiting);
                let result = consume(&batch);
                // The gathering thread may have finished already.
                let _ = empty_sender.send(batch);
                waiting = Instant::now();
                result
            });
            drop((full, empty_sender));
            match gathering.join() {
                Ok((gathered, empty)) => {
                    profile.add(&gathered);
                    spare.extend(empty.try_iter());
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
            consumed
        })
    }
}

//! Gathers the minibatches of a plan, one ahead of the consumer.

use std::sync::mpsc;

use super::batch::Minibatch;
use super::build::{Builder, Purpose};
use crate::error::Result;

/// Minibatches in flight: one being used, one waiting, one being gathered.
pub(super) const BUFFERS: usize = 3;

/// Gathers every batch of `plan` in order and hands it to `consume`. With `prefetch` the next batches
/// are gathered by a thread of their own meanwhile. Stops at the first error.
///
/// # Errors
/// That of the store or of `consume`.
pub fn stream(
    builder: &mut Builder<'_>,
    plan: &[Vec<u32>],
    purpose: Purpose,
    prefetch: bool,
    mut consume: impl FnMut(&Minibatch) -> Result<()>,
) -> Result<()> {
    if !prefetch {
        let mut batch = Minibatch::default();
        return plan.iter().try_for_each(|samples| {
            builder.build(samples, purpose, &mut batch)?;
            consume(&batch)
        });
    }
    std::thread::scope(|scope| {
        let (full_sender, full) = mpsc::sync_channel::<Result<Minibatch>>(BUFFERS);
        let (empty_sender, empty) = mpsc::sync_channel::<Minibatch>(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for every buffer and its receiver lives in this scope.
            let _ = empty_sender.send(Minibatch::default());
        }
        scope.spawn(move || {
            for samples in plan {
                // Either end hanging up means that the consumer stopped early.
                let Ok(mut batch) = empty.recv() else { return };
                let built = builder.build(samples, purpose, &mut batch).map(|()| batch);
                let failed = built.is_err();
                if full_sender.send(built).is_err() || failed {
                    return;
                }
            }
        });
        for batch in full {
            let batch = batch?;
            consume(&batch)?;
            // The gathering thread may have finished already.
            let _ = empty_sender.send(batch);
        }
        Ok(())
    })
}

//! Where the time of a run goes.

use std::time::{Duration, Instant};

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Gathering minibatches on a thread beside the step, so not part of its time.
    GatherBeside,
    /// Gathering minibatches between the steps, where there is only one thread.
    Gather,
    /// The encoder's forward product.
    Encoder,
    /// The hidden layers, forward and back.
    Middle,
    /// The decoder's products, loss and gradients, and Adam on its layer in the same pass.
    Decoder,
    /// The encoder's weight gradient and Adam on its layer in the same pass.
    EncoderStep,
    /// The weight gradients of the hidden layers and Adam on them.
    Optimiser,
    /// Everything done to score the held-out entries or samples.
    Validation,
    /// Waiting for a minibatch.
    Idle,
}

impl Phase {
    /// All of them, in the order of a step.
    pub const ALL: [Self; 9] = [
        Self::GatherBeside,
        Self::Gather,
        Self::Encoder,
        Self::Middle,
        Self::Decoder,
        Self::EncoderStep,
        Self::Optimiser,
        Self::Validation,
        Self::Idle,
    ];

    /// For programs.
    pub fn key(self) -> &'static str {
        match self {
            Self::GatherBeside => "gather_beside",
            Self::Gather => "gather",
            Self::Encoder => "encoder_forward",
            Self::Middle => "hidden_layers",
            Self::Decoder => "decoder",
            Self::EncoderStep => "encoder_backward",
            Self::Optimiser => "hidden_update",
            Self::Validation => "validation",
            Self::Idle => "idle",
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::GatherBeside => "gather (beside the step)",
            Self::Gather => "gather",
            Self::Encoder => "encoder forward",
            Self::Middle => "hidden layers",
            Self::Decoder => "decoder with Adam",
            Self::EncoderStep => "encoder backward with Adam",
            Self::Optimiser => "hidden layers' update",
            Self::Validation => "validation",
            Self::Idle => "idle (waiting for minibatches)",
        }
    }
}

/// Time by [`Phase`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Profile([Duration; Phase::ALL.len()]);

impl Profile {
    /// Adds the time since `start` to a phase and returns the present.
    pub fn lap(&mut self, phase: Phase, start: Instant) -> Instant {
        let now = Instant::now();
        self.0[phase as usize] += now - start;
        now
    }

    /// Time spent on a phase.
    pub fn of(&self, phase: Phase) -> Duration {
        self.0[phase as usize]
    }

    /// A table for people: seconds, and the share of the run's own time, to which gathering beside it does not add.
    pub fn table(&self) -> String {
        let total = self.in_line();
        let mut text = String::from("where the time went:");
        for phase in Phase::ALL {
            let seconds = self.of(phase).as_secs_f64();
            if seconds == 0.0 {
                continue;
            }
            let share = 100.0 * seconds / total.max(f64::MIN_POSITIVE);
            text += &format!("\n  {:<32}{seconds:>9.2} s {share:>6.1}%", phase.name());
        }
        text
    }

    /// The share of the run's own time that went to waiting for minibatches.
    pub fn idle_share(&self) -> f64 {
        self.of(Phase::Idle).as_secs_f64() / self.in_line().max(f64::MIN_POSITIVE)
    }

    /// Seconds of all phases but those beside the step.
    fn in_line(&self) -> f64 {
        let phases = Phase::ALL.into_iter().filter(|&phase| phase != Phase::GatherBeside);
        phases.map(|phase| self.of(phase).as_secs_f64()).sum()
    }

    /// Adds another profile's times.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

impl serde::Serialize for Profile {
    /// Seconds by phase.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Phase::ALL.map(|phase| (phase.key(), self.of(phase).as_secs_f64())))
    }
}

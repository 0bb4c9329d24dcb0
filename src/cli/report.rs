//! What a run tells while it goes on: bars on a terminal, plain lines elsewhere, JSON when asked for.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use super::args::Common;
use super::memory::{Resident, Watch};
use crate::store::Listener;
use crate::train::{EpochRecord, Observer};

/// Without a terminal, running work is mentioned this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// Steps that took longer than this are told of when they end.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// Before that, a rate is chance.
const WORTH_A_RATE: Duration = Duration::from_millis(250);
/// Without a terminal, an epoch that takes long is mentioned this often.
const EPOCH_INTERVAL: Duration = Duration::from_secs(30);
/// Memory is looked at this often.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Where a run's words go.
#[derive(Debug)]
pub(super) struct Reporter {
    quiet: bool,
    json: bool,
    terminal: bool,
}

impl Reporter {
    pub(super) fn new(common: &Common) -> Self {
        Self { quiet: common.quiet, json: common.json, terminal: std::io::stderr().is_terminal() }
    }

    /// A line about the run, on stderr.
    pub(super) fn say(&self, line: &str) {
        if !self.quiet {
            // A run goes on when nobody listens.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// A line the user should not miss, on stderr.
    pub(super) fn warn(&self, line: &str) {
        let _ = writeln!(std::io::stderr(), "warning: {line}");
    }

    /// A result, on stdout: for people, or as one line of JSON.
    pub(super) fn result(&self, event: &str, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        if self.json {
            let mut object = serde_json::to_value(value)?;
            if let Some(map) = object.as_object_mut() {
                map.insert("event".into(), event.into());
            }
            writeln!(stdout, "{object}")?;
        } else {
            writeln!(stdout, "{text}")?;
        }
        Ok(())
    }

    /// A bar for a step of `total` units of which `unit` says what they are.
    pub(super) fn step(&self, name: &str, total: u64, unit: &str) -> Step {
        let bar = if self.quiet || !self.terminal {
            ProgressBar::hidden()
        } else {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        };
        let template =
            format!("{{msg:>14}} [{{bar:32}}] {{percent:>3}}% {{human_pos}} {unit}, {{rate}}/s, ETA {{eta}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.with_key("rate", write_rate).progress_chars("=> "));
        }
        bar.set_message(name.to_owned());
        Step {
            bar,
            plain: !self.quiet && !self.terminal,
            name: name.into(),
            done: Cell::new(0),
            total,
            unit: unit.into(),
            said: Cell::new(Instant::now()),
            started: Instant::now(),
            told: !self.quiet,
        }
    }
}

impl Listener for Reporter {
    fn say(&self, line: &str) {
        self.say(line);
    }
}

/// Units a second since the step began, in whole numbers, once there is something to tell it by.
fn write_rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let rate = (state.elapsed() >= WORTH_A_RATE).then(|| state.pos() as f64 / state.elapsed().as_secs_f64());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate to look at")]
    let rate = rate.map_or_else(|| "-".to_owned(), |rate| HumanCount(rate as u64).to_string());
    // A bar that cannot be drawn is no reason to stop.
    let _ = out.write_str(&rate);
}

/// Progress of one step.
#[derive(Debug)]
pub(super) struct Step {
    bar: ProgressBar,
    plain: bool,
    name: String,
    unit: String,
    done: Cell<u64>,
    total: u64,
    said: Cell<Instant>,
    started: Instant,
    told: bool,
}

impl Step {
    /// The same step, if it began earlier.
    pub(super) fn begun_at(self, started: Instant) -> Self {
        let mut step = self;
        step.bar = step.bar.clone().with_elapsed(started.elapsed());
        step.started = started;
        step
    }

    pub(super) fn advance(&self, units: u64) {
        self.bar.inc(units);
        self.done.set(self.done.get() + units);
        if self.plain && self.said.get().elapsed() >= PLAIN_INTERVAL {
            self.said.set(Instant::now());
            let percent = 100 * self.done.get() / self.total.max(1);
            let _ =
                writeln!(std::io::stderr(), "{}: {} {} ({percent}%)", self.name, self.done.get(), self.unit);
        }
    }
}

impl Drop for Step {
    /// A step that took its time leaves a line.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let (seconds, done) = (self.started.elapsed().as_secs_f64(), self.done.get());
        if self.told && done > 0 && seconds >= WORTH_A_LINE.as_secs_f64() {
            let (name, unit) = (&self.name, &self.unit);
            let rate = match done as f64 / seconds {
                rate if rate >= 1e5 => format!("{:.1} million", rate / 1e6),
                rate => format!("{rate:.0}"),
            };
            let _ = writeln!(std::io::stderr(), "{name}: {done} {unit} in {seconds:.1} s ({rate} a second)");
        }
    }
}

/// Shows training epoch by epoch.
#[derive(Debug)]
pub(super) struct TrainingProgress<'a> {
    reporter: &'a Reporter,
    bar: ProgressBar,
    noun: &'static str,
    epochs: u64,
    samples: u64,
    best: Cell<f64>,
    started: Instant,
    said: Cell<Instant>,
    failed: RefCell<Option<anyhow::Error>>,
    watch: Watch,
    looked: Cell<Instant>,
}

impl<'a> TrainingProgress<'a> {
    pub(super) fn new(reporter: &'a Reporter, epochs: u64, samples: u64, noun: &'static str) -> Self {
        let bar = if reporter.quiet || !reporter.terminal {
            ProgressBar::hidden()
        } else {
            ProgressBar::with_draw_target(Some(epochs.saturating_mul(samples)), ProgressDrawTarget::stderr())
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:24}] at most {eta} more") {
            bar.set_style(style.progress_chars("=> "));
        }
        let now = Instant::now();
        Self {
            reporter,
            bar,
            noun,
            epochs,
            samples,
            best: Cell::new(f64::INFINITY),
            started: now,
            said: Cell::new(now),
            failed: RefCell::new(None),
            watch: Watch::default(),
            looked: Cell::new(now),
        }
    }

    /// The memory that was taken.
    pub(super) fn resident(&self) -> Resident {
        self.watch.resident()
    }

    /// The first error in writing results, if any.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        self.failed.into_inner().map_or(Ok(()), Err)
    }

    /// The first epochs, every tenth, and one now and then when epochs are slow.
    fn is_worth_a_line(&self, epoch: u64) -> bool {
        epoch <= 3 || epoch.is_multiple_of(10) || self.said.get().elapsed() >= PLAIN_INTERVAL
    }
}

impl Observer for TrainingProgress<'_> {
    fn note(&self, text: &str) {
        self.bar.suspend(|| self.reporter.say(text));
    }

    fn step(&self, epoch: u64, n_samples: usize, loss: f64) {
        if self.looked.get().elapsed() >= WATCH_INTERVAL {
            self.looked.set(Instant::now());
            self.watch.look();
        }
        self.bar.inc(n_samples as u64);
        let done = self.bar.position() as f64;
        let rate = done / self.started.elapsed().as_secs_f64().max(1e-3);
        let best = self.best.get();
        let best = if best.is_finite() { format!("  best validation {best:.5}") } else { String::new() };
        let text = format!("epoch {epoch}/{}  loss {loss:.5}{best}  {rate:.0} {}/s", self.epochs, self.noun);
        let reporter = self.reporter;
        if !reporter.terminal && !reporter.json && self.said.get().elapsed() >= EPOCH_INTERVAL {
            self.said.set(Instant::now());
            reporter.say(&format!("{text}  {done:.0} {} done", self.noun));
        }
        self.bar.set_message(text);
    }

    fn epoch(&self, record: &EpochRecord) {
        self.best.set(self.best.get().min(record.validation_loss));
        self.bar.set_position(record.epoch.saturating_mul(self.samples));
        if self.reporter.json {
            if let Err(error) = self.reporter.result("epoch", record, "") {
                self.failed.borrow_mut().get_or_insert(error);
            }
        } else if !self.reporter.terminal && self.is_worth_a_line(record.epoch) {
            self.said.set(Instant::now());
            self.reporter.say(&format!(
                "epoch {:>4}/{}  training loss {:.5}  validation error {:.5}{}  {:.2} s  {:.0} {}/s",
                record.epoch,
                self.epochs,
                record.train_loss,
                record.validation_loss,
                if record.best { " *" } else { "  " },
                record.seconds,
                record.samples_per_second,
                self.noun
            ));
        }
    }
}

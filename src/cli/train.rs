//! `late-fast train`

mod describe;
mod parts;

use std::path::{Path, PathBuf};

use late_fast_kernels::Isa;

use self::describe::{TrainSummary, describe_plan, sample_nouns};
use self::parts::{Part, State, parts_of, unused};
use super::Ending;
use super::args::{Common, Interval, TrainArgs, quoted};
use super::combine::write_combined;
use super::impute::{impute_options, imputed_format, write_imputed};
use super::input::{Input, read_gene_list};
use super::interrupt::Interrupt;
use super::kernels::chosen_isa;
use super::memory::{self, Resident};
use super::outputs::check_output;
use super::report::{Reporter, TrainingProgress};
use crate::atomic::{ResultDirectory, check_free_space, is_same_file, parent, refuse_existing};
use crate::config::MODEL_FILE;
use crate::error::{Error, Result};
use crate::impute::{ImputeOptions, Models, combining_bytes, memory_bytes, output_bytes};
use crate::io::{self, Source};
use crate::matrix::Major;
use crate::model::{ModelFile, Placement};
use crate::parallel;
use crate::store::{Fingerprint, Prepared, Store, Storing};
use crate::train::{
    Aligned, Identity, Keeper, Kept, Outcome, Plan, Reference, Results, Split, SplitCounts, Task, Trained,
    entries_of_largest_batch, list_checkpoints, remove_checkpoints, train,
};

pub(super) fn run(args: &TrainArgs, common: &Common) -> anyhow::Result<Ending> {
    let reporter = Reporter::new(common);
    let isa = chosen_isa()?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.input.path));
    let parts = parts_of(args, &out)?;
    if args.impute.is_none() && !args.output.is_empty() {
        return Err(
            unused("--policy, --output-scale, --products, --dtype and --genes", "--impute OUT.h5ad").into()
        );
    }
    let imputing = match &args.impute {
        Some(path) => {
            let options = impute_options(&args.output, imputed_format(path)?, isa, common);
            options.products_for(args.param_dtype)?;
            Some(options)
        }
        None => None,
    };
    let cache = args.cache.clone().unwrap_or_else(|| parent(&out).to_owned());
    let budget = common.memory.unwrap_or_else(memory::available);
    let (parts, out, cache) = (&parts[..], &out, &cache);
    let imputing = args.impute.as_deref().zip(imputing.as_ref());
    let job = Job { args, common, parts, imputing, isa, out, cache, budget, reporter: &reporter };
    parallel::with_threads(common.threads, || job.run())?
}

/// A command line as meant.
#[derive(Clone, Copy)]
struct Job<'a> {
    args: &'a TrainArgs,
    common: &'a Common,
    parts: &'a [Part],
    /// The imputed file, and what it is to hold of all genes.
    imputing: Option<(&'a Path, &'a ImputeOptions)>,
    isa: Isa,
    /// The run's directory.
    out: &'a Path,
    /// The directory for what is large and not kept.
    cache: &'a Path,
    /// Bytes of memory.
    budget: u64,
    reporter: &'a Reporter,
}

/// What a part will take.
struct Planned<'a> {
    split: Split,
    /// The model it starts from.
    aligned: Option<Aligned<'a>>,
    plan: Plan,
}

impl Planned<'_> {
    /// Refuses what does not fit into `budget` bytes or the model it is to start from.
    fn check(&self, part: &Part, budget: u64, input: &Path, force: bool) -> Result<()> {
        self.plan.check(budget, &part.config)?;
        self.aligned.as_ref().map_or(Ok(()), |aligned| aligned.check(input, force))
    }

    /// Warns where the network starts from one that has seen what is held out now.
    fn warn_of_other_holdout(&self, part: &Part, input: &Fingerprint, reporter: &Reporter) {
        if part.reference.as_ref().is_some_and(|reference| reference.has_seen(input, &part.config)) {
            reporter.warn(
                "--init was trained on this matrix with other entries or samples held out: the validation error is of \
                 entries that it has seen; give the --validation, --holdout and --seed that it was trained with",
            );
        }
    }
}

impl Job<'_> {
    fn run(&self) -> anyhow::Result<Ending> {
        let Self { args, common, parts, reporter, budget, .. } = *self;
        let states = self.states()?;
        let is_imputed = args.impute.as_ref().is_none_or(|path| path.exists() && !common.force);
        if is_imputed && states.iter().all(State::is_finished) {
            let source = io::open(&args.input.path, &args.input.matrix.options())?;
            self.check_input(&states, &Fingerprint::names_of(source.as_ref()), None)?;
            return Ok(Ending::Done);
        }
        // Whatever would stop the results from being written is found before the work is done.
        let directories = if args.dry_run { Vec::new() } else { self.check_outputs(&states)? };
        let mut wanted: Vec<Major> = parts.iter().map(|part| part.config.samples).collect();
        wanted.extend(args.impute.as_ref().map(|_| Major::Cells));
        let storing = Storing { dir: self.cache, wanted: &wanted, memory: budget, cache: None };
        let to_store = (!args.dry_run).then_some(&storing);
        let (path, dtype) = (&args.input.path, args.input.store_dtype);
        let input =
            Input::open(path, &args.input.matrix, dtype, to_store, args.cache.is_some(), budget, reporter)?;
        let fingerprint = Fingerprint::of(input.source.as_ref(), &input.summary);
        self.check_input(&states, &fingerprint.names, Some(&fingerprint))?;
        input.check_scale(parts[0].config.transform, reporter);
        let planned = parts.iter().map(|part| self.plan(part, &input)).collect::<Result<Vec<_>>>()?;
        if args.dry_run {
            return self.tell_plans(&planned, &input);
        }
        let to_train = || {
            let parts = parts.iter().zip(&planned).zip(&states);
            parts.filter(|(_, state)| !state.is_finished()).map(|(planned, _)| planned)
        };
        for (part, planned) in to_train() {
            reporter.say(&describe_plan(&planned.plan, &part.config, &input, self.isa, budget));
            planned.check(part, budget, path, common.force)?;
            planned.warn_of_other_holdout(part, &fingerprint, reporter);
            if args.resume {
                self.identity(part, &fingerprint).check_last(&part.out)?;
            }
        }
        self.check_space(to_train().map(|(_, planned)| &planned.plan))?;
        let genes = match &args.output.genes {
            Some(path) => Some(read_gene_list(path, input.source.genes())?),
            None => None,
        };
        if let Some((path, options)) = self.imputing {
            self.check_imputing(path, options, &planned, &input, genes.as_deref())?;
        }
        let (source, prepared) = input.prepare(&storing, reporter)?;
        let matrix =
            TrainingMatrix { source: source.as_ref(), prepared: &prepared, fingerprint: &fingerprint };
        let mut counted = Vec::new();
        for (part, planned) in to_train() {
            counted.push((part, planned, matrix.count(part, planned)?));
            if !args.resume {
                // Of earlier runs, which --force allows to be replaced.
                remove_checkpoints(&part.out)?;
            }
        }
        let mut told = Ok(());
        let mut model = None;
        for (part, planned, counts) in counted {
            // Of the one before, which is on disk.
            drop(model.take());
            let Some((trained, said)) = self.train(part, &matrix, planned, counts)? else {
                return Ok(Ending::Stopped);
            };
            model = Some(trained);
            told = told.and(said);
        }
        drop(directories);
        if let Some((path, options)) = self.imputing {
            let options = ImputeOptions { genes, ..options.clone() };
            told = told.and(self.impute(model, (path, &options), source.as_ref(), &prepared)?);
        } else if parts.len() > 1 {
            self.reporter.say(&self.next());
        }
        told.map(|()| Ending::Done)
    }

    /// What is in the directories of a run that is to be resumed, and says so.
    fn states(&self) -> Result<Vec<State>> {
        if !self.args.resume {
            return Ok(vec![State::New; self.parts.len()]);
        }
        let states = self.parts.iter().map(Part::state).collect::<Result<Vec<_>>>()?;
        for (part, state) in self.parts.iter().zip(&states) {
            if let State::Finished(info) = state {
                self.reporter.say(&format!(
                    "{}: trained already, best epoch {}, validation error {:.5}",
                    part.out.display(),
                    info.best_epoch,
                    info.best_validation_loss
                ));
            }
        }
        Ok(states)
    }

    /// Refuses finished models of another matrix.
    fn check_input(&self, states: &[State], names: &str, input: Option<&Fingerprint>) -> Result<()> {
        let mut parts = self.parts.iter().zip(states);
        parts.try_for_each(|(part, state)| state.check_input(&part.out, names, input))
    }

    /// What a run has in common with its checkpoints.
    fn identity(&self, part: &Part, input: &Fingerprint) -> Identity {
        Identity {
            config: part.config.clone(),
            input: input.clone(),
            kernels: self.isa.name().into(),
            reference: part.reference.as_ref().map(|reference| reference.hash().to_owned()),
        }
    }

    fn plan<'p>(&self, Part { config, reference, .. }: &'p Part, input: &Input<'_>) -> Result<Planned<'p>> {
        let summary = input.summary_by(config.samples);
        let split = Split::new(&summary, config)?;
        let source = &input.source;
        let n_names =
            source.cells().len() + source.genes().len() + reference.as_ref().map_or(0, Reference::n_features);
        let mut plan = Plan::new(config, &summary, &split, n_names, self.isa);
        plan.fit(self.budget);
        let axis = source.axis(config.samples.other());
        let aligned = reference.as_ref().map(|reference| reference.align(axis, &split));
        plan.reference = aligned.as_ref().map(|aligned| aligned.plan(config));
        Ok(Planned { split, aligned, plan })
    }

    fn tell_plans(&self, planned: &[Planned<'_>], input: &Input<'_>) -> anyhow::Result<Ending> {
        for (part, Planned { plan, .. }) in self.parts.iter().zip(planned) {
            let text = describe_plan(plan, &part.config, input, self.isa, self.budget);
            self.reporter.result("plan", plan, &text)?;
        }
        for (part, planned) in self.parts.iter().zip(planned) {
            planned.check(part, self.budget, input.source.path(), self.common.force)?;
        }
        Ok(Ending::Done)
    }

    /// Trains, writes the results and says what they are; the inner result is that of saying it. `None` when a signal
    /// stopped training.
    fn train(
        &self,
        part: &Part,
        matrix: &TrainingMatrix<'_>,
        Planned { split, aligned, plan }: &Planned<'_>,
        counts: SplitCounts,
    ) -> anyhow::Result<Option<(ModelFile, anyhow::Result<()>)>> {
        let Self { args, isa, reporter, .. } = *self;
        let Part { config, out, .. } = part;
        let TrainingMatrix { source, fingerprint, .. } = *matrix;
        let store = matrix.store(config.samples);
        let results = Results {
            input: source.path(),
            cells: source.cells(),
            genes: source.genes(),
            fingerprint,
            config,
            split,
            counts,
            reference: aligned.as_ref().map(Aligned::provenance),
        };
        let place = |in_files| if in_files { Placement::File(self.cache) } else { Placement::Memory };
        let (parameters, best) = (place(plan.kept == Kept::AllInFiles), place(plan.kept != Kept::InMemory));
        let start = aligned.as_ref().map(|aligned| aligned.start(config));
        let task = Task { store, split, config, isa, parameters, best, start };
        let interrupt = Interrupt::new()?;
        let interval = match args.checkpoint_interval {
            Interval::Every(time) => Some(time),
            Interval::Never => None,
        };
        let identity = self.identity(part, fingerprint);
        let mut keeper = Keeper::new(out, identity, interval, interrupt.flag());
        let n_samples = split.train.len() as u64;
        let progress = TrainingProgress::new(reporter, config.epochs, n_samples, sample_nouns(config));
        let outcome = train(&task, Some(&mut keeper), args.resume, &progress)?;
        // A signal from here on ends the process: what is left to do takes no time, or can be done again.
        drop(interrupt);
        let resident = progress.resident();
        // From here on, nobody listening any more is no reason to stop: that is told in the end.
        let told = progress.finish();
        match outcome {
            Outcome::Finished(trained) => self.finish(part, *trained, &results, resident, told).map(Some),
            Outcome::Stopped { checkpoint, epoch } => {
                reporter.say(&format!(
                    "stopped by a signal in epoch {epoch}; {}; the same command with --resume goes on from {}",
                    resident.text(),
                    checkpoint.display()
                ));
                told.map(|()| None)
            }
        }
    }

    /// Writes the results and says what they are.
    fn finish(
        &self,
        Part { config, out, .. }: &Part,
        trained: Trained,
        results: &Results<'_>,
        resident: Resident,
        mut told: anyhow::Result<()>,
    ) -> anyhow::Result<(ModelFile, anyhow::Result<()>)> {
        let Self { args, common, reporter, .. } = *self;
        if args.profile {
            told = told.and(reporter.result("profile", &trained.profile, &trained.profile.table()));
        }
        let idle_share = trained.profile.idle_share();
        // A model beside checkpoints was to be replaced by the run that has left them.
        let finished = results.write(out, trained, common.force || args.resume)?;
        remove_checkpoints(out)?;
        if let Some(failure) = finished.failure {
            let kept = format!(
                "the weights of epoch {}, before that, are in {}",
                finished.model.info.best_epoch,
                out.display()
            );
            return Err(anyhow::anyhow!("{failure}\n{kept}"));
        }
        let summary = TrainSummary::new(&finished, config, out, idle_share, resident);
        let mut text = summary.text(results.counts.validation_entries);
        if args.impute.is_none() && self.parts.len() == 1 {
            text += &format!("\n{}", self.next());
        }
        told = told.and(reporter.result("trained", &summary, &text));
        Ok((finished.model, told))
    }

    /// What the user may want to do with the results.
    fn next(&self) -> String {
        let word = |path: &Path| quoted(&path.to_string_lossy());
        let models = match self.parts {
            [genes, cells] => {
                format!("combine --genes-model {} --cells-model {}", word(&genes.out), word(&cells.out))
            }
            _ => format!("impute --model {}", word(self.out)),
        };
        let input = &self.args.input;
        format!(
            "next: late-fast {models} --input {}{} --out imputed.h5ad",
            word(&input.path),
            input.options_as_typed()
        )
    }

    /// Imputes with the one model, of which `model` may be a copy in memory, or with both.
    fn impute(
        &self,
        model: Option<ModelFile>,
        (path, options): (&Path, &ImputeOptions),
        source: &dyn Source,
        prepared: &Prepared,
    ) -> Result<anyhow::Result<()>> {
        let Self { parts, reporter, .. } = *self;
        let read = |part: &Part| ModelFile::read(&part.out.join(MODEL_FILE));
        if let [genes, cells] = parts {
            drop(model);
            let (genes, cells) = (read(genes)?, read(cells)?);
            let models = Models { genes: &genes, cells: &cells };
            return write_combined(source, prepared, models, options, path, reporter);
        }
        let model = model.map_or_else(|| read(&parts[0]), Ok)?;
        write_imputed(source, prepared, &model, options, path, reporter)
    }

    /// Makes sure that what is kept in files, checkpoints and the models find space. One network is trained after the
    /// other, and its checkpoints go with the end of its training.
    fn check_space<'p>(&self, plans: impl Iterator<Item = &'p Plan>) -> Result<()> {
        /// Two are kept, and a third is being written.
        const CHECKPOINTS: u64 = 3;
        let n_checkpoints = if self.args.checkpoint_interval == Interval::Never { 1 } else { CHECKPOINTS };
        let (mut arrays, mut checkpoints, mut models) = (0, 0, 0);
        for plan in plans {
            arrays = plan.file_bytes().max(arrays);
            checkpoints = (n_checkpoints * plan.checkpoint_bytes()).max(checkpoints);
            models += plan.model_bytes();
        }
        check_free_space(
            self.cache,
            arrays,
            || "the network's arrays, which do not fit in memory,".into(),
            "choose another place with --cache, allow more --memory, or use --param-dtype bf16 or narrower layers (--hidden)",
        )?;
        check_free_space(
            self.out,
            checkpoints + models,
            || format!("the model with {n_checkpoints} checkpoints"),
            "choose another place with --out, or take no checkpoints but the one that a signal asks for \
         (--checkpoint-interval never)",
        )
    }

    /// Makes sure that imputing with the trained network, or with both, fits as well: into memory, and onto the disk.
    fn check_imputing(
        &self,
        path: &Path,
        options: &ImputeOptions,
        planned: &[Planned<'_>],
        input: &Input<'_>,
        genes: Option<&[u32]>,
    ) -> Result<()> {
        let Self { args, parts, isa, budget, .. } = *self;
        let n_genes = genes.map_or(input.source.genes().len(), <[u32]>::len);
        let layers: Vec<_> = parts
            .iter()
            .zip(planned)
            .map(|(part, planned)| (part.config.samples, &planned.plan.architecture))
            .collect();
        let shape = [input.source.cells().len(), n_genes];
        check_free_space(
            parent(path),
            output_bytes(shape, &layers, options),
            || format!("the imputed values in {}", path.display()),
            "choose another place with --impute, or write fewer genes (--genes) or --dtype f16",
        )?;
        let products = options.products_for(args.param_dtype)?;
        let networks: Vec<_> = parts
            .iter()
            .zip(planned)
            .map(|(part, planned)| {
                let summary = input.summary_by(part.config.samples);
                let batch_nnz = entries_of_largest_batch(&summary.row_nnz, options.batch_size);
                (&planned.plan.architecture, products, batch_nnz)
            })
            .collect();
        let imputing = match networks[..] {
            [genes, cells] => combining_bytes(isa, [genes, cells], options.batch_size, n_genes),
            _ => {
                let (architecture, products, batch_nnz) = networks[0];
                // Which of the features are written is found out when they are known.
                let gathered = if args.output.genes.is_some() { architecture.n_features } else { 0 };
                memory_bytes(isa, architecture, products, options.batch_size, batch_nnz, gathered)
            }
        };
        crate::budget::check(imputing + planned[0].plan.fixed_bytes, budget, || {
            "leave --impute out and impute where there is more, or allow more with --memory".into()
        })
    }

    /// Makes sure that all results can be written; directories are made for the parts that are not finished.
    fn check_outputs(&self, states: &[State]) -> Result<Vec<ResultDirectory>> {
        let Self { args, common, parts, out, .. } = *self;
        if args.impute.as_deref() == Some(out) {
            return Err(Error::Usage {
                problem: format!("--out and --impute are both {}", out.display()),
                remedy: "give them different names".into(),
            });
        }
        // Directories are removed in the reverse order if nothing comes into them.
        let mut directories = Vec::new();
        if parts.len() > 1 && !states.iter().all(State::is_finished) {
            directories.push(ResultDirectory::open(out)?);
        }
        for (Part { out, reference, .. }, state) in parts.iter().zip(states).filter(|(_, s)| !s.is_finished())
        {
            let model = out.join(MODEL_FILE);
            if reference.as_ref().is_some_and(|reference| is_same_file(reference.path(), &model)) {
                return Err(Error::Usage {
                    problem: format!(
                        "--init and --out are both {}: the model would be overwritten",
                        out.display()
                    ),
                    remedy: "choose another --out".into(),
                });
            }
            refuse_existing(&model, common.force || *state == State::Unfinished)?;
            directories.insert(0, ResultDirectory::open(out)?);
            if !args.resume && !common.force && !list_checkpoints(out)?.is_empty() {
                return Err(Error::Usage {
                    problem: format!(
                        "{}: a run that did not finish has left checkpoints there",
                        out.display()
                    ),
                    remedy: "go on with --resume, start over with --force, or choose another --out".into(),
                });
            }
        }
        if let Some((path, options)) = self.imputing {
            let mut read = io::files(&args.input.path, &args.input.matrix.options())?;
            read.extend(parts.iter().filter_map(|part| Some(part.reference.as_ref()?.path().to_owned())));
            read.extend(args.output.genes.clone());
            // In the run's own directory it may be as well.
            check_output(path, options.format, &read, common.force)?;
        }
        Ok(directories)
    }
}

/// The matrix that is trained on.
struct TrainingMatrix<'a> {
    source: &'a dyn Source,
    prepared: &'a Prepared,
    fingerprint: &'a Fingerprint,
}

impl<'a> TrainingMatrix<'a> {
    fn store(&self, rows: Major) -> &'a Store {
        let Some(store) = self.prepared.with_rows(rows) else {
            unreachable!("this orientation was asked for")
        };
        store
    }

    /// The entries on either side of a part's split.
    fn count(&self, part: &Part, planned: &Planned<'_>) -> Result<SplitCounts> {
        planned.split.count(self.store(part.config.samples), self.source.path(), &part.config)
    }
}

/// `pbmc_10k.h5` gives `pbmc_10k.late` in the current directory.
fn default_out(input: &Path) -> PathBuf {
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(".late");
    PathBuf::from(name)
}

//! `late-fast train`

mod describe;

use std::path::{Path, PathBuf};

use late_fast_kernels::Isa;

use self::describe::{TrainSummary, describe_plan, sample_nouns};
use super::Ending;
use super::args::{Common, FeaturesArg, Interval, TrainArgs, ValidationArg};
use super::impute::{check_output, impute_options, write_imputed};
use super::input::{Input, read_gene_list};
use super::interrupt::Interrupt;
use super::kernels::chosen_isa;
use super::memory::{self, Resident};
use super::report::{Reporter, TrainingProgress};
use crate::atomic::{ResultDirectory, check_free_space, is_same_file, parent, refuse_existing};
use crate::config::{DEFAULT_HOLDOUT, DEFAULT_SPLIT, TrainConfig, Validation};
use crate::error::{Error, Result};
use crate::impute::memory_bytes;
use crate::io::Source;
use crate::matrix::Major;
use crate::model::{ModelFile, Placement};
use crate::parallel;
use crate::store::{Store, Storing};
use crate::train::{
    Aligned, Identity, Keeper, Kept, MODEL_FILE, Outcome, Plan, Reference, Results, Split, Task, Trained,
    entries_of_largest_batch, list_checkpoints, remove_checkpoints, train,
};

pub(super) fn run(args: &TrainArgs, common: &Common) -> anyhow::Result<Ending> {
    let reference = args.init.as_deref().map(Reference::open).transpose()?;
    let config = config_of(args, reference.as_ref().map_or_else(TrainConfig::default, Reference::defaults))?;
    config.validate()?;
    if let Some(reference) = &reference {
        reference.check(&config)?;
    }
    let isa = chosen_isa()?;
    let reporter = Reporter::new(common);
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.input.path));
    if args.impute.is_none() && !args.output.is_empty() {
        return Err(
            unused("--policy, --output-scale, --products, --dtype and --genes", "--impute OUT.h5ad").into()
        );
    }
    if args.impute.is_some() {
        impute_options(&args.output, None, isa, common).products_for(config.param_dtype)?;
    }
    let cache = args.cache.clone().unwrap_or_else(|| parent(&out).to_owned());
    let budget = common.memory.unwrap_or_else(memory::available);
    let (out, cache, reporter) = (&*out, &*cache, &reporter);
    let job = Job {
        args,
        common,
        config: &config,
        reference: reference.as_ref(),
        isa,
        out,
        cache,
        budget,
        reporter,
    };
    parallel::with_threads(common.threads, || job.run())?
}

/// A command line as meant.
#[derive(Clone, Copy)]
struct Job<'a> {
    args: &'a TrainArgs,
    common: &'a Common,
    config: &'a TrainConfig,
    /// The model to start from.
    reference: Option<&'a Reference>,
    isa: Isa,
    /// The run's directory.
    out: &'a Path,
    /// The directory for what is large and not kept.
    cache: &'a Path,
    /// Bytes of memory.
    budget: u64,
    reporter: &'a Reporter,
}

impl Job<'_> {
    fn run(&self) -> anyhow::Result<Ending> {
        let Self { args, common, config, reference, isa, reporter, budget, .. } = *self;
        let finished = if args.resume { self.finished_model()? } else { None };
        if finished.is_some() && args.impute.as_ref().is_none_or(|path| path.exists()) {
            return Ok(Ending::Done);
        }
        // Whatever would stop the results from being written is found before the work is done.
        let is_to_train = finished.is_none() && !args.dry_run;
        let directory = if is_to_train { Some(self.check_outputs()?) } else { None };
        let mut wanted = vec![config.samples];
        wanted.extend(args.impute.as_ref().map(|_| Major::Cells));
        let storing = Storing { dir: self.cache, wanted: &wanted, memory: budget, cache: None };
        let to_store = (!args.dry_run).then_some(&storing);
        let (path, dtype) = (&args.input.path, args.input.store_dtype);
        let input =
            Input::open(path, &args.input.matrix, dtype, to_store, args.cache.is_some(), budget, reporter)?;
        input.check_scale(config.transform, reporter);
        let summary = input.summary_by(config.samples);
        let split = Split::new(&summary, config)?;
        let n_names = input.source.cells().len()
            + input.source.genes().len()
            + reference.map_or(0, Reference::n_features);
        let mut plan = Plan::new(config, &summary, &split, n_names, isa);
        plan.fit(budget);
        let axis = input.source.axis(config.samples.other());
        let aligned = reference.map(|reference| reference.align(axis, &split));
        plan.reference = aligned.as_ref().map(|aligned| aligned.plan(config));
        let text = describe_plan(&plan, config, &input, isa, budget);
        let check_overlap = || aligned.as_ref().map_or(Ok(()), |aligned| aligned.check(path, common.force));
        if args.dry_run {
            reporter.result("plan", &plan, &text)?;
            plan.check(budget, config)?;
            check_overlap()?;
            return Ok(Ending::Done);
        }
        if is_to_train {
            reporter.say(&text);
            plan.check(budget, config)?;
            check_overlap()?;
            self.check_space(&plan)?;
        }
        if args.impute.is_some() {
            self.check_imputing(&plan, &input)?;
        }
        let genes = match &args.output.genes {
            Some(path) => Some(read_gene_list(path, input.source.genes())?),
            None => None,
        };
        let (source, prepared) = input.prepare(&storing, reporter)?;
        let Some(store) = prepared.with_rows(config.samples) else {
            unreachable!("this orientation was asked for")
        };
        let (model, mut told) = match finished {
            Some(model) => (model, Ok(())),
            None => match self.train(source.as_ref(), store, &split, &plan, aligned.as_ref())? {
                Some(trained) => trained,
                None => return Ok(Ending::Stopped),
            },
        };
        drop(directory);
        if let Some(path) = &args.impute {
            let options = impute_options(&args.output, genes, isa, self.common);
            told = told.and(write_imputed(source.as_ref(), &prepared, &model, &options, path, reporter)?);
        }
        told.map(|()| Ending::Done)
    }

    /// Trains, writes the results and says what they are; the inner result is that of saying it. `None` when a signal
    /// stopped training.
    fn train(
        &self,
        source: &dyn Source,
        store: &Store,
        split: &Split,
        plan: &Plan,
        aligned: Option<&Aligned<'_>>,
    ) -> anyhow::Result<Option<(ModelFile, anyhow::Result<()>)>> {
        let Self { args, config, isa, out, reporter, .. } = *self;
        let counts = split.count(store, source.path(), config)?;
        let results = Results {
            input: source.path(),
            cells: source.cells(),
            genes: source.genes(),
            config,
            split,
            counts,
            reference: aligned.map(Aligned::provenance),
        };
        let place = |in_files| if in_files { Placement::File(self.cache) } else { Placement::Memory };
        let (parameters, best) = (place(plan.kept == Kept::AllInFiles), place(plan.kept != Kept::InMemory));
        let start = aligned.map(|aligned| aligned.start(config));
        let task = Task { store, split, config, isa, parameters, best, start };
        if !args.resume {
            // Of an earlier run, which --force allows to be replaced.
            remove_checkpoints(out)?;
        }
        let interrupt = Interrupt::new()?;
        let interval = match args.checkpoint_interval {
            Interval::Every(time) => Some(time),
            Interval::Never => None,
        };
        let input = results.fingerprint(store.summary());
        let reference = self.reference.map(|reference| reference.hash().to_owned());
        let identity = Identity { config: config.clone(), input, kernels: isa.name().into(), reference };
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
            Outcome::Finished(trained) => self.finish(*trained, &results, resident, told).map(Some),
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
        trained: Trained,
        results: &Results<'_>,
        resident: Resident,
        mut told: anyhow::Result<()>,
    ) -> anyhow::Result<(ModelFile, anyhow::Result<()>)> {
        let Self { args, common, config, out, reporter, .. } = *self;
        if args.profile {
            told = told.and(reporter.result("profile", &trained.profile, &trained.profile.table()));
        }
        let idle_share = trained.profile.idle_share();
        let finished = results.write(out, trained, common.force)?;
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
        let text = summary.text(args, results.counts.validation_entries);
        told = told.and(reporter.result("trained", &summary, &text));
        Ok((finished.model, told))
    }

    /// The model in the run's directory, when a run with these settings has finished there.
    fn finished_model(&self) -> Result<Option<ModelFile>> {
        let path = self.out.join(MODEL_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let model = ModelFile::read(&path)?;
        let info = &model.info;
        let own =
            TrainConfig { epochs: info.config.epochs, patience: info.config.patience, ..self.config.clone() };
        if own != info.config {
            return Err(Error::Usage {
                problem: format!("{}: the model there was trained with other settings", path.display()),
                remedy: "choose another --out, or start over with --force and without --resume".into(),
            });
        }
        let [own, found] =
            [self.reference.map(Reference::hash), info.reference.as_ref().map(|reference| &*reference.hash)];
        if own != found {
            return Err(Error::Usage {
                problem: format!("{}: the model there started from another one (--init)", path.display()),
                remedy: "choose another --out, or start over with --force and without --resume".into(),
            });
        }
        // A crash may have left them there.
        remove_checkpoints(self.out)?;
        self.reporter.say(&format!(
            "{}: trained already, best epoch {}, validation error {:.5}",
            self.out.display(),
            info.best_epoch,
            info.best_validation_loss
        ));
        Ok(Some(model))
    }

    /// Makes sure that what is kept in files, checkpoints and the model find space.
    fn check_space(&self, plan: &Plan) -> Result<()> {
        /// Two are kept, and a third is being written.
        const CHECKPOINTS: u64 = 3;
        let n_checkpoints = if self.args.checkpoint_interval == Interval::Never { 1 } else { CHECKPOINTS };
        check_free_space(
            self.cache,
            plan.file_bytes(),
            || "the network's arrays, which do not fit in memory,".into(),
            "choose another place with --cache, allow more --memory, or use --param-dtype bf16 or narrower layers (--hidden)",
        )?;
        check_free_space(
            self.out,
            n_checkpoints * plan.checkpoint_bytes() + plan.model_bytes(),
            || format!("the model with {n_checkpoints} checkpoints"),
            "choose another place with --out, or take no checkpoints but the one that a signal asks for \
         (--checkpoint-interval never)",
        )
    }

    /// Makes sure that imputing with the trained network fits as well.
    fn check_imputing(&self, plan: &Plan, input: &Input<'_>) -> Result<()> {
        let Self { args, common, config, isa, budget, .. } = *self;
        let options = impute_options(&args.output, None, isa, common);
        let products = options.products_for(config.param_dtype)?;
        let batch_nnz =
            entries_of_largest_batch(&input.summary_by(config.samples).row_nnz, options.batch_size);
        // Which of the features are written is found out when they are known.
        let gathered = if args.output.genes.is_some() { plan.architecture.n_features } else { 0 };
        let imputing =
            memory_bytes(isa, &plan.architecture, products, options.batch_size, batch_nnz, gathered)
                + plan.fixed_bytes;
        crate::budget::check(imputing, budget, || {
            "leave --impute out and impute where there is more, or allow more with --memory".into()
        })
    }

    /// Makes sure that all results can be written; the run's directory is made.
    fn check_outputs(&self) -> Result<ResultDirectory> {
        let Self { args, common, out, .. } = *self;
        if let Some(path) = &args.impute {
            if path == out {
                return Err(Error::Usage {
                    problem: format!("--out and --impute are both {}", path.display()),
                    remedy: "give them different names".into(),
                });
            }
            check_output(path, &args.input.path, common.force)?;
        }
        let model = out.join(MODEL_FILE);
        if self.reference.is_some_and(|reference| is_same_file(reference.path(), &model)) {
            return Err(Error::Usage {
                problem: format!(
                    "--init and --out are both {}: the model would be overwritten",
                    out.display()
                ),
                remedy: "choose another --out".into(),
            });
        }
        refuse_existing(&model, common.force)?;
        let directory = ResultDirectory::open(out)?;
        if !args.resume && !common.force && !list_checkpoints(out)?.is_empty() {
            return Err(Error::Usage {
                problem: format!("{}: a run that did not finish has left checkpoints there", out.display()),
                remedy: "go on with --resume, start over with --force, or choose another --out".into(),
            });
        }
        Ok(directory)
    }
}

/// An option that has no effect without another.
fn unused(options: &str, without: &str) -> Error {
    Error::Usage {
        problem: format!("{options} have no effect without {without}"),
        remedy: "add it, or leave them out".into(),
    }
}

/// The settings: those given, and `defaults` for widths, scale and learning rate.
fn config_of(args: &TrainArgs, defaults: TrainConfig) -> Result<TrainConfig> {
    let validation = match (args.validation, args.holdout, &args.split) {
        (ValidationArg::Entries, _, Some(_)) => {
            return Err(unused("the shares of --split", "--validation samples"));
        }
        (ValidationArg::Samples, Some(_), _) => {
            return Err(unused("--holdout and its share", "--validation entries"));
        }
        (ValidationArg::Entries, holdout, None) => {
            Validation::Entries { holdout: holdout.unwrap_or(DEFAULT_HOLDOUT) }
        }
        (ValidationArg::Samples, None, None) => Validation::Samples { split: DEFAULT_SPLIT },
        (ValidationArg::Samples, None, Some(shares)) => {
            let split = <[f64; 3]>::try_from(shares.as_slice()).map_err(|_| Error::Usage {
                problem: format!("--split has {} shares", shares.len()),
                remedy: "give three, of training, validation and test samples, such as 0.7,0.15,0.15".into(),
            })?;
            Validation::Samples { split }
        }
    };
    Ok(TrainConfig {
        samples: match args.features {
            FeaturesArg::Genes => Major::Cells,
            FeaturesArg::Cells => Major::Genes,
        },
        hidden: args.hidden.clone().unwrap_or(defaults.hidden),
        dropout_in: args.dropout_in,
        dropout_hidden: args.dropout_hidden,
        learning_rate: args.lr.unwrap_or(defaults.learning_rate),
        batch_size: args.batch_size,
        epochs: args.epochs,
        patience: args.patience,
        loss: args.loss,
        loss_norm: args.loss_norm,
        transform: args.transform.unwrap_or(defaults.transform),
        store_dtype: args.input.store_dtype,
        validation,
        shuffle_window: args.shuffle_window,
        param_dtype: args.param_dtype,
        kernel: args.kernel,
        freeze_encoder: args.freeze_encoder,
        seed: args.seed,
    })
}

/// `pbmc_10k.h5` gives `pbmc_10k.late` in the current directory.
fn default_out(input: &Path) -> PathBuf {
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(".late");
    PathBuf::from(name)
}

//! `late-fast train`

use std::path::{Path, PathBuf};

use late_fast_kernels::Isa;
use serde::Serialize;

use super::Ending;
use super::args::{Common, FeaturesArg, Interval, TrainArgs, ValidationArg, quoted};
use super::impute::{check_output, impute_options, write_imputed};
use super::input::{Input, read_gene_list};
use super::interrupt::Interrupt;
use super::kernels::chosen_isa;
use super::memory::{self, Resident};
use super::report::{Reporter, TrainingProgress};
use crate::atomic::{ResultDirectory, check_free_space, parent, refuse_existing};
use crate::budget::human_bytes;
use crate::config::{DEFAULT_HOLDOUT, DEFAULT_SPLIT, TrainConfig, Validation};
use crate::error::{Error, Result};
use crate::impute::memory_bytes;
use crate::matrix::Major;
use crate::model::{ModelFile, Placement};
use crate::parallel;
use crate::store::Storing;
use crate::train::{
    Finished, Identity, Keeper, Kept, MODEL_FILE, Outcome, Plan, Results, Split, Task,
    entries_of_largest_batch, list_checkpoints, remove_checkpoints, train,
};

pub(super) fn run(args: &TrainArgs, common: &Common) -> anyhow::Result<Ending> {
    let config = config_of(args)?;
    config.validate()?;
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
    parallel::with_threads(common.threads, || train_and_impute(args, common, &config, isa, &out, &reporter))?
}

fn train_and_impute(
    args: &TrainArgs,
    common: &Common,
    config: &TrainConfig,
    isa: Isa,
    out: &Path,
    reporter: &Reporter,
) -> anyhow::Result<Ending> {
    let finished = if args.resume { finished_model(out, config)? } else { None };
    if let Some(model) = &finished {
        remove_checkpoints(out)?;
        reporter.say(&format!(
            "{}: trained already, best epoch {}, validation error {:.5}",
            out.display(),
            model.info.best_epoch,
            model.info.best_validation_loss
        ));
        if args.impute.as_ref().is_none_or(|path| path.exists()) {
            return Ok(Ending::Done);
        }
    }
    // Whatever would stop the results from being written is found before the work is done.
    let directory = match &finished {
        None if !args.dry_run => Some(check_outputs(args, common, out)?),
        _ => None,
    };
    let budget = common.memory.unwrap_or_else(memory::available);
    let mut wanted = vec![config.samples];
    wanted.extend(args.impute.as_ref().map(|_| Major::Cells));
    let cache = args.cache.clone().unwrap_or_else(|| parent(out).to_owned());
    let storing = Storing { dir: &cache, wanted: &wanted, memory: budget, cache: None };
    let to_store = (!args.dry_run).then_some(&storing);
    let (path, dtype) = (&args.input.path, args.input.store_dtype);
    let input =
        Input::open(path, &args.input.matrix, dtype, to_store, args.cache.is_some(), budget, reporter)?;
    input.check_scale(config.transform, reporter);
    let summary = input.summary_by(config.samples);
    let split = Split::new(&summary, config)?;
    let n_names = input.source.cells().len() + input.source.genes().len();
    let mut plan = Plan::new(config, &summary, &split, n_names, isa);
    plan.fit(budget);
    let text = describe_plan(&plan, config, &input, isa, budget);
    if args.dry_run {
        reporter.result("plan", &plan, &text)?;
        plan.check(budget, config)?;
        return Ok(Ending::Done);
    }
    if finished.is_none() {
        reporter.say(&text);
        plan.check(budget, config)?;
        check_space(&plan, args, out, &cache)?;
    }
    if args.impute.is_some() {
        check_imputing(args, common, config, &plan, &input, isa, budget)?;
    }

    let genes = match &args.output.genes {
        Some(path) => Some(read_gene_list(path, input.source.genes())?),
        None => None,
    };
    let (source, prepared) = input.prepare(&storing, reporter)?;
    let Some(store) = prepared.with_rows(config.samples) else {
        unreachable!("this orientation was asked for")
    };
    let mut told = Ok(());
    let model = if let Some(model) = finished {
        model
    } else {
        let counts = split.count(store, source.path(), config)?;
        let results = Results {
            input: source.path(),
            cells: source.cells(),
            genes: source.genes(),
            config,
            split: &split,
            counts,
        };
        let task = Task {
            store,
            split: &split,
            config,
            isa,
            parameters: placed(plan.kept == Kept::AllInFiles, &cache),
            best: placed(plan.kept != Kept::InMemory, &cache),
        };
        match train_model(args, common, &task, &results, out, reporter)? {
            Some((model, said)) => {
                told = said;
                model
            }
            None => return Ok(Ending::Stopped),
        }
    };
    drop(directory);
    if let Some(path) = &args.impute {
        let options = impute_options(&args.output, genes, isa, common);
        told = told.and(write_imputed(source.as_ref(), &prepared, &model, &options, path, reporter)?);
    }
    told.map(|()| Ending::Done)
}

/// Trains, writes the results and says what they are; the inner result is that of saying it. `None` when a signal stopped
/// training.
fn train_model(
    args: &TrainArgs,
    common: &Common,
    task: &Task<'_>,
    results: &Results<'_>,
    out: &Path,
    reporter: &Reporter,
) -> anyhow::Result<Option<(ModelFile, anyhow::Result<()>)>> {
    let Task { store, split, config, isa, .. } = *task;
    if !args.resume {
        // Of an earlier run, which --force allows to be replaced.
        remove_checkpoints(out)?;
    }
    let interrupt = Interrupt::new()?;
    let interval = match args.checkpoint_interval {
        Interval::Every(time) => Some(time),
        Interval::Never => None,
    };
    let identity = Identity {
        config: config.clone(),
        input: results.fingerprint(store.summary()),
        kernels: isa.name().into(),
    };
    let mut keeper = Keeper::new(out, identity, interval, interrupt.flag());
    let progress =
        TrainingProgress::new(reporter, config.epochs, split.train.len() as u64, sample_nouns(config));
    let outcome = train(task, Some(&mut keeper), args.resume, &progress)?;
    // A signal from here on ends the process: what is left to do takes no time, or can be done again.
    drop(interrupt);
    let resident = progress.resident();
    // From here on, nobody listening any more is no reason to stop: that is told in the end.
    let mut told = progress.finish();
    let trained = match outcome {
        Outcome::Finished(trained) => *trained,
        Outcome::Stopped { checkpoint, epoch } => {
            reporter.say(&format!(
                "stopped by a signal in epoch {epoch}; {}; the same command with --resume goes on from {}",
                resident.text(),
                checkpoint.display()
            ));
            return told.map(|()| None);
        }
    };
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
    Ok(Some((finished.model, told)))
}

/// The model in `out`, when a run with these settings has finished there.
fn finished_model(out: &Path, config: &TrainConfig) -> Result<Option<ModelFile>> {
    let path = out.join(MODEL_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let model = ModelFile::read(&path)?;
    let own = TrainConfig {
        epochs: model.info.config.epochs,
        patience: model.info.config.patience,
        ..config.clone()
    };
    if own == model.info.config {
        return Ok(Some(model));
    }
    Err(Error::Usage {
        problem: format!("{}: the model there was trained with other settings", path.display()),
        remedy: "choose another --out, or start over with --force and without --resume".into(),
    })
}

/// Memory, or files in `dir`.
fn placed(in_files: bool, dir: &Path) -> Placement<'_> {
    if in_files { Placement::File(dir) } else { Placement::Memory }
}

/// Makes sure that what is kept in files, checkpoints and the model find space.
fn check_space(plan: &Plan, args: &TrainArgs, out: &Path, cache: &Path) -> Result<()> {
    /// Two are kept, and a third is being written.
    const CHECKPOINTS: u64 = 3;
    let n_checkpoints = if args.checkpoint_interval == Interval::Never { 1 } else { CHECKPOINTS };
    check_free_space(
        cache,
        plan.file_bytes(),
        || "the network's arrays, which do not fit in memory,".into(),
        "choose another place with --cache, allow more --memory, or use --param-dtype bf16 or narrower layers (--hidden)",
    )?;
    check_free_space(
        out,
        n_checkpoints * plan.checkpoint_bytes() + plan.model_bytes(),
        || format!("the model with {n_checkpoints} checkpoints"),
        "choose another place with --out, or take no checkpoints but the one that a signal asks for \
         (--checkpoint-interval never)",
    )
}

/// Makes sure that imputing with the trained network fits as well.
fn check_imputing(
    args: &TrainArgs,
    common: &Common,
    config: &TrainConfig,
    plan: &Plan,
    input: &Input<'_>,
    isa: Isa,
    budget: u64,
) -> Result<()> {
    let options = impute_options(&args.output, None, isa, common);
    let products = options.products_for(config.param_dtype)?;
    let batch_nnz = entries_of_largest_batch(&input.summary_by(config.samples).row_nnz, options.batch_size);
    // Which of the features are written is found out when they are known.
    let gathered = if args.output.genes.is_some() { plan.architecture.n_features } else { 0 };
    let imputing = memory_bytes(isa, &plan.architecture, products, options.batch_size, batch_nnz, gathered)
        + plan.fixed_bytes;
    crate::budget::check(imputing, budget, || {
        "leave --impute out and impute where there is more, or allow more with --memory".into()
    })
}

/// Makes sure that all results can be written; the run's directory is made.
fn check_outputs(args: &TrainArgs, common: &Common, out: &Path) -> Result<ResultDirectory> {
    if let Some(path) = &args.impute {
        if path == out {
            return Err(Error::Usage {
                problem: format!("--out and --impute are both {}", path.display()),
                remedy: "give them different names".into(),
            });
        }
        check_output(path, &args.input.path, common.force)?;
    }
    refuse_existing(&out.join(MODEL_FILE), common.force)?;
    let directory = ResultDirectory::open(out)?;
    if !args.resume && !common.force && !list_checkpoints(out)?.is_empty() {
        return Err(Error::Usage {
            problem: format!("{}: a run that did not finish has left checkpoints there", out.display()),
            remedy: "go on with --resume, start over with --force, or choose another --out".into(),
        });
    }
    Ok(directory)
}

/// An option that has no effect without another.
fn unused(options: &str, without: &str) -> Error {
    Error::Usage {
        problem: format!("{options} have no effect without {without}"),
        remedy: "add it, or leave them out".into(),
    }
}

fn config_of(args: &TrainArgs) -> Result<TrainConfig> {
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
        hidden: args.hidden.clone(),
        dropout_in: args.dropout_in,
        dropout_hidden: args.dropout_hidden,
        learning_rate: args.lr,
        batch_size: args.batch_size,
        epochs: args.epochs,
        patience: args.patience,
        loss: args.loss,
        loss_norm: args.loss_norm,
        transform: args.transform,
        store_dtype: args.input.store_dtype,
        validation,
        shuffle_window: args.shuffle_window,
        param_dtype: args.param_dtype,
        kernel: args.kernel,
        seed: args.seed,
    })
}

/// `pbmc_10k.h5` gives `pbmc_10k.late` in the current directory.
fn default_out(input: &Path) -> PathBuf {
    let mut name = input.file_stem().unwrap_or_default().to_owned();
    name.push(".late");
    PathBuf::from(name)
}

fn sample_nouns(config: &TrainConfig) -> &'static str {
    match config.samples {
        Major::Cells => "cells",
        Major::Genes => "genes",
    }
}

fn describe_plan(plan: &Plan, config: &TrainConfig, input: &Input<'_>, isa: Isa, budget: u64) -> String {
    let (n_cells, n_genes) = (input.source.cells().len(), input.source.genes().len());
    let nnz = input.summary.tally.nnz;
    let density = 100.0 * nnz as f64 / (n_cells as f64 * n_genes as f64);
    let unobserved = input.summary_by(config.samples).col_nnz.len() - plan.architecture.n_features;
    let budget = if budget == u64::MAX { "unknown".into() } else { human_bytes(budget) };
    format!(
        "plan: {nnz} observed entries ({density:.2}% of {n_cells} cells x {n_genes} genes)\n\
         \x20     {} as features: {} ({} parameters{})\n\
         \x20     {} {} in {} minibatches of {} an epoch, at most {} epochs, {} threads, {isa} kernels\n\
         \x20     memory {} of {budget}: weights {}, optimiser {}, minibatches {} (before that, blocks of the input {}), \
         rest {}, {} of the mapped matrix ({}){}",
        config.features_name(),
        plan.architecture.describe(),
        plan.n_parameters,
        if unobserved > 0 { format!("; {unobserved} never observed are left out") } else { String::new() },
        plan.n_samples,
        sample_nouns(config),
        plan.steps_per_epoch,
        config.batch_size,
        config.epochs,
        parallel::n_threads(),
        human_bytes(plan.memory_bytes()),
        human_bytes(plan.weight_bytes),
        human_bytes(plan.optimiser_bytes),
        human_bytes(plan.minibatch_bytes),
        human_bytes(plan.block_bytes),
        human_bytes(plan.fixed_bytes),
        human_bytes(plan.window_bytes),
        human_bytes(plan.store_bytes),
        describe_files(plan),
    )
}

/// What is kept in files, and what that costs.
fn describe_files(plan: &Plan) -> String {
    let bytes = human_bytes(plan.file_bytes());
    match plan.kept {
        Kept::InMemory => String::new(),
        Kept::BestInFiles => format!(
            "\n      memory is short: the copy of the best weights ({bytes}) is kept in a file and written after epochs that \
             are better"
        ),
        Kept::AllInFiles => format!(
            "\n      memory is short: weights and moments ({bytes} with the copy of the best) are kept in mapped files; a \
             step reads and writes {} of them, which is as fast as the disk and the memory left over make it",
            human_bytes(plan.file_bytes() - plan.weight_bytes / 2),
        ),
    }
}

/// What is printed at the end.
#[derive(Serialize)]
struct TrainSummary<'a> {
    out: &'a Path,
    epochs: usize,
    best_epoch: u64,
    validation_error: f64,
    validation: Validation,
    stopped_early: bool,
    seconds: f64,
    seconds_per_epoch: f64,
    idle_share: f64,
    #[serde(flatten)]
    resident: Resident,
}

impl<'a> TrainSummary<'a> {
    fn new(
        finished: &Finished,
        config: &TrainConfig,
        out: &'a Path,
        idle_share: f64,
        resident: Resident,
    ) -> Self {
        let seconds: f64 = finished.history.iter().map(|record| record.seconds).sum();
        Self {
            out,
            epochs: finished.history.len(),
            best_epoch: finished.model.info.best_epoch,
            validation_error: finished.model.info.best_validation_loss,
            validation: config.validation,
            stopped_early: finished.stopped_early,
            seconds,
            seconds_per_epoch: seconds / finished.history.len().max(1) as f64,
            idle_share,
            resident,
        }
    }

    fn text(&self, args: &TrainArgs, scored: u64) -> String {
        let what = match self.validation {
            Validation::Entries { .. } => format!("{scored} held-out entries"),
            Validation::Samples { .. } => format!("{scored} entries of held-out samples"),
        };
        let ended = if self.stopped_early { "stopped early after" } else { "trained for" };
        let mut text = format!(
            "{ended} {} epochs in {:.1} s ({:.2} s an epoch); best epoch {}: mean squared error {:.5} on {what}\n\
             {}; {:.1}% of the time went to waiting for data\n\
             model in {}",
            self.epochs,
            self.seconds,
            self.seconds_per_epoch,
            self.best_epoch,
            self.validation_error,
            self.resident.text(),
            100.0 * self.idle_share,
            self.out.display()
        );
        if args.impute.is_none() {
            text += &format!(
                "\nnext: late-fast impute --model {} --input {}{} --out imputed.h5ad",
                quoted(&self.out.to_string_lossy()),
                quoted(&args.input.path.to_string_lossy()),
                args.input.options_as_typed(),
            );
        }
        text
    }
}

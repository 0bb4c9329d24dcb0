"""Exports a small imputation and its metrics, computed independently with numpy, scipy and scikit-learn.

    pip install numpy scipy scikit-learn h5py
    python data/generate/evaluate.py data/fixtures/evaluate

truth.h5 and input.h5 are 10x files, imputed.h5ad (dense, log10), foreign.h5ad (sparse, counts, with negative values),
test.h5 holds other molecules of the same cells, labels.csv leaves one cell out. One cell is empty, one gene is
constant in the truth, another in the imputed matrix. expected.json has the metrics under the keys of metrics.json, all
of them but those that numpy cannot know, which tests/evaluate.rs lists. It compares late-fast with the others.
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
from scipy.stats import pearsonr, rankdata
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
from sklearn.neighbors import NearestNeighbors

CELLS, GENES, TYPES, LATENT = 60, 40, 3, 5
EMPTY_CELL, CONSTANT_GENE, FLAT_GENE, UNLABELLED = 7, 11, 20, 13
COMPONENTS, NEIGHBOURS, CORRELATED = 6, 15, 25


def simulate():
    rng = np.random.default_rng(1)
    types = np.arange(CELLS) % TYPES
    programmes = np.exp(rng.normal(0.5, 1.3, (TYPES, GENES)))
    depth = np.exp(rng.normal(0, 0.2, (CELLS, 1)))
    expected = programmes[types] * depth
    truth = rng.poisson(expected).astype(float)
    truth[EMPTY_CELL] = 0
    truth[:, CONSTANT_GENE] = 2
    test = rng.poisson(0.1 * expected).astype(float)
    kept = truth * (rng.random(truth.shape) < 0.5)
    log = np.log10(expected + 1) + rng.normal(0, 0.1, truth.shape)
    imputed = np.where(rng.random(truth.shape) < 0.05, 0, np.maximum(log, 0)).astype(np.float32)
    imputed[:, FLAT_GENE] = np.float32(0.3)
    foreign = (expected + rng.normal(0, 1, truth.shape)).astype(np.float32)
    foreign[np.abs(foreign) < 0.3] = 0
    latent = (np.eye(TYPES)[types] @ rng.normal(0, 3, (TYPES, LATENT)) + rng.normal(0, 1, (CELLS, LATENT))).astype(np.float32)
    return types, truth, kept, test, imputed, foreign, latent


def write_tenx(path, counts):
    rows, columns = np.nonzero(counts)
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["data"] = counts[rows, columns].astype(np.int32)
        matrix["indices"] = columns.astype(np.int64)
        matrix["indptr"] = np.concatenate([[0], np.cumsum((counts != 0).sum(1))]).astype(np.int64)
        matrix["shape"] = np.array(counts.shape[::-1], np.int32)
        matrix["barcodes"] = np.array(CELL_NAMES, "S")
        features = matrix.create_group("features")
        features["id"] = np.array([f"ENS{g:03}" for g in range(counts.shape[1])], "S")
        features["name"] = np.array(GENE_NAMES, "S")
        features["feature_type"] = np.array(["Gene Expression"] * counts.shape[1], "S")
        features["genome"] = np.array(["toy"] * counts.shape[1], "S")


def encode(object, kind, version):
    object.attrs["encoding-type"] = kind
    object.attrs["encoding-version"] = version


def write_h5ad(path, fill):
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        encode(file, "anndata", "0.1.0")
        for name, names in (("obs", CELL_NAMES), ("var", GENE_NAMES)):
            frame = file.create_group(name)
            encode(frame, "dataframe", "0.2.0")
            frame.attrs["_index"] = "_index"
            frame.attrs["column-order"] = np.array([], text)
            encode(frame.create_dataset("_index", data=names, dtype=text), "string-array", "0.2.0")
        fill(file)


def group(parent, name):
    made = parent.create_group(name)
    encode(made, "dict", "0.1.0")
    return made


def agreement(imputed, truth):
    error = imputed - truth
    return {
        "mse": np.mean(error**2),
        "rmse": np.sqrt(np.mean(error**2)),
        "mae": np.mean(np.abs(error)),
        "bias": np.mean(error),
        "pearson": pearsonr(imputed, truth)[0],
    }


def kind(where, log, log_truth, counts, truth):
    return {
        "n": int(where.sum()),
        "log10": agreement(log[where], log_truth[where]),
        "counts": agreement(counts[where], truth[where]),
        "spearman": pearsonr(rankdata(log[where]), rankdata(truth[where]))[0],
        "spearman_pairs": int(where.sum()),
    }


def correlation(a, b):
    if len(a) == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return pearsonr(a, b)[0]


def distribution(values):
    values = np.array(values, float)
    known = values[np.isfinite(values)]
    q1, median, q3 = np.quantile(known, [0.25, 0.5, 0.75])
    return {
        "n": len(known),
        "undefined": len(values) - len(known),
        "q1": q1,
        "median": median,
        "q3": q3,
        "mean": known.mean(),
    }


def per_element(log, log_input, log_truth):
    """Of rows."""

    def ratio(a, b):
        return np.nan if np.ptp(b) == 0 else a.std() / b.std()

    rows = list(zip(log, log_input, log_truth))
    return {
        "pearson": distribution([correlation(y, t) for y, _, t in rows]),
        "pearson_input": distribution([correlation(x, t) for _, x, t in rows]),
        "pearson_nonzero": distribution([correlation(y[t != 0], t[t != 0]) for y, _, t in rows]),
        "sd_ratio": distribution([ratio(y, t) for y, _, t in rows]),
        "sd_ratio_input": distribution([ratio(x, t) for _, x, t in rows]),
        "rmse": distribution([np.sqrt(np.mean((y - t) ** 2)) for y, _, t in rows]),
        "rmse_input": distribution([np.sqrt(np.mean((x - t) ** 2)) for _, x, t in rows]),
    }


def errors(name, where, log, log_truth):
    return {"name": name, "n": int(where.sum()), **agreement(log[where], log_truth[where])}


def gene_correlations(log, log_input, log_truth):
    chosen = np.sort(np.argsort(-log_truth.mean(0), kind="stable")[:CORRELATED])
    pairs = np.triu_indices(CORRELATED, 1)

    def correlations(matrix):
        columns = matrix[:, chosen].T
        return np.array([correlation(columns[a], columns[b]) for a, b in zip(*pairs)])

    truth = correlations(log_truth)

    def error(matrix):
        difference = correlations(matrix) - truth
        known = difference[np.isfinite(difference)]
        return np.sqrt(np.mean(known**2)), len(known)

    (imputed, imputed_pairs), (before, input_pairs) = error(log), error(log_input)
    return {
        "genes": CORRELATED,
        "rmse_imputed": imputed,
        "rmse_input": before,
        "pairs_imputed": imputed_pairs,
        "pairs_input": input_pairs,
    }


def clustering(matrices, types, labelled):
    found = {"labels": TYPES, "unlabelled": int((~labelled).sum()), "cells": int(labelled.sum()), "neighbours": NEIGHBOURS}
    shares = {}
    labels = types[labelled]
    for name, matrix in matrices.items():
        pca = PCA(min(COMPONENTS, matrix.shape[1]), svd_solver="full")
        points = pca.fit_transform(matrix)[labelled]
        shares[name] = pca.explained_variance_ratio_.sum()
        clusters = KMeans(TYPES, n_init=50, random_state=0).fit_predict(points)
        near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(points).kneighbors(points)[1][:, 1:]
        found[name] = {
            "silhouette": silhouette_score(points, labels),
            "knn_purity": np.mean(labels[near] == labels[:, None]),
        }
        if name != "input":  # whose clusters overlap, so that k-means ends in one of many optima
            found[name]["ari"] = adjusted_rand_score(labels, clusters)
            found[name]["nmi"] = normalized_mutual_info_score(labels, clusters)
    return found, shares


def open_problems(counts, kept, test):
    def normalise(matrix):
        totals = matrix.sum(1, keepdims=True)
        return np.log1p(matrix * np.where(totals == 0, 1, 1e4 / np.where(totals == 0, 1, totals)))

    def loss(y_pred, y_true):
        return np.mean(y_pred - y_true * np.log(y_pred + 1e-6))

    scaled = counts * test.sum() / kept.sum()
    return {
        "mse": np.mean((normalise(counts) - normalise(test)) ** 2),
        "poisson": loss(scaled, test),
        "poisson_task_order": loss(test, scaled),
        "train_sum": kept.sum(),
        "test_sum": test.sum(),
    }


def metrics(scale, log, counts, kept, truth, test, latent, types, negative):
    log_truth, log_input = np.log10(truth + 1), np.log10(kept + 1)
    labelled = np.arange(CELLS) != UNLABELLED
    zero = truth == 0
    matrices = {"input": log_input, "truth": log_truth, "imputed": log}
    if latent is not None:
        matrices["latent"] = latent.astype(float)
    found, shares = clustering(matrices, types, labelled)
    found.setdefault("latent", None)
    imputed, observed = (truth != 0) & (kept == 0), kept != 0
    return {
        "version": 1,
        "seed": 2,
        "scale": scale,
        "negative_values": negative,
        "cells": CELLS,
        "genes": GENES,
        "mse": {
            "input_nonzero": np.mean((log - log_input)[kept != 0] ** 2),
            "input_all": np.mean((log - log_input) ** 2),
            "truth_nonzero": np.mean((log - log_truth)[truth != 0] ** 2),
            "truth_all": np.mean((log - log_truth) ** 2),
        },
        "entries": {
            "imputed": kind(imputed, log, log_truth, counts, truth),
            "observed": kind(observed, log, log_truth, counts, truth),
            "nonzero": kind(truth != 0, log, log_truth, counts, truth),
        },
        "groups": [errors("observed", observed, log, log_truth), errors("imputed", imputed, log, log_truth)],
        "per_gene": per_element(log.T, log_input.T, log_truth.T),
        "per_cell": per_element(log, log_input, log_truth),
        "zeros": {
            "truth_zeros": int(zero.sum()),
            "below_half": np.mean(counts[zero] < 0.5),
            "exactly_zero": np.mean(counts[zero] == 0),
            "rate_truth": np.mean(zero),
            "rate_input": np.mean(kept == 0),
            "rate_imputed": np.mean(counts < 0.5),
        },
        "gene_correlations": gene_correlations(log, log_input, log_truth),
        "pca": {
            "components": COMPONENTS,
            "genes": GENES,
            "sampled_cells": CELLS,
            **{f"variance_{name}": shares.get(name) for name in ("input", "truth", "imputed", "latent")},
        },
        "clustering": found,
        "open_problems": None if test is None else open_problems(counts, kept, test),
    }


def plain(value):
    """JSON's own types; what is not defined is null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    types, truth, kept, test, imputed, foreign, latent = simulate()
    write_tenx(directory / "truth.h5", truth)
    write_tenx(directory / "input.h5", kept)
    write_tenx(directory / "test.h5", test)

    def fill_imputed(file):
        encode(group(file, "layers").create_dataset("late", data=imputed), "array", "0.2.0")
        encode(group(file, "obsm").create_dataset("X_late", data=latent), "array", "0.2.0")
        record = group(group(file, "uns"), "late_fast")
        encode(record.create_dataset("scale", data="log10(x+1)"), "string", "0.2.0")

    def fill_foreign(file):
        rows, columns = np.nonzero(foreign)
        matrix = file.create_group("X")
        encode(matrix, "csr_matrix", "0.1.0")
        matrix.attrs["shape"] = np.array(foreign.shape, np.int64)
        matrix["data"] = foreign[rows, columns]
        matrix["indices"] = columns.astype(np.int32)
        matrix["indptr"] = np.concatenate([[0], np.cumsum((foreign != 0).sum(1))]).astype(np.int64)

    write_h5ad(directory / "imputed.h5ad", fill_imputed)
    write_h5ad(directory / "foreign.h5ad", fill_foreign)
    lines = [f"{CELL_NAMES[c]},type {types[c]}" for c in range(CELLS) if c != UNLABELLED]
    (directory / "labels.csv").write_text("\n".join(["barcode,label", *lines]) + "\n")
    log = imputed.astype(float)
    # A negative value is no count.
    counts = np.maximum(foreign.astype(float), 0)
    negative = int((foreign < 0).sum())
    expected = {
        "imputed": metrics("log10(x+1)", log, 10**log - 1, kept, truth, test, latent, types, int((log < 0).sum())),
        "foreign": metrics("counts", np.log10(counts + 1), counts, kept, truth, None, None, types, negative),
    }
    (directory / "expected.json").write_text(json.dumps(plain(expected), indent=1) + "\n")


CELL_NAMES = [f"cell{c}" for c in range(CELLS)]
GENE_NAMES = [f"gene{g}" for g in range(GENES)]
main(Path(sys.argv[1]))

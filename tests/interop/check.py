"""Opens imputed files the way a user would. Called by tests/interop.rs.

    check.py INPUT.h5 GENES.h5ad CELLS.h5ad MERGED.h5ad LATENT.h5ad SHARD.h5ad...

INPUT is the 10x file that was imputed, with genes and with cells as features, in shards that were merged, and as
latent code only. Everything is compared with what scanpy itself reads from INPUT.
"""

import json
import sys
import warnings

import anndata
import numpy as np
import scanpy as sc

warnings.filterwarnings("ignore")


def dense(matrix):
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def check(path, source, features):
    adata = sc.read_h5ad(path)
    assert adata.shape == source.shape, (adata.shape, source.shape)
    assert list(adata.obs_names) == list(source.obs_names), "cells differ"
    assert list(adata.var_names) == list(source.var_names), "genes differ"
    for column in ["gene_ids", "feature_types", "genome"]:
        assert list(adata.var[column]) == list(source.var[column]), column
    assert (dense(adata.X) == dense(source.X)).all(), "counts differ"
    assert adata.X.dtype == np.float32

    late = adata.layers["late"]
    assert late.shape == source.shape and late.dtype == np.float32
    assert np.isfinite(late).all() and (late >= 0).all()
    cells, genes = adata.obs["late_imputed"], adata.var["late_imputed"]
    assert cells.dtype == bool and genes.dtype == bool
    observed = dense(source.X) > 0
    assert (cells.to_numpy() == observed.any(axis=1)).all()
    assert (genes.to_numpy() == observed.any(axis=0)).all()
    assert (late[~cells.to_numpy()] == 0).all() and (late[:, ~genes.to_numpy()] == 0).all()
    # Trained on log10(count + 1): the imputed values lie where the observed ones do, and vary with them.
    truth = np.log10(dense(source.X)[observed] + 1)
    assert abs(late[observed].mean() / truth.mean() - 1) < 0.15, (late[observed].mean(), truth.mean())
    assert np.corrcoef(truth, late[observed])[0, 1] > 0.1

    code = adata.obsm["X_late"] if features == "genes" else adata.varm["X_late"]
    assert code.shape == (source.n_obs if features == "genes" else source.n_vars, 8) and code.dtype == np.float32
    record = adata.uns["late_fast"]
    assert record["scale"] == "log10(x+1)" and record["features"] == features
    assert json.loads(record["config"])["hidden"] == [32, 8]
    assert int(record["seed"]) == 2 and float(record["best_validation_loss"]) > 0

    backed = sc.read_h5ad(path, backed="r")
    assert list(backed.obs_names) == list(source.obs_names)
    some = backed[5:50].to_memory()
    assert (dense(some.X) == dense(source.X)[5:50]).all()
    assert (np.asarray(some.layers["late"]) == late[5:50]).all()
    backed.file.close()

    adata.X = adata.layers["late"]
    sc.pp.pca(adata, n_comps=10)
    assert adata.obsm["X_pca"].shape == (source.n_obs, 10) and np.isfinite(adata.obsm["X_pca"]).all()
    sc.pp.neighbors(adata, n_neighbors=5)
    adata.write_h5ad(path + ".again.h5ad")


def main():
    source = sc.read_10x_h5(sys.argv[1])
    for path, features in zip(sys.argv[2:5], ["genes", "cells", "genes"]):
        check(path, source, features)
        print(f"{features}: opened by anndata {anndata.__version__}, scanpy {sc.__version__}")
    whole = sc.read_h5ad(sys.argv[2])
    latent = sc.read_h5ad(sys.argv[5])
    assert latent.shape == source.shape and latent.X is None and not latent.layers
    assert (latent.obsm["X_late"] == whole.obsm["X_late"]).all()
    shards = [sc.read_h5ad(path) for path in sys.argv[6:]]
    assert sum(shard.n_obs for shard in shards) == source.n_obs
    start = 0
    for shard in shards:
        cells = slice(start, start + shard.n_obs)
        start = cells.stop
        assert list(shard.obs_names) == list(source.obs_names[cells])
        assert (dense(shard.X) == dense(whole.X)[cells]).all()
        assert (shard.layers["late"] == whole.layers["late"][cells]).all()
        assert json.loads(shard.uns["late_fast"]["shard"])["format_version"] == 1


if __name__ == "__main__":
    main()

"""Opens benchmark inputs the way a user would. Called by tests/interop.rs.

    check_perturbed.py IN.h5 IN.h5ad MASKED.h5 MASKED.h5ad REAL.h5ad THIN.h5ad TRAIN.h5 TEST.h5ad

IN.h5 holds counts and IN.h5ad the expected ones, real numbers; REAL is masked from it, all others are made from IN.h5.
"""

import sys
import warnings

import anndata
import numpy as np
import scanpy as sc

warnings.filterwarnings("ignore")


def dense(matrix):
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def read(path, source):
    adata = sc.read_10x_h5(path) if path.endswith(".h5") else sc.read_h5ad(path)
    assert adata.shape == source.shape, (path, adata.shape)
    assert list(adata.obs_names) == list(source.obs_names), path
    assert list(adata.var_names) == list(source.var_names), path
    for column in source.var.columns:
        assert list(adata.var[column]) == list(source.var[column]), (path, column)
    if path.endswith(".h5ad"):
        for column in source.obs.columns:
            assert list(adata.obs[column]) == list(source.obs[column]), (path, column)
        backed = sc.read_h5ad(path, backed="r")
        assert (dense(backed[3:9].to_memory().X) == dense(adata.X)[3:9]).all(), path
        backed.file.close()
    assert adata.X.has_sorted_indices or (adata.X.sorted_indices() != adata.X).nnz == 0, path
    return adata


def check_masked(adata, source, layers):
    truth, masked = dense(source.X), dense(adata.X)
    assert (masked > 0).sum() == round(0.1 * truth.size), (masked > 0).sum()
    stays = masked > 0
    assert (masked[stays] == truth[stays]).all()
    if layers:
        assert (dense(adata.layers["truth"]) == truth).all()
        hidden = dense(adata.layers["masked"])
        assert set(np.unique(hidden)) == {0, 1}
        assert (hidden.astype(bool) == ((truth > 0) & ~stays)).all()
        record = adata.uns["late_fast"]
        assert record["command"] == "mask" and float(record["density"]) == 0.1 and int(record["seed"]) == 2


def main():
    counts, real = sc.read_10x_h5(sys.argv[1]), sc.read_h5ad(sys.argv[2])
    masked_tenx, masked, masked_real, thin, train, test = (
        read(path, real if "real" in path else counts) for path in sys.argv[3:]
    )
    check_masked(masked_tenx, counts, layers=False)
    check_masked(masked, counts, layers=True)
    check_masked(masked_real, real, layers=True)
    assert (masked_tenx.X != masked.X).nnz == 0
    totals = dense(counts.X).sum(axis=1)
    assert (dense(thin.X).sum(axis=1) == np.minimum(totals, 50)).all()
    assert (dense(thin.X) <= dense(counts.X)).all()
    assert (dense(train.X) + dense(test.X) == dense(counts.X)).all()
    assert abs(train.X.sum() / counts.X.sum() - 0.9) < 0.01
    sc.pp.normalize_total(train)
    sc.pp.log1p(train)
    sc.pp.pca(train, n_comps=5)
    masked.write_h5ad(sys.argv[4] + ".again.h5ad")
    print(f"benchmark inputs: opened by anndata {anndata.__version__}, scanpy {sc.__version__}")


if __name__ == "__main__":
    main()

"""Opens simulated files the way a user would. Called by tests/interop.rs.

    check_simulated.py V2.h5 V3.h5 LABELS.csv TRUTH.h5ad

All are of one seed: the two matrices hold the same counts.
"""

import sys
import warnings

import numpy as np
import pandas as pd
import scanpy as sc

warnings.filterwarnings("ignore")


def main():
    v2, v3 = (sc.read_10x_h5(path) for path in sys.argv[1:3])
    labels = pd.read_csv(sys.argv[3], index_col=0)
    truth = sc.read_h5ad(sys.argv[4])
    assert v2.shape == v3.shape == truth.shape and v3.n_obs > 0
    assert (v2.X != v3.X).nnz == 0, "counts differ"
    for names in ["obs_names", "var_names"]:
        assert list(getattr(v2, names)) == list(getattr(v3, names)) == list(getattr(truth, names)), names
        assert getattr(v3, names).is_unique
    assert list(v2.var["gene_ids"]) == list(v3.var["gene_ids"]) == list(truth.var["gene_ids"])
    assert set(v3.var["genome"]) == {"mm10"} and set(v3.var["feature_types"]) == {"Gene Expression"}
    assert v3.X.has_sorted_indices or (v3.X.sorted_indices() != v3.X).nnz == 0
    assert list(labels.index) == list(v3.obs_names)
    assert list(labels["cell_type"]) == list(truth.obs["cell_type"].astype(str))
    total, expected = v3.X.sum(), truth.X.sum()
    assert abs(total - expected) < 6 * np.sqrt(expected), (total, expected)
    sc.pp.normalize_total(v3)
    sc.pp.log1p(v3)
    sc.pp.pca(v3, n_comps=5)
    print("simulated: opened by scanpy", sc.__version__)


if __name__ == "__main__":
    main()

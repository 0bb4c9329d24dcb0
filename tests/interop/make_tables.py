"""Writes matrices with pandas, loompy and anndata for tests/interop.rs; check_tables.py reads what becomes of them.

    make_tables.py DIR
"""

import pathlib
import sys
import warnings

import anndata
import loompy
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

CELLS, GENES = 300, 70


def matrix(seed):
    return np.random.default_rng(seed).poisson(0.4, (CELLS, GENES)).astype("int64")


def frame(values):
    index = [f"cell{i}" for i in range(CELLS)]
    return pd.DataFrame(values, index=index, columns=["β-actin"] + [f"gene{i}" for i in range(1, GENES)])


def main():
    warnings.filterwarnings("ignore")
    out = pathlib.Path(sys.argv[1])
    mixed = frame(matrix(1))
    for column in mixed.columns[::2]:
        mixed[column] *= 1.5
    mixed.to_hdf(out / "blosc.hd5", key="null", mode="w", complevel=9, complib="blosc")
    frame(matrix(2)).to_hdf(out / "plain.hd5", key="counts", mode="w")
    cells = {"CellID": mixed.index.to_numpy(dtype=str), "Cluster": np.array(["T", "B"] * (CELLS // 2))}
    genes = {"Gene": mixed.columns.to_numpy(dtype=str), "Accession": np.array([f"ENSG{i}" for i in range(GENES)])}
    loompy.create(str(out / "loompy.loom"), matrix(3).T, genes, cells)

    adata = anndata.AnnData(csr_matrix(matrix(4).astype("float32")), obs=frame(matrix(4)).iloc[:, :0])
    adata.var_names = mixed.columns
    adata.obs["type"] = ["T", "B"] * (CELLS // 2)
    adata.write_loom(out / "anndata.loom")
    adata.obs.index.name, adata.var.index.name = "barcode", "symbol"
    adata.obs["whole"] = np.arange(CELLS)
    adata.obs["real"] = np.arange(CELLS) / 7
    adata.obs["flag"] = [True, False] * (CELLS // 2)
    adata.obs["type"] = pd.Categorical(["T", None] * (CELLS // 2), categories=["T", "B"], ordered=True)
    adata.obs["some"] = pd.array([3, None] * (CELLS // 2), dtype="Int64")
    adata.obs["maybe"] = pd.array([True, None] * (CELLS // 2), dtype="boolean")
    adata.uns["records"] = np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f4")])
    adata.raw = adata.copy()
    if hasattr(anndata, "settings") and hasattr(anndata.settings, "allow_write_nullable_strings"):
        anndata.settings.allow_write_nullable_strings = True
        adata.obs["text"] = pd.array(["x", None] * (CELLS // 2), dtype="string")
    adata.write_h5ad(out / "columns.h5ad")


if __name__ == "__main__":
    main()

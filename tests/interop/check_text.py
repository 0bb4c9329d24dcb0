"""Opens text that late-fast wrote, and writes text for it to read. Called by tests/interop.rs.

    check_text.py write IN.h5 DIR       # writes the matrix of IN.h5 in several ways
    check_text.py read IN.h5 DIR        # compares what late-fast wrote there with IN.h5
"""

import gzip
import os
import shutil
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.io
import scipy.sparse

warnings.filterwarnings("ignore")


def dense(matrix):
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def write_names(source, directory, compressed):
    opener, end = (gzip.open, ".gz") if compressed else (open, "")
    with opener(f"{directory}/barcodes.tsv{end}", "wt") as file:
        file.writelines(f"{name}\n" for name in source.obs_names)
    with opener(f"{directory}/features.tsv{end}", "wt") as file:
        for gene_id, name in zip(source.var["gene_ids"], source.var_names):
            file.write(f"{gene_id}\t{name}\tGene Expression\n")


def write(source, place):
    genes_by_cells = source.X.T
    for kind in ["csr", "csc", "coo"]:
        directory = f"{place}/mmwrite_{kind}"
        os.makedirs(directory)
        scipy.io.mmwrite(f"{directory}/matrix.mtx", genes_by_cells.asformat(kind).astype(int))
        write_names(source, directory, compressed=False)
    directory = f"{place}/mmwrite_real"
    os.makedirs(directory)
    scipy.io.mmwrite(f"{directory}/matrix.mtx", genes_by_cells.astype(np.float64), field="real")
    with open(f"{directory}/matrix.mtx", "rb") as plain, gzip.open(f"{directory}/matrix.mtx.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    os.remove(f"{directory}/matrix.mtx")
    write_names(source, directory, compressed=True)
    table = pd.DataFrame(dense(source.X), index=source.obs_names, columns=source.var_names)
    whole = table.astype(int)
    whole.to_csv(f"{place}/pandas_cells.csv")
    whole.to_csv(f"{place}/pandas_cells.tsv.gz", sep="\t", quoting=1, lineterminator="\r\n")
    whole.T.to_csv(f"{place}/pandas_genes.csv.gz", index_label="gene")
    table.to_csv(f"{place}/pandas_real.csv", float_format="%.6f")
    table.to_csv(f"{place}/pandas_semicolon.csv", sep=";", encoding="utf-8-sig")


def same(adata, source, what, ids=True):
    assert adata.shape == source.shape, (what, adata.shape)
    assert list(adata.obs_names) == list(source.obs_names), what
    assert list(adata.var_names) == list(source.var_names), what
    assert (dense(adata.X) == dense(source.X)).all(), what
    if ids:
        assert list(adata.var["gene_ids"]) == list(source.var["gene_ids"]), what


def read(source, place):
    mtx = sc.read_10x_mtx(f"{place}/mtx", cache=False)
    same(mtx, source, "mtx")
    assert list(mtx.var["feature_types"]) == list(source.var["feature_types"])
    matrix = scipy.io.mmread(f"{place}/mtx/matrix.mtx.gz")
    assert np.issubdtype(matrix.dtype, np.integer), matrix.dtype
    for name, separator in [("out.csv", ","), ("out.tsv", "\t"), ("out.csv.gz", ","), ("out.tsv.gz", "\t")]:
        table = pd.read_csv(f"{place}/{name}", index_col=0, sep=separator)
        assert list(table.index) == list(source.obs_names), name
        assert list(table.columns) == list(source.var_names), name
        assert (table.to_numpy() == dense(source.X)).all(), name
        assert (table.dtypes == np.int64).all(), name
    same(anndata.read_csv(f"{place}/out.csv"), source, "read_csv", ids=False)
    for name in ["sparse.h5ad", "dense.h5ad"]:
        adata = sc.read_h5ad(f"{place}/{name}")
        same(adata, source, name)
        assert scipy.sparse.issparse(adata.X) == (name == "sparse.h5ad")
        backed = sc.read_h5ad(f"{place}/{name}", backed="r")
        assert (dense(backed[3:9].to_memory().X) == dense(source.X)[3:9]).all(), name
        backed.file.close()
    same(sc.read_10x_h5(f"{place}/out.h5"), source, "out.h5")
    for name in sorted(os.listdir(place)):
        if name.startswith("read_"):
            same(sc.read_10x_h5(f"{place}/{name}"), source, name, ids="mmwrite" in name)
    print(f"text: opened by anndata {anndata.__version__}, scanpy {sc.__version__}, pandas {pd.__version__}")


def main():
    action, path, place = sys.argv[1:]
    source = sc.read_10x_h5(path)
    {"write": write, "read": read}[action](source, place)


if __name__ == "__main__":
    main()

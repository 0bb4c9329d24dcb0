"""Compares matrices that late-fast wrote with those of pandas, loompy and anndata that it read. Called by tests/interop.rs.

    check_tables.py DIR

For every FILE.EXT of make_tables.py, DIR has FILE.EXT.hd5 and FILE.EXT.h5ad with the same entries; gene-rows.hd5 was made
of plain.hd5 taken for a matrix with genes as rows.
"""

import pathlib
import sys
import warnings

import anndata
import h5py
import loompy
import numpy as np
import pandas as pd
import tables

warnings.filterwarnings("ignore")


def same(found, expected, what):
    assert list(found.index) == list(expected.index), f"{what}: cells differ"
    assert list(found.columns) == list(expected.columns), f"{what}: genes differ"
    assert (found.to_numpy(dtype="float64") == expected.to_numpy(dtype="float64")).all(), f"{what}: values differ"


def from_h5ad(path):
    adata = anndata.read_h5ad(path)
    return pd.DataFrame(adata.X.toarray(), index=adata.obs_names, columns=adata.var_names), adata


def from_loom(path, cell_names, gene_names):
    with loompy.connect(str(path), mode="r", validate=False) as loom:
        values = loom[:, :].T
    # loompy itself drops letters outside ASCII when it reads.
    with h5py.File(path, "r") as file:
        cells, genes = file["col_attrs"][cell_names].asstr()[:], file["row_attrs"][gene_names].asstr()[:]
    return pd.DataFrame(values, index=cells, columns=genes)


def main():
    out = pathlib.Path(sys.argv[1])
    originals = {
        "blosc.hd5": pd.read_hdf(out / "blosc.hd5"),
        "plain.hd5": pd.read_hdf(out / "plain.hd5"),
        "loompy.loom": from_loom(out / "loompy.loom", "CellID", "Gene"),
        "anndata.loom": from_loom(out / "anndata.loom", "obs_names", "var_names"),
        "columns.h5ad": from_h5ad(out / "columns.h5ad")[0],
    }
    for name, original in originals.items():
        same(pd.read_hdf(out / f"{name}.hd5"), original, f"{name}.hd5")
        same(from_h5ad(out / f"{name}.h5ad")[0], original, f"{name}.h5ad")
    same(pd.read_hdf(out / "gene-rows.hd5"), originals["plain.hd5"].T, "gene-rows.hd5")
    # As a user of the original opens it.
    with pd.HDFStore(out / "plain.hd5.hd5", mode="r") as store:
        assert store.keys() == ["/null"], store.keys()

    loom = from_h5ad(out / "loompy.loom.h5ad")[1]
    assert list(loom.obs["Cluster"])[:2] == ["T", "B"] and list(loom.var["Accession"])[:2] == ["ENSG0", "ENSG1"]
    before, after = (anndata.read_h5ad(out / name).obs for name in ["columns.h5ad", "columns.h5ad.h5ad"])
    assert list(before.columns) == list(after.columns), (list(before.columns), list(after.columns))
    for column in before.columns:
        # Strings of which some are missing come back as categories.
        values = [frame[column].astype(object).where(frame[column].notna(), None) for frame in [before, after]]
        assert list(values[0]) == list(values[1]), column
    assert after["type"].cat.ordered and list(after["type"].cat.categories) == ["T", "B"]
    versions = f"pandas {pd.__version__}, tables {tables.__version__}, loompy {loompy.__version__}"
    print(f"equal in {versions}, anndata {anndata.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()

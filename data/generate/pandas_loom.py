"""Makes data/fixtures/pandas and data/fixtures/loom: small files of pandas and of loompy, with what is in them.

    python3 -m venv env
    env/bin/pip install pandas==2.3.3 tables==3.11.1 loompy==3.0.8 anndata==0.12.19 h5py==3.16.0
    env/bin/python data/generate/pandas_loom.py data/fixtures

The values of every file follow from two formulas, which the tests repeat: see `counts` and `reals`.
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
from scipy.sparse import coo_matrix, csr_matrix

CELLS, GENES = 23, 17


def counts(cells=CELLS, genes=GENES):
    """Element (c, g) is (7 c + 5 g + c g) mod 11, less 6, or 0 where that is negative."""
    c, g = np.indices((cells, genes))
    return np.maximum((7 * c + 5 * g + c * g) % 11 - 6, 0).astype("int64")


def reals(cells=CELLS, genes=GENES):
    """The counts times 1.25."""
    return counts(cells, genes) * 1.25


def names(prefix, n):
    return [f"{prefix}{i}" for i in range(n)]


def frame(values):
    return pd.DataFrame(values, index=names("cell", values.shape[0]), columns=names("gene", values.shape[1]))


def relabel(dataset, change):
    """Replaces labels. PyTables' strings end in NUL by their type: h5py, converting, would cut the longest."""
    labels = np.array([change(label) for label in dataset[:]], dtype=dataset.dtype)
    dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, labels, mtype=dataset.id.get_type())


def pandas_files(out):
    out.mkdir(parents=True, exist_ok=True)

    def save(name, data, key="null", **options):
        path = out / f"{name}.hd5"
        path.unlink(missing_ok=True)
        data.to_hdf(path, key=key, mode="w", **options)
        return path

    # Blosc leaves short chunks as they are: these are long enough.
    large = frame(reals(120, GENES))
    large.iloc[:, 3] = frame(counts(120, GENES)).iloc[:, 3]
    for level in range(1, 10):
        save(f"blosc_{level}", large, complevel=level, complib="blosc")
    for codec in ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]:
        save(f"codec_{codec}", large, complevel=5, complib=f"blosc:{codec}")
    save("zlib", large, complevel=6, complib="zlib")
    save("plain", frame(reals()))
    save("integers", frame(counts()), key="counts")
    save("nested", frame(counts()), key="a/b")
    save("small_types", frame(counts().astype("uint8")), complevel=4, complib="zlib")
    save("singles", frame(reals().astype("float32")))

    # Columns of three types, in turn: three blocks, and labels out of order in each.
    mixed = frame(reals())
    for gene in range(0, GENES, 3):
        mixed[f"gene{gene}"] = counts()[:, gene]
    for gene in range(1, GENES, 3):
        mixed[f"gene{gene}"] = reals()[:, gene].astype("float32")
    save("blocks", mixed[names("gene", GENES)], complevel=3, complib="blosc:zstd")
    # Rows may have the same labels; pandas refuses columns that do, but files with them exist.
    repeated = frame(reals())
    repeated.index = ["cell"] * 2 + names("cell", CELLS)[2:]
    path = save("repeated", repeated.astype({"gene0": "int64", "gene5": "int64"}))
    with h5py.File(path, "r+") as file:
        for name in ["axis0", "block0_items", "block1_items"]:
            labels = file["null"][name]
            relabel(labels, lambda label: b"same" if label in [b"gene0", b"gene1", b"gene2"] else label)

    numbered = frame(reals())
    numbered.index = np.arange(CELLS) * 10
    numbered.columns = np.arange(GENES) / 4
    save("numbered", numbered)
    letters = frame(reals())
    letters.columns = ["β-actin"] + list(letters.columns[1:])
    save("letters", letters)
    path = save("latin", letters.rename(columns={"β-actin": "Müller"}))
    with h5py.File(path, "r+") as file:
        del file["null"].attrs["encoding"]
        for name in ["axis0", "block0_items"]:
            labels = file["null"][name]
            relabel(labels, lambda label: label.decode().encode("latin-1"))
    # Without the attribute, the rows of the dataset are the columns of the frame.
    path = save("not_transposed", frame(reals()))
    with h5py.File(path, "r+") as file:
        group = file["null"]
        values = group["block0_values"][:]
        attributes = dict(group["block0_values"].attrs)
        del group["block0_values"]
        dataset = group.create_dataset("block0_values", data=values.T, chunks=(5, 4), compression="gzip")
        for key, value in attributes.items():
            if key != "transposed":
                dataset.attrs[key] = value

    none = np.zeros((0, GENES))
    save("no_rows", pd.DataFrame(none, index=pd.RangeIndex(0), columns=names("gene", GENES)))
    save("no_columns", pd.DataFrame(none.T[:CELLS], index=names("cell", GENES), columns=pd.RangeIndex(0)))
    # Labels of which there are none have no type.
    save("no_labels", frame(reals())[:0])
    missing = frame(reals())
    missing.iloc[4, 6] = missing.iloc[20, 2] = np.nan
    save("missing", missing)
    negative = frame(reals())
    negative.iloc[4, 6] = -1
    save("negative", negative)

    # What is refused.
    save("table", frame(reals()), format="table")
    save("series", frame(reals())["gene3"])
    with_text = frame(reals())
    with_text["text"] = "some"
    save("text_column", with_text)
    odd = frame(reals())
    odd.index = [("a", 1)] + list(odd.index[1:])
    save("odd_labels", odd)
    save("bool_column", frame(reals()).assign(flag=True))
    save("date_column", frame(reals()).assign(day=pd.Timestamp("2020-01-01")))
    dated = frame(reals())
    dated.index = pd.date_range("2020-01-01", periods=CELLS)
    save("date_labels", dated)
    dated.index = pd.period_range("2020-01", periods=CELLS, freq="M")
    save("period_labels", dated)
    several = frame(reals())
    several.index = pd.MultiIndex.from_arrays([names("donor", CELLS), names("cell", CELLS)])
    save("multi_index", several)
    path = save("two_frames", frame(reals()), key="first")
    frame(counts()).to_hdf(path, key="second", mode="a")
    path = save("with_series", frame(reals()), key="matrix")
    frame(reals())["gene3"].to_hdf(path, key="sums", mode="a")


def loom_files(out):
    out.mkdir(parents=True, exist_ok=True)

    def path(name):
        file = out / f"{name}.loom"
        file.unlink(missing_ok=True)
        return str(file)

    rows = {"Gene": np.array(["β-actin"] + names("gene", GENES)[1:]), "Accession": np.array(names("ENSG", GENES))}
    columns = {
        "CellID": np.array(names("cell", CELLS)),
        "Cluster": np.array(["T", "B"] * CELLS)[:CELLS],
        "Depth": np.arange(CELLS) / 2,
        "Map": np.zeros((CELLS, 2)),
    }
    layers = {"": csr_matrix(reals().T), "spliced": csr_matrix(counts().T)}
    loompy.create(path("v3"), layers, rows, columns)
    ids = {"Symbol": rows["Gene"], "Accession": rows["Accession"]}
    loompy.create(path("other_names"), layers, ids, {"Barcode": columns["CellID"], "Number": np.arange(CELLS)})

    # As loompy 1 and 2 wrote: fixed strings with references, the version at the root.
    with h5py.File(path("v2"), "w") as file:
        file.attrs["LOOM_SPEC_VERSION"] = "2.0.1"
        file.create_dataset("matrix", data=counts().T, chunks=(4, 6), compression="gzip", shuffle=False)
        file.create_group("layers")
        for group, attributes in [("row_attrs", rows), ("col_attrs", columns)]:
            for name, values in attributes.items():
                if values.dtype.kind == "U":
                    values = np.array([v.encode("ascii", "xmlcharrefreplace") for v in values])
                file.create_dataset(f"{group}/{name}", data=values)
    # Other ways to store it: in one piece, and in chunks as tall as the matrix.
    for name, chunks in [("one_piece", None), ("tall_chunks", (GENES, 1))]:
        with h5py.File(path(name), "w") as file:
            file.create_dataset("matrix", data=reals().T, chunks=chunks)
            file["row_attrs/Gene"] = [n.encode() for n in names("gene", GENES)]
            file["col_attrs/CellID"] = np.arange(CELLS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(
            csr_matrix(reals()),
            obs=pd.DataFrame({"type": ["T"] * CELLS}, index=names("cell", CELLS)),
            var=pd.DataFrame({"length": np.arange(GENES)}, index=names("gene", GENES)),
        ).write_loom(path("anndata"))


def main():
    out = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore", tables.NaturalNameWarning)
    warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
    # Room for one object is enough: the usual chunk is 1 MiB.
    create = tables.File.create_vlarray
    tables.File.create_vlarray = lambda *args, **options: create(*args, **options, chunkshape=1)
    pandas_files(out / "pandas")
    loom_files(out / "loom")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compares an imputed file with the truth that was masked to make its input.

    scripts/accuracy.py INPUT.h5 TRUTH.h5 IMPUTED.h5ad [...]

INPUT and TRUTH are 10x HDF5 v3 files of the same cells and genes. Prints the mean squared error of layers/late on
the log10(count + 1) scale. Needs h5py and numpy.
"""

import sys

import h5py
import numpy as np


def counts(path):
    with h5py.File(path) as file:
        matrix = file["matrix"]
        n_genes, n_cells = matrix["shape"][:]
        indptr, indices, data = (matrix[name][:] for name in ["indptr", "indices", "data"])
    dense = np.zeros((n_cells, n_genes), dtype=np.float32)
    dense[np.repeat(np.arange(n_cells), np.diff(indptr)), indices] = data
    return np.log10(dense + 1)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    x, truth = counts(sys.argv[1]), counts(sys.argv[2])
    groups = {"masked": (truth > 0) & (x == 0), "observed": x > 0, "all non-zero": truth > 0}
    for path in sys.argv[3:]:
        with h5py.File(path) as file:
            late = file["layers/late"][:]
            scale = file["uns/late_fast/scale"][()].decode()
        if late.shape != truth.shape or scale != "log10(x+1)":
            sys.exit(f"{path}: {late.shape} on the scale {scale}, the truth is {truth.shape} on log10(x+1)")
        errors = [f"{name} {np.mean((late[where] - truth[where]) ** 2):.5f}" for name, where in groups.items()]
        r = np.corrcoef(late[groups["masked"]], truth[groups["masked"]])[0, 1]
        print(f"{path}: mean squared error: {', '.join(errors)}; correlation of masked entries {r:.4f}")


if __name__ == "__main__":
    main()

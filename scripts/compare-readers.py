#!/usr/bin/env python3
"""Reads files with scanpy, anndata or pandas and with late-fast, in turn, and prints times and their ratio.

    cargo bench --bench read --no-run           # prints where the program is
    scripts/compare-readers.py target/release/deps/read-... FILE...

Imports and the start of the programs are not counted: late-fast's own bench tells the time of a pass. Both take the shortest of
several passes.
"""

import subprocess
import sys
import time
import warnings

import pandas as pd
import scanpy as sc

warnings.filterwarnings("ignore")
ROUNDS = 3


def peer(path):
    if path.endswith(".h5ad"):
        return sc.read_h5ad
    if path.endswith(".h5"):
        return sc.read_10x_h5
    if ".csv" in path or ".tsv" in path:
        return lambda path: pd.read_csv(path, index_col=0, sep="\t" if ".tsv" in path else ",")
    return lambda path: sc.read_10x_mtx(path, cache=False)


def main():
    program, files = sys.argv[1], sys.argv[2:]
    for path in files:
        theirs, ours = [], []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            peer(path)(path)
            theirs.append((time.perf_counter() - started) * 1e3)
            line = subprocess.run([program, path], capture_output=True, text=True, check=True).stdout
            ours.append(float(line.split()[0]))
        print(f"{min(theirs):8.1f} ms  {min(ours):8.1f} ms  {min(theirs) / min(ours):5.1f}x  {path}", flush=True)


if __name__ == "__main__":
    main()

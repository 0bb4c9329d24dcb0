#!/usr/bin/env python3
"""The work of scripts/compare-readers.

Every file is read in turn by its peer and by late-fast's bench `read`, in processes of their own, several passes each. Times are the shortest
pass inside the process: imports and the start of programs are not counted. Memory is the most that was resident until the first pass ended: of
late-fast the whole program, of the peer what came on top of its imports.
"""

import subprocess
import sys
import time
import warnings

ROUNDS = 3
PASSES = 3


def reader(path):
    """Name and function of what a Python user reads the file with."""
    if path.endswith((".h5ad", ".h5")) or not path.endswith((".csv", ".tsv", ".gz", ".hd5", ".loom")):
        import scanpy as sc

        if path.endswith(".h5ad"):
            return "scanpy", sc.read_h5ad
        return "scanpy", sc.read_10x_h5 if path.endswith(".h5") else lambda path: sc.read_10x_mtx(path, cache=False)
    if path.endswith(".loom"):
        import scanpy as sc

        return "scanpy", lambda path: sc.read_loom(path, sparse=True)
    import pandas as pd

    if path.endswith(".hd5"):
        return "pandas", pd.read_hdf
    separator = "\t" if ".tsv" in path else ","
    return "pandas", lambda path: pd.read_csv(path, index_col=0, sep=separator)


def resident(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith(key))


def run_peer(path):
    name, read = reader(path)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before = resident("VmRSS")
    times = []
    for _ in range(PASSES):
        started = time.perf_counter()
        matrix = read(path)
        times.append((time.perf_counter() - started) * 1e3)
        del matrix
        if len(times) == 1:
            peak = resident("VmHWM") - before
    print(name, min(times), peak)


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def make_loom(source, path):
    import anndata
    import scanpy as sc

    adata = sc.read_10x_h5(source)
    adata.var_names_make_unique()
    adata.write_loom(path)


def main():
    program, files = sys.argv[1], sys.argv[2:]
    print("| file | entries | | time | late-fast | ratio | memory | late-fast |\n|---|---|---|---|---|---|---|---|")
    for path in files:
        theirs, ours = [], []
        for _ in range(ROUNDS):
            theirs.append(output(sys.executable, __file__, "--peer", path))
            ours.append(output(program, path))
        name = theirs[0][0]
        time_theirs, memory_theirs = (min(float(line[column]) for line in theirs) for column in (1, 2))
        time_ours = min(float(line[0]) for line in ours)
        entries, memory_ours = int(ours[0][3]), min(float(line[5]) for line in ours)
        print(
            f"| {path} | {entries:,} | {name} | {time_theirs:.0f} ms | {time_ours:.0f} ms | {time_theirs / time_ours:.1f} x "
            f"| {memory_theirs:.0f} MB | {memory_ours:.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1] == "--peer":
        run_peer(sys.argv[2])
    elif sys.argv[1] == "--make-loom":
        make_loom(*sys.argv[2:])
    else:
        main()

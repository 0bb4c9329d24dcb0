#!/usr/bin/env python3
"""Writes data/fixtures/filters.h5: the same numbers through every compression filter that is read, and some that are not.

    python data/generate/filters.py        needs h5py and hdf5plugin
"""

import pathlib

import h5py
import hdf5plugin
import numpy as np

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "filters.h5"


def main():
    random = np.random.default_rng(1)
    # Many zeros and a few large values, as counts have.
    counts = (random.poisson(0.4, 600) * random.integers(1, 300, 600)).astype("<i4")
    reals = np.round(random.gamma(0.7, 2.0, (60, 11)), 2)
    noise = random.integers(0, 1 << 32, 160, dtype="<u4")
    blosc = [
        hdf5plugin.Blosc(cname=codec, clevel=5, shuffle=shuffle)
        for codec in ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]
        for shuffle in [hdf5plugin.Blosc.NOSHUFFLE, hdf5plugin.Blosc.SHUFFLE, hdf5plugin.Blosc.BITSHUFFLE]
    ]
    filters = {"lz4": hdf5plugin.LZ4(), "lz4-small": hdf5plugin.LZ4(nbytes=128), "zstd": hdf5plugin.Zstd()}
    filters |= {f"blosc-{number}": filter for number, filter in enumerate(blosc)}
    unread = {
        "bitshuffle": hdf5plugin.Bitshuffle(),
        "blosc2": hdf5plugin.Blosc2(),
        "blosc-snappy": hdf5plugin.Blosc(cname="snappy"),
    }
    with h5py.File(OUT, "w", libver="earliest") as file:
        for group, values, chunks in [
            ("counts", counts, (150,)),
            ("reals", reals, (17, 11)),
            ("noise", noise, (130,)),
        ]:
            file[f"{group}/plain"] = values
            for name, filter in filters.items():
                shuffle = name == "zstd"
                file.create_dataset(f"{group}/{name}", data=values, chunks=chunks, shuffle=shuffle, **filter)
        for name, filter in unread.items():
            file.create_dataset(f"unread/{name}", data=counts, chunks=(150,), **filter)


if __name__ == "__main__":
    main()

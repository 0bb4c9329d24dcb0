//! What every HDF5 reader and writer here shares: opening, attributes, strings, raw chunks.

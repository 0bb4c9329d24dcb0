#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::hdf5(data));

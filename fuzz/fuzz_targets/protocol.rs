//! What a broker sends: answers of every type in every version, and record batches. Checks that lengths that lie neither
//! panic nor reserve memory, that what is decompressed has a limit, and that the offsets of records ascend. Checksums are
//! not checked while fuzzing: no input would pass them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| velo_engine::protocol::read_everything(bytes));

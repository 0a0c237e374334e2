#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (fmip_tests::fuzzing::target("station").run)(data));

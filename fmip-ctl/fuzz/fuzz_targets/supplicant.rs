#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (fmip_tests::fuzzing::target("supplicant").run)(data));

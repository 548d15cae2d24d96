#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    corpus::run("authentication_basic", data);
});

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    corpus::run("openid_status_list", data);
});

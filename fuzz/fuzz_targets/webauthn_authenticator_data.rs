#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    corpus::run("webauthn_authenticator_data", data);
});

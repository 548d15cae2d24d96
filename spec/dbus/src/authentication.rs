//! D-Bus Specification, "Authentication Protocol": lines of text before the first message.

/// The longest line that is read, in bytes.
// D-Bus Specification, Authentication Protocol: "The protocol is a line-based protocol, where each
// line ends with \r\n."
pub const LINE_BYTES_MAX: usize = 1_024;
/// What a server's line begins with when it believes us.
pub const ACCEPTED: &str = "OK ";
/// After it come messages.
pub const BEGIN: &[u8] = b"BEGIN\r\n";

/// What a client says first: that it is this user, which the server knows from the socket.
pub fn external(uid: u32) -> Vec<u8> {
    // D-Bus Specification, Special credentials-passing nul byte: "Immediately after connecting to
    // the server, the client must send a single nul byte."
    // D-Bus Specification, AUTH Command: the initial response is hex-encoded; that of `EXTERNAL` is
    // who we want to be, a number of digits.
    let hex: String = uid.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("\0AUTH EXTERNAL {hex}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dbus_external_the_user_is_hex_of_its_digits() {
        // The uid 1000 in digits is 31 30 30 30.
        assert_eq!(external(1000), b"\0AUTH EXTERNAL 31303030\r\n");
    }
}

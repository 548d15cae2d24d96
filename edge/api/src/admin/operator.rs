//! Who gives an order.

use flow::agents::Operator;

/// The user that this process runs as.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The peer of a connection, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uid(pub(crate) u32);

impl Uid {
    /// As records name it: `uid:1000`.
    pub(crate) fn operator(self) -> Operator {
        Operator(format!("uid:{}", self.0))
    }
}

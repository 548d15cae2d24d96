//! Keys on disk through the public interface.

#[cfg(test)]
mod disk;

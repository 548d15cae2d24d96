//! Keys on disk and in devices through the public interface.

#[cfg(test)]
mod device;
#[cfg(test)]
mod disk;

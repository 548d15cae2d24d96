//! WITs and WPTs, made, read and judged through the public interface.

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod wic;
#[cfg(test)]
mod wit;
#[cfg(test)]
mod wpt;

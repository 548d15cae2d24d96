//! The console over HTTP, in one process, over one world from one seed.

#[cfg(test)]
mod asking;
#[cfg(test)]
mod consenting;
#[cfg(test)]
mod finding;
#[cfg(test)]
mod html;
#[cfg(test)]
mod methods;
#[cfg(test)]
mod ordering;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod tab;
#[cfg(test)]
mod tabs;

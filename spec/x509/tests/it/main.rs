//! Certificates, requests and chains, made and judged through the public interface.

#[cfg(test)]
mod certificate;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod path;
#[cfg(test)]
mod request;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod template;

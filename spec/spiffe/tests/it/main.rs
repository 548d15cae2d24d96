//! SVIDs and bundles, made, read and judged through the public interface.

#[cfg(test)]
mod bundle;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod jwt_svid;
#[cfg(test)]
mod x509_svid;

//! Real processes, real sockets: what the kernel says of who is at the other end.

#[cfg(test)]
mod child;
#[cfg(test)]
mod platforms;
#[cfg(test)]
mod tcp;
#[cfg(test)]
mod tpm;
#[cfg(test)]
mod tsm;
#[cfg(test)]
mod unix;
#[cfg(test)]
mod x509pop;

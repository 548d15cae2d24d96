//! Real processes, real sockets: what the kernel says of who is at the other end.

#[cfg(test)]
mod child;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod incgroup;
#[cfg(test)]
mod kubelet;
#[cfg(test)]
mod platforms;
#[cfg(test)]
mod script;
#[cfg(test)]
mod systemd;
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

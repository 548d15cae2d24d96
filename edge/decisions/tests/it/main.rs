//! The endpoints over HTTP, at a router without a listener.

#[cfg(test)]
mod http_binding;
#[cfg(test)]
mod targets;

//! OBS, POL and AUTHN-12: what happened can be told afterwards, and stops when it must.

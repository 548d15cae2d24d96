//! Simulations of the whole system from one seed.

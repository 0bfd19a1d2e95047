//! Run a plan over connections.

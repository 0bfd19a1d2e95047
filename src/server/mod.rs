//! Assemble everything, listen, reload, shut down.

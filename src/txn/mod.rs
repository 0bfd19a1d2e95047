//! A client's transaction: which shards it is open on, and how it ends.

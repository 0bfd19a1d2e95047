//! Which connection: leases over bb8 pools, one fair gate per shard.

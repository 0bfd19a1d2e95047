//! Every metric, logging, tracing. Home of prometheus.

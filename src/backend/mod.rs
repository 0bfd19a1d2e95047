//! One connection to one server. Home of tokio_postgres.

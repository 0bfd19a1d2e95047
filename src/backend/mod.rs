//! One connection to one server. Home of tokio_postgres.
//!
//! - `address`: where a server is and how it is reached, from libpq's connection strings
//! - `stream`: a TCP, Unix or TLS line, to servers and to clients
//! - `tcp`: how TCP notices that the other side is gone
//! - `tcp_info`: what TCP has measured
//! - `connection`: the line with what is read but not taken, and whether it may be used again
//! - `settings`: what this server has been SET, and the statements it has prepared
//! - `dial`: a line that is as private as the address demands
//! - `failure`: why there is no connection
//! - `startup`: from an address and a login to a connection that is ready
//! - `ask`: a question of weir's own over a raw connection
//! - `cancel`: stop a statement that runs on a connection
//! - `control`: a tokio_postgres client for probes, catalogs and placement; never for clients' data
//! - `sighting`: what one look at a server shows: primary or replica, and how far it is
//! - `translate`: one server's object ids in another's numbers
//! - `catalog`: what a server's catalogs say
//! - `outline`: what statements can see of a schema, to compare servers by
//! - `members`: which weirs serve a database, and that all know of a change
//! - `misplaced`: rows that are not where the rules look for them
//! - `placement`: `weir.placement` on the servers
//! - `commit_record`: `weir.commit_record` on the servers, and what is prepared there
//! - `lock_waits`: who waits for a lock on a server, and `weir.waiting`
//! - `sequences`: generated ids, brought into line by set-up
//! - `next_id`: ids that grow with time
//! - `guard`: what keeps triggers from writing one copy of a reference table
//! - `survey`: the tables, as `weir check --connect` compares them
//! - `load`: an existing database, on its way to the shards
//!
//! Invariant: only a connection whose health is `Clean` is ever given to another client.
pub mod address;
pub mod stream;
pub mod tcp;
pub mod tcp_info;
pub mod settings;
pub mod connection;
pub mod failure;
pub mod dial;
pub mod startup;
pub mod ask;
pub mod cancel;
pub mod control;
pub mod sighting;
pub mod translate;
pub mod catalog;
pub mod outline;
pub mod members;
pub mod misplaced;
pub mod placement;
pub mod commit_record;
pub mod lock_waits;
pub mod sequences;
pub mod next_id;
pub mod guard;
pub mod survey;
pub mod load;

pub use address::Address;
pub use connection::{Connection, Health};
pub use failure::ConnectError;
pub use startup::ConnectOptions;
pub use stream::Stream;

//! SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS: a row for each connection, in PgBouncer's columns.
//!
//! `ptr` and `link` are no addresses here: they tell connections apart, and which belong together.
use super::{Show, us_part};
use crate::admin::system::{Side, Socket, State, System};
use crate::admin::table::{Cell, Column, Table, integer, text};

pub struct Clients;
pub struct Servers;
pub struct Sockets;
pub struct ActiveSockets;

impl Show for Clients {
    fn name(&self) -> &'static str {
        "CLIENTS"
    }

    fn help(&self) -> &'static str {
        "each client: who it is, what it does, whether it waits"
    }

    fn table(&self, system: &dyn System) -> Table {
        table(system.clients(), Detail::Short)
    }
}

impl Show for Servers {
    fn name(&self) -> &'static str {
        "SERVERS"
    }

    fn help(&self) -> &'static str {
        "each connection to a server: whose it is, which client has it"
    }

    fn table(&self, system: &dyn System) -> Table {
        table(system.connections(), Detail::Short)
    }
}

impl Show for Sockets {
    fn name(&self) -> &'static str {
        "SOCKETS"
    }

    fn help(&self) -> &'static str {
        "all connections, to clients and to servers"
    }

    fn table(&self, system: &dyn System) -> Table {
        table(both(system), Detail::Long)
    }
}

impl Show for ActiveSockets {
    fn name(&self) -> &'static str {
        "ACTIVE_SOCKETS"
    }

    fn help(&self) -> &'static str {
        "those of them that are at work"
    }

    fn table(&self, system: &dyn System) -> Table {
        let at_work = |socket: &Socket| matches!(socket.state, State::Active | State::Waiting);
        table(both(system).into_iter().filter(at_work).collect(), Detail::Long)
    }
}

/// Whether what PgBouncer says of its buffers is there, too, and states tell the sides apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Short,
    Long,
}

fn both(system: &dyn System) -> Vec<Socket> {
    let mut sockets = system.clients();
    sockets.extend(system.connections());
    sockets
}

fn table(sockets: Vec<Socket>, detail: Detail) -> Table {
    /// weir's buffers are empty between messages.
    const BUFFERS: [&str; 7] =
        ["recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail"];
    let buffers: &[&'static str] = match detail {
        Detail::Short => &[],
        Detail::Long => &BUFFERS,
    };
    let columns = columns().into_iter().chain(buffers.iter().map(|name| integer(name)));
    let own = [text("shard"), integer("server"), text("tier")];
    let mut table = Table::new(columns.chain(own));
    for socket in sockets {
        let own = [
            Cell::from(socket.shard.clone()),
            socket.server.into(),
            Cell::from(socket.tier.clone()),
        ];
        let buffers = buffers.iter().map(|_| Cell::Integer(0));
        table.push(row(socket, detail).into_iter().chain(buffers).chain(own));
    }
    table
}

fn columns() -> [Column; 21] {
    [
        text("type"),
        text("user"),
        text("database"),
        text("replication"),
        text("state"),
        text("addr"),
        integer("port"),
        text("local_addr"),
        integer("local_port"),
        text("connect_time"),
        text("request_time"),
        integer("wait"),
        integer("wait_us"),
        integer("close_needed"),
        text("ptr"),
        text("link"),
        integer("remote_pid"),
        text("tls"),
        text("application_name"),
        integer("prepared_statements"),
        integer("id"),
    ]
}

fn row(socket: Socket, detail: Detail) -> [Cell; 21] {
    let host = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| "unix".to_owned(), |address| address.ip().to_string())
    };
    let port = |address: Option<std::net::SocketAddr>| {
        address.map_or(0, |address| u32::from(address.port()))
    };
    let other = match socket.side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    [
        match socket.side {
            Side::Client => "C".into(),
            Side::Server => "S".into(),
        },
        socket.user.into(),
        socket.database.into(),
        "none".into(),
        state(socket.state, socket.side, detail).into(),
        host(socket.peer).into(),
        port(socket.peer).into(),
        host(socket.local).into(),
        port(socket.local).into(),
        socket.connected.into(),
        socket.requested.into(),
        socket.wait.as_secs().into(),
        us_part(socket.wait),
        socket.close_needed.into(),
        pointer(socket.side, socket.id).into(),
        socket.link.map_or_else(String::new, |id| pointer(other, id)).into(),
        socket.remote_pid.into(),
        socket.tls.unwrap_or_default().into(),
        socket.application_name.into(),
        socket.prepared.into(),
        socket.id.into(),
    ]
}

fn state(state: State, side: Side, detail: Detail) -> &'static str {
    match (state, side, detail) {
        (State::Active, _, Detail::Short) => "active",
        (State::Idle, _, Detail::Short) => "idle",
        (State::Waiting, _, Detail::Short) => "waiting",
        (State::Used, _, Detail::Short) => "used",
        (State::Active | State::Idle | State::Used, Side::Client, Detail::Long) => "cl_active",
        (State::Waiting, Side::Client, Detail::Long) => "cl_waiting",
        (State::Active | State::Waiting, Side::Server, Detail::Long) => "sv_active",
        (State::Idle, Side::Server, Detail::Long) => "sv_idle",
        (State::Used, Side::Server, Detail::Long) => "sv_used",
    }
}

fn pointer(side: Side, id: u64) -> String {
    let begins = match side {
        Side::Client => 0xc,
        Side::Server => 0x5,
    };
    format!("0x{begins:x}{id:011x}")
}

//! Where clients come in: TCP ports, of which every worker has a listener of its own, and Unix sockets,
//! whose one listener all workers share.
//!
//! Another weir may take all of it over while this one still has clients: ports are shared by
//! SO_REUSEPORT, and a socket file is replaced in one step, so no client ever finds nobody there.
use super::config::Listen;
use crate::backend::Stream;
use crate::backend::tcp::{Peer, tune};
use crate::error::{Blame, Error, SqlState};
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Clients that wait to be accepted, as in PostgreSQL's default on a busy server.
const BACKLOG: i32 = 4096;

/// One of a worker's listeners.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The same within a runtime.
pub enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    pub fn accepting(self) -> io::Result<Accepting> {
        match self {
            Self::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Accepting::Tcp),
            Self::Unix(listener) => {
                tokio::net::UnixListener::from_std(listener).map(Accepting::Unix)
            }
        }
    }
}

impl Accepting {
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept().await?;
                // Without it a client that vanishes is only noticed later.
                if let Err(error) = tune(&socket, Peer::Client) {
                    tracing::debug!(%error, "a client's socket cannot be tuned");
                }
                Ok(socket.into())
            }
            Self::Unix(listener) => Ok(listener.accept().await?.0.into()),
        }
    }
}

/// Whatever this process listens on: the listeners of each worker, and where they are.
pub struct Listening {
    pub workers: Vec<Vec<Listener>>,
    pub clients: Vec<SocketAddr>,
    pub files: Vec<SocketFile>,
    /// The same sockets, for a weir that takes over.
    pub all: Vec<ListenerAt>,
}

/// A listener and where it is, as the handover says it: `tcp 127.0.0.1:6432`, `unix /run/weir/.s.PGSQL.6432`.
pub struct ListenerAt {
    pub place: String,
    pub listener: Listener,
}

/// One that another weir has handed over.
pub struct Passed {
    pub place: String,
    pub handle: OwnedFd,
}

/// A socket file of ours, as long as nobody has put another in its place.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is another's from now on.
    pub fn let_go(&mut self) {
        self.inode = 0;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "{} stays", self.path.display());
        }
    }
}

impl Listener {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Listens everywhere, for so many workers, with the sockets that another weir has handed over where there are
/// any. Those at places that are not configured any more are closed.
pub fn everywhere(
    listen: &Listen,
    workers: usize,
    mut passed: Vec<Passed>,
) -> Result<Listening, Error> {
    let mut all =
        Listening { workers: Vec::new(), clients: Vec::new(), files: Vec::new(), all: Vec::new() };
    all.workers.resize_with(workers, Vec::new);
    for &address in &listen.clients {
        let failed = |error: io::Error| cannot_listen(address, &error);
        let place = format!("tcp {address}");
        let mut sockets: Vec<TcpListener> = Vec::new();
        for handle in take_passed(&mut passed, &place) {
            let listener = TcpListener::from(handle);
            listener.set_nonblocking(true).map_err(failed)?;
            sockets.push(listener);
        }
        let alone = !listen.clients.iter().any(|other| is_same_in_ipv4(*other, address));
        let mut bound = address;
        // Each has clients waiting perhaps: none may be left without a worker.
        while sockets.len() < workers {
            let listener = tcp_of(bound, alone).map_err(failed)?;
            bound = listener.local_addr().map_err(failed)?;
            sockets.push(listener);
        }
        let first = sockets.first().map_or(Ok(bound), TcpListener::local_addr);
        all.clients.push(first.map_err(failed)?);
        for (number, listener) in sockets.into_iter().enumerate() {
            all.add(number, &place, Listener::Tcp(listener)).map_err(failed)?;
        }
    }
    for path in &listen.unix {
        let failed = |error: io::Error| cannot_listen(path.display(), &error);
        let place = format!("unix {}", path.display());
        let (listener, file) = match take_passed(&mut passed, &place).into_iter().next() {
            Some(handle) => {
                let inode = fs::metadata(path).map_err(failed)?.ino();
                (UnixListener::from(handle), SocketFile { path: path.clone(), inode })
            }
            None => socket(path, listen.unix_mode, listen.unix_group.as_deref()).map_err(failed)?,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        all.files.push(file);
        for number in 1..workers {
            let shared = listener.try_clone().map_err(failed)?;
            if let Some(worker) = all.workers.get_mut(number) {
                worker.push(Listener::Unix(shared));
            }
        }
        all.add(0, &place, Listener::Unix(listener)).map_err(failed)?;
    }
    Ok(all)
}

fn take_passed(passed: &mut Vec<Passed>, place: &str) -> Vec<OwnedFd> {
    passed.extract_if(.., |socket| socket.place == place).map(|socket| socket.handle).collect()
}

impl Listening {
    fn add(&mut self, number: usize, place: &str, listener: Listener) -> io::Result<()> {
        self.all.push(ListenerAt { place: place.to_owned(), listener: listener.try_clone()? });
        let workers = self.workers.len().max(1);
        if let Some(worker) = self.workers.get_mut(number % workers) {
            worker.push(listener);
        }
        Ok(())
    }
}

/// A port that others may listen on, too.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    tcp_of(address, true)
}

/// `alone`: [::] may have the port for IPv4, too.
fn tcp_of(address: SocketAddr, alone: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && !alone {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_same_in_ipv4(other: SocketAddr, address: SocketAddr) -> bool {
    address.is_ipv6() && other.is_ipv4() && other.port() == address.port()
}

/// A Unix socket: made beside its place, and moved there when clients can use it.
pub fn socket(
    path: &Path,
    mode: u32,
    owners: Option<&str>,
) -> io::Result<(UnixListener, SocketFile)> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    if fs::metadata(path).is_ok_and(|file| !is_socket(&file)) {
        return Err(io::Error::other("it is there and no socket"));
    }
    drop(fs::remove_file(&beside));
    let listener = UnixListener::bind(&beside)?;
    listener.set_nonblocking(true)?;
    let ready = || -> io::Result<u64> {
        if let Some(name) = owners {
            chown(&beside, None, Some(group(name)?))?;
        }
        fs::set_permissions(&beside, Permissions::from_mode(mode))?;
        fs::rename(&beside, path)?;
        Ok(fs::metadata(path)?.ino())
    };
    match ready() {
        Ok(inode) => Ok((listener, SocketFile { path: path.to_owned(), inode })),
        Err(error) => {
            drop(fs::remove_file(&beside));
            Err(error)
        }
    }
}

fn is_socket(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    file.file_type().is_socket()
}

/// The number of a group of /etc/group.
fn group(name: &str) -> io::Result<u32> {
    let groups = fs::read_to_string("/etc/group")?;
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| io::Error::other(format!("there is no group \"{name}\" in /etc/group")))
}

pub fn cannot_listen(place: impl Display, error: &io::Error) -> Error {
    let message = format!("cannot listen on {place}: {error}");
    Error::new(SqlState::CANNOT_CONNECT, Blame::Proxy, message)
        .hint("change [listen] in weir.toml, or end what uses the port")
}

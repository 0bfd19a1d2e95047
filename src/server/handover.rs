//! One weir takes another's place without a client noticing: PgBouncer's online restart.
//!
//! The weir that serves waits at a Unix socket (`listen.handover`). A new one, started with `--takeover`, connects
//! there once it knows its shards, and is handed the listening sockets themselves: no port is closed in between,
//! so no connection that waits to be accepted is lost. When the new one accepts clients it says so; only then
//! does the old one cease to, and waits for its own to leave. If the new one fails before, nothing has happened.
//!
//! Only who may open the socket file can take over: the file's owner, and root.
use super::listening::{ListenerAt, Passed, SocketFile};
use crate::error::{Blame, Error, SqlState};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What the new weir asks with, and what it says when it serves.
const TAKE_OVER: &[u8] = b"weir takeover 1\n";
const READY: &[u8] = b"ready\n";
/// Sockets that one message may carry in Linux.
const MOST_SOCKETS: usize = 253;
/// The longest list of where they listen.
const LIST_BYTES: usize = 64 * 1024;
/// For the other side to say something; the new weir has connected only when it knows its shards.
const PATIENCE: Duration = Duration::from_secs(30);

/// The old weir's side: waits for another to take over.
pub struct Waiting {
    sockets: Arc<Mutex<Vec<ListenerAt>>>,
    _file: SocketFile,
    handed_over: watch::Receiver<bool>,
}

/// The new weir's side: what it was handed.
pub struct Taken {
    pub sockets: Vec<Passed>,
    line: UnixStream,
}

impl Waiting {
    /// `sockets`: to hand over.
    pub fn at(path: &Path, sockets: Vec<ListenerAt>) -> Result<Self, Error> {
        let wrong = |error: io::Error| cannot(path, &error);
        let (listener, file) = super::listening::socket(path, 0o600, None).map_err(wrong)?;
        let (told, handed_over) = watch::channel(false);
        let sockets = Arc::new(Mutex::new(sockets));
        let shared = sockets.clone();
        let wait = move || wait(&listener, &shared, &told);
        std::thread::Builder::new().name("handover".to_owned()).spawn(wait).map_err(wrong)?;
        Ok(Self { sockets, _file: file, handed_over })
    }

    /// Once another weir serves.
    pub fn handed_over(&self) -> impl Future<Output = ()> + use<> {
        let mut handed_over = self.handed_over.clone();
        async move {
            // The thread ends with the process at the latest.
            if handed_over.wait_for(|so| *so).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Nobody else is to have the sockets: else clients would wait at them for nobody.
    pub fn close(&self) {
        locked(&self.sockets).clear();
    }
}

fn wait(listener: &UnixListener, sockets: &Mutex<Vec<ListenerAt>>, told: &watch::Sender<bool>) {
    if let Err(error) = listener.set_nonblocking(false) {
        return tracing::error!(%error, "nobody can take over");
    }
    for line in listener.incoming() {
        match line.and_then(|line| hand_over(line, sockets)) {
            Ok(()) => {
                told.send_replace(true);
                return;
            }
            Err(error) => tracing::warn!(%error, "another weir wanted to take over and did not"),
        }
    }
}

fn hand_over(mut line: UnixStream, sockets: &Mutex<Vec<ListenerAt>>) -> io::Result<()> {
    line.set_read_timeout(Some(PATIENCE))?;
    line.set_write_timeout(Some(PATIENCE))?;
    let mut asked = [0; TAKE_OVER.len()];
    line.read_exact(&mut asked)?;
    if asked != *TAKE_OVER {
        return Err(io::Error::other("it speaks another version of the handover"));
    }
    {
        let sockets = locked(sockets);
        if sockets.is_empty() {
            return Err(io::Error::other("weir is ending"));
        }
        if sockets.len() > MOST_SOCKETS {
            return Err(io::Error::other(format!("more than {MOST_SOCKETS} sockets")));
        }
        send(&line, &sockets)?;
    }
    let mut ready = [0; READY.len()];
    line.read_exact(&mut ready)?;
    match ready == *READY {
        true => Ok(()),
        false => Err(io::Error::other("it did not become ready")),
    }
}

fn send(line: &UnixStream, sockets: &[ListenerAt]) -> io::Result<()> {
    let list: String = sockets.iter().map(|socket| format!("{}\n", socket.place)).collect();
    let handles: Vec<_> = sockets.iter().map(|socket| socket.listener.as_fd()).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&handles)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    let length = u32::try_from(list.len()).map_err(io::Error::other)?.to_be_bytes();
    let head = [IoSlice::new(&length)];
    sendmsg(line, &head, &mut ancillary, SendFlags::NOSIGNAL)?;
    (&*line).write_all(list.as_bytes())
}

/// Asks the weir that waits at `path` for its sockets.
pub fn take(path: &Path) -> Result<Taken, Error> {
    let wrong = |error: io::Error| cannot(path, &error);
    let mut line = UnixStream::connect(path).map_err(wrong)?;
    let ask = || -> io::Result<Vec<Passed>> {
        line.set_read_timeout(Some(PATIENCE))?;
        line.write_all(TAKE_OVER)?;
        receive(&mut line)
    };
    let sockets = { ask }().map_err(wrong)?;
    Ok(Taken { sockets, line })
}

fn receive(line: &mut UnixStream) -> io::Result<Vec<Passed>> {
    let mut length = [0; 4];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut head = [IoSliceMut::new(&mut length)];
    let received = recvmsg(&*line, &mut head, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes < length.len() {
        return Err(io::Error::other("the weir there hands nothing over; its log says why"));
    }
    let mut handles: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            handles.extend(rights);
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LIST_BYTES {
        return Err(io::Error::other("it hands over too much"));
    }
    let mut list = vec![0; length];
    line.read_exact(&mut list)?;
    let list = String::from_utf8(list).map_err(io::Error::other)?;
    let places: Vec<&str> = list.lines().collect();
    if places.len() != handles.len() {
        return Err(io::Error::other("some of its sockets did not arrive"));
    }
    Ok(places
        .into_iter()
        .zip(handles)
        .map(|(place, handle)| Passed { place: place.to_owned(), handle })
        .collect())
}

impl Taken {
    /// This weir serves: the other one may cease to.
    pub fn ready(mut self) -> io::Result<()> {
        self.line.write_all(READY)
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    let message = format!("handover at {}: {error}", path.display());
    Error::new(SqlState::CANNOT_CONNECT, Blame::Proxy, message)
        .hint("listen.handover of weir.toml has to be the same for both, and the old weir's owner this one's")
}

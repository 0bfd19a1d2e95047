//! What systemd is told, where it has started weir (`Type=notify-reload`): sd_notify(3), in a few lines.
use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Ready,
    /// A reload has begun; `Ready` ends it.
    Reloading,
    Stopping,
}

/// Tells whoever waits to be told; nobody, mostly.
pub fn tell(state: State) {
    let Some(place) = env::var_os("NOTIFY_SOCKET") else { return };
    let text = match state {
        // The process that took over is the service's main one from now on.
        State::Ready => format!("READY=1\nMAINPID={}\n", std::process::id()),
        State::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", microseconds()),
        State::Stopping => "STOPPING=1\n".to_owned(),
    };
    let send = || {
        let address = match place.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name),
            Some(_) | None => SocketAddr::from_pathname(&place),
        }?;
        UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)
    };
    if let Err(error) = send() {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// By the clock that systemd compares with.
fn microseconds() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

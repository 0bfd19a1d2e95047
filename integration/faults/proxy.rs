//! A line between weir and one server on which the weather changes: silence, half messages, lost
//! packets, resets.
//!
//! It forwards bytes on 127.0.0.1, in a thread of its own. What is dropped by a real network is sent
//! again by TCP until it arrives or the line is given up, so silence here keeps the bytes and
//! delivers them when the weather is fair again, and a lost packet is a stall: its bytes, and all
//! behind them in that direction, come when TCP would have sent them again. What this cannot show is
//! a peer's kernel that does not acknowledge: only a lost greeting keeps a line from being taken.
use crate::raw::read;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream as Line};
use tokio::sync::watch;

/// What becomes of bytes from now on, on lines that are open and on new ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    Fair,
    /// Nothing arrives, in either direction, and nobody hangs up.
    Silence,
    /// Nothing arrives that goes there; what comes from there does.
    SilenceTowards(Towards),
    /// Packets are lost.
    Lossy(Loss),
    /// The server's next bytes on each line arrive up to this many, then nothing does.
    SilenceAfter(usize),
    /// The server's next bytes on each line arrive up to this many, then the line is closed.
    CloseAfter(usize),
    /// It is far to the server: bytes are so long on the way, in each direction.
    Slow(Duration),
    /// Every line is reset.
    Reset,
    /// The end of the proxy.
    Over,
}

pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Towards {
    Weir,
    Server,
}

/// So many of a hundred packets are lost, in each direction, which ones by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    pub percent: u32,
    /// Printed by who chooses it, so that a bad day can be had again.
    pub seed: u64,
}

impl Loss {
    /// Linux waits at least so long before it sends a packet again, and each time twice as long.
    pub const AGAIN: Duration = Duration::from_millis(200);
    /// The same for the greeting of a new line.
    const GREET_AGAIN: Duration = Duration::from_secs(1);
    /// No path is so bad for so long; then TCP would rather be given up.
    const MOST: u32 = 5;

    /// The chances of one line, or one direction of it.
    fn chances(self, of: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(of))
    }

    /// How late a packet arrives that is first sent again after `again`.
    fn stall(self, chances: &mut StdRng, again: Duration) -> Duration {
        let lost = |chances: &mut StdRng| chances.random_ratio(self.percent, 100);
        let times = (0..Self::MOST).take_while(|_| lost(chances)).count();
        (0..times).map(|time| again * (1 << time)).sum()
    }
}

/// How a line ends.
#[derive(Clone, Copy)]
enum Ending {
    Closed,
    Reset,
}

impl Proxy {
    /// Stands in front of a port of 127.0.0.1.
    pub fn new(server: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, forecast) = watch::channel(Weather::Fair);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(serve(listener, server, forecast));
        });
        Self { port, weather, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.turn(Weather::Over);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the fault proxy on port {} panicked", self.port);
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    server: u16,
    mut weather: watch::Receiver<Weather>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
    for number in 0.. {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = weather.wait_for(|weather| *weather == Weather::Over) => return,
        };
        let Ok((weir, _)) = accepted else { continue };
        let weather = weather.clone();
        tokio::spawn(async move {
            let now = *weather.borrow();
            if let Weather::Lossy(loss) = now {
                let greeting = loss.stall(&mut loss.chances(number * 3), Loss::GREET_AGAIN);
                tokio::time::sleep(greeting).await;
            }
            // A server that is not there shows as a line that is closed at once.
            if let Ok(server) = Line::connect(server).await {
                carry(weir, server, weather, number).await;
            }
        });
    }
}

async fn carry(mut weir: Line, mut server: Line, weather: watch::Receiver<Weather>, number: u64) {
    for line in [&weir, &server] {
        line.set_nodelay(true).unwrap();
    }
    let ending = {
        let ((from_weir, to_weir), (from_server, to_server)) = (weir.split(), server.split());
        tokio::select! {
            ending = pump(from_weir, to_server, weather.clone(), Towards::Server, number) => ending,
            ending = pump(from_server, to_weir, weather, Towards::Weir, number) => ending,
        }
    };
    match ending {
        Ok(Ending::Closed) => (),
        Ok(Ending::Reset) | Err(_) => {
            for line in [&weir, &server] {
                // It may be gone already.
                SockRef::from(line).set_linger(Some(Duration::ZERO)).ok();
            }
        }
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    towards: Towards,
    number: u64,
) -> io::Result<Ending> {
    let mut buffer = [0; 16_384];
    // What is read and not passed on yet.
    let mut held = 0..0;
    let mut now = *weather.borrow_and_update();
    let mut chances = None;
    // Of the limit that the weather names.
    let mut passed = 0;
    loop {
        let allowed = match (now, towards) {
            (Weather::Over, _) => return Ok(Ending::Closed),
            (Weather::Reset, _) => return Ok(Ending::Reset),
            (Weather::Silence, _) => 0,
            (Weather::SilenceTowards(mute), _) if mute == towards => 0,
            (Weather::SilenceAfter(limit) | Weather::CloseAfter(limit), Towards::Weir) => {
                limit - passed
            }
            (Weather::SilenceAfter(_) | Weather::CloseAfter(_), Towards::Server)
            | (
                Weather::Fair | Weather::Slow(_) | Weather::SilenceTowards(_) | Weather::Lossy(_),
                _,
            ) => usize::MAX,
        };
        if let (Weather::Slow(delay), true) = (now, held.is_empty()) {
            if let Some(ending) = carry_far(&mut from, &mut to, &mut weather, delay).await? {
                return Ok(ending);
            }
            (now, passed) = (*weather.borrow_and_update(), 0);
            continue;
        }
        let pass = held.len().min(allowed);
        if pass > 0 {
            to.write_all(&buffer[held.start..held.start + pass]).await?;
            held.start += pass;
            passed += pass;
            continue;
        }
        if allowed == 0 && matches!(now, Weather::CloseAfter(_)) {
            return Ok(Ending::Closed);
        }
        tokio::select! {
            biased;
            changed = weather.changed() => {
                if changed.is_err() {
                    return Ok(Ending::Closed);
                }
                (now, passed) = (*weather.borrow_and_update(), 0);
                chances = None;
            }
            read = from.read(&mut buffer), if allowed > 0 => {
                let count = read?;
                if count == 0 {
                    return Ok(Ending::Closed);
                }
                held = 0..count;
                if let Weather::Lossy(loss) = now {
                    let of = number * 3 + if towards == Towards::Weir { 1 } else { 2 };
                    let chances = chances.get_or_insert_with(|| loss.chances(of));
                    tokio::time::sleep(loss.stall(chances, Loss::AGAIN)).await;
                }
            }
        }
    }
}

/// Passes on what is read, each piece so late, until the weather changes. What is on the way then
/// arrives at once.
async fn carry_far(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    weather: &mut watch::Receiver<Weather>,
    delay: Duration,
) -> io::Result<Option<Ending>> {
    let mut buffer = [0; 16_384];
    let mut on_the_way = VecDeque::<(Instant, Vec<u8>)>::new();
    let ending = loop {
        let due = on_the_way.front().map(|(due, _)| (*due).into());
        tokio::select! {
            biased;
            changed = weather.changed() => break changed.is_err().then_some(Ending::Closed),
            () = async { tokio::time::sleep_until(due.unwrap()).await }, if due.is_some() => {
                let (_, bytes) = on_the_way.pop_front().unwrap();
                to.write_all(&bytes).await?;
            }
            read = from.read(&mut buffer) => match read? {
                0 => break Some(Ending::Closed),
                count => on_the_way.push_back((Instant::now() + delay, buffer[..count].to_vec())),
            },
        }
    };
    for (_, bytes) in on_the_way {
        to.write_all(&bytes).await?;
    }
    Ok(ending)
}

#[test]
fn a_line_is_silent_half_way_and_delivers_what_it_held_in_fair_weather() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::new(server.local_addr().unwrap().port());
    let dial = || {
        let line = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        (line, server.accept().unwrap().0)
    };
    let (mut line, mut served) = dial();
    served.write_all(b"hello").unwrap();
    assert_eq!(hear(&mut line), "hello");

    proxy.turn(Weather::SilenceAfter(3));
    served.write_all(b"abcdef").unwrap();
    assert_eq!(hear(&mut line), "abc");
    assert!(is_silent(&mut line));
    proxy.turn(Weather::Fair);
    assert_eq!(hear(&mut line), "def");

    proxy.turn(Weather::Silence);
    line.write_all(b"lost?").unwrap();
    assert!(is_silent(&mut served));
    proxy.turn(Weather::Slow(Duration::from_millis(1)));
    assert_eq!(hear(&mut served), "lost?");

    proxy.turn(Weather::SilenceTowards(Towards::Weir));
    line.write_all(b"heard").unwrap();
    assert_eq!(hear(&mut served), "heard");
    served.write_all(b"unheard").unwrap();
    assert!(is_silent(&mut line));
    proxy.turn(Weather::Lossy(Loss { percent: 30, seed: 1 }));
    assert_eq!(hear(&mut line), "unheard");
    let begun = Instant::now();
    for _ in 0..5 {
        line.write_all(b"late").unwrap();
        assert_eq!(hear(&mut served), "late");
    }
    assert!(begun.elapsed() >= Loss::AGAIN, "none of five was lost");
    proxy.turn(Weather::Fair);
    proxy.turn(Weather::CloseAfter(2));
    served.write_all(b"bye").unwrap();
    assert_eq!(hear(&mut line), "by");
    assert_eq!(hear(&mut line), "");

    proxy.turn(Weather::Fair);
    let (mut line, _served) = dial();
    proxy.turn(Weather::Reset);
    let mut byte = [0];
    assert_eq!(line.read(&mut byte).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

fn hear(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = [0; 100];
    let count = read(stream, &mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    read(stream, &mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

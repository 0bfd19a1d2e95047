//! A line between weir and one server that stops at a word: there somebody may die.
use crate::raw::read;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// When the line stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The server has not heard the word.
    Before,
    /// It has acted on it, and weir has not heard the answer.
    After,
}

pub struct Gate {
    port: u16,
    state: Arc<State>,
    reached: Receiver<()>,
}

struct State {
    server: u16,
    armed: Mutex<Option<(String, When)>>,
    /// What is held is never delivered; its line ends when the gate opens.
    held: Mutex<bool>,
    opened: Condvar,
    reached: Mutex<Sender<()>>,
}

impl Gate {
    pub fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, reached) = channel();
        let (armed, held, opened) = (Mutex::default(), Mutex::new(false), Condvar::new());
        let state = Arc::new(State { server, armed, held, opened, reached: Mutex::new(sender) });
        let of_lines = state.clone();
        // Ends with the test's process.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let state = of_lines.clone();
                match TcpStream::connect(("127.0.0.1", state.server)) {
                    Ok(far) => carry(near, far, &state),
                    Err(_) => drop(near.shutdown(Shutdown::Both)),
                }
            }
        });
        Self { port, state, reached }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first line on which weir says this stops there.
    pub fn arm(&self, word: &str, when: When) {
        *self.state.held.lock().unwrap() = true;
        *self.state.armed.lock().unwrap() = Some((word.to_owned(), when));
    }

    #[track_caller]
    pub fn wait(&self) {
        self.reached.recv_timeout(PATIENCE).expect("weir says the word");
    }

    /// The line that has stopped ends.
    pub fn open(&self) {
        *self.state.armed.lock().unwrap() = None;
        *self.state.held.lock().unwrap() = false;
        self.state.opened.notify_all();
    }
}

impl State {
    /// Whether the line stops before these bytes; otherwise whether it stops before their answer.
    fn hears(&self, bytes: &[u8]) -> Option<When> {
        let mut armed = self.armed.lock().unwrap();
        let (word, when) = armed.as_ref()?;
        let said = bytes.windows(word.len()).any(|part| part == word.as_bytes());
        let when = said.then_some(*when)?;
        *armed = None;
        Some(when)
    }

    fn stop(&self) {
        self.reached.lock().unwrap().send(()).unwrap();
        let held = self.held.lock().unwrap();
        drop(self.opened.wait_while(held, |held| *held).unwrap());
    }
}

/// Carries bytes both ways, in two threads, until one side ends.
fn carry(near: TcpStream, far: TcpStream, state: &Arc<State>) {
    let awaited = Arc::new(AtomicBool::new(false));
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let ends = || (near.try_clone().unwrap(), far.try_clone().unwrap());
    let ((mut from, mut to), said, waits) = (ends(), state.clone(), awaited.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = read(&mut from, &mut buffer) {
            match said.hears(&buffer[..count]) {
                Some(When::Before) => {
                    said.stop();
                    break;
                }
                Some(When::After) => waits.store(true, SeqCst),
                None => {}
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
    let ((mut to, mut from), answered) = (ends(), state.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = read(&mut from, &mut buffer) {
            if awaited.swap(false, SeqCst) {
                answered.stop();
                break;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
}

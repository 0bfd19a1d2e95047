//! A client that speaks PostgreSQL's protocol message by message, right or wrong, and writes down
//! what it hears: two servers that do the same leave the same transcript.
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

/// Longer than anything a server has to think about here.
const PATIENCE: Duration = Duration::from_secs(8);

pub struct Raw {
    stream: TcpStream,
    input: Vec<u8>,
    /// So many bytes of the input are read.
    taken: usize,
    /// Messages that go with the next Flush, Sync or query.
    output: Vec<u8>,
    transcript: Vec<String>,
    pub pid: u32,
    pub secret: Vec<u8>,
}

/// One message of a server.
pub struct Heard {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Raw {
    /// A connection on which nothing was said yet.
    pub fn dial(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// The same where perhaps nobody listens.
    pub fn try_dial(port: u16) -> Option<Self> {
        TcpStream::connect(("127.0.0.1", port)).ok().map(Self::over)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (input, output, transcript) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, input, taken: 0, output, transcript, pid: 0, secret: Vec::new() }
    }

    /// Waits longer than usual for what it hears.
    pub fn patient(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// Logged in without a password, and ready.
    pub fn connect(port: u16, parameters: &[(&str, &str)]) -> Self {
        let mut raw = Self::dial(port);
        raw.send_startup(3 << 16, parameters);
        raw.await_ready();
        assert!(raw.pid != 0, "no BackendKeyData: {}", raw.transcript());
        raw.transcript.clear();
        raw
    }

    pub fn send_startup(&mut self, version: u32, parameters: &[(&str, &str)]) {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
        }
        body.push(0);
        self.send_packet(&body);
    }

    /// A packet without type byte.
    pub fn send_packet(&mut self, body: &[u8]) {
        self.put_packet(body);
        self.send();
    }

    fn put_packet(&mut self, body: &[u8]) {
        self.output.extend((body.len() as u32 + 4).to_be_bytes());
        self.output.extend(body);
    }

    pub fn put(&mut self, kind: u8, body: &[u8]) -> &mut Self {
        self.output.push(kind);
        self.put_packet(body);
        self
    }

    /// Bytes that may be no message at all.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.output.extend(bytes);
        self
    }

    pub fn send(&mut self) {
        // A peer that has hung up is found by reading.
        drop(self.stream.write_all(&std::mem::take(&mut self.output)));
    }

    /// The client's process is gone.
    pub fn vanish(self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }

    // ---- what drivers say

    pub fn query(&mut self, sql: &str) -> &mut Self {
        self.ask(sql);
        self.await_ready()
    }

    /// A simple query whose answer is read later.
    pub fn ask(&mut self, sql: &str) -> &mut Self {
        self.put(b'Q', &[sql.as_bytes(), &[0]].concat());
        self.send();
        self
    }

    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> &mut Self {
        let mut body = [name.as_bytes(), &[0], sql.as_bytes(), &[0]].concat();
        body.extend((types.len() as u16).to_be_bytes());
        types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        self.put(b'P', &body)
    }

    /// Text parameters and text results.
    pub fn bind(&mut self, portal: &str, statement: &str, values: &[Option<&str>]) -> &mut Self {
        let values: Vec<_> = values.iter().map(|value| value.map(str::as_bytes)).collect();
        self.bind_as(portal, statement, &[], &values, &[])
    }

    pub fn bind_as(
        &mut self,
        portal: &str,
        statement: &str,
        formats: &[u16],
        values: &[Option<&[u8]>],
        results: &[u16],
    ) -> &mut Self {
        let mut body = [portal.as_bytes(), &[0], statement.as_bytes(), &[0]].concat();
        body.extend((formats.len() as u16).to_be_bytes());
        formats.iter().for_each(|format| body.extend(format.to_be_bytes()));
        body.extend((values.len() as u16).to_be_bytes());
        for value in values {
            let length = value.map_or(-1, |value| value.len() as i32);
            body.extend(length.to_be_bytes());
            body.extend(value.unwrap_or_default());
        }
        body.extend((results.len() as u16).to_be_bytes());
        results.iter().for_each(|format| body.extend(format.to_be_bytes()));
        self.put(b'B', &body)
    }

    pub fn describe(&mut self, object: u8, name: &str) -> &mut Self {
        self.put(b'D', &[&[object], name.as_bytes(), &[0]].concat())
    }

    pub fn close(&mut self, object: u8, name: &str) -> &mut Self {
        self.put(b'C', &[&[object], name.as_bytes(), &[0]].concat())
    }

    pub fn execute(&mut self, portal: &str, rows: i32) -> &mut Self {
        self.put(b'E', &[portal.as_bytes(), &[0], &rows.to_be_bytes()].concat())
    }

    /// Sends what is said so far and waits for `count` messages.
    pub fn flush(&mut self, count: usize) -> &mut Self {
        self.put(b'H', b"");
        self.send();
        self.hear(count)
    }

    pub fn sync(&mut self) -> &mut Self {
        self.put(b'S', b"");
        self.send();
        self.await_ready()
    }

    pub fn copy_data(&mut self, data: &str) -> &mut Self {
        self.put(b'd', data.as_bytes())
    }

    pub fn copy_done(&mut self) -> &mut Self {
        self.put(b'c', b"")
    }

    pub fn copy_fail(&mut self, reason: &str) -> &mut Self {
        self.put(b'f', &[reason.as_bytes(), &[0]].concat())
    }

    // ---- what servers answer

    /// The next message; `None` when the server has hung up or said nothing in time.
    pub fn next(&mut self) -> Option<Heard> {
        loop {
            let input = &self.input[self.taken..];
            if let Some(&[kind, a, b, c, d]) = input.first_chunk() {
                let end = u32::from_be_bytes([a, b, c, d]) as usize + 1;
                if input.len() >= end {
                    let body = input[5..end].to_vec();
                    self.taken += end;
                    return Some(Heard { kind, body });
                }
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// One byte that is no message: the answer to an SSLRequest.
    pub fn next_byte(&mut self) -> Option<u8> {
        if self.taken == self.input.len() && !self.fill() {
            return None;
        }
        self.taken += 1;
        Some(self.input[self.taken - 1])
    }

    fn fill(&mut self) -> bool {
        self.input.drain(..std::mem::take(&mut self.taken));
        let mut buffer = [0; 65_536];
        match read(&mut self.stream, &mut buffer) {
            Ok(0) => self.note("hung up"),
            Ok(count) => {
                self.input.extend(&buffer[..count]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.note("silence"),
            // The peer has closed with something unread: to a client that is the same.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.note("hung up"),
            Err(error) => self.note(&format!("cannot read: {error}")),
        }
        false
    }

    fn note(&mut self, what: &str) {
        self.transcript.push(what.to_owned());
    }

    /// Hears up to ReadyForQuery.
    pub fn await_ready(&mut self) -> &mut Self {
        self.hear_until(b"Z")
    }

    /// Hears up to a message of one of these kinds.
    pub fn hear_until(&mut self, kinds: &[u8]) -> &mut Self {
        while let Some(heard) = self.next() {
            self.write_down(&heard);
            if kinds.contains(&heard.kind) {
                break;
            }
        }
        self
    }

    pub fn hear(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            match self.next() {
                Some(heard) => self.write_down(&heard),
                None => break,
            }
        }
        self
    }

    /// Hears all that comes until the server hangs up.
    pub fn hear_the_end(&mut self) -> &mut Self {
        self.hear_until(b"")
    }

    fn write_down(&mut self, heard: &Heard) {
        if heard.kind == b'K' {
            self.pid = u32::from_be_bytes(*heard.body.first_chunk().unwrap());
            self.secret = heard.body[4..].to_vec();
        }
        self.transcript.push(heard.show());
    }

    pub fn transcript(&self) -> String {
        self.transcript.join("\n")
    }

    /// What was written down since the last time.
    pub fn take_transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript).join("\n")
    }

    /// The first column of the first row that the query gives, or its SQLSTATE.
    pub fn value(&mut self, sql: &str) -> String {
        let before = std::mem::take(&mut self.transcript);
        self.query(sql);
        let after = std::mem::replace(&mut self.transcript, before);
        let row = after.iter().find_map(|line| line.strip_prefix("D")).map(str::trim_start);
        let error = after.iter().find_map(|line| line.strip_prefix("E "));
        match (row, error) {
            (Some(row), _) => row.to_owned(),
            (None, Some(error)) => {
                error.split(' ').find_map(|f| f.strip_prefix("C=")).unwrap_or("?").to_owned()
            }
            (None, None) => after.join("\n"),
        }
    }
}

/// Reads once. A signal to the process, whichever it is, may end a read that has a time limit with
/// EINTR (see signal(7)), although nothing is wrong with the line: it is begun anew.
pub fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

impl Heard {
    /// A line for people; what no two servers have in common is left out: process ids, the source
    /// lines of errors, the OIDs of what users have made.
    fn show(&self) -> String {
        let mut body = Body(&self.body);
        let mut line = format!("{} ", self.kind as char);
        match self.kind {
            b'T' => {
                for _ in 0..body.u16() {
                    let name = body.string();
                    let (table, column) = (oid(body.u32()), body.u16());
                    let (kind, size) = (oid(body.u32()), body.u16() as i16);
                    let (modifier, format) = (body.u32() as i32, body.u16());
                    write!(line, "{name}:{table}.{column}:{kind}:{size}:{modifier}:{format} ")
                        .unwrap();
                }
            }
            b't' => {
                for _ in 0..body.u16() {
                    write!(line, "{} ", oid(body.u32())).unwrap();
                }
            }
            b'D' => {
                let values: Vec<_> = (0..body.u16()).map(|_| body.value()).collect();
                line.push_str(&values.join("|"));
            }
            b'E' | b'N' => {
                while let Some(field) = body.0.first().copied().filter(|&field| field != 0) {
                    body.take(1);
                    let text = body.string();
                    if !b"FLRS".contains(&field) {
                        write!(line, "{}={text} ", field as char).unwrap();
                    }
                }
            }
            b'A' => {
                body.u32();
                write!(line, "{} {}", body.string(), body.string()).unwrap();
            }
            b'K' => {}
            _ => line.push_str(&printable(&self.body)),
        }
        line.trim_end().to_owned()
    }

    /// A field of an error or a notice.
    pub fn field(&self, name: u8) -> Option<String> {
        let mut body = Body(&self.body);
        while let Some(field) = body.0.first().copied().filter(|&field| field != 0) {
            body.take(1);
            let text = body.string();
            if field == name {
                return Some(text);
            }
        }
        None
    }
}

/// Objects made by users have other OIDs on each server.
fn oid(oid: u32) -> String {
    if oid < 16_384 { oid.to_string() } else { "user".to_owned() }
}

fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(*self.take(2).first_chunk().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(*self.take(4).first_chunk().unwrap())
    }

    fn string(&mut self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap();
        let text = String::from_utf8_lossy(self.take(end)).into_owned();
        self.take(1);
        text
    }

    fn value(&mut self) -> String {
        match self.u32() as i32 {
            -1 => "NULL".to_owned(),
            length => match std::str::from_utf8(self.take(length as usize)) {
                Ok(text) if !text.contains(char::is_control) => text.to_owned(),
                Ok(text) => printable(text.as_bytes()),
                Err(error) => format!("not UTF-8 after {}", error.valid_up_to()),
            },
        }
    }
}

#[test]
fn a_client_whose_process_gets_signals_does_not_take_them_for_the_end() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut raw = Raw::dial(server.local_addr().unwrap().port());
    let (mut far, _) = server.accept().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Time to begin to read. A stop and its end reach every thread, without a handler.
            thread::sleep(Duration::from_millis(200));
            let pid = process::id();
            let script = format!("kill -s STOP {pid}; sleep 0.05; kill -s CONT {pid}");
            assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
            far.write_all(b"Z\0\0\0\x05I").unwrap();
        });
        assert_eq!(raw.await_ready().take_transcript(), "Z I");
    });
}

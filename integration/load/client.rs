//! A client that costs little: ready-made messages out, and nothing looked at but what came of them.
use super::Step;
use crate::cluster::DATABASE;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    stream: TcpStream,
    /// What was read and not looked at yet.
    input: Vec<u8>,
}

/// A simple query's message.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), &[0]].concat())
}

/// The messages that parse a statement under a name.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    let body = [name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat();
    [message(b'P', &body), message(b'S', &[])].concat()
}

/// The messages that run a parsed statement with one parameter, as text.
pub fn execute(name: &str, parameter: &str) -> Vec<u8> {
    let length = (parameter.len() as u32).to_be_bytes();
    let bind: &[&[u8]] =
        &[&[0], name.as_bytes(), &[0, 0, 0, 0, 1], &length, parameter.as_bytes(), &[0, 0]];
    let execute = message(b'E', &[0, 0, 0, 0, 0]);
    [message(b'B', &bind.concat()), execute, message(b'S', &[])].concat()
}

/// The messages that parse a statement without a name and run it with one parameter, as text.
pub fn at_once(sql: &str, parameter: &str) -> Vec<u8> {
    let parse = message(b'P', &[&[0], sql.as_bytes(), &[0, 0, 0]].concat());
    [parse, execute("", parameter)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

impl Client {
    pub async fn connect(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, input: Vec::new() };
        let said = format!("user\0postgres\0database\0{DATABASE}\0\0");
        let length = (said.len() as u32 + 8).to_be_bytes();
        let startup = [&length[..], &(3_u32 << 16).to_be_bytes(), said.as_bytes()].concat();
        client.ask(&startup).await?;
        Ok(client)
    }

    /// Does all of it; the first error ends it.
    pub async fn go_through(&mut self, script: &[Step]) -> Result<(), String> {
        for step in script {
            match step {
                Step::Ask(messages) => self.ask(messages).await?,
                Step::Work(time) => tokio::time::sleep(*time).await,
            }
        }
        Ok(())
    }

    /// Says this and hears up to ReadyForQuery; an error if there was one.
    pub async fn ask(&mut self, messages: &[u8]) -> Result<(), String> {
        self.stream.write_all(messages).await.map_err(|error| error.to_string())?;
        let mut error = None;
        loop {
            match self.next().await.map_err(|error| error.to_string())? {
                (b'Z', _) => return error.map_or(Ok(()), Err),
                (b'E', body) => {
                    let text = String::from_utf8_lossy(&body).replace('\0', " ");
                    if text.contains("SFATAL") {
                        return Err(text);
                    }
                    error = Some(text);
                }
                _ => {}
            }
        }
    }

    /// A message's kind, and its text if that is an error's.
    async fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some(&[kind, a, b, c, d]) = self.input.first_chunk() {
                let end = u32::from_be_bytes([a, b, c, d]) as usize + 1;
                if self.input.len() >= end {
                    let message = self.input.drain(..end);
                    let body = if kind == b'E' { message.skip(5).collect() } else { Vec::new() };
                    return Ok((kind, body));
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

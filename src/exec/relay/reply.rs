//! What is expected of servers, in order.
use crate::exec::running::Running;
use crate::sql::rewrite::Rendered;
use bytes::BytesMut;
use std::rc::Rc;

/// What one expected answer consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Execute,
    Close,
    /// Up to ReadyForQuery after a Sync.
    Sync,
    /// Up to ReadyForQuery after a simple query.
    Query,
}

/// What the client sees of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    Forward,
    /// Nothing, unless it is an error: that is the client's.
    Swallow,
    /// The same, and what the server remarks.
    Notices,
    /// Nothing, and rows and tags are kept for weir itself.
    Capture,
    /// Nothing at all, whatever comes.
    Discard,
}

/// One expected answer.
#[derive(Debug)]
pub enum Reply {
    /// weir's own bytes, at their place in the order.
    Local(BytesMut),
    Server {
        at: usize,
        step: Step,
        show: Show,
        edit: Option<Rc<Edit>>,
    },
    /// Which server answers is not known yet.
    Unsited,
    /// No answer: everything before it has been answered.
    Mark,
    /// No answer: the one before it was this statement's.
    Timed(Running),
}

/// How an error speaks of the client's statement, where a server was sent another text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edit {
    /// What is added to an error's position, in characters.
    pub shift: i32,
    /// A server's name for a prepared statement, and the client's.
    pub name: Option<(String, String)>,
    /// What the server was sent in the place of what the client wrote.
    pub spliced: Option<(Rendered, String)>,
}

impl Edit {
    /// A field of an error in the client's terms; `None` where it stays.
    pub(super) fn text(&self, field: u8, text: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?;
        match (field, &self.name) {
            (b'P', _) => {
                let there = text.parse::<i32>().ok()?;
                let here = match &self.spliced {
                    None => there,
                    Some((sent, original)) => sent.position(original, there),
                };
                Some(here.saturating_add(self.shift).max(1).to_string().into_bytes())
            }
            (b'M', Some((theirs, ours))) => {
                let (theirs, ours) = (format!("\"{theirs}\""), format!("\"{ours}\""));
                Some(text.replace(&theirs, &ours).into_bytes())
            }
            _ => None,
        }
    }
}

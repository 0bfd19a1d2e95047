//! The terminal: another screen while `weir top` runs, drawn in place; the one before comes back at the end.
use super::frame::{Frame, Kind};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use std::io::{self, Stdout, Write};
use std::time::Instant;

const KEYS: &str = "Tab table · ← → sort · r reverse · space now · q quit";

pub struct Screen {
    out: Stdout,
}

/// What the reader wants.
pub enum Key {
    /// Nothing before the next look.
    None,
    Quit,
    Table,
    Column(isize),
    Reverse,
    Now,
    /// The window has another size.
    Redraw,
}

impl Screen {
    pub fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let mut out = io::stdout();
        execute!(out, EnterAlternateScreen, Hide)?;
        Ok(Self { out })
    }

    /// The terminal as it was.
    pub fn close(&mut self) -> io::Result<()> {
        execute!(self.out, Show, LeaveAlternateScreen)?;
        disable_raw_mode()
    }

    /// Lines for a frame: all but the last, which says the keys.
    pub fn height(&self) -> usize {
        size().map_or(24, |(_, rows)| usize::from(rows)).saturating_sub(1)
    }

    pub fn draw(&mut self, frame: &Frame, problem: Option<&str>) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or((80, 24));
        let width = usize::from(columns);
        let height = usize::from(rows).saturating_sub(1);
        for (row, line) in (0..).zip(frame.lines.iter().take(height)) {
            let attribute = match line.kind {
                Kind::Signals | Kind::Title => Attribute::Bold,
                Kind::Chosen => Attribute::Underlined,
                Kind::Head => Attribute::Reverse,
                Kind::Row => Attribute::Reset,
            };
            let text = cut(&line.text, width);
            let text = match line.kind {
                Kind::Head => format!("{text:<width$}"),
                Kind::Signals | Kind::Title | Kind::Chosen | Kind::Row => text,
            };
            queue!(
                self.out,
                MoveTo(0, row),
                SetAttribute(attribute),
                Print(text),
                SetAttribute(Attribute::Reset),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        let below = frame.lines.len().min(height);
        queue!(self.out, MoveTo(0, below as u16), Clear(ClearType::FromCursorDown))?;
        let problem = problem.map(|text| text.replace('\n', " · "));
        let last = cut(problem.as_deref().unwrap_or(KEYS), width.saturating_sub(1));
        queue!(self.out, MoveTo(0, height as u16), Print(last))?;
        self.out.flush()
    }

    /// The next key until then.
    pub fn key(&mut self, until: Instant) -> io::Result<Key> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left)? {
                return Ok(Key::None);
            }
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match meaning(key) {
                    Some(key) => return Ok(key),
                    None => continue,
                },
                Event::Resize(_, _) => return Ok(Key::Redraw),
                _ => continue,
            }
        }
    }
}

fn meaning(KeyEvent { code, modifiers, .. }: KeyEvent) -> Option<Key> {
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Tab => Some(Key::Table),
        KeyCode::Right | KeyCode::Char('s') => Some(Key::Column(1)),
        KeyCode::Left => Some(Key::Column(-1)),
        KeyCode::Char('r') => Some(Key::Reverse),
        KeyCode::Char(' ') => Some(Key::Now),
        _ => None,
    }
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

//! A plan over several servers as it is written: lines as PostgreSQL writes its own plans, or JSON.
use crate::sql::encoding::Encoding;
use crate::sql::explained::Format;
use std::time::Duration;

/// What one server says, line by line, in the client's encoding.
pub type Told = Vec<Vec<u8>>;

/// A step, with what it consists of.
#[derive(Debug)]
pub struct Node {
    kind: &'static str,
    facts: Vec<(&'static str, Fact)>,
    steps: Vec<Node>,
    /// The server's own word.
    plan: Option<Told>,
}

#[derive(Debug)]
enum Fact {
    Text(String),
    Number(u64),
    Time(Duration),
}

impl Node {
    pub fn new(kind: &'static str) -> Self {
        Self { kind, facts: Vec::new(), steps: Vec::new(), plan: None }
    }

    pub fn text(&mut self, name: &'static str, text: impl Into<String>) {
        self.facts.push((name, Fact::Text(text.into())));
    }

    pub fn number(&mut self, name: &'static str, number: u64) {
        self.facts.push((name, Fact::Number(number)));
    }

    pub fn time(&mut self, name: &'static str, time: Duration) {
        self.facts.push((name, Fact::Time(time)));
    }

    pub fn step(&mut self, step: Node) {
        self.steps.push(step);
    }

    pub fn plan(&mut self, told: Told) {
        self.plan = Some(told);
    }

    /// The values of the answer's rows.
    pub fn rows(&self, format: Format, encoding: Encoding) -> Told {
        match format {
            Format::Text => {
                let mut page = Page { lines: Vec::new(), encoding };
                page.node(self, 0, "");
                page.lines
            }
            Format::Json => {
                let mut page = Page { lines: Vec::new(), encoding };
                page.line(0, "[");
                page.line(1, "{");
                page.line(2, "\"Plan\": {");
                page.object(self, 3);
                page.line(2, "}");
                page.line(1, "}");
                page.line(0, "]");
                vec![page.lines.join(&b'\n')]
            }
        }
    }
}

struct Page {
    lines: Told,
    encoding: Encoding,
}

impl Page {
    /// `depth`: in pairs of blanks.
    fn line(&mut self, depth: usize, text: &str) {
        let text = self.encoding.bytes(text).into_owned();
        self.raw(depth, b"", &text);
    }

    fn raw(&mut self, depth: usize, before: &[u8], text: &[u8]) {
        let mut line = vec![b' '; 2 * depth];
        line.extend(before);
        line.extend(text);
        self.lines.push(line);
    }

    fn node(&mut self, node: &Node, depth: usize, arrow: &str) {
        self.line(depth, &format!("{arrow}{}", node.kind));
        let inner = depth + arrow.len() / 2 + 1;
        for (name, fact) in &node.facts {
            match fact {
                Fact::Text(text) => {
                    let blanks = " ".repeat(name.len() + 2);
                    for (number, line) in text.lines().enumerate() {
                        let before = if number == 0 { format!("{name}: ") } else { blanks.clone() };
                        self.line(inner, &format!("{before}{line}"));
                    }
                }
                Fact::Number(number) => self.line(inner, &format!("{name}: {number}")),
                Fact::Time(time) => {
                    self.line(inner, &format!("{name}: {} ms", milliseconds(*time)));
                }
            }
        }
        for step in &node.steps {
            self.node(step, inner, "->  ");
        }
        for (number, line) in node.plan.iter().flatten().enumerate() {
            let before: &[u8] = if number == 0 { b"->  " } else { b"    " };
            self.raw(inner, before, line);
        }
    }

    /// A node's members without the braces.
    fn object(&mut self, node: &Node, depth: usize) {
        let mut members = vec![format!("\"Node Type\": {}", quoted(node.kind))];
        members.extend(node.facts.iter().map(|(name, fact)| {
            let value = match fact {
                Fact::Text(text) => quoted(text),
                Fact::Number(number) => number.to_string(),
                Fact::Time(time) => milliseconds(*time),
            };
            format!("{}: {value}", quoted(name))
        }));
        let count = members.len();
        let nested = !node.steps.is_empty() || node.plan.is_some();
        for (number, member) in members.into_iter().enumerate() {
            let comma = if number + 1 < count || nested { "," } else { "" };
            self.line(depth, &format!("{member}{comma}"));
        }
        if !node.steps.is_empty() {
            self.line(depth, "\"Plans\": [");
            for (number, step) in node.steps.iter().enumerate() {
                self.line(depth + 1, "{");
                self.object(step, depth + 2);
                let comma = if number + 1 < node.steps.len() { "," } else { "" };
                self.line(depth + 1, &format!("}}{comma}"));
            }
            let comma = if node.plan.is_some() { "," } else { "" };
            self.line(depth, &format!("]{comma}"));
        }
        // A server's JSON is one value of several lines.
        let lines = node.plan.iter().flatten().flat_map(|told| told.split(|&byte| byte == b'\n'));
        for (number, line) in lines.enumerate() {
            let before: &[u8] = if number == 0 { b"\"Server Plan\": " } else { b"" };
            self.raw(depth, before, line);
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// How many rows a measured plan gave; `None`: it does not say so.
pub fn actual_rows(told: &Told, format: Format) -> Option<u64> {
    let first = String::from_utf8_lossy(told.first()?);
    let (line, name) = match format {
        // Of the uppermost step, whose line is the first.
        Format::Text => (first.get(first.find("(actual ")?..)?, "rows="),
        // Its members come before those of the steps inside.
        Format::Json => (first.as_ref(), "\"Actual Rows\": "),
    };
    let number = line.get(line.find(name)? + name.len()..)?;
    let end = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
    number.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Node {
        let mut task = Node::new("Task");
        task.text("Shard", "s0");
        task.plan(vec![b"[\n  1\n]".to_vec()]);
        let mut root = Node::new("Weir Merge");
        root.text("Query", "SELECT 'a\\'\n\t\u{1}FROM \"é\"");
        root.number("Task Count", 2);
        root.time("Time", Duration::from_micros(1500));
        root.step(task);
        root.step(Node::new("Task"));
        root
    }

    #[track_caller]
    fn check(format: Format, expected: &str) {
        let rows = plan().rows(format, Encoding::Utf8);
        assert_eq!(String::from_utf8(rows.join(&b'\n')).unwrap(), expected);
    }

    #[test]
    fn a_plan_is_written_as_postgresql_writes_its_own() {
        let text = "Weir Merge\n  Query: SELECT 'a\\'\n         \t\u{1}FROM \"é\"\n  Task Count: 2\n  \
                    Time: 1.500 ms\n  ->  Task\n        Shard: s0\n        ->  [\n  1\n]\n  ->  Task";
        check(Format::Text, text);
    }

    #[test]
    fn json_has_the_servers_own_inside() {
        check(
            Format::Json,
            r#"[
  {
    "Plan": {
      "Node Type": "Weir Merge",
      "Query": "SELECT 'a\\'\n\t\u0001FROM \"é\"",
      "Task Count": 2,
      "Time": 1.500,
      "Plans": [
        {
          "Node Type": "Task",
          "Shard": "s0",
          "Server Plan": [
            1
          ]
        },
        {
          "Node Type": "Task"
        }
      ]
    }
  }
]"#,
        );
    }

    #[test]
    fn rows_are_those_of_the_uppermost_step() {
        let rows = |line: &str, format| actual_rows(&vec![line.as_bytes().to_vec()], format);
        let line = "Limit  (cost=0.00..1.00 rows=9 width=8) (actual time=0.1..0.2 rows=3 loops=1)";
        assert_eq!(rows(line, Format::Text), Some(3));
        assert_eq!(rows("Limit (actual rows=12.00 loops=1)", Format::Text), Some(12));
        assert_eq!(rows("Limit  (cost=0.00..1.00 rows=9 width=8)", Format::Text), None);
        let json =
            r#"[{"Plan": {"Plan Rows": 9, "Actual Rows": 3, "Plans": [{"Actual Rows": 4}]}}]"#;
        assert_eq!(rows(json, Format::Json), Some(3));
        assert_eq!(rows("[]", Format::Json), None);
    }
}

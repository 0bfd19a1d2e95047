//! Medians, ratios, Markdown.
use crate::Options;
use crate::chart;
use crate::groups::{Case, Group};
use crate::meter::Sample;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A case after its rounds.
pub struct Measured {
    pub samples: Vec<Sample>,
    /// System calls for each transaction, login or MB.
    pub calls: Option<f64>,
}

impl Measured {
    pub fn cost(&self) -> Option<f64> {
        median(self.samples.iter().filter_map(Sample::cost))
    }

    fn each_second(&self) -> Option<f64> {
        median(self.samples.iter().map(|sample| sample.done.each_second()))
    }

    fn percentile(&self, percent: usize) -> Option<f64> {
        median(
            self.samples.iter().filter_map(|sample| sample.done.percentile(percent)).map(f64::from),
        )
    }

    /// MiB.
    fn memory(&self) -> Option<f64> {
        let peaks = self.samples.iter().filter_map(|sample| sample.used.as_ref());
        peaks.map(|used| used.memory as f64 / 1024.0).reduce(f64::max)
    }

    /// Bytes; what earlier rounds have left behind is not taken anew.
    pub fn idle_memory(&self) -> Option<f64> {
        self.samples.iter().filter_map(|sample| sample.idle_memory).reduce(f64::max)
    }

    /// The median of each round's ratio.
    fn ratio(&self, other: &Self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let rounds = self.samples.iter().zip(&other.samples);
        median(rounds.filter_map(|(own, other)| Some(of(own)? / of(other)?)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

pub fn table(group: &Group, measured: &[Measured]) -> String {
    let unit = group.unit.word();
    let mut text = format!(
        "### {}\n\n\
         | | {unit}s/s | × | p50, µs | p95, µs | p99, µs | CPU µs/{unit} | × | calls/{unit} | peak MiB | beside |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
        group.name
    );
    for (case, own) in group.cases.iter().zip(measured) {
        let other = &measured[case.against];
        let cells = [
            digits(own.each_second(), 0),
            digits(own.ratio(other, |sample| Some(sample.done.each_second())), 2),
            digits(own.percentile(50), 0),
            digits(own.percentile(95), 0),
            digits(own.percentile(99), 0),
            digits(own.cost(), 1),
            digits(own.ratio(other, Sample::cost), 2),
            digits(own.calls, 1),
            digits(own.memory(), 1),
        ];
        let beside = group.cases[case.against].name();
        let beside = if std::ptr::eq(own, other) { "–".to_owned() } else { beside };
        writeln!(text, "| {} | {} | {beside} |", case.name(), cells.join(" | ")).unwrap();
    }
    for (case, own) in group.cases.iter().zip(measured) {
        if let Some(bytes) = own.idle_memory() {
            write!(text, "\n{}: {:.1} KiB for each idle client.\n", case.name(), bytes / 1024.0)
                .unwrap();
        }
    }
    text
}

fn digits(number: Option<f64>, digits: usize) -> String {
    number.map_or("–".to_owned(), |number| format!("{number:.digits$}"))
}

/// What stands between these is made by the benchmark.
const MARKS: [&str; 2] = ["<!-- measured: begin -->\n", "<!-- measured: end -->\n"];

pub fn write(folder: &Path, all: &[(Group, Vec<Measured>)], options: &Options) {
    let file = folder.join("performance.md");
    let text = fs::read_to_string(&file).expect("performance.md is there");
    let (before, rest) = text.split_once(MARKS[0]).expect("performance.md has its first mark");
    let (_, after) = rest.split_once(MARKS[1]).expect("performance.md has its second mark");
    let mut figures = machine(options);
    for (group, measured) in all {
        let picture = format!("performance-{}.svg", slug(&group.name));
        let costs: Vec<(String, f64)> = group
            .cases
            .iter()
            .zip(measured)
            .filter_map(|(case, measured)| Some((Case::name(case), measured.cost()?)))
            .collect();
        let title = format!("{}: CPU µs for each {}", group.name, group.unit.word());
        fs::write(folder.join(&picture), chart::bars(&title, &costs)).unwrap();
        write!(figures, "\n{}\n![{title}]({picture})\n", table(group, measured)).unwrap();
    }
    fs::write(&file, [before, MARKS[0], &figures, MARKS[1], after].concat()).unwrap();
}

fn slug(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
}

/// Where and with what it was measured.
fn machine(options: &Options) -> String {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.ok().and_then(|text| Some(text.lines().next()?.trim().to_owned())).unwrap_or_default()
    };
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = processors.lines().filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<&str> = models.map(|line| line.trim_start_matches(['\t', ' ', ':'])).collect();
    let versions = [
        first_line("postgres", "--version"),
        first_line("pgbouncer", "--version"),
        first_line("haproxy", "-v"),
        first_line("uname", "-sr"),
    ];
    let versions: Vec<String> =
        versions.into_iter().filter(|version| !version.is_empty()).collect();
    format!(
        "{} × {}; {}. {} rounds of {} s, scale {}.\n",
        models.len(),
        models.first().unwrap_or(&"a processor"),
        versions.join("; "),
        options.rounds(),
        options.seconds().as_secs_f64(),
        options.scale(),
    )
}

//! A bar for each case, as SVG.
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 280.0;
/// Where a bar's number stands.
const NUMBERS: f64 = 60.0;
const LINE: f64 = 24.0;
const BAR: f64 = 16.0;

pub fn bars(title: &str, values: &[(String, f64)]) -> String {
    let most = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let height = LINE * (values.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' \
         font-family='sans-serif' font-size='13'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='8' y='{LINE}' font-weight='bold'>{}</text>\n",
        escaped(title)
    );
    for (at, (name, value)) in values.iter().enumerate() {
        let y = LINE * (at as f64 + 1.5);
        let (long, base) = ((WIDTH - LABELS - NUMBERS) * value / most, y + BAR - 3.0);
        let colour = if name.starts_with("weir") { "#1f6f8b" } else { "#b0b7bd" };
        writeln!(
            svg,
            "<text x='8' y='{base:.0}'>{}</text>\
             <rect x='{LABELS}' y='{y:.0}' width='{long:.1}' height='{BAR}' fill='{colour}'/>\
             <text x='{:.1}' y='{base:.0}'>{value:.1}</text>",
            escaped(name),
            LABELS + long + 6.0,
        )
        .unwrap();
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

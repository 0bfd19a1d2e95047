//! The dashboard: a page, its style and its scripts. Data comes from the API and /metrics, by the scripts.
//!
//! Nothing is loaded from elsewhere, and nothing stands inside the page that a browser would run: its
//! content policy forbids both. There is no build step: browsers get the files as they are here.
//!
//! - `dashboard.js`: tabs, and who looks · `api.js`: what is asked for · `dom.js`: elements and numbers
//! - `overview.js`: golden signals and cluster map, from `metrics.js`' deltas
//! - `table.js`: any view · `tools.js`: explain, rules, actions

pub struct File {
    pub kind: &'static str,
    pub text: &'static str,
}

/// The file of that path.
pub fn file(path: &str) -> Option<File> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (kind, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("index.html")),
        "/weir.svg" => ("image/svg+xml", include_str!("weir.svg")),
        "/dashboard.css" => ("text/css; charset=utf-8", include_str!("dashboard.css")),
        "/dashboard.js" => (SCRIPT, include_str!("dashboard.js")),
        "/api.js" => (SCRIPT, include_str!("api.js")),
        "/dom.js" => (SCRIPT, include_str!("dom.js")),
        "/metrics.js" => (SCRIPT, include_str!("metrics.js")),
        "/overview.js" => (SCRIPT, include_str!("overview.js")),
        "/table.js" => (SCRIPT, include_str!("table.js")),
        "/tools.js" => (SCRIPT, include_str!("tools.js")),
        _ => return None,
    };
    Some(File { kind, text })
}

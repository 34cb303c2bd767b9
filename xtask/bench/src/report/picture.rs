//! The picture: bars of how each contender does relative to HAProxy, as an SVG that is readable on
//! light and dark pages.

use std::fmt::Write as _;

use crate::metric::Metric;
use crate::plan::{Contender, Measure, Setup};
use crate::results::Results;

/// What is drawn of each set-up.
const GROUPS: [(&str, Measure, Metric); 6] = [
    ("bulk, 1 stream: throughput", Measure::Bulk1, Metric::Throughput),
    ("bulk, 8 streams: throughput", Measure::Bulk8, Metric::Throughput),
    ("short connections: rate", Measure::Short, Metric::Rate),
    ("short connections per proxy CPU-second", Measure::Short, Metric::ProxyPerConnection),
    ("ping-pong, 1 connection: 1 / p50", Measure::PingPong1, Metric::P50),
    ("ping-pong, 256 connections: rate", Measure::PingPong256, Metric::Rate),
];

const MARGIN: u32 = 20;
/// One set-up's, side by side with the other one's.
const COLUMN: u32 = 460;
/// Left of the bars, for the contenders' names.
const NAMES: u32 = 105;
/// Right of the longest bar, for its number.
const NUMBERS: u32 = 60;
const BAR: u32 = 16;
const GAP: u32 = 4;
const HEADING: u32 = 30;
/// From a bar's top to where its text stands on.
const BASELINE: u32 = 13;

const STYLE: &str = "\
  .page { fill: #ffffff; }
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .setup { font-size: 17px; font-weight: 600; }
  .group { font-weight: 600; }
  .one { stroke: #1f2328; stroke-dasharray: 3 3; opacity: .5; }
  .direct { fill: #9aa4af; } .peer { fill: #6c8ebf; } .foreword { fill: #d9622b; }
  .failed { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; }
    text { fill: #e6edf3; } .one { stroke: #e6edf3; }
    .direct { fill: #6e7681; } .peer { fill: #7a9fd4; } .foreword { fill: #f0833a; }
    .failed { fill: #ff7b72; }
  }
";

/// Draws whatever of it was measured, a column for each set-up.
pub fn draw(results: &Results, contenders: &[Contender]) -> String {
    let mut canvas = Canvas { x: MARGIN, y: MARGIN, body: String::new() };
    canvas.text("setup", "Relative to HAProxy with its defaults; longer is better");
    let top = canvas.y;
    let (mut width, mut bottom) = (MARGIN, top);
    for setup in [Setup::Plain, Setup::Transparent] {
        let groups = GROUPS.map(|(title, measure, metric)| {
            (title, bars(results, contenders, (setup, measure), metric))
        });
        if groups.iter().all(|(_, bars)| bars.is_empty()) {
            continue;
        }
        canvas.heading(&format!("Set-up: {}", setup.title()));
        for (title, bars) in groups.iter().filter(|(_, bars)| !bars.is_empty()) {
            canvas.group(title, bars);
        }
        bottom = bottom.max(canvas.y);
        width += COLUMN;
        (canvas.x, canvas.y) = (width, top);
    }
    canvas.finish(width.max(COLUMN), bottom + MARGIN)
}

/// A contender, and how many times better than HAProxy it is; `None` if it has failed.
type Bar = (Contender, Option<f64>);

/// Nothing without HAProxy's number to compare with.
fn bars(
    results: &Results,
    contenders: &[Contender],
    (setup, measure): (Setup, Measure),
    metric: Metric,
) -> Vec<Bar> {
    let base = Contender::Haproxy;
    if results.summary((setup, measure, base), metric).is_none() {
        return Vec::new();
    }
    let bar = |&contender: &Contender| {
        let case = (setup, measure, contender);
        let gain = results.gain(case, base, metric);
        (gain.is_some() || results.has_failed(case)).then_some((contender, gain))
    };
    contenders.iter().filter_map(bar).collect()
}

/// What is drawn so far, and where to go on.
struct Canvas {
    x: u32,
    y: u32,
    body: String,
}

impl Canvas {
    fn heading(&mut self, text: &str) {
        self.y += HEADING;
        self.text("setup", text);
    }

    fn text(&mut self, class: &str, text: &str) {
        let (x, y) = (self.x, self.y + BASELINE);
        let _ = writeln!(self.body, r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#);
    }

    /// The bars share a scale whose end is the longest one. HAProxy's end is marked.
    fn group(&mut self, title: &str, bars: &[Bar]) {
        self.y += HEADING;
        self.text("group", title);
        self.y += BAR + GAP;
        let longest = bars.iter().filter_map(|(_, gain)| *gain).fold(1.0, f64::max);
        let scale = f64::from(COLUMN - MARGIN - NAMES - NUMBERS) / longest;
        let top = self.y;
        for &(contender, gain) in bars {
            self.bar(contender, gain, scale);
        }
        let x = f64::from(self.x + NAMES) + scale;
        let bottom = self.y - GAP;
        let _ = writeln!(
            self.body,
            r#"<line class="one" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/>"#
        );
    }

    fn bar(&mut self, contender: Contender, gain: Option<f64>, scale: f64) {
        self.text("name", contender.title());
        let start = self.x + NAMES;
        let width = gain.unwrap_or_default() * scale;
        let class = match contender {
            Contender::Direct => "direct",
            Contender::Foreword | Contender::ForewordOnLo | Contender::ForewordAnswersOff => {
                "foreword"
            }
            _ => "peer",
        };
        let (top, baseline) = (self.y, self.y + BASELINE);
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{start}" y="{top}" width="{width:.1}" height="{BAR}" rx="2"/>"#
        );
        let x = f64::from(start) + width + 8.0;
        let (class, label) =
            gain.map_or(("failed", "failed".to_owned()), |gain| ("number", format!("{gain:.2} ×")));
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{baseline}">{label}</text>"#
        );
        self.y += BAR + GAP;
    }

    fn finish(self, width: u32, height: u32) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>Foreword and its peers, \
             relative to HAProxy</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR_TAG: &str = r#" height="16" rx="2"/>"#;
    const ALL: [Contender; 3] = [Contender::Haproxy, Contender::Nginx, Contender::Foreword];

    fn measured(rows: &[(Contender, f64)]) -> Results {
        let mut results = Results::default();
        for &(contender, p50) in rows {
            let case = (Setup::Plain, Measure::PingPong1, contender);
            results.add(case, 1, Ok(vec![(Metric::P50, p50)]));
        }
        results
    }

    #[test]
    fn less_time_is_a_longer_bar() {
        let results = measured(&[(Contender::Haproxy, 30.0), (Contender::Foreword, 15.0)]);
        let svg = draw(&results, &ALL);
        assert!(svg.contains(">2.00 ×<") && svg.contains(">1.00 ×<"), "{svg}");
        assert!(svg.contains(r#"class="foreword" x="125" y="120" width="275.0""#), "{svg}");
        assert!(!svg.contains("nginx"), "{svg}");
        assert_eq!(svg.matches(BAR_TAG).count(), 2);
    }

    #[test]
    fn a_failure_is_drawn_as_one() {
        let mut results = measured(&[(Contender::Haproxy, 30.0)]);
        let case = (Setup::Plain, Measure::PingPong1, Contender::Nginx);
        results.add(case, 1, Err(anyhow::anyhow!("reset")));
        assert!(draw(&results, &ALL).contains(">failed<"));
    }

    #[test]
    fn nothing_is_drawn_without_a_base() {
        let svg = draw(&measured(&[(Contender::Foreword, 30.0)]), &ALL);
        assert!(!svg.contains(BAR_TAG), "{svg}");
    }
}

//! A status that is looked at as it changes: rates, the rules with the most connections, and why
//! connections are refused. Asks once a second, and leaves the terminal as it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};

use super::status::{Refusal, refusals};
use crate::operate::report::Status;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Shows what `look` returns until q, Esc or Ctrl-C.
pub fn run(look: impl Fn() -> Vec<Status>) -> Result<()> {
    let terminal = ratatui::try_init().context("cannot use the terminal")?;
    let watched = watch(terminal, look);
    ratatui::restore();
    watched
}

fn watch(mut terminal: DefaultTerminal, look: impl Fn() -> Vec<Status>) -> Result<()> {
    let mut view = View::new(look(), Instant::now());
    loop {
        terminal.draw(|frame| view.draw(frame)).context("cannot draw")?;
        let due = view.taken + PERIOD;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            if !event::poll(left).context("cannot wait for keys")? {
                break;
            }
            match event::read().context("cannot read keys")? {
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        return Ok(());
                    }
                    _ => {}
                },
                Event::Resize(..) => {
                    terminal.draw(|frame| view.draw(frame)).context("cannot draw")?;
                }
                _ => {}
            }
        }
        view = view.next(look(), Instant::now());
    }
}

/// What is shown: a look, and how it differs from the one before.
#[derive(Debug)]
pub struct View {
    runs: Vec<Status>,
    taken: Instant,
    /// Seconds since the one before; 0: there is none.
    seconds: f64,
    before: Counters,
}

/// Counters of all runs, by whose they are and what they count.
type Counters = BTreeMap<(u32, String, String), u64>;

impl View {
    /// The first one, without rates.
    pub fn new(runs: Vec<Status>, taken: Instant) -> Self {
        let before = counters(&runs);
        Self { runs, taken, seconds: 0.0, before }
    }

    /// The next one.
    #[must_use]
    pub fn next(&self, runs: Vec<Status>, taken: Instant) -> Self {
        let seconds = taken.saturating_duration_since(self.taken).as_secs_f64();
        Self { runs, taken, seconds, before: counters(&self.runs) }
    }

    /// Draws it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [head, rules, refusals, foot] = Layout::vertical([
            Constraint::Length(u16::try_from(self.runs.len().max(1)).unwrap_or(1) + 1),
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        self.draw_rules(frame, rules);
        self.draw_refusals(frame, refusals);
        frame.render_widget(Line::from(" q: quit ").dim(), foot);
    }

    fn head(&self) -> Vec<Line<'_>> {
        if self.runs.is_empty() {
            return vec![Line::from(" no Foreword runs here").bold()];
        }
        let runs = self.runs.iter().map(|run| {
            let Status { version, instance, workers, state, .. } = run;
            let names: Vec<_> = run.interfaces.iter().map(|at| at.name.as_str()).collect();
            let age = humantime::format_duration(Duration::from_secs(run.age().as_secs()));
            Line::from(format!(
                " foreword {version}  instance {instance}  {}  {}  {workers} workers  {} open  \
                 since {age}",
                state.name(),
                names.join(", "),
                run.open(),
            ))
            .bold()
        });
        runs.collect()
    }

    fn draw_rules(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut rules: Vec<_> = self
            .runs
            .iter()
            .flat_map(|run| run.rules.iter().map(move |rule| (run.instance, rule)))
            .map(|(instance, rule)| {
                let rate = |what, now| self.rate(instance, &rule.name, what, now);
                let traffic = &rule.traffic;
                (
                    rate("accepted", traffic.accepted),
                    [
                        rule.name.clone(),
                        traffic.open.to_string(),
                        number(rate("accepted", traffic.accepted)),
                        number(rate("refused", traffic.refusals())),
                        bytes(rate("in", traffic.bytes_in)),
                        bytes(rate("out", traffic.bytes_out)),
                        traffic.accepted.to_string(),
                        traffic.refusals().to_string(),
                        traffic.health_checks.to_string(),
                    ],
                )
            })
            .collect();
        rules.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let head = [
            "RULE",
            "OPEN",
            "NEW/s",
            "REFUSED/s",
            "IN/s",
            "OUT/s",
            "ACCEPTED",
            "REFUSED",
            "CHECKS",
        ];
        let mut widths = vec![Constraint::Min(12)];
        widths.extend([Constraint::Length(11); 8]);
        let rows = rules.into_iter().map(|(_, cells)| Row::new(cells));
        frame.render_widget(
            Table::new(rows, widths)
                .header(Row::new(head).style(Style::new().bold()))
                .block(Block::bordered().title(" rules ")),
            area,
        );
    }

    fn draw_refusals(&self, frame: &mut Frame<'_>, area: Rect) {
        let refusals = self
            .runs
            .iter()
            .flat_map(|run| refusals(run).into_iter().map(|refusal| (run.instance, refusal)));
        let mut rows: Vec<_> = refusals
            .map(|(instance, Refusal { count, whose, why })| {
                let rate = self.rate(instance, whose, why, count);
                (rate, [number(rate), count.to_string(), whose.to_owned(), why.to_owned()])
            })
            .collect();
        rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let rows = rows.into_iter().map(|(_, cells)| Row::new(cells));
        let widths = [
            Constraint::Length(12),
            Constraint::Length(12),
            Constraint::Length(16),
            Constraint::Min(20),
        ];
        frame.render_widget(
            Table::new(rows, widths)
                .header(Row::new(["NOW/s", "COUNT", "RULE", "WHY"]).style(Style::new().bold()))
                .block(Block::bordered().title(" refused or cut short, dropped ")),
            area,
        );
    }

    /// In a second.
    fn rate(&self, instance: u32, whose: &str, what: &str, now: u64) -> f64 {
        if self.seconds == 0.0 {
            return 0.0;
        }
        let before =
            self.before.get(&(instance, whose.to_owned(), what.to_owned())).copied().unwrap_or(now);
        #[allow(clippy::cast_precision_loss, reason = "it is rounded to be shown")]
        let more = now.saturating_sub(before) as f64;
        more / self.seconds
    }
}

fn counters(runs: &[Status]) -> Counters {
    let rules = runs.iter().flat_map(|run| run.rules.iter().map(move |rule| (run.instance, rule)));
    let of_rules = rules.flat_map(|(instance, rule)| {
        let traffic = &rule.traffic;
        [
            ("accepted", traffic.accepted),
            ("refused", traffic.refusals()),
            ("in", traffic.bytes_in),
            ("out", traffic.bytes_out),
        ]
        .map(|(what, count)| ((instance, rule.name.clone(), what.to_owned()), count))
    });
    let of_reasons = runs.iter().flat_map(|run| {
        refusals(run).into_iter().map(|Refusal { count, whose, why }| {
            ((run.instance, whose.to_owned(), why.to_owned()), count)
        })
    });
    of_rules.chain(of_reasons).collect()
}

fn number(rate: f64) -> String {
    format!("{rate:.0}")
}

fn bytes(rate: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is no less than 0"
    )]
    ByteSize(rate as u64).to_string()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::operate::report::{Interface, Rule, Traffic};

    fn run(web: u64, mail: u64) -> Status {
        let rule = |name: &str, accepted| Rule {
            name: name.to_owned(),
            traffic: Traffic {
                accepted,
                bytes_in: accepted * 1024,
                refused: [("no-header".to_owned(), accepted / 2)].into(),
                ..Traffic::default()
            },
            ..Rule::default()
        };
        let interface = Interface { name: "eth0".to_owned(), ..Interface::default() };
        Status {
            version: "1.2.3".to_owned(),
            interfaces: vec![interface],
            rules: vec![rule("web", web), rule("mail", mail)],
            ..Status::default()
        }
    }

    fn drawn(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 20)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let start = Instant::now();
        let first = View::new(vec![run(100, 10)], start);
        let second = first.next(vec![run(120, 210)], start + Duration::from_secs(2));
        let text = drawn(&second);
        let line = |rule: &str| {
            let line = text.lines().find(|line| line.contains(rule)).expect("it is shown");
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("│web")[2..7], ["10", "5", "10.0", "KiB", "0"], "{text}");
        assert_eq!(line("│mail")[2..7], ["100", "50", "100.0", "KiB", "0"], "{text}");
        let place = |rule: &str| text.lines().position(|line| line.contains(rule));
        assert!(place("│mail") < place("│web"), "what has the most comes first:\n{text}");
        let reason = |rule: &str| text.lines().find(|line| line.contains(&format!(" {rule} ")));
        assert!(reason("mail").is_some_and(|line| line.contains("│50 ")), "{text}");
        assert!(reason("web").is_some_and(|line| line.contains("│5 ")), "{text}");
    }

    #[test]
    fn the_first_look_has_no_rates() {
        let text = drawn(&View::new(vec![run(100, 10)], Instant::now()));
        let web = text.lines().find(|line| line.contains("│web")).unwrap();
        assert_eq!(web.split_whitespace().nth(2), Some("0"), "{text}");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert!(drawn(&View::new(Vec::new(), Instant::now())).contains("no Foreword runs here"));
    }
}

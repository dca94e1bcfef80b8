//! The results of the benchmarks: ratios with their goals, the figures behind them, and the machine.
//!
//! Only the ratios of quiet rounds count for the verdict ([`super::foreign`] says why). Both sides of a ratio were
//! measured in turns within one run. The figures depend on the machine and only explain the ratios.

use std::cmp::Ordering;

use serde::Serialize;

use super::foreign::QUIET;
use super::machine::Machine;

/// A verdict needs this many quiet rounds: the median of fewer means little.
const ENOUGH: usize = 3;

/// Minimum, median and maximum of several measurements.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Panics if there is no value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Self { min: values[0], median, max: values[values.len() - 1] }
    }
}

/// The goal of a ratio.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio.total_cmp(&limit) != Ordering::Greater,
            Self::AtLeast(limit) => ratio.total_cmp(&limit) != Ordering::Less,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {limit}"),
            Self::AtLeast(limit) => format!(">= {limit}"),
        }
    }
}

/// A figure that explains a ratio, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    #[serde(flatten)]
    pub spread: Spread,
}

impl Figure {
    pub fn of(name: impl Into<String>, unit: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        Self { name: name.into(), unit, spread: Spread::of(values) }
    }
}

/// The result of one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn {
    pub ratio: f64,
    /// Share of the processors that other programs used during the round.
    pub others: f64,
}

/// The comparison of two sides.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub name: &'static str,
    /// The two quantities of the ratio.
    pub what: &'static str,
    pub goal: Goal,
    /// Whether the median of the quiet rounds meets the goal; null if too few rounds were quiet.
    pub met: Option<bool>,
    /// The ratio over the quiet rounds, or over all rounds if there is no verdict.
    pub ratio: Spread,
    pub quiet: usize,
    /// All rounds, in order.
    pub rounds: Vec<Turn>,
    /// The figures over all rounds.
    pub figures: Vec<Figure>,
}

impl Comparison {
    pub fn new(
        name: &'static str,
        what: &'static str,
        goal: Goal,
        rounds: Vec<Turn>,
        mut figures: Vec<Figure>,
    ) -> Self {
        let quiet: Vec<f64> = rounds.iter().filter(|turn| turn.others <= QUIET).map(|turn| turn.ratio).collect();
        let judged = quiet.len() >= ENOUGH;
        let ratio = match judged {
            true => Spread::of(quiet.iter().copied()),
            false => Spread::of(rounds.iter().map(|turn| turn.ratio)),
        };
        let met = judged.then(|| goal.is_met(ratio.median));
        figures.push(Figure::of(
            "used by others",
            "% of the processors",
            rounds.iter().map(|turn| turn.others * 100.0),
        ));
        Self { name, what, goal, met, ratio, quiet: quiet.len(), rounds, figures }
    }
}

/// All results of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub comparisons: Vec<Comparison>,
}

impl Report {
    /// The report as text: first the ratios, then the figures behind them.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.machine.text());
        text += &row("RATIO", ["min", "median", "max"], "goal");
        for comparison in &self.comparisons {
            let Comparison { name, what, goal, met, ratio, quiet, rounds, .. } = comparison;
            let met = match met {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "NO VERDICT",
            };
            let met = format!("{met} ({quiet} of {} rounds quiet)", rounds.len());
            text += &row(&format!("{name}: {what}"), numbers(ratio), &format!("{:<8} {met}", goal.text()));
        }
        // Some comparisons share the figures of the one before and have none of their own.
        for comparison in self.comparisons.iter().filter(|comparison| comparison.figures.len() > 1) {
            text += "\n";
            text += &row(&comparison.name.to_uppercase(), ["min", "median", "max"], "");
            for figure in &comparison.figures {
                text += &row(&figure.name, numbers(&figure.spread), figure.unit);
            }
        }
        text
    }
}

fn numbers(spread: &Spread) -> [String; 3] {
    // Three significant digits: the fourth is noise.
    [spread.min, spread.median, spread.max].map(|number| match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    })
}

fn row(name: &str, numbers: [impl std::fmt::Display; 3], end: &str) -> String {
    let [min, median, max] = numbers;
    format!("{name:<58}{min:>9}{median:>9}{max:>9}  {end}").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_two_values() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([3.0, 9.0, 1.0]).median, 3.0);
    }

    #[test]
    fn rounds_on_a_busy_machine_do_not_count_for_the_verdict() {
        let turns = |rounds: &[(f64, f64)]| rounds.iter().map(|&(ratio, others)| Turn { ratio, others }).collect();
        let judge = |rounds: &[(f64, f64)]| Comparison::new("n", "w", Goal::AtMost(1.5), turns(rounds), Vec::new());
        // Only the busy rounds have good ratios.
        let found = judge(&[(1.6, 0.1), (0.5, 0.9), (1.7, 0.0), (0.5, 0.8), (1.8, 0.2), (0.5, 0.7), (0.5, 0.7)]);
        assert_eq!((found.met, found.ratio.median, found.quiet), (Some(false), 1.7, 3));
        assert_eq!(judge(&[(1.0, 0.1), (1.0, 0.1), (1.0, 0.3)]).met, None);
    }

    #[test]
    fn a_goal_is_met_on_its_limit() {
        assert!(Goal::AtMost(1.5).is_met(1.5) && !Goal::AtMost(1.5).is_met(1.51));
        assert!(Goal::AtLeast(0.85).is_met(0.85) && !Goal::AtLeast(0.85).is_met(0.84));
        // A division by zero meets no goal.
        assert!(!Goal::AtMost(1.5).is_met(f64::NAN));
    }
}

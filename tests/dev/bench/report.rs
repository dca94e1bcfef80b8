//! What the benchmarks found: ratios with their goals, the figures behind them, the machine they come from.
//!
//! Only ratios are judged, and only those of quiet rounds ([`super::foreign`] says why). Both sides of a ratio were
//! measured in turns within one run; the figures depend on the machine and are there to explain.

use std::cmp::Ordering;

use serde::Serialize;

use super::foreign::QUIET;
use super::machine::Machine;

/// A verdict needs so many quiet rounds: the fewest that have a middle.
const ENOUGH: usize = 3;

/// The least, the middle and the most of several measurements.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
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

/// What a ratio should be.
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

/// One figure on the way to a ratio, over the rounds.
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

/// What one round gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn {
    pub ratio: f64,
    /// Share of the processors that others used meanwhile.
    pub others: f64,
}

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub name: &'static str,
    /// What is divided by what.
    pub what: &'static str,
    pub goal: Goal,
    /// The median over the quiet rounds against the goal; null when too few were quiet to tell.
    pub met: Option<bool>,
    /// Over the quiet rounds; over all, when there is no verdict.
    pub ratio: Spread,
    pub quiet: usize,
    /// Every round, in order.
    pub rounds: Vec<Turn>,
    /// Over all rounds.
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

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub comparisons: Vec<Comparison>,
}

impl Report {
    /// For people: the ratios first, then the figures behind them.
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
        // Some have no figures but those of the comparison before.
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
    // Three digits that count: the fourth is noise.
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
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([3.0, 9.0, 1.0]).median, 3.0);
    }

    #[test]
    fn a_busy_machine_gets_no_verdict_and_its_rounds_no_say() {
        let turns = |rounds: &[(f64, f64)]| rounds.iter().map(|&(ratio, others)| Turn { ratio, others }).collect();
        let judge = |rounds: &[(f64, f64)]| Comparison::new("n", "w", Goal::AtMost(1.5), turns(rounds), Vec::new());
        // The good ratios are the ones of the busy rounds.
        let found = judge(&[(1.6, 0.1), (0.5, 0.9), (1.7, 0.0), (0.5, 0.8), (1.8, 0.2), (0.5, 0.7), (0.5, 0.7)]);
        assert_eq!((found.met, found.ratio.median, found.quiet), (Some(false), 1.7, 3));
        assert_eq!(judge(&[(1.0, 0.1), (1.0, 0.1), (1.0, 0.3)]).met, None);
    }

    #[test]
    fn a_goal_is_met_on_its_limit() {
        assert!(Goal::AtMost(1.5).is_met(1.5) && !Goal::AtMost(1.5).is_met(1.51));
        assert!(Goal::AtLeast(0.85).is_met(0.85) && !Goal::AtLeast(0.85).is_met(0.84));
        // A division by nothing meets no goal.
        assert!(!Goal::AtMost(1.5).is_met(f64::NAN));
    }
}

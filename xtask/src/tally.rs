//! What every step of a test run came to, and the summary at its end.

use std::time::Duration;

/// Tests that passed and failed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

impl Counts {
    /// Adds what a line says, when it is the closing line of a test program:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    pub fn read(&mut self, line: &str) {
        let Some((_, rest)) = line.split_once("test result: ") else { return };
        let Some((_, numbers)) = rest.split_once(". ") else { return };
        for part in numbers.split(';') {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// How a step ended.
pub enum Outcome {
    /// It ran to its end and found nothing wrong.
    Ok,
    /// It found something wrong.
    Failed,
    /// It could not be done here, and why. Not a failure.
    Skipped(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    counts: Counts,
    took: Duration,
}

/// All steps of a run.
#[derive(Default)]
pub struct Tally {
    steps: Vec<Step>,
}

impl Tally {
    /// Notes a step and the tests it ran. A step that fails without a failed test (a lint, a build error, a test
    /// program that crashed) counts as one failure, so that the last line cannot say 0.
    pub fn add(&mut self, name: &str, outcome: Outcome, mut counts: Counts, took: Duration) {
        if matches!(outcome, Outcome::Failed) {
            counts.failed = counts.failed.max(1);
        }
        self.steps.push(Step { name: name.into(), outcome, counts, took });
    }

    /// The sums of all steps.
    pub fn total(&self) -> Counts {
        let sum = |of: fn(&Counts) -> u64| self.steps.iter().map(|step| of(&step.counts)).sum();
        Counts { passed: sum(|counts| counts.passed), failed: sum(|counts| counts.failed) }
    }

    /// One line per step; the last line is the total.
    pub fn summary(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        let mut text = String::from("summary\n");
        for Step { name, outcome, counts, took } in &self.steps {
            let seconds = took.as_secs();
            let Counts { passed, failed } = counts;
            text += &match outcome {
                Outcome::Skipped(why) => format!("  {name:width$}  not done: {why}\n"),
                Outcome::Ok if *counts == Counts::default() => format!("  {name:width$}  ok, {seconds} s\n"),
                Outcome::Ok => format!("  {name:width$}  ok, {passed} passed, {seconds} s\n"),
                Outcome::Failed => {
                    format!("  {name:width$}  FAILED, {passed} passed, {failed} failed, {seconds} s\n")
                }
            };
        }
        let Counts { passed, failed } = self.total();
        text + &format!("{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(lines: &[&str]) -> Counts {
        let mut counts = Counts::default();
        lines.iter().for_each(|line| counts.read(line));
        counts
    }

    #[test]
    fn only_closing_lines_count() {
        let lines = [
            "running 4 tests",
            "test quant::packs ... ok",
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.02s",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "5 passed; 6 failed",
        ];
        assert_eq!(counts(&lines), Counts { passed: 15, failed: 1 });
    }

    #[test]
    fn a_step_that_fails_without_a_test_counts_once() {
        let mut tally = Tally::default();
        tally.add("clippy", Outcome::Failed, Counts::default(), Duration::ZERO);
        tally.add("tests", Outcome::Failed, Counts { passed: 5, failed: 2 }, Duration::ZERO);
        tally.add("wasm32", Outcome::Skipped("no target".into()), Counts::default(), Duration::ZERO);
        assert_eq!(tally.total(), Counts { passed: 5, failed: 3 });
        assert!(tally.summary().contains("wasm32  not done: no target"));
        assert_eq!(tally.summary().lines().last(), Some("5 passed, 3 failed"));
    }
}

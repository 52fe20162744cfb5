//! What every step of a test run came to, and the summary at its end.

use std::time::Duration;

use crate::listing::{Failure, Listing};

/// Tests that passed and failed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
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
    failures: Vec<Failure>,
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
    pub fn add(&mut self, name: &str, outcome: Outcome, listing: Listing, took: Duration) {
        let Listing { mut counts, failures, .. } = listing;
        if matches!(outcome, Outcome::Failed) {
            counts.failed = counts.failed.max(1);
        }
        self.steps.push(Step { name: name.into(), outcome, counts, failures, took });
    }

    /// The sums of all steps.
    pub fn total(&self) -> Counts {
        let sum = |of: fn(&Counts) -> u64| self.steps.iter().map(|step| of(&step.counts)).sum();
        Counts { passed: sum(|counts| counts.passed), failed: sum(|counts| counts.failed) }
    }

    /// What failed tests said, then one line per step; the last line is the total. Whoever sees only the end of a long log
    /// sees what to mend.
    pub fn summary(&self) -> String {
        self.failures() + &self.table()
    }

    fn failures(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            for Failure { test, lines } in &step.failures {
                text += &format!("failed: {test}, {}\n", step.name);
                text.extend(lines.iter().map(|line| format!("  {line}\n")));
            }
        }
        text
    }

    fn table(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        let mut text = String::from("summary\n");
        for Step { name, outcome, counts, took, .. } in &self.steps {
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

    #[test]
    fn a_step_that_fails_without_a_test_counts_once() {
        let mut tally = Tally::default();
        let mut tests = Listing::default();
        let lines =
            ["---- a::one stdout ----", "why", "test result: FAILED. 5 passed; 2 failed; finished in 0.02s"];
        lines.iter().for_each(|line| tests.read(line));
        tally.add("clippy", Outcome::Failed, Listing::default(), Duration::ZERO);
        tally.add("tests", Outcome::Failed, tests, Duration::ZERO);
        tally.add("wasm32", Outcome::Skipped("no target".into()), Listing::default(), Duration::ZERO);
        assert_eq!(tally.total(), Counts { passed: 5, failed: 3 });
        assert!(tally.summary().starts_with("failed: a::one, tests\n  why\n"));
        assert!(tally.summary().contains("wasm32  not done: no target"));
        assert_eq!(tally.summary().lines().last(), Some("5 passed, 3 failed"));
    }
}

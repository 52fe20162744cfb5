//! What test programs print, as it goes by: how many tests passed, and what those said that failed.

use crate::tally::Counts;

/// Lines of a failed test that are kept: the panic's place and message come first.
const KEPT: usize = 12;

/// Read line by line.
#[derive(Default)]
pub struct Listing {
    /// Sums over all test programs.
    pub counts: Counts,
    /// Failed tests, each with the beginning of what it printed.
    pub failures: Vec<Failure>,
    is_in_failure: bool,
}

/// A test that failed.
#[derive(PartialEq, Eq, Debug)]
pub struct Failure {
    /// Its name, modules included.
    pub test: String,
    /// The first lines that it printed.
    pub lines: Vec<String>,
}

impl Listing {
    /// Takes the next line in.
    pub fn read(&mut self, line: &str) {
        self.read_counts(line);
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.failures.push(Failure { test: test.into(), lines: Vec::new() });
            self.is_in_failure = true;
        } else if line == "failures:" {
            self.is_in_failure = false;
        } else if let Some(failure) = self.failures.last_mut().filter(|_| self.is_in_failure) {
            let is_kept = failure.lines.len() < KEPT && !line.trim().is_empty();
            failure.lines.extend(is_kept.then(|| line.to_owned()));
        }
    }

    /// The closing line of a test program: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn read_counts(&mut self, line: &str) {
        let Some((_, rest)) = line.split_once("test result: ") else { return };
        let Some((_, numbers)) = rest.split_once(". ") else { return };
        for part in numbers.split(';') {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.counts.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.counts.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(lines: &[&str]) -> Listing {
        let mut listing = Listing::default();
        lines.iter().for_each(|line| listing.read(line));
        listing
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
        assert_eq!(listing(&lines).counts, Counts { passed: 15, failed: 1 });
    }

    #[test]
    fn failed_tests_and_what_they_said_first() {
        let lines = [
            "test a::one ... FAILED",
            "",
            "failures:",
            "",
            "---- a::one stdout ----",
            "",
            "thread 'a::one' panicked at a.rs:3:4:",
            "left: 1",
            "---- b stdout ----",
            "no",
            "",
            "failures:",
            "    a::one",
            "    b",
        ];
        let [one, b] = &listing(&lines).failures[..] else { panic!("two failures") };
        assert_eq!((one.test.as_str(), one.lines.len()), ("a::one", 2));
        assert_eq!(*b, Failure { test: "b".into(), lines: vec!["no".into()] });
    }
}

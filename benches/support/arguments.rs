//! The command line of a bench.

use super::Result;

/// Arguments not yet understood.
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Those of this process, without what cargo adds.
    pub fn read() -> Self {
        Self(std::env::args().skip(1).filter(|argument| argument != "--bench").collect())
    }

    /// Whether a flag is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let found = self.0.iter().position(|argument| argument == name);
        found.map(|at| self.0.remove(at)).is_some()
    }

    /// The value after an option.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else { return Ok(None) };
        self.0.remove(at);
        match at < self.0.len() {
            true => Ok(Some(self.0.remove(at))),
            false => Err(format!("{name} needs a value").into()),
        }
    }

    /// Refuses what is left; `usage` says what there is.
    pub fn finish(self, usage: &str) -> Result<()> {
        match self.0.first() {
            Some(unknown) => Err(format!("unknown argument '{unknown}'; usage: {usage}").into()),
            None => Ok(()),
        }
    }
}

//! Which kernel variants were executed, and where.
//!
//! Tests that run kernels append a line `kernel<TAB>variant` to a file of their own in the folder that
//! `WATTLE_VARIANTS_DIR` names, for every variant they execute; the tests without a GPU write all known variants
//! to `all.txt` there, in the same form.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The environment variable with the folder.
pub const DIR_VARIABLE: &str = "WATTLE_VARIANTS_DIR";
/// The environment variable with the number of the selection of variants.
pub const SELECTION_VARIABLE: &str = "WATTLE_SELECTION";
/// The file with all known variants.
const ALL: &str = "all.txt";

type Variants = BTreeSet<String>;

/// The folders that the runs of a test wrote to, by the name of their configuration.
#[derive(Default)]
pub struct Coverage {
    runs: Vec<(String, PathBuf)>,
}

impl Coverage {
    /// Notes a run and the folder that its tests write to.
    pub fn add(&mut self, configuration: &str, folder: PathBuf) {
        self.runs.push((configuration.into(), folder));
    }

    /// Runs noted so far.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// How many variants each configuration executed, and the variants that none did.
    pub fn report(&self) -> String {
        let known: Variants = self.runs.iter().flat_map(|(_, folder)| lines(&folder.join(ALL))).collect();
        if known.is_empty() {
            return "variants: no variant list was written".into();
        }
        let mut text = format!("variants: {} known\n", known.len());
        let mut rest = known.clone();
        let mut unknown = Variants::new();
        for (configuration, folder) in &self.runs {
            let done = executed(folder);
            text += &format!("  {:5} executed: {configuration}\n", done.len());
            rest.retain(|variant| !done.contains(variant));
            unknown.extend(done.difference(&known).cloned());
        }
        text += &format!("  {:5} not executed anywhere\n{}", rest.len(), listed(&rest));
        if !unknown.is_empty() {
            text += &format!("  {:5} executed, but not among the known\n{}", unknown.len(), listed(&unknown));
        }
        text.trim_end().into()
    }
}

fn listed(variants: &Variants) -> String {
    // A variant's text begins with its kernel.
    let text = |variant: &String| variant.split_once('\t').map_or(variant.clone(), |(_, text)| text.into());
    variants.iter().map(|variant| format!("        {}\n", text(variant))).collect()
}

/// All variants that the files of a folder name.
fn executed(folder: &Path) -> Variants {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| !path.ends_with(ALL)).flat_map(|path| lines(&path)).collect()
}

fn lines(file: &Path) -> Variants {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_run_executed_is_listed() {
        let base = std::env::temp_dir().join(format!("wattle-xtask-variants-{}", std::process::id()));
        let mut coverage = Coverage::default();
        for (run, file, text) in [
            (
                "first",
                ALL,
                "matvec\tmatvec int4 workgroup\nmatvec\tmatvec int8 subgroup\nrope\trope halves\n",
            ),
            ("first", "7.txt", "matvec\tmatvec int4 workgroup\nmatvec\tmatvec int4 workgroup\n"),
            ("second", "8.txt", "rope\trope halves\nmatvec\tmatvec new\n"),
        ] {
            fs::create_dir_all(base.join(run)).unwrap();
            fs::write(base.join(run).join(file), text).unwrap();
        }
        coverage.add("first", base.join("first"));
        coverage.add("second", base.join("second"));
        let report = coverage.report();
        fs::remove_dir_all(base).unwrap();
        let expected = "\
variants: 3 known
      1 executed: first
      2 executed: second
      1 not executed anywhere
        matvec int8 subgroup
      1 executed, but not among the known
        matvec new";
        assert_eq!(report, expected);
    }

    #[test]
    fn without_a_list_the_report_says_so() {
        let mut coverage = Coverage::default();
        coverage.add("first", PathBuf::from("/nowhere"));
        assert!(coverage.report().contains("no variant list was written"));
    }
}

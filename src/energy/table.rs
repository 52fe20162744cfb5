//! The ledger for people: a table by kernel.

use std::fmt::{self, Display, Write};

use super::{KernelTotal, Ledger};

/// What every kernel cost, as a table; `-` where a figure is not known, `≤` before counts that are a bound.
pub struct KernelTable(Vec<KernelTotal>);

impl Ledger {
    /// A table of what every kernel cost over the passes on record. Times and shares come from
    /// [`Level::Dispatch`](super::Level::Dispatch); bytes are compulsory, operations useful.
    pub fn table(&self) -> KernelTable {
        KernelTable(self.by_kernel())
    }
}

impl Display for KernelTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["kernel", "calls", "time ms", "MB", "GB/s", "Mop", "Gop/s", "share"];
        let [kernel, rest @ ..] = columns;
        write!(f, "{kernel:<16}")?;
        rest.iter().try_for_each(|column| write!(f, "{column:>10}"))?;
        let total: Option<u64> = self.0.iter().map(|row| row.time_ns).sum();
        for row in &self.0 {
            f.write_char('\n')?;
            row_line(f, row, total)?;
        }
        Ok(())
    }
}

fn row_line(f: &mut fmt::Formatter<'_>, row: &KernelTotal, total_ns: Option<u64>) -> fmt::Result {
    let (bytes, ops) = (row.work.total_bytes().least as f64, row.work.total_ops().least as f64);
    let time = row.time_ns.map(|ns| ns as f64);
    let share = time.zip(total_ns).map(|(time, total)| 100.0 * time / total.max(1) as f64);
    write!(f, "{:<16}{:>10}", row.kernel, row.calls)?;
    let bound = if row.work.is_bound { "≤" } else { "" };
    number(f, "", time.map(|ns| ns / 1e6), "")?;
    number(f, bound, Some(bytes / 1e6), "")?;
    number(f, bound, time.map(|ns| bytes / ns.max(1.0)), "")?;
    number(f, bound, Some(ops / 1e6), "")?;
    number(f, bound, time.map(|ns| ops / ns.max(1.0)), "")?;
    number(f, "", share, "%")
}

fn number(f: &mut fmt::Formatter<'_>, before: &str, value: Option<f64>, unit: &str) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{:>10}", format!("{before}{value:.2}{unit}")),
        None => write!(f, "{:>10}", "-"),
    }
}

//! The table, and what follows from it.

use wattle::quant::WeightFormat;

use crate::support::table::Table;

/// A product or a layer, Wattle's beside a peer's; times in seconds.
pub struct Comparison {
    pub title: String,
    pub format: WeightFormat,
    pub ours: (f64, &'static str),
    pub peer: &'static str,
    pub theirs: f64,
    /// In the peer's words.
    pub how: String,
}

/// Below this Wattle has lost.
const LOST: f64 = 0.7;

/// Behind what is computed.
const COLUMNS: [(&str, usize); 6] =
    [("weights", 7), ("kernel", 6), ("us", 11), ("peer's us", 11), ("ratio", 6), ("peer, error", 28)];

impl Comparison {
    /// Wattle's speed as a share of the peer's.
    pub fn ratio(&self) -> f64 {
        self.theirs / self.ours.0
    }

    /// The peer, however it was built.
    pub fn family(&self) -> &'static str {
        self.peer.split_once('-').map_or(self.peer, |(family, _)| family)
    }
}

/// All rows so far.
pub struct Comparisons {
    table: Table,
    rows: Vec<Comparison>,
}

impl Comparisons {
    /// Prints the titles, `first` that of what is computed.
    pub fn begin(first: &'static str) -> Self {
        let columns = [&[(first, 25)], &COLUMNS[..]].concat();
        Self { table: Table::begin(&columns), rows: Vec::new() }
    }

    /// Prints a row.
    pub fn add(&mut self, row: Comparison) {
        self.table.row(&[
            row.title.clone(),
            row.format.to_string(),
            row.ours.1.into(),
            format!("{:.1}", row.ours.0 * 1e6),
            format!("{:.1}", row.theirs * 1e6),
            format!("{:.2}", row.ratio()),
            format!("{} {}", row.peer, row.how),
        ]);
        self.rows.push(row);
    }

    /// Prints the geometric mean for each peer, and the rows that Wattle loses.
    pub fn summarize(&self) {
        let mut families: Vec<_> = self.rows.iter().map(Comparison::family).collect();
        families.sort_unstable();
        families.dedup();
        for family in families {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.family() == family).collect();
            let mean = (rows.iter().map(|row| row.ratio().ln()).sum::<f64>() / rows.len() as f64).exp();
            let lost = rows.iter().filter(|row| row.ratio() < LOST);
            println!(
                "\nWattle's speed as a share of {family}'s: {mean:.2}, the geometric mean of {} rows",
                rows.len()
            );
            println!("rows below {LOST}: {}", lost.clone().count());
            for row in lost {
                println!("  {} {}: {:.2}", row.title.clone(), row.format, row.ratio());
            }
        }
    }
}

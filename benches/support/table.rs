//! Aligned columns, printed as rows come.

/// Titles and widths of columns; the first is aligned to the left, the others to the right.
pub struct Table(Vec<(&'static str, usize)>);

impl Table {
    /// Prints the titles.
    pub fn begin(columns: &[(&'static str, usize)]) -> Self {
        let table = Self(columns.to_vec());
        println!();
        table.row(&columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>());
        table
    }

    /// Prints a row.
    pub fn row(&self, cells: &[String]) {
        let mut line = String::new();
        for (n, (cell, (_, width))) in cells.iter().zip(&self.0).enumerate() {
            line += &match n {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        println!("{}", line.trim_end());
    }
}

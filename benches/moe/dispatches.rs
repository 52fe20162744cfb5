//! What each dispatch of a layer does: its workgroups, and the share of the bandwidth that it gets.

use super::lab::{Lab, Line};
use super::layer::{Layer, Way};
use super::peaks::Peaks;
use super::support::table::Table;
use super::support::{Bench, Result, Row};
use super::trial::Dispatch;

pub const NAME: &str = "dispatches";

const COLUMNS: [(&str, usize); 9] = [
    ("layer", 38),
    ("weights", 7),
    ("tokens", 12),
    ("dispatch", 12),
    ("kernel", 12),
    ("workgroups", 10),
    ("us", 9),
    ("GB/s", 7),
    ("of read", 7),
];

/// A layer over one token, over few and over many; and over many where tokens compete.
pub fn run(lab: &mut Lab, bases: &[Layer]) -> Result<()> {
    println!();
    let peaks = Peaks::measure(&lab.bench.gpu)?;
    println!("\n{NAME}: what each dispatch of a layer does");
    let table = Table::begin(&COLUMNS);
    for base in bases {
        let mut rows = vec![1, 16, base.rows];
        rows.dedup();
        let competing = [Way::Chosen(2.0), Way::Sinkhorn(8), Way::Base].map(|way| base.by(64, 1, way));
        for layer in rows.into_iter().map(|rows| Layer { rows, ..*base }).chain(competing) {
            let Some(line) = lab.layer(&layer)? else { continue };
            for dispatch in line.measured.inside() {
                print(&mut lab.bench, &table, &line, dispatch, &peaks)?;
            }
        }
    }
    Ok(())
}

fn print(bench: &mut Bench, table: &Table, line: &Line, dispatch: &Dispatch, peaks: &Peaks) -> Result<()> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let us = dispatch.us();
    let bytes_per_s = us.map(|us| dispatch.bytes as f64 / us * 1e6);
    let share = bytes_per_s.map(|rate| rate / peaks.read_bytes_per_s);
    table.row(&[
        line.title.clone(),
        line.format.to_string(),
        line.tokens.clone(),
        dispatch.what.to_owned(),
        dispatch.kernel.to_owned(),
        dispatch.workgroups.to_string(),
        or_none(us.map(|us| format!("{us:.0}"))),
        or_none(bytes_per_s.map(|rate| format!("{:.2}", rate / 1e9))),
        or_none(share.map(|share| format!("{:.0}%", 100.0 * share))),
    ]);
    let Some(times) = &dispatch.times else { return Ok(()) };
    let named = [("gigabytes_per_s", bytes_per_s.map(|rate| rate / 1e9)), ("share_of_read", share)];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let metrics = [("workgroups", dispatch.workgroups as f64)].into_iter().chain(named).collect();
    let (shape, variant) = (line.title.clone(), line.variant.clone());
    bench.record(&Row { name: dispatch.what, shape, variant, times, metrics })
}

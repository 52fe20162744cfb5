//! What each dispatch of a layer does: its workgroups, and the share of the bandwidth that it gets.

use super::layer::Layer;
use super::peaks::Peaks;
use super::support::table::Table;
use super::support::{Bench, Result, Row};
use super::trial::{Dispatch, measure_layers};

const COLUMNS: [(&str, usize); 9] = [
    ("layer", 38),
    ("weights", 7),
    ("tokens", 10),
    ("dispatch", 12),
    ("kernel", 12),
    ("workgroups", 10),
    ("us", 9),
    ("GB/s", 7),
    ("of read", 7),
];

/// A layer over one token, over few and over many.
pub fn run(bench: &mut Bench, bases: &[Layer]) -> Result<()> {
    println!();
    let peaks = Peaks::measure(&bench.gpu)?;
    let table = Table::begin(&COLUMNS);
    for base in bases {
        for rows in [1, 16, base.rows] {
            let layer = Layer { rows, ..*base };
            let [measured] = measure_layers(&bench.gpu, [&layer])?;
            for dispatch in measured.inside() {
                print(bench, &table, &layer, dispatch, &peaks)?;
            }
        }
    }
    Ok(())
}

fn print(bench: &mut Bench, table: &Table, layer: &Layer, dispatch: &Dispatch, peaks: &Peaks) -> Result<()> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let us = dispatch.us();
    let bytes_per_s = us.map(|us| dispatch.bytes as f64 / us * 1e6);
    let share = bytes_per_s.map(|rate| rate / peaks.read_bytes_per_s);
    table.row(&[
        layer.title(),
        layer.format.to_string(),
        layer.rows.to_string(),
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
    let variant = format!("{} {}", layer.format, layer.rows);
    bench.record(&Row { name: dispatch.what, shape: layer.title(), variant, times, metrics })
}

//! Two bench results side by side.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Result;

/// The fields that make two rows the same measurement.
const KEY: [&str; 4] = ["bench", "name", "shape", "variant"];

/// The ratio of the median times (after / before: below 1 is faster) of every row that both results have, slowest
/// first, with their geometric mean, then the rows that only one of them has.
///
/// # Errors
/// When a row lacks its time.
pub fn report(before: &Value, after: &Value) -> Result<String> {
    let mut text = format!("before: {}\nafter:  {}\n\n", origin(before), origin(after));
    let (before, mut after) = (medians(before)?, medians(after)?);
    let (mut both, mut removed) = (Vec::new(), Vec::new());
    for (key, old) in before {
        match after.remove(&key) {
            Some(new) => both.push((new / old, old, new, key)),
            None => removed.push(key),
        }
    }
    both.sort_by(|left, right| right.0.total_cmp(&left.0));
    text += "  ratio        before         after  row\n";
    for (ratio, old, new, key) in &both {
        text += &format!("{ratio:7.3} {:>13} {:>13}  {key}\n", microseconds(*old), microseconds(*new));
    }
    if !both.is_empty() {
        let logs: f64 = both.iter().map(|row| row.0.ln()).sum();
        let mean = (logs / both.len() as f64).exp();
        text += &format!("{mean:7.3} geometric mean of {} rows\n", both.len());
    }
    let only = |when: &str, keys: Vec<String>| -> String {
        keys.iter().map(|key| format!("only {when}: {key}\n")).collect()
    };
    Ok(text + &only("before", removed) + &only("after", after.into_keys().collect()))
}

fn origin(result: &Value) -> String {
    ["date", "revision", "adapter", "driver"].map(|field| word(&result[field])).join(", ")
}

/// Median nanoseconds by row.
fn medians(result: &Value) -> Result<BTreeMap<String, f64>> {
    let rows = result["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let pair = |row: &Value| {
        let key = KEY.map(|field| word(&row[field])).join(" ");
        let median = row["median_ns"].as_f64().filter(|median| *median > 0.0);
        median
            .map(|median| (key, median))
            .ok_or_else(|| format!("a row without a positive 'median_ns': {row}"))
    };
    rows.iter().map(pair).collect()
}

/// A value as a word of a line: strings without their quotes, what is missing as `-`.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn microseconds(nanoseconds: f64) -> String {
    format!("{:.1} us", nanoseconds / 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, median_ns: f64) -> Value {
        json!({"bench": "matvec", "name": name, "shape": [64, 64], "variant": "int4", "median_ns": median_ns})
    }

    #[test]
    fn ratios_mean_and_what_only_one_has() {
        let before = json!({"date": "d1", "rows": [row("a", 1000.0), row("b", 1000.0), row("gone", 1.0)]});
        let after = json!({"date": "d2", "rows": [row("a", 500.0), row("b", 8000.0), row("new", 1.0)]});
        let report = report(&before, &after).unwrap();
        let lines: Vec<&str> = report.lines().skip(4).collect();
        let expected = [
            "  8.000        1.0 us        8.0 us  matvec b [64,64] int4",
            "  0.500        1.0 us        0.5 us  matvec a [64,64] int4",
            "  2.000 geometric mean of 2 rows",
            "only before: matvec gone [64,64] int4",
            "only after: matvec new [64,64] int4",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_row_without_time_is_an_error() {
        let result = json!({"rows": [{"bench": "matvec"}]});
        assert!(report(&result, &result).unwrap_err().contains("median_ns"));
    }
}

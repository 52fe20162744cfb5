//! What tables say of a row.

use super::lab::{EXPERTS, Line};
use super::support::microseconds;

/// A title, a width, and what stands there for a line, given the first of those that it is compared with.
pub type Column = (&'static str, usize, fn(&Line, &Line) -> String);

pub const LAYER: Column = ("layer", 38, |line, _| line.title.clone());
pub const MODEL: Column = ("model", 38, |line, _| line.title.clone());
pub const WEIGHTS: Column = ("weights", 7, |line, _| line.format.to_string());
pub const TOKENS: Column = ("tokens", 12, |line, _| line.tokens.clone());
pub const US: Column = ("us", 14, |line, _| {
    let wall = &line.measured.wall;
    format!("{:.0} ±{:.0}%", microseconds(wall.median()), 50.0 * wall.spread())
});
pub const US_PER_TOKEN: Column =
    ("us/token", 9, |line, _| format!("{:.1}", line.seconds() * 1e6 / f64::from(line.rows)));
pub const OF_FIRST: Column =
    ("of first", 8, |line, first| format!("{:.2}", line.seconds() / first.seconds()));
pub const ROUTE: Column = ("route us", 9, |line, _| us(line.route_us()));
pub const PLAN: Column = ("plan us", 8, |line, _| us(line.plan_us()));
pub const COMBINE: Column = ("combine us", 10, |line, _| us(line.measured.of(&["combine"])));
pub const ALL: Column = ("layer us", 9, |line, _| us(line.measured.all()));
pub const SHARE: Column =
    ("share", 6, |line, _| or_dash(line.share().map(|share| format!("{:.0}%", 100.0 * share))));
pub const PRODUCTS: Column = ("experts us", 11, |line, _| us(line.experts_us()));
pub const DENSE: Column =
    ("dense us", 9, |line, _| us(line.dense.as_ref().and_then(|dense| dense.of(&super::lab::DENSE))));
pub const OF_DENSE: Column =
    ("of dense", 8, |line, _| or_dash(line.of_dense().map(|ratio| format!("{ratio:.2}"))));
pub const EXECUTED: Column = ("executed", 8, |line, _| {
    let has_experts = line.measured.of(&EXPERTS).is_some();
    or_dash(has_experts.then(|| format!("{:.2}", line.measured.executed)))
});
pub const TOKENS_PER_S: Column = ("tokens/s", 9, |line, _| format!("{:.1}", line.tokens_per_s()));
pub const PARAMETERS: Column = ("million", 8, |line, _| format!("{:.2}", line.parameters[0] / 1e6));
pub const ACTIVATED: Column = ("a token's", 9, |line, _| format!("{:.2}", line.parameters[1] / 1e6));
pub const READ: Column = ("MB read", 8, |line, _| format!("{:.2}", line.measured.weight_bytes as f64 / 1e6));
pub const MOVED: Column = ("MB moved", 9, |line, _| format!("{:.2}", line.measured.bytes as f64 / 1e6));
pub const ENERGY: Column = ("J/token", 9, |line, _| match &line.measured.joules {
    Ok(joules) => format!("{:.2e}", joules / f64::from(line.rows)),
    Err(_) => "not known".into(),
});

fn us(time: Option<f64>) -> String {
    or_dash(time.map(|time| format!("{time:.0}")))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

//! The ledger as it is written: records that add up, and nothing known that is not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wattle::energy::Level;
use wattle::model::{Session, SessionOptions};

use super::harness::{feed, greedy, model, session, submit};
use crate::harness::{block_on, gpu};

/// A prompt in two chunks, the first long enough for experts to be planned, and three steps of a model with experts.
fn used(level: Level) -> Session {
    used_with(SessionOptions { ledger: level, ..greedy(32) })
}

fn used_with(options: SessionOptions) -> Session {
    let model = model("mixtral");
    let mut session = session(&model, SessionOptions { max_chunk: 12, ..options });
    feed(&mut session, &[5, 3, 9, 2, 7, 1, 8, 4, 6, 11, 10, 12, 0]);
    submit(gpu(), |encoder| (0..3).try_for_each(|_| session.decode(encoder)));
    block_on(session.ledger().collect(gpu())).unwrap();
    session
}

fn lines(session: &mut Session) -> Vec<Value> {
    let mut text = Vec::new();
    session.write_ledger(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["t"] == kind).collect()
}

/// Class and measure, and how much.
fn sums<'a>(records: impl IntoIterator<Item = &'a Value>, key: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for record in records {
        for (class, measures) in record[key].as_object().unwrap() {
            for (measure, amount) in measures.as_object().unwrap() {
                *sums.entry(format!("{class}.{measure}")).or_default() += amount.as_u64().unwrap();
            }
        }
    }
    sums
}

#[test]
fn dispatches_add_up_to_their_pass() {
    let lines = lines(&mut used(Level::Counts));
    assert_eq!(lines[0]["t"], "header");
    assert_eq!((&lines[0]["level"], &lines[0]["dropped_passes"]), (&"L1".into(), &0.into()));
    assert_eq!(lines[0]["adapter"], gpu().info().name);
    let (passes, dispatches) = (of(&lines, "step"), of(&lines, "dispatch"));
    let phases: Vec<_> = passes.iter().map(|pass| pass["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["prefill", "prefill", "decode", "decode", "decode"]);
    let tokens: Vec<_> = passes.iter().map(|pass| pass["tokens"].as_u64().unwrap()).collect();
    assert_eq!(tokens, [12, 1, 1, 1, 1]);
    for pass in passes {
        let parts: Vec<_> = dispatches.iter().copied().filter(|part| part["step"] == pass["step"]).collect();
        assert_eq!(parts.len() as u64, pass["dispatches"].as_u64().unwrap());
        for key in ["bytes", "ops"] {
            let whole = sums([pass], key);
            assert!(!whole.is_empty());
            assert_eq!(sums(parts.iter().copied(), key), whole, "{key} of pass {}", pass["step"]);
        }
    }
}

/// Which experts a chunk hits only the device knows, those of a single token are known by their number.
#[test]
fn bounds_say_that_they_are_bounds() {
    let mut session = used(Level::Counts);
    let lines = lines(&mut session);
    for record in of(&lines, "dispatch") {
        let is_grouped =
            record["phase"] == "prefill" && record["op"].as_str().unwrap().starts_with("expert_");
        let expected = if is_grouped { "at_most" } else { "exact" };
        assert_eq!(record["counts"], expected, "{record}");
    }
    let counts: Vec<_> = of(&lines, "step").iter().map(|pass| pass["counts"].as_str().unwrap()).collect();
    assert_eq!(counts, ["at_most", "at_most", "exact", "exact", "exact"]);
    let table = session.ledger().table().to_string();
    let bounded: BTreeSet<_> =
        table.lines().filter(|line| line.contains('≤')).filter_map(|line| line.split(' ').next()).collect();
    let expected: BTreeSet<_> = of(&lines, "dispatch")
        .into_iter()
        .filter(|record| record["counts"] == "at_most")
        .map(|record| record["kernel"].as_str().unwrap())
        .collect();
    assert_eq!(bounded, expected, "{table}");
}

#[test]
fn what_is_not_known_is_null_and_says_why() {
    let timed = gpu().capabilities().timestamps;
    for level in [Level::Counts, Level::Window, Level::Dispatch] {
        let lines = lines(&mut used(level));
        for record in &lines[1..] {
            let is_timed = timed
                && match record["t"].as_str().unwrap() {
                    "step" => level >= Level::Window,
                    _ => level == Level::Dispatch,
                };
            let quality = if is_timed { "exact" } else { "absent" };
            assert_eq!(record["ts_quality"], quality, "{level:?}: {record}");
            assert_eq!(record["t_ns"].is_array(), is_timed, "{level:?}: {record}");
            assert_eq!(record["perturbed"], timed && level == Level::Dispatch, "{level:?}: {record}");
            assert!(record["e"]["nj"].is_null() && record["e"]["provenance"] == "none", "{record}");
            assert!(!record["e"]["reason"].as_str().unwrap().is_empty(), "{record}");
        }
    }
}

#[test]
fn every_field_is_documented() {
    let manual = include_str!("../../../docs/ledger.md");
    let options = SessionOptions { ledger: Level::Dispatch, router_telemetry: true, ..greedy(32) };
    let lines = lines(&mut used_with(options));
    assert_eq!(of(&lines, "router").len(), 5 * 4);
    let mut names = BTreeSet::new();
    for record in lines.iter().flat_map(|line| line.as_object().unwrap()) {
        names.insert(record.0.as_str());
        for nested in record.1.as_object().into_iter().flatten() {
            names.insert(nested.0);
            names.extend(nested.1.as_object().into_iter().flatten().map(|(measure, _)| measure.as_str()));
        }
    }
    let missing: Vec<_> = names.into_iter().filter(|name| !manual.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/ledger.md says nothing of {missing:?}");
}

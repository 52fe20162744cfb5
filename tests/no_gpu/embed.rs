use wattle::reference::embed::embed;
use wattle::reference::matmul::matmul;
use wattle::reference::softmax::softcap;

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &["embedding"];

#[test]
fn rows_are_golden() {
    let golden = Golden::op(FILES[0]);
    let (table, ids, d) = (golden.floats("table"), golden.indices("ids"), golden.shape("table")[1]);
    assert_same("embed", &embed(&table, d, &ids, 1.0), &golden.floats("embed"));
    let scaled = embed(&table, d, &ids, golden.float("scale"));
    assert_close("embed_scaled", &scaled, &golden.floats("embed_scaled"), Tolerance::Mixed(0.0, 1e-6));
}

#[test]
fn the_tied_head_is_golden() {
    let golden = Golden::op(FILES[0]);
    let (table, d) = (golden.floats("table"), golden.shape("table")[1]);
    let logits = matmul(&golden.floats("h"), &table, None, d);
    assert_close("logits", &logits, &golden.floats("logits"), Tolerance::OfLargest(1e-6));
    let capped: Vec<f32> = logits.iter().map(|&z| softcap(Some(8.0), z)).collect();
    assert_close("capped", &capped, &golden.floats("logits_softcap_8"), Tolerance::OfLargest(1e-6));
}

use wattle::reference::matmul::matmul;

use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &["matmul"];

#[test]
fn products_are_golden() {
    let golden = Golden::op(FILES[0]);
    for case in ["1x1x1", "1x129x67", "3x63x130", "17x257x33", "65x100x71"] {
        let read = |name: &str| golden.floats(&format!("{name}.{case}"));
        let (x, w, bias) = (read("x"), read("w"), read("bias"));
        let d = golden.shape(&format!("w.{case}"))[1];
        assert_close(case, &matmul(&x, &w, None, d), &read("y"), Tolerance::OfLargest(1e-6));
        assert_close(case, &matmul(&x, &w, Some(&bias), d), &read("y_bias"), Tolerance::OfLargest(1e-6));
    }
}

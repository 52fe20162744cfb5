use wattle::reference::sample::argmax;
use wattle::reference::softmax::softmax;

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &["softmax"];

#[test]
fn softmax_and_argmax_are_golden() {
    let golden = Golden::op(FILES[0]);
    for width in [1, 7, 257, 1025] {
        let x = golden.floats(&format!("x.{width}"));
        let found: Vec<f32> = x.chunks(width).flat_map(softmax).collect();
        let case = format!("softmax.{width}");
        assert_close(&case, &found, &golden.floats(&case), Tolerance::Mixed(1e-30, 1e-6));
        let found: Vec<u32> = x.chunks(width).map(argmax).collect();
        let case = format!("argmax.{width}");
        assert_same(&case, &found, &golden.indices(&case));
    }
}

#[test]
fn nothing_to_choose_from_gives_zeros() {
    let (hidden, nan) = (f32::NEG_INFINITY, f32::NAN);
    assert_eq!(softmax(&[hidden, hidden]), [0.0, 0.0]);
    assert_eq!(softmax(&[nan, 2.0, hidden]), [0.0, 1.0, 0.0]);
    assert_eq!(argmax(&[nan, hidden, 1.0, 1.0]), 2);
    assert_eq!(argmax(&[nan, hidden]), 0);
    assert_eq!(argmax(&[]), 0);
}

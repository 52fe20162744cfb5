use wattle::model::config::{Norm, NormKind};
use wattle::reference::norm::norm;

use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &["norm"];

#[test]
fn norms_are_golden() {
    let golden = Golden::op(FILES[0]);
    for width in [1, 37, 64, 1023] {
        let read = |name: &str| golden.floats(&format!("{name}.{width}"));
        let (x, weight, bias) = (read("x"), read("weight"), read("bias"));
        let ones = vec![1.0; width];
        let cases = [
            ("rms", NormKind::Rms, &weight),
            ("rms_plus1", NormKind::RmsUnitOffset, &read("weight_plus1")),
            ("rms_noscale", NormKind::Rms, &ones),
            ("layernorm", NormKind::LayerNormBias, &weight),
            ("layernorm_nobias", NormKind::LayerNorm, &weight),
        ];
        for (name, kind, weight) in cases {
            for (suffix, eps) in [("e5", 1e-5), ("e6", 1e-6)] {
                let case = format!("{name}.{suffix}.{width}");
                let found = norm(Norm { kind, eps }, &x, weight, Some(&bias));
                assert_close(&case, &found, &golden.floats(&case), Tolerance::Mixed(1e-7, 1e-6));
            }
        }
    }
}

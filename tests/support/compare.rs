//! Comparing what was computed with what was expected.

/// How far off an element may be.
#[derive(Clone, Copy, Debug)]
pub enum Tolerance<'a> {
    /// That share of the largest magnitude expected anywhere.
    OfLargest(f32),
    /// An absolute part, and a share of the element's own magnitude.
    Mixed(f32, f32),
    /// One for each element.
    Each(&'a [f32]),
}

impl Tolerance<'_> {
    fn of(self, expected: &[f32]) -> Vec<f32> {
        match self {
            Self::OfLargest(share) => {
                let largest = expected.iter().filter(|e| e.is_finite()).fold(0.0f32, |l, e| l.max(e.abs()));
                vec![share * largest; expected.len()]
            }
            Self::Mixed(absolute, share) => expected.iter().map(|e| absolute + share * e.abs()).collect(),
            Self::Each(each) => each.to_vec(),
        }
    }
}

/// Panics when an element is farther off than it may be, and says which is the worst.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: Tolerance) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements found, expected");
    let tolerances = tolerance.of(expected);
    assert_eq!(tolerances.len(), expected.len(), "{what}: number of tolerances, elements");
    let mut worst = (0.0, 0);
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let excess = excess(found, expected, tolerances[i]);
        if excess > worst.0 {
            worst = (excess, i);
        }
    }
    let (excess, i) = worst;
    assert!(
        excess <= 1.0,
        "{what}: worst at index {i} of {}: expected {:e}, found {:e}, tolerance {:e}, {excess:.2} times exceeded",
        found.len(),
        expected[i],
        found[i],
        tolerances[i],
    );
}

/// The error in units of the tolerance. What is not a number is infinitely wrong unless both are the same.
fn excess(found: f32, expected: f32, tolerance: f32) -> f32 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    // A sum of nothing may be -0, and an error must not be less than none for that.
    let excess = (found - expected).abs() / tolerance.abs();
    if excess.is_nan() { f32::INFINITY } else { excess }
}

/// Panics when an element differs, and says which is the first.
#[track_caller]
pub fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements found, expected");
    if let Some(i) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
        panic!("{what}: first at index {i}: expected {:?}, found {:?}", expected[i], found[i]);
    }
}

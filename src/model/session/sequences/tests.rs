//! Places, and what local layers still have.

use super::*;

#[test]
fn a_place_is_taken_again_under_another_name() {
    let mut sequences = Sequences::new(2, None, Vec::new());
    let [a, b] = [(); 2].map(|()| sequences.join(SequenceOptions::default()).unwrap());
    assert!(sequences.join(SequenceOptions::default()).is_err());
    sequences.leave(a).unwrap();
    let c = sequences.join(SequenceOptions { seed: 5, task: None }).unwrap();
    assert_eq!((c.slot(), sequences.get(c).unwrap().options.seed), (a.slot(), 5));
    assert_ne!(a, c);
    assert!(sequences.get(a).is_err() && sequences.get_mut(a).is_err() && sequences.leave(a).is_err());
    assert!(sequences.get(b).is_ok());
}

/// Against every key that the next token sees.
#[test]
fn a_cut_is_refused_exactly_where_something_is_gone() {
    for tokens in 1..7 {
        for end in 0u32..20 {
            for position in 0..=end {
                let kept = |key: u32| key < position && key + tokens >= end;
                let first = (position + 1).saturating_sub(tokens);
                let window = (first..position).all(kept);
                assert_eq!(
                    Local::Window(tokens).keeps(end, position),
                    window,
                    "{tokens}, {end} to {position}"
                );
                let chunk = (position - position % tokens..position).all(kept);
                assert_eq!(Local::Chunk(tokens).keeps(end, position), chunk, "{tokens}, {end} to {position}");
            }
        }
    }
}

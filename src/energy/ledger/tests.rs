//! What a ledger keeps, without a device.

use super::*;
use crate::energy::notes::if_ran;

/// A ledger of three passes, each of which left so many words.
fn noted(words: usize) -> Ledger {
    let passes = VecDeque::new();
    let (level, recorded, dropped, dropped_notes) = (Level::Counts, 0, 0, 0);
    let mut ledger = Ledger { level, stamps: None, notes: None, passes, recorded, dropped, dropped_notes };
    let schedule = Arc::new(Schedule::new(1));
    for position in 0..3 {
        ledger.begin_pass(&schedule, &[Span { position, rows: 1 }]);
    }
    for pass in &mut ledger.passes {
        pass.notes = vec![Note { tensor: "router_logits".into(), words: vec![0; words] }];
    }
    ledger
}

#[test]
fn the_oldest_notes_give_way() {
    let mut ledger = noted(10);
    ledger.bound_notes(80);
    let kept: Vec<usize> = ledger.passes().map(|pass| pass.notes.len()).collect();
    assert_eq!((kept, ledger.dropped_notes()), (vec![0, 1, 1], 1));
    ledger.bound_notes(80);
    assert_eq!(ledger.dropped_notes(), 1, "nothing is counted twice");
    ledger.bound_notes(79);
    assert_eq!(ledger.dropped_notes(), 2);
}

#[test]
fn passes_are_taken_back_from_the_end() {
    let mut ledger = noted(1);
    ledger.take_back(2);
    assert_eq!(ledger.passes().map(|pass| pass.spans[0].position).collect::<Vec<_>>(), [0, 1]);
    // A mark from before all passes were forgotten takes nothing else.
    ledger.clear();
    ledger.begin_pass(&Arc::new(Schedule::new(1)), &[Span { position: 7, rows: 1 }]);
    ledger.take_back(2);
    assert_eq!((ledger.passes().count(), ledger.recorded()), (0, 2));
}

/// Routes may well be all zeros.
#[test]
fn a_word_says_that_a_pass_ran() {
    assert_eq!(if_ran(&[1, 0, 0]), Some(&[0, 0][..]));
    assert_eq!(if_ran(&[0, 7, 7]), None);
    assert_eq!(if_ran(&[]), None);
}

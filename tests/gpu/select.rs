//! Which variants of a kernel a run of the tests takes.

use std::collections::{BTreeSet, HashMap};

use wattle::kernel::Kernel;

use crate::harness::is_supported;

/// Whether `WATTLE_TEST_ALL` asks for everything.
pub fn wants_everything() -> bool {
    std::env::var_os("WATTLE_TEST_ALL").is_some_and(|value| value != "0")
}

/// Whether `WATTLE_SUBGROUPS` asks for what subgroups of another size can change.
fn wants_subgroups() -> bool {
    std::env::var_os("WATTLE_SUBGROUPS").is_some_and(|value| value != "0")
}

/// `WATTLE_SELECTION`: runs with other numbers take other variants where there is a choice.
pub fn selection() -> usize {
    std::env::var("WATTLE_SELECTION").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The variants to run: all that the device supports when `WATTLE_TEST_ALL` is set or there are few, else enough of
/// them that any two fragments or constants that occur together in some variant occur together in one of these. With
/// `WATTLE_SUBGROUPS`, those of them that use subgroups or matrices, or one that does not. Half of it where this [is not the
/// first](is_first) of several runs.
pub fn selected<K: Kernel>() -> Vec<K> {
    const FEW: usize = 24;
    let mut all: Vec<K> = K::variants().into_iter().filter(is_supported).collect();
    if wants_subgroups() && !wants_everything() {
        let of_subgroups = |variant: &K| {
            let needs = variant.source().needs();
            needs.subgroups || needs.matrices_8 || needs.matrices_16
        };
        let (with, without): (Vec<K>, Vec<K>) = all.into_iter().partition(of_subgroups);
        all = if with.is_empty() { without.into_iter().take(1).collect() } else { with };
    }
    if wants_everything() || all.len() <= FEW {
        return all;
    }
    // Of equals the first is taken, so another order is another selection.
    let first = selection() * 577 % all.len();
    all.rotate_left(first);
    cover(all).into_iter().step_by(if is_first() { 1 } else { 2 }).collect()
}

/// Whether this is the first of several runs. Some drivers of the others take seconds to compile a kernel, so that they take every
/// second or third of what the first takes whole.
pub fn is_first() -> bool {
    wants_everything() || selection() == 0
}

/// Takes the variant with the most new pairs until there are none.
fn cover<K: Kernel>(all: Vec<K>) -> Vec<K> {
    let mut ids = HashMap::new();
    let pairs_of: Vec<BTreeSet<usize>> = all.iter().map(|variant| pairs(*variant, &mut ids)).collect();
    let mut open = vec![true; ids.len()];
    let mut taken = Vec::new();
    loop {
        let new = |v: usize| pairs_of[v].iter().filter(|&&pair| open[pair]).count();
        // Of equals the first, so that the selection is the same everywhere.
        let best = (0..all.len()).rev().max_by_key(|&v| new(v)).filter(|&v| new(v) > 0);
        let Some(best) = best else { return taken };
        pairs_of[best].iter().for_each(|&pair| open[pair] = false);
        taken.push(all[best]);
    }
}

/// Pairs of parts of a variant's source, by number.
fn pairs<K: Kernel>(variant: K, ids: &mut HashMap<(String, String), usize>) -> BTreeSet<usize> {
    let source = variant.source().to_string();
    let parts: Vec<&str> = source.split_whitespace().collect();
    let mut pairs = BTreeSet::new();
    for (i, &a) in parts.iter().enumerate() {
        for &b in &parts[i..] {
            let next = ids.len();
            pairs.insert(*ids.entry((a.to_owned(), b.to_owned())).or_insert(next));
        }
    }
    pairs
}

//! Which variants of a kernel a run of the tests takes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

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
/// first](is_first) of several runs, but for matrices, which the first may not have.
pub fn selected<K: Kernel>() -> Vec<K> {
    const FEW: usize = 24;
    let mut all: Vec<K> = K::variants().into_iter().filter(is_supported).collect();
    if wants_subgroups() && !wants_everything() {
        let of_subgroups = |variant: &K| variant.source().needs().subgroups || needs_matrices(variant);
        let (with, without): (Vec<K>, Vec<K>) = all.into_iter().partition(of_subgroups);
        all = if with.is_empty() { without.into_iter().take(1).collect() } else { with };
    }
    if wants_everything() || all.len() <= FEW {
        return all;
    }
    // Of equals the first is taken, so another order is another selection.
    let first = selection() * 577 % all.len();
    all.rotate_left(first);
    let is_taken = |(n, variant): &(usize, K)| is_first() || n.is_multiple_of(2) || needs_matrices(variant);
    cover(all).into_iter().enumerate().filter(is_taken).map(|(_, variant)| variant).collect()
}

fn needs_matrices<K: Kernel>(variant: &K) -> bool {
    let needs = variant.source().needs();
    needs.matrices_8 || needs.matrices_16
}

/// Every n-th of these, or all where everything is wanted; a third of that where this [is not the first](is_first) of several
/// runs, others in each.
pub fn every<T>(n: usize, of: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let step = match (wants_everything(), is_first()) {
        (true, _) => 1,
        (false, true) => n,
        (false, false) => 3 * n,
    };
    of.into_iter().skip(5 * selection() % step).step_by(step)
}

/// Whether this is the first of several runs. Those on other drivers take a part of what the first takes whole: what differs
/// there are a few features and the driver's compiler, which takes seconds for some kernels.
pub fn is_first() -> bool {
    wants_everything() || selection() == 0
}

/// Takes the variant with the most new pairs until there are none; of equals the first, so that the selection is the same
/// everywhere.
fn cover<K: Kernel>(all: Vec<K>) -> Vec<K> {
    let mut ids = HashMap::new();
    let pairs_of: Vec<Vec<usize>> = all.iter().map(|variant| pairs(*variant, &mut ids)).collect();
    let mut open = vec![true; ids.len()];
    let mut taken = Vec::new();
    // A variant has never more new pairs than when it was counted, so one that is still first when counted again is the best.
    let mut counted: BinaryHeap<(usize, Reverse<usize>)> =
        pairs_of.iter().enumerate().map(|(v, pairs)| (pairs.len(), Reverse(v))).collect();
    while let Some((_, Reverse(v))) = counted.pop() {
        let new = pairs_of[v].iter().filter(|&&pair| open[pair]).count();
        if new == 0 {
            continue;
        }
        if counted.peek().is_some_and(|next| *next > (new, Reverse(v))) {
            counted.push((new, Reverse(v)));
            continue;
        }
        pairs_of[v].iter().for_each(|&pair| open[pair] = false);
        taken.push(all[v]);
    }
    taken
}

/// Pairs of parts of a variant's source, by number.
fn pairs<K: Kernel>(variant: K, ids: &mut HashMap<(String, String), usize>) -> Vec<usize> {
    let source = variant.source().to_string();
    let parts: BTreeSet<&str> = source.split_whitespace().collect();
    let parts: Vec<&str> = parts.into_iter().collect();
    let mut pairs = Vec::new();
    for (i, &a) in parts.iter().enumerate() {
        for &b in &parts[i..] {
            let next = ids.len();
            pairs.push(*ids.entry((a.to_owned(), b.to_owned())).or_insert(next));
        }
    }
    pairs
}

//! Tensors that are too small, or larger than an index reaches.

use std::collections::BTreeSet;
use std::sync::Arc;

use wattle::Error;
use wattle::fragments::CacheRows;
use wattle::kernel::{AnyLaunch, BindingKind, Span};
use wattle::kernels::all_variants;
use wattle::kernels::kv_write::{KvWrite, KvWriteParams};

use super::cases::cases;
use super::launches::{embed, launch};
use super::{ROWS, record};

#[test]
fn every_kernel_has_a_case() {
    let names = |launches: &mut dyn Iterator<Item = Arc<dyn AnyLaunch>>| {
        launches.map(|launch| launch.name()).collect::<BTreeSet<_>>()
    };
    let covered = names(&mut cases().into_iter().map(|(launch, _)| launch));
    assert_eq!(covered, names(&mut all_variants().into_iter()));
}

#[test]
fn every_storage_binding_has_a_size() {
    for launch in all_variants() {
        let is_storage = |kind| matches!(kind, BindingKind::Read | BindingKind::Write);
        let bindings = launch.bindings().into_iter().filter(|binding| is_storage(binding.kind));
        let mut named: Vec<_> = bindings.map(|binding| binding.name).collect();
        let mut sized: Vec<_> = launch.sizes(ROWS).into_iter().map(|(name, _)| name).collect();
        named.sort_unstable();
        sized.sort_unstable();
        assert_eq!(named, sized, "{}", launch.source());
    }
}

#[test]
fn a_tensor_one_element_too_small_is_refused() {
    for (launch, words) in cases() {
        let what = launch.source().to_string();
        let exact = || words.iter().map(|(name, words)| (*name, 4 * words));
        record(&launch, ROWS, exact()).unwrap_or_else(|error| panic!("{what}: {error}"));
        for (small, words) in &words {
            let short = 4 * (words - 1);
            let tensors = exact().map(|(name, bytes)| (name, if name == *small { short } else { bytes }));
            let error =
                record(&launch, ROWS, tensors).expect_err(&format!("{what}: {small} of {short} bytes"));
            let Error::Shape { kernel, tensor, expected, found } = &error else {
                panic!("{what}: {error:?}")
            };
            assert_eq!((*kernel, tensor.as_str()), (launch.name(), *small), "{what}");
            assert_eq!(*expected, format!("at least {} bytes", 4 * words), "{what}, {small}");
            assert_eq!(*found, format!("'{small}' of {short}"), "{what}, {small}");
        }
    }
}

/// What is accepted can be counted, at the most rows.
#[test]
fn an_accepted_launch_has_a_grid_and_work() {
    for (launch, _) in cases() {
        for position in [0, 19] {
            let span = Span { position, rows: ROWS };
            assert!(launch.workgroups(&[span]) > 0, "{}", launch.source());
            assert!(launch.work(&[span]).total_bytes().least > 0, "{}", launch.source());
        }
    }
}

/// Bytes that a 32-bit index does not reach, and ones that no number counts.
#[test]
fn a_tensor_beyond_indices_is_refused() {
    let long = embed(1 << 29).shared();
    let huge = launch(
        KvWrite { head_dim: 512, cache: CacheRows::PLAIN },
        KvWriteParams { kv_heads: u32::MAX, slots: u32::MAX, pages: 0, chunk_slots: 9 },
    );
    for (launch, tensor) in [(long, "words"), (huge, "k_chunk")] {
        let sizes = launch.sizes(1);
        let error = record(&launch, 1, sizes.into_iter()).unwrap_err().to_string();
        assert!(error.contains(tensor) && error.contains("at most 8589934592 bytes"), "{error}");
    }
}

//! One set of stored weights, served at one width after another.

use wattle::model::plan::{PlanName, WeightPlan};
use wattle::model::session::SessionPlan;
use wattle::model::{Model, Session};
use wattle::{Error, Gpu, GpuOptions};

use super::harness::{
    assert_same_state, feed, greedy, load, session, source, state, step, submit, tokens, words,
};
use crate::harness::{block_on, gpu};

fn plan(text: &str) -> WeightPlan {
    text.parse::<PlanName>().unwrap().plan(&source("gemma2").config).unwrap()
}

fn loaded(text: &str) -> Model {
    load(gpu(), "gemma2", &plan(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A prompt and a few tokens after it.
fn run(session: &mut Session) {
    session.reset();
    let ids = tokens(session.model(), 9);
    feed(session, &ids);
    let gpu = session.model().gpu().clone();
    submit(&gpu, |encoder| (0..5).try_for_each(|_| session.decode(encoder)));
}

#[test]
fn every_width_of_one_buffer_gives_the_bits_of_that_width_loaded() {
    for storage in ["planes", "parent"] {
        let stored = loaded(&format!("int8:{storage}"));
        let mut switching = session(&stored, greedy(16));
        for width in ["int8", "int2", "int4", "int2:ep", "int3", "int6", "int8", "pyramid"] {
            let text = format!("{width}:{storage}");
            let model = stored.served_at(&plan(&text)).unwrap();
            block_on(switching.serve(&model)).unwrap();
            run(&mut switching);
            let mut alone = session(&loaded(&text), greedy(16));
            run(&mut alone);
            assert_same_state(&text, &switching, &alone);
        }
    }
}

/// Three storages of the same slices: the same numbers, added in the same order.
#[test]
fn a_width_has_the_same_bits_in_every_storage() {
    for width in ["int8", "int4", "int2", "int3:ep", "pyramid"] {
        let mut expected = session(&loaded(width), greedy(16));
        run(&mut expected);
        for storage in ["planes", "parent"] {
            let text = format!("{width}:{storage}");
            let mut found = session(&loaded(&text), greedy(16));
            run(&mut found);
            assert_same_state(&text, &found, &expected);
        }
    }
}

/// The caches of the prompt serve the next width as they are.
#[test]
fn the_width_changes_between_two_tokens() {
    let int8 = loaded("int8:planes");
    let int2 = int8.served_at(&plan("int2:planes")).unwrap();
    let mut switching = session(&int8, greedy(16));
    let ids = tokens(&int8, 9);
    feed(&mut switching, &ids);
    let before = state(&switching);

    // Over the same caches, a session that has known no other width; its own prompt is recorded and never runs.
    let caches = |name: &str| name.ends_with("_cache").then(|| switching.tensor(name).cloned()).flatten();
    let mut alone = block_on(Session::with_tensors(&int2, greedy(16), |name, _| caches(name))).unwrap();
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    alone.prefill(&mut encoder, &ids, true).unwrap();
    drop(encoder);

    block_on(switching.serve(&int2)).unwrap();
    assert_eq!(state(&switching), before, "nothing has run");
    let at_int2 = step(&mut switching, ids[0]);
    assert_eq!(at_int2, step(&mut alone, ids[0]));

    // And back: the token is written again, over what the other width wrote.
    switching.reset();
    feed(&mut switching, &ids);
    block_on(switching.serve(&int8)).unwrap();
    feed_again(&mut switching, &ids);
    let at_int8 = step(&mut switching, ids[0]);
    assert_ne!(at_int8, at_int2);
    let mut never = session(&int8, greedy(16));
    feed(&mut never, &ids);
    assert_eq!(at_int8, step(&mut never, ids[0]));
}

fn feed_again(session: &mut Session, ids: &[u32]) {
    session.reset();
    feed(session, ids);
}

#[test]
fn switching_loads_nothing_and_builds_only_products() {
    // A device of its own: nothing has been built on it.
    let gpu = block_on(Gpu::open(GpuOptions::default())).unwrap();
    let int8 = load(&gpu, "gemma2", &plan("int8:planes")).unwrap();
    let mut session = session(&int8, greedy(16));
    let before = gpu.pipelines();
    let allocated = || {
        // The queue frees what uploads passed through.
        gpu.queue().submit([]);
        gpu.device().poll(wattle::wgpu::PollType::wait_indefinitely()).unwrap();
        gpu.device().generate_allocator_report().map(|report| report.total_allocated_bytes)
    };
    let bytes_before = allocated();
    let int4 = int8.served_at(&plan("int4:planes")).unwrap();
    block_on(session.serve(&int4)).unwrap();
    let after = gpu.pipelines();
    let built: Vec<_> = after.iter().filter(|pipeline| !before.contains(pipeline)).collect();
    assert!(!built.is_empty(), "int4 has kernels of its own");
    for pipeline in &built {
        assert!(pipeline.contains("WIDTH=4"), "built although the width is no part of it: {pipeline}");
    }
    if let (Some(before), Some(now)) = (bytes_before, allocated()) {
        // The uniforms of its passes, and nothing as large as weights.
        let plan = SessionPlan::new(int4.config(), int4.layout(), gpu.capabilities(), &greedy(16)).unwrap();
        let (grown, allowed) = (now - before, plan.pass_bytes);
        assert!(grown <= allowed, "{grown} bytes more, its passes need {allowed}");
    }
    for model in [&int8, &int4, &int8] {
        block_on(session.serve(model)).unwrap();
        assert_eq!(gpu.pipelines(), after, "a width that was served before");
    }
}

/// From one upload of 8-bit codes, in memory of their own.
#[test]
fn slices_made_on_the_device_are_those_that_are_loaded() {
    for stored in ["int8", "int4:parent"] {
        let parent = loaded(stored);
        for text in ["int4", "int2:ep", "int3", "pyramid"] {
            let sliced = block_on(parent.sliced(&plan(text))).unwrap();
            let expected = loaded(text);
            assert_eq!(sliced.layout(), expected.layout(), "{stored} to {text}");
            for name in ["blocks.0.sublayers.0.qkv.words", "blocks.0.sublayers.0.qkv.scales", "head.words"] {
                let [found, expected] =
                    [&sliced, &expected].map(|model| words(gpu(), model.tensor(name).unwrap()));
                assert_eq!(found, expected, "{stored} to {text}: {name}");
            }
            let [mut found, mut expected] = [&sliced, &expected].map(|model| session(model, greedy(16)));
            run(&mut found);
            run(&mut expected);
            assert_same_state(&format!("{stored} to {text}"), &found, &expected);
        }
    }
    let error = block_on(loaded("int8:planes").sliced(&plan("int4"))).err().unwrap();
    assert!(error.to_string().contains("is stored as int8:planes"), "{error}");
}

#[test]
fn other_weights_are_refused() {
    let refused = |result: Result<(), Error>, says: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Request(_)) && error.to_string().contains(says), "{error}");
    };
    let int8 = loaded("int8:planes");
    for text in ["int4", "int4:parent", "int4:planes:64", "int4:planes:f16"] {
        refused(int8.served_at(&plan(text)).map(|_| ()), "is stored as int8:planes, which cannot be read as");
    }
    refused(int8.served_at(&plan("f32")).map(|_| ()), "is stored as f16");
    refused(loaded("int4").served_at(&plan("int2")).map(|_| ()), "is stored as int4");
    let other = loaded("int8:planes");
    let mut session = session(&int8, greedy(16));
    refused(block_on(session.serve(&other)), "other weights");
    // The parent is what int8 stores.
    assert!(loaded("int8").served_at(&plan("int4:parent")).is_ok());
}

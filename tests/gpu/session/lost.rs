//! A device that goes away: every call says so, none panics, and the host's handlers hear nothing of it from us.

use std::ops::ControlFlow;

use wattle::model::session::GenerateOptions;
use wattle::model::{LoadOptions, Model, Session};
use wattle::wgpu::BufferUsages;
use wattle::{Error, Gpu, Tensor};

use super::harness::{F32, feed, greedy, load, session, source};
use super::stranger::Stranger;
use crate::harness::{block_on, own_gpu};

#[track_caller]
fn assert_lost<T>(what: &str, result: Result<T, Error>) {
    match result {
        Err(Error::DeviceLost { .. }) => {}
        Err(other) => panic!("{what}: {other:?}"),
        Ok(_) => panic!("{what}: no error"),
    }
}

/// Calls everything, twice: an error that was told once is still true.
fn assert_every_call_fails(gpu: &Gpu) {
    let model = load(gpu, "mixtral", &F32).unwrap();
    let mut session = session(&model, greedy(32));
    feed(&mut session, &[1, 2, 3]);
    let before = session.position();
    gpu.device().destroy();
    for _ in 0..2 {
        assert_lost("check", gpu.check());
        assert_lost("submit", block_on(gpu.submit("nothing", |_| Ok(()))));
        assert_lost("buffer", block_on(gpu.buffer("late", 16, BufferUsages::STORAGE)));
        assert_lost("upload", block_on(Tensor::upload(gpu, "late", &[1.0f32])));
        assert_lost("read", block_on(session.tensor("logits").unwrap().read::<f32>(gpu, 0, 4)));
        assert_lost("load", block_on(Model::load(gpu, &source("mixtral"), LoadOptions::new(F32))));
        assert_lost("session", block_on(Session::new(&model, greedy(32))));
        assert_lost("last_sample", block_on(session.last_sample()));
        assert_lost("logits", block_on(session.logits(1)));
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        assert_lost("decode", session.decode(&mut encoder));
        assert_lost("decode_token", session.decode_token(&mut encoder, 1));
        assert_lost("prefill", session.prefill(&mut encoder, &[1, 2], true));
        drop(encoder);
        assert_lost("feed", block_on(session.feed(&[1])));
        let options = GenerateOptions { max_tokens: 3, stop_ids: vec![] };
        assert_lost("generate", block_on(session.generate(&[1], &options, |_| ControlFlow::Continue(()))));
        assert_eq!(session.position(), before, "nothing was fed");
    }
}

#[test]
fn our_own_device() {
    assert_every_call_fails(&own_gpu());
}

#[test]
fn a_hosts_device() {
    for host in [Stranger::plain(), Stranger::obliging()] {
        assert_every_call_fails(&host.gpu());
        host.assert_undisturbed();
    }
}

/// Passes that were recorded before the loss are refused when they are submitted.
#[test]
fn in_the_middle_of_a_recording() {
    let host = Stranger::plain();
    let gpu = host.gpu();
    let model = load(&gpu, "llama", &F32).unwrap();
    let mut session = session(&model, greedy(32));
    let result = block_on(gpu.submit("prefill", |encoder| {
        session.prefill(encoder, &[1, 2, 3], true)?;
        gpu.device().destroy();
        Ok(())
    }));
    assert_lost("submit", result);
    host.assert_undisturbed();
}

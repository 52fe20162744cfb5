//! Experts of different widths: against the reference, in every storage, and changed between two tokens.

use wattle::Error;
use wattle::model::plan::WeightPlan;
use wattle::model::{Model, Session, SessionOptions};
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use super::harness::{assert_same_state, feed, greedy, load, session, step, submit, tokens, words};
use super::sharding::narrow;
use crate::harness::{block_on, gpu};
use crate::support::golden::directory;

/// Block 0 as it is, block 1 with three widths, and block 2 with one expert and one block of its own width.
const WIDTHS: &str = r#""block_widths": {"2": 3}, "expert_widths": {
    "1": {"0": 2, "3": 2, "4": 4, "7": 4}, "2": {"5": 8}, "3": {"0": 6, "1": 5, "2": 4, "3": 3, "4": 2, "5": 7, "6": 4}
}"#;

fn plan(linear: &str, widths: &str) -> WeightPlan {
    let text = format!(r#"{{"schema": 1, "linear": "{linear}", {widths}}}"#);
    WeightPlan::from_json("plan.json", &text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn mixed(storage: &str) -> WeightPlan {
    plan(&format!("int8{storage}"), WIDTHS)
}

/// Width of expert 3 of block 1 alone.
fn of_one(bits: u32) -> WeightPlan {
    plan("int8:planes", &format!(r#""expert_widths": {{"1": {{"3": {bits}}}}}"#))
}

fn loaded(plan: &WeightPlan) -> Model {
    load(gpu(), "mixtral", plan).unwrap_or_else(|error| panic!("{error}"))
}

/// A prompt in two chunks and a few tokens after it.
fn run(session: &mut Session) {
    session.reset();
    let ids = tokens(session.model(), 19);
    feed(session, &ids);
    let gpu = session.model().gpu().clone();
    submit(&gpu, |encoder| (0..5).try_for_each(|_| session.decode(encoder)));
}

fn options() -> SessionOptions {
    SessionOptions { max_chunk: 12, ..greedy(32) }
}

/// Prompts whole and in chunks, and decoding.
#[test]
fn mixed_widths_agree_with_the_reference() {
    for (n, storage) in ["", ":planes", ":parent", ":channel:f16"].into_iter().enumerate() {
        let case = Case::open(&directory().join("mixtral")).unwrap();
        let device = Device::Gpu(gpu().with_baseline(n % 2 == 0));
        // Inputs become codes once for all groups.
        let path = [ProductPath::Float, ProductPath::Integer][n / 2];
        let report = block_on(check(&case, &device, &mixed(storage), path)).unwrap();
        assert!(report.passed(), "int8{storage}, {path}: {report}");
    }
}

/// Three storages of the same slices, in groups of one matrix or of several: the same numbers, added in the same order.
#[test]
fn mixed_widths_have_the_same_bits_in_every_storage() {
    let mut expected = session(&loaded(&mixed("")), options());
    run(&mut expected);
    for storage in [":planes", ":parent"] {
        let mut found = session(&loaded(&mixed(storage)), options());
        run(&mut found);
        assert_same_state(storage, &found, &expected);
    }
    let mut narrow = session(&loaded(&plan("int2", r#""block_widths": {}"#)), options());
    run(&mut narrow);
    assert_ne!(super::harness::state(&narrow), super::harness::state(&expected), "widths matter");
}

/// Widths of experts come and go over one buffer, as those of blocks do.
#[test]
fn every_mixture_of_one_buffer_gives_the_bits_of_that_mixture_loaded() {
    let stored = loaded(&plan("int8:planes", r#""block_widths": {}"#));
    let mut switching = session(&stored, options());
    for plan in [of_one(2), mixed(":planes"), of_one(8), of_one(4)] {
        let model = stored.served_at(&plan).unwrap();
        block_on(switching.serve(&model)).unwrap();
        run(&mut switching);
        let mut alone = session(&loaded(&plan), options());
        run(&mut alone);
        assert_same_state(&plan.to_json(), &switching, &alone);
    }
    // The parent is what int8 stores.
    let parent = loaded(&plan("int8", r#""block_widths": {}"#)).served_at(&mixed(":parent")).unwrap();
    let [mut found, mut expected] = [&parent, &loaded(&mixed(""))].map(|model| session(model, options()));
    run(&mut found);
    run(&mut expected);
    assert_same_state("int8 as parent", &found, &expected);
}

/// The caches of a prompt serve the next widths as they are, and a token that does not choose the expert, too.
#[test]
fn the_width_of_one_expert_changes_between_two_tokens() {
    let int8 = loaded(&of_one(8));
    let narrow = int8.served_at(&of_one(1)).unwrap();
    let mut switching = session(&int8, SessionOptions { trace: true, sampling: None, ..options() });
    let ids = tokens(&int8, 19);
    let (mut chosen, mut changed) = (0, 0);
    for id in 0..12 {
        let logits_at = |model: &Model, switching: &mut Session| {
            switching.reset();
            block_on(switching.serve(&int8)).unwrap();
            feed(switching, &ids[..9]);
            block_on(switching.serve(model)).unwrap();
            step(switching, id)
        };
        let [wide, found] = [&int8, &narrow].map(|model| logits_at(model, &mut switching));
        let name = "blocks.1.sublayers.1.expert_of_slot";
        let experts: Vec<u32> = block_on(switching.tensor(name).unwrap().read(gpu(), 0, 2)).unwrap();
        let is_chosen = experts.contains(&3);
        assert_eq!(wide != found, is_chosen, "token {id} goes to {experts:?}");
        chosen += usize::from(is_chosen);
        changed += usize::from(!is_chosen);
    }
    assert!(chosen > 0 && changed > 0, "{chosen} tokens choose the expert, {changed} do not");
}

/// Of one upload, whole or split over bindings: experts of one width are gathered from wherever they lie.
#[test]
fn mixed_slices_made_on_the_device_are_those_that_are_loaded() {
    let expected = loaded(&mixed(""));
    let mut expected_session = session(&expected, options());
    run(&mut expected_session);
    for (device, stored) in [(gpu(), "int8"), (gpu(), "int8:parent"), (&narrow(12_000), "int8")] {
        let parent = load(device, "mixtral", &plan(stored, r#""block_widths": {}"#)).unwrap();
        let sliced = block_on(parent.sliced(&mixed(""))).unwrap();
        for name in ["gate_up.int2.words", "gate_up.int4.scales", "down.int4.words"] {
            let name = format!("blocks.1.sublayers.1.experts.{name}");
            let of = |model: &Model| words(model.gpu(), model.tensor(&name).unwrap());
            assert_eq!(of(&sliced), of(&expected), "{stored}: {name}");
        }
        let mut found = session(&sliced, options());
        run(&mut found);
        assert_same_state(stored, &found, &expected_session);
    }
}

#[test]
fn experts_that_are_stored_otherwise_are_refused() {
    let refused = |result: Result<Model, Error>, says: &str| {
        let error = result.err().unwrap();
        let text = error.to_string();
        assert!(
            matches!(error, Error::Request(_)) && text.contains(says) && text.contains("experts"),
            "{text}"
        );
    };
    // In every block, so that it is an expert's matrix that is refused first.
    let blocks = [0, 1, 2, 3].map(|block| format!(r#""{block}": {{"0": 2}}"#)).join(", ");
    let slices = plan("int8", &format!(r#""expert_widths": {{{blocks}}}"#));
    let planes = loaded(&WeightPlan { experts: "int8:planes".parse().unwrap(), ..slices.clone() });
    refused(block_on(planes.sliced(&slices)), "gate_up.int2' is stored as int8:planes");
    refused(planes.served_at(&slices), "gate_up.int2' is stored as int8:planes");
    // Slices of several widths are no parent, and those of one expert are not another's.
    let narrow = |expert: usize| plan("int8", &format!(r#""expert_widths": {{"1": {{"{expert}": 2}}}}"#));
    let first = loaded(&narrow(0));
    refused(first.served_at(&plan("int8", r#""block_widths": {}"#)), "is stored as nothing of its own");
    refused(first.served_at(&narrow(1)), "is stored as int8 of other experts");
    refused(block_on(first.sliced(&narrow(1))), "of other experts");
}

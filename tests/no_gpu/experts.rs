//! Experts in groups: of different widths, and of more bytes than a binding holds.

use wattle::energy::{ByteClass, OpClass};
use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::SessionOptions;
use wattle::model::config::ModelConfig;
use wattle::model::forward::{LogitRows, Sampling, expert_places};
use wattle::model::layout::{ExpertGroup, ExpertStack, ExpertsLayout, Layout, OpLayout};
use wattle::model::plan::WeightPlan;
use wattle::model::session::SessionPlan;
use wattle::model::slot::Place;
use wattle::quant::{WeightFormat, Width};
use wattle::schedule::{Schedule, Step};

use crate::models::config;
use crate::shapes::{devices, one_row, weights};

const ELSEWHERE: u32 = ExpertGroup::ELSEWHERE;

/// Widths of some experts of block 1 of a model whose other weights are 8 bits.
fn mixed(storage: &str) -> WeightPlan {
    let widths = [(0, Width::Int2), (3, Width::Int2), (7, Width::Int4)];
    let expert_widths = [(1, widths.into_iter().collect())].into_iter().collect();
    WeightPlan { expert_widths, ..weights(&format!("int8{storage}")) }
}

fn layout(plan: &WeightPlan, max_binding_bytes: u64) -> Layout {
    let device = Capabilities { max_binding_bytes, ..Capabilities::webgpu() };
    Layout::new(&config("mixtral"), plan, &device).unwrap()
}

fn experts(layout: &Layout, block: usize) -> &ExpertsLayout {
    let OpLayout::Experts(experts) = &layout.blocks[block][1].op else { panic!("experts second") };
    experts
}

/// Experts by group, with the width they are read at.
fn members(stack: &ExpertStack) -> Vec<(String, Vec<u32>)> {
    stack.groups().into_iter().map(|group| (group.matrix.format.to_string(), group.experts)).collect()
}

/// Every expert is in one group, and the rows at its place are its own.
fn assert_places(stack: &ExpertStack, plan: &WeightPlan, block: usize) {
    let mut seen = vec![0; 8];
    for group in stack.groups() {
        let places = group.places(8).unwrap_or_else(|| (0..8).collect());
        let first = group.matrix.shards[group.shard].start;
        for (expert, place) in places.into_iter().enumerate().filter(|(_, place)| *place != ELSEWHERE) {
            seen[expert] += 1;
            let row = first + place * group.matrix.rows;
            assert!(row < group.matrix.shards[group.shard].end, "{}", group.matrix.name);
            let (slot, at) = group.matrix.locate(row);
            let is_its_own = matches!(slot.place, Place::Expert(_, found) if found == expert);
            assert!(is_its_own && at == 0, "{expert}: {:?}, {at}", slot.place);
            let width = plan.expert_widths.get(&block).and_then(|widths| widths.get(&expert));
            let WeightFormat::Int(int) = group.matrix.format else { panic!("{}", group.matrix.format) };
            assert_eq!(int.codes.width, *width.unwrap_or(&Width::Int8), "expert {expert}");
        }
    }
    assert_eq!(seen, [1; 8], "{}", stack.matrices[0].name);
}

#[test]
fn slices_of_different_widths_lie_apart() {
    let plan = mixed("");
    let layout = layout(&plan, 1 << 30);
    let ExpertsLayout { into, down, .. } = experts(&layout, 1);
    for (stack, part) in [(into, "gate_up"), (down, "down")] {
        let stored = |name: &str| format!("blocks.1.sublayers.1.experts.{part}.{name}");
        let found: Vec<_> = stack.matrices.iter().map(|m| (m.name.clone(), m.experts.clone())).collect();
        let expected = [("int2", vec![0, 3]), ("int8", vec![1, 2, 4, 5, 6]), ("int4", vec![7])]
            .map(|(f, e)| (stored(f), e));
        assert_eq!(found, expected);
        assert_places(stack, &plan, 1);
    }
    let places: Vec<_> = into.groups().iter().map(|group| group.places(8).unwrap()).collect();
    const NOT: u32 = ELSEWHERE;
    assert_eq!(places[0], [0, NOT, NOT, 1, NOT, NOT, NOT, NOT]);
    assert_eq!(places[1], [NOT, 0, 1, NOT, 2, 3, 4, NOT]);
    assert_eq!(places[2], [NOT, NOT, NOT, NOT, NOT, NOT, NOT, 0]);
    // Tables are shared by what is grouped alike.
    let tables: Vec<_> = expert_places(&layout).into_iter().map(|(_, table)| table).collect();
    assert_eq!(tables, places);

    // 80 rows of 40 inputs and 40 of 40, padded to 48: 3 words of 2 bits, padded to 4, and 6 of 4 bits, padded to 8.
    let uniform = self::layout(&weights("int8"), 1 << 30);
    assert_eq!(uniform.bytes() - layout.bytes(), 120 * (2 * (48 - 16) + (48 - 32)));
}

#[test]
fn codes_that_every_width_reads_lie_together() {
    for storage in [":planes", ":parent"] {
        let plan = mixed(storage);
        let layout = layout(&plan, 1 << 30);
        let into = &experts(&layout, 1).into;
        let [matrix] = &into.matrices[..] else { panic!("{} matrices", into.matrices.len()) };
        assert_eq!(matrix.name, "blocks.1.sublayers.1.experts.gate_up");
        let of = |width: &str| format!("{width}{storage}");
        let expected = [(of("int2"), vec![0, 3]), (of("int8"), vec![1, 2, 4, 5, 6]), (of("int4"), vec![7])];
        assert_eq!(members(into), expected);
        assert_places(into, &plan, 1);
        assert_eq!(layout.bytes(), self::layout(&weights(&of("int8")), 1 << 30).bytes());
    }
}

/// Nothing to look up: no table, one dispatch.
#[test]
fn experts_of_one_width_are_one_group() {
    let all = (0..8).map(|expert| (expert, Width::Int4));
    let expert_widths = (0..4).map(|block| (block, all.clone().collect())).collect();
    let each = layout(&WeightPlan { expert_widths, ..weights("int4") }, 1 << 30);
    assert_eq!(each, layout(&weights("int4"), 1 << 30));
    assert_eq!(expert_places(&each), []);
    assert!(experts(&each, 0).into.groups()[0].places(8).is_none());
    let plan = session(&config("mixtral"), &each);
    assert_eq!(products(&plan.decode.0, 0, one_row(0)).len(), 2);
    assert!(!plan.decode.0.to_string().contains("members/some"), "{}", plan.decode.0);
    assert!(!plan.prefill.0.to_string().contains("place_of_expert"), "{}", plan.prefill.0);
}

#[test]
fn experts_beyond_a_binding_are_split_by_expert() {
    // Rows of 40 codes are padded to 48, and each of the seven planes to 16 bytes.
    for (plan, limit, sizes) in [
        (weights("int8"), 4 * 80 * 48 - 1, vec![3, 3, 2]),
        (weights("int8:planes"), 2 * 80 * 7 * 16, vec![2, 2, 2, 2]),
    ] {
        let split = layout(&plan, limit);
        let into = &experts(&split, 0).into;
        assert_eq!(members(into).iter().map(|(_, e)| e.len()).collect::<Vec<_>>(), sizes);
        assert_places(into, &plan, 0);
        assert_eq!(split.bytes(), layout(&plan, 1 << 30).bytes());
    }
    // Widths and bindings cut independently.
    for storage in ["", ":planes", ":parent"] {
        let plan = mixed(storage);
        let split = layout(&plan, 2 * 80 * 7 * 16);
        assert_places(&experts(&split, 1).into, &plan, 1);
        assert_places(&experts(&split, 1).down, &plan, 1);
    }
    let plan = mixed("");
    let split = layout(&plan, 3 * 80 * 48);
    let of = |format: &str, experts: &[u32]| (format.to_owned(), experts.to_vec());
    let expected = [of("int2", &[0, 3]), of("int8", &[1, 2, 4]), of("int8", &[5, 6]), of("int4", &[7])];
    assert_eq!(members(&experts(&split, 1).into), expected);
}

/// Of two experts for a token, the two widest.
#[test]
fn a_step_reads_at_most_the_widest_experts() {
    let read = |plan: &WeightPlan| layout(plan, 1 << 30).bytes_read_per_step();
    let one_wide = |count: usize| {
        let narrow = (count..8).map(|expert| (expert, Width::Int2)).collect();
        WeightPlan { expert_widths: [(0, narrow)].into_iter().collect(), ..weights("int8") }
    };
    let [none, one, two, three] = [0, 1, 2, 3].map(|count| read(&one_wide(count)));
    // 120 rows of an expert, of 48 bytes or of 16.
    assert_eq!([one - none, two - one, three - two], [120 * (48 - 16), 120 * (48 - 16), 0]);
    assert_eq!(three, read(&weights("int8")));
}

fn session(config: &ModelConfig, layout: &Layout) -> SessionPlan {
    session_of(64, config, layout)
}

fn session_of(context: u32, config: &ModelConfig, layout: &Layout) -> SessionPlan {
    let options = SessionOptions::new(context, Sampling::GREEDY);
    SessionPlan::new(config, layout, &Capabilities::webgpu(), &options).unwrap()
}

/// A session makes them for the widths it serves, beside the uniforms of its passes.
#[test]
fn tables_are_planned_for() {
    for (plan, tables) in [(weights("int8"), 0), (mixed(""), 3)] {
        let plan = session(&config("mixtral"), &layout(&plan, 1 << 30));
        let alignment = Capabilities::webgpu().uniform_alignment;
        let uniforms = [&plan.part, &plan.prefill, &plan.decode]
            .map(|(schedule, _)| schedule.params(alignment).0.len() as u64);
        assert_eq!(plan.pass_bytes, uniforms.iter().sum::<u64>() + tables * 8 * 4);
        assert!(plan.named_bytes().keys().all(|name| !name.starts_with("expert_places")));
    }
}

/// The dispatches of a block's first expert product, then of its second.
fn product_steps(schedule: &Schedule, block: u32) -> impl Iterator<Item = &Step> {
    let steps = schedule.steps.iter().filter(move |step| step.site.sublayer == Some((block, 1)));
    steps.filter(|step| ["expert_up", "expert_down"].contains(&step.site.what))
}

/// Whether the work of each is a bound, and its bytes of weights, each counted once.
fn products(schedule: &Schedule, block: u32, span: Span) -> Vec<(bool, u64)> {
    let work = product_steps(schedule, block).map(|step| step.launch.work(&[span]));
    work.map(|work| (work.is_bound, work.bytes_of(ByteClass::Weight).least)).collect()
}

#[test]
fn the_work_of_a_group_is_bounded_by_its_own_bytes() {
    let layout = layout(&mixed(""), 1 << 30);
    let plan = session(&config("mixtral"), &layout);
    let (up, down) = (80, 40);
    let expected = |[int2, int8, int4]: [u64; 3], norm: u64| {
        let of =
            |rows: u64, norm: u64| [int2 * 16, int8 * 48, int4 * 32].map(|row| (true, rows * row + norm));
        [of(up, norm), of(down, 0)].concat()
    };
    // A token chooses two experts: of groups of two, five and one, as many as there are. Decode norms on the way in.
    let norm = 40 * 4;
    assert_eq!(products(&plan.decode.0, 1, one_row(3)), expected([2, 2, 1], norm));
    let exact = [(false, 2 * up * 48 + norm), (false, 2 * down * 48)];
    assert_eq!(products(&plan.decode.0, 0, one_row(3)), exact, "a block of one group");
    // Two tokens may choose four, and many all.
    for (rows, counts) in [(2, [2, 4, 1]), (9, [2, 5, 1])] {
        let span = Span { position: 0, rows };
        assert_eq!(products(&plan.prefill.0, 1, span), expected(counts, 0));
        // An expert's few rows are one tile, which reads its weights once.
        let each_once = |step: &Step| {
            let weights = step.launch.work(&[span]).bytes_of(ByteClass::Weight);
            weights.least == weights.most
        };
        assert!(product_steps(&plan.prefill.0, 1).all(each_once), "{rows} rows");
    }
}

/// Every group has workgroups for all rows, and computes no more of them than its experts can be chosen for.
#[test]
fn the_rows_of_a_group_are_those_of_its_experts() {
    let grouped = session(&config("mixtral"), &layout(&mixed(""), 1 << 30));
    let alone = session(&config("mixtral"), &layout(&weights("int8"), 1 << 30));
    let prompt = Span { position: 0, rows: 9 };
    for (grouped, alone, span, rows) in [
        (&grouped.decode.0, &alone.decode.0, one_row(3), [2, 2, 1]),
        (&grouped.prefill.0, &alone.prefill.0, prompt, [18, 18, 9]),
    ] {
        let whole: Vec<_> = product_steps(alone, 1).map(|step| step.launch.workgroups(&[span])).collect();
        let fma = |step: &Step| step.launch.work(&[span]).ops_of(OpClass::F32Fma);
        for (n, step) in product_steps(grouped, 1).enumerate() {
            assert_eq!(step.launch.workgroups(&[span]), whole[n / 3], "{}", step.site);
            // Both products take 40 inputs; the norm before the first adds its own 40 for each row of its input.
            let (outputs, norm) = ([80, 40][n / 3], if n < 3 && span.rows == 1 { 40 } else { 0 });
            let inputs = if n < 3 { u64::from(span.rows) } else { rows[n % 3] };
            let read = step.launch.work(&[span]).bytes_of(ByteClass::ActIn).least;
            assert_eq!(read, inputs * 40 * 4, "{}, group {n}", step.site);
            assert_eq!(fma(step).least, rows[n % 3] * outputs * 40 + norm, "{}, group {n}", step.site);
        }
        // What is executed is less for the group of one expert than for all.
        let [of_all, of_one] = [(alone, 0), (grouped, 2)]
            .map(|(schedule, n)| fma(product_steps(schedule, 1).nth(n).unwrap()).most);
        assert!(of_one < of_all, "{of_one}, {of_all}");
    }
}

/// A prompt is cut into chunks by what is computed, which does not hang on how experts are stored and read.
#[test]
fn groups_do_not_shorten_chunks() {
    let model = config("mixtral");
    let whole = session_of(29, &model, &layout(&weights("int8"), 1 << 30));
    let (prompt, token) = (Span { position: 20, rows: 9 }, one_row(28));
    let ops = |schedule: &Schedule, span| schedule.work(span).total_ops().most;
    assert_eq!(whole.part.0.most_ops(prompt), ops(&whole.part.0, prompt));
    // The embedding just fits; of the experts' codes three do.
    for (plan, limit) in [(weights("int8"), 128 * 48 * 2), (mixed(""), 1 << 30)] {
        let layout = layout(&plan, limit);
        let grouped = session_of(29, &model, &layout);
        for (grouped, whole, span) in
            [(&grouped.part, &whole.part, prompt), (&grouped.decode, &whole.decode, token)]
        {
            assert_eq!(grouped.0.most_ops(span), ops(&whole.0, span), "{span:?}");
            assert!(ops(&grouped.0, span) > ops(&whole.0, span), "each group has a bound of its own");
        }
        let options = SessionOptions::new(29, Sampling::GREEDY);
        let options = SessionOptions { chunk_ops: ops(&whole.prefill.0, prompt), ..options };
        let plan = SessionPlan::new(&model, &layout, &Capabilities::webgpu(), &options).unwrap();
        assert_eq!(plan.chunk_rows, 9);
    }
}

/// Shorter chunks may take other kernels, which compute more: what counts is what the chunk takes that comes of it.
#[test]
fn chunks_stay_within_the_work_budget() {
    let model = config("mixtral");
    for device in devices() {
        let layout = Layout::new(&model, &weights("int8"), &device).unwrap();
        let ops = |plan: &SessionPlan| {
            let end = Span { position: 64 - plan.chunk_rows, rows: plan.chunk_rows };
            [&plan.part, &plan.prefill].map(|(pass, _)| pass.most_ops(end)).into_iter().max().unwrap()
        };
        // Where all rows have logits, the head is a good part of it.
        for logits in [LogitRows::Last, LogitRows::All] {
            let plan = |chunk_ops| {
                let sampling = (logits == LogitRows::Last).then_some(Sampling::GREEDY);
                let options = SessionOptions::new(64, Sampling::GREEDY);
                let options = SessionOptions { chunk_ops, logits, sampling, ..options };
                SessionPlan::new(&model, &layout, &device, &options).unwrap()
            };
            let whole = ops(&plan(u64::MAX));
            let mut lengths = Vec::new();
            for sixteenths in 1..=16 {
                let budget = whole * sixteenths / 16;
                let plan = plan(budget);
                assert!(plan.chunk_rows == 1 || ops(&plan) <= budget, "{} rows of {budget}", plan.chunk_rows);
                lengths.push(plan.chunk_rows);
            }
            assert_eq!(lengths[15], 64);
            assert!(lengths[0] < lengths[7] && lengths[7] < 64, "{lengths:?}");
        }
    }
}

/// On cooperative matrices as well.
#[test]
fn parts_of_every_kernel_know_the_whole() {
    let [_, device] = devices();
    let layout = |plan: &WeightPlan| Layout::new(&config("mixtral"), plan, &device).unwrap();
    let part = |layout: &Layout| {
        let options = SessionOptions::new(64, Sampling::GREEDY);
        SessionPlan::new(&config("mixtral"), layout, &device, &options).unwrap().part.0
    };
    let [whole, grouped] = [weights("int8"), mixed("")].map(|plan| part(&layout(&plan)));
    assert!(grouped.dispatches().iter().any(|(kernel, _)| *kernel == "matmul_coop"));
    let span = Span { position: 0, rows: 33 };
    assert_eq!(grouped.most_ops(span), whole.work(span).total_ops().most);
}

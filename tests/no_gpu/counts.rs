//! What a decode step reads of the weights, counted from the description alone.

use wattle::energy::{ByteClass, OpClass};
use wattle::fragments::{Codec, InputNorm, InputRows, Reduce};
use wattle::gpu::Capabilities;
use wattle::kernel::Kernel;
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matvec::Matvec;
use wattle::kernels::quantize::{Quantize, QuantizeParams};
use wattle::model::config::{ModelConfig, Op};
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, plan::WeightPlan, slot};
use wattle::quant::{IntFormat, QuantBlock, WeightFormat, Width};
use wattle::tuning::ProductPath;

use crate::shapes::{large, one_row, small};

const BLOCK: usize = 32;

fn int(width: Width) -> WeightFormat {
    WeightFormat::Int(IntFormat { block: QuantBlock::Inputs(BLOCK as u32), ..IntFormat::new(width) })
}

/// Bytes of weights, and of scales and zero points, that a decode step reads, each once.
fn counted(config: &ModelConfig, format: WeightFormat) -> [u64; 2] {
    counted_on(config, format, ProductPath::Float)
}

fn counted_on(config: &ModelConfig, format: WeightFormat, path: ProductPath) -> [u64; 2] {
    let plan = WeightPlan { embedding: WeightFormat::F32, ..WeightPlan::uniform(format) };
    let device =
        Capabilities { max_binding_bytes: 1 << 32, max_buffer_bytes: 1 << 32, ..Capabilities::webgpu() };
    let layout = Layout::new(config, &plan, &device).unwrap();
    let options = SessionOptions { path, ..SessionOptions::new(config.context_length, Sampling::GREEDY) };
    let plan = SessionPlan::new(config, &layout, &device, &options).unwrap();
    let work = plan.decode.0.work(one_row(config.context_length - 1));
    [ByteClass::Weight, ByteClass::ScaleZp].map(|class| work.bytes_of(class).least)
}

/// The same from the model's tensors: bytes in the plan's format, of scales, and in f32.
fn expected(config: &ModelConfig, format: WeightFormat) -> [u64; 3] {
    use slot::{Part, Place, Role};
    let top_k = |at: slot::SubLayerPlace| match &config.blocks[at.block].sublayers[at.sublayer].op {
        Op::Experts(experts) => experts.top_k as usize,
        _ => 0,
    };
    let [mut codes, mut scales, mut floats] = [0, 0, 0];
    for (slot, shape) in slot::slots(config) {
        // A token reads its own row of the embedding, and only the experts it is routed to.
        let used = match slot.place {
            Place::Expert(at, expert) => expert < top_k(at),
            _ => true,
        };
        let is_matrix = slot.part == Part::Weight && shape.len() == 2;
        match (slot.role, is_matrix) {
            _ if !used => {}
            (Role::Embedding, _) if !config.head.tied => floats += WeightFormat::F32.row_bytes(shape[1]),
            (Role::Router, _) => floats += shape[0] * WeightFormat::F32.row_bytes(shape[1]),
            (role, true) => {
                if role == Role::Embedding {
                    floats += WeightFormat::F32.row_bytes(shape[1]);
                }
                codes += shape[0] * format.row_bytes(shape[1]);
                scales += shape[0] * shape[1].div_ceil(BLOCK) * 8;
            }
            // The norm before experts is applied by the router, and again by the experts' first product.
            (Role::Norm, _) if is_before_experts(config, slot.place) => floats += 2 * shape[0] * 4,
            (_, false) => floats += shape[0] * 4,
        }
    }
    [codes, scales, floats].map(|bytes| bytes as u64)
}

fn is_before_experts(config: &ModelConfig, place: slot::Place) -> bool {
    match place {
        slot::Place::SubLayer(at) => {
            matches!(config.blocks[at.block].sublayers[at.sublayer].op, Op::Experts(_))
        }
        _ => false,
    }
}

fn all() -> Vec<(String, ModelConfig)> {
    small().into_iter().chain(large()).collect()
}

#[test]
fn a_decode_step_reads_each_row_once() {
    for (name, config) in all() {
        for format in Width::ALL.map(int) {
            let [codes, scales, floats] = expected(&config, format);
            for path in ProductPath::ALL {
                let found = counted_on(&config, format, path);
                assert_eq!(found, [codes + floats, scales], "{name}, {format}, {path}");
            }
        }
        let [codes, _, floats] = expected(&config, WeightFormat::F16);
        assert_eq!(counted(&config, WeightFormat::F16), [codes + floats, 0], "{name}, f16");
    }
}

/// What a width reads of each storage, as eighths of the 8-bit codes: every row of these models is a multiple of 128.
#[test]
fn a_decode_step_reads_the_bits_of_its_width() {
    for (name, config) in large() {
        let code_bytes = |text: &str| {
            let format = text.parse().unwrap();
            let [_, _, floats] = expected(&config, format);
            counted(&config, format)[0] - floats
        };
        let int8 = code_bytes("int8");
        for (storage, read) in
            [("", [8, 7, 6, 5, 4, 3, 2, 1]), (":planes", [8, 8, 7, 7, 5, 4, 2, 3]), (":parent", [8; 8])]
        {
            for (width, read) in Width::ALL.into_iter().zip(read) {
                assert_eq!(
                    code_bytes(&format!("{width}{storage}")) * 8,
                    int8 * read,
                    "{name}, {width}{storage}"
                );
            }
        }
    }
}

/// Requested: a step of 16 inputs, or of 32 that are codes, asks for its scale once, and rounds the inputs up.
#[test]
fn steps_over_the_inputs_are_counted_as_they_are() {
    let span = one_row(0);
    let format: WeightFormat = "int4".parse().unwrap();
    let params = LinearParams::dense(format, 4, 72);
    let plain = Matvec::new(Codec::of(format, &Capabilities::webgpu()), 72);
    for (inputs, steps, executed) in [(InputRows::Quads, 5, 4 * 80), (InputRows::I8, 3, 4 * 96 / 4)] {
        let work = Matvec { inputs, ..plain }.work(&params, span);
        assert_eq!(work.bytes_of(ByteClass::ScaleZp).most, 4 * steps * 8, "{inputs:?}");
        let class = if inputs == InputRows::I8 { OpClass::I8Dot4 } else { OpClass::F32Fma };
        assert_eq!(work.ops_of(class).most, executed, "{inputs:?}");
    }
}

/// Each workgroup of a long row makes the norm's statistics, and norms its own inputs alone.
#[test]
fn quantize_norms_each_input_once() {
    const INPUTS: u32 = 4096;
    let params = QuantizeParams::new(INPUTS, 1, 0.0);
    for (norm, fma, vectors) in
        [(InputNorm::Rms, 2 * INPUTS, 1), (InputNorm::Layer, 4 * INPUTS, 2), (InputNorm::Affine, INPUTS, 2)]
    {
        let variant = Quantize {
            inputs: InputRows::Quads,
            norm,
            last: false,
            chosen: false,
            reduce: Reduce::Workgroup,
        };
        let work = variant.work(&params, one_row(0));
        assert_eq!(variant.workgroups(&params, one_row(0)), 2);
        assert_eq!(work.ops_of(OpClass::F32Fma).most, u64::from(fma), "{norm:?}");
        assert_eq!(work.bytes_of(ByteClass::Weight).most, u64::from(vectors * INPUTS * 4), "{norm:?}");
        assert_eq!(work.bytes_of(ByteClass::ActOut).least, u64::from(INPUTS / 32 * 48), "{norm:?}");
    }
}

//! Models beside each other: experts beside dense networks of as many parameters, and orders of blocks.

use wattle::model::config::{ModelConfig, Op, SubLayer};
use wattle::model::parameters::Parameters;
use wattle::model::presets::{brainformer1_1b_64e, brainformer2_1b_64e, glam_1700m_64e};
use wattle::quant::WeightFormat;

use super::layer::{Kind, Layer, Tokens, VOCAB, Way};
use super::support::table::Table;
use super::support::{Bench, Result, Row, microseconds};
use super::trial::{Measured, measure};

const COLUMNS: [(&str, usize); 8] = [
    ("model", 38),
    ("weights", 7),
    ("tokens", 10),
    ("us", 14),
    ("tokens/s", 9),
    ("million", 8),
    ("a token's", 9),
    ("MB read", 8),
];

/// Times every model for one token and for many.
pub fn run(bench: &mut Bench, base: &Layer, formats: &[WeightFormat], divisor: u32) -> Result<()> {
    let models = models(base, divisor)?;
    let table = Table::begin(&COLUMNS);
    for format in formats {
        for config in &models {
            for rows in [1, base.rows] {
                let config = ModelConfig { context_length: rows + 1, ..config.clone() };
                let measured = measure(&bench.gpu, &config, *format, Tokens::Random.draw(rows))?;
                print(bench, &table, &config, *format, rows, &measured)?;
            }
        }
    }
    Ok(())
}

fn models(base: &Layer, divisor: u32) -> Result<Vec<ModelConfig>> {
    let Layer { hidden, .. } = *base;
    let dense = |times| Layer { kind: Kind::Dense, hidden: hidden * times, ..*base };
    let experts = Layer { kind: Kind::Experts { count: 64, top_k: 4, way: Way::Best }, ..*base };
    // As many parameters as a token uses, and as there are.
    let mut models: Vec<_> = [experts, dense(4), dense(64)].map(|layer| layer.config()).to_vec();
    for preset in [glam_1700m_64e(), brainformer1_1b_64e(), brainformer2_1b_64e()] {
        models.push(narrower(preset, divisor)?);
    }
    Ok(models)
}

/// The model with every width divided, heads and not what they hold, and a small vocabulary.
fn narrower(mut model: ModelConfig, divisor: u32) -> Result<ModelConfig> {
    let mut widths = vec![&mut model.hidden_size];
    for block in &mut model.blocks {
        for sublayer in &mut block.sublayers {
            add_widths(sublayer, &mut widths);
        }
    }
    for width in widths {
        if *width % divisor != 0 {
            return Err(
                format!("--divide {divisor} does not divide {width}, a width of {}", model.name).into()
            );
        }
        *width /= divisor;
    }
    model.vocab_size = VOCAB;
    model.name = format!("{} / {divisor}", model.name);
    Ok(model)
}

fn add_widths<'a>(sublayer: &'a mut SubLayer, widths: &mut Vec<&'a mut u32>) {
    widths.extend(&mut sublayer.width);
    match &mut sublayer.op {
        Op::Attention(attention) | Op::CrossAttention(attention) => {
            widths.extend([&mut attention.heads, &mut attention.kv_heads]);
        }
        Op::LayerInput(_) => {}
        Op::FeedForward(network) => widths.push(&mut network.hidden),
        Op::Experts(experts) => {
            widths.push(&mut experts.expert.hidden);
            widths.extend(experts.shared.as_mut().map(|shared| &mut shared.expert.hidden));
        }
        Op::Parallel(branches) => branches.iter_mut().for_each(|branch| add_widths(branch, widths)),
    }
}

fn print(
    bench: &mut Bench,
    table: &Table,
    config: &ModelConfig,
    format: WeightFormat,
    rows: u32,
    measured: &Measured,
) -> Result<()> {
    let without_table = |parameters: Parameters| (parameters.total() - parameters.embedding) as f64;
    let (all, of_token) =
        (without_table(Parameters::of(config)), without_table(Parameters::activated(config)));
    let per_s = f64::from(rows) / measured.wall.median().as_secs_f64();
    table.row(&[
        config.name.clone(),
        format.to_string(),
        rows.to_string(),
        format!("{:.0} ±{:.0}%", microseconds(measured.wall.median()), 50.0 * measured.wall.spread()),
        format!("{per_s:.1}"),
        format!("{:.2}", all / 1e6),
        format!("{:.2}", of_token / 1e6),
        format!("{:.2}", measured.weight_bytes as f64 / 1e6),
    ]);
    let metrics = vec![
        ("tokens_per_s", per_s),
        ("parameters", all),
        ("activated_parameters", of_token),
        ("weight_bytes", measured.weight_bytes as f64),
    ];
    let (shape, variant) = (config.name.clone(), format!("{format} {rows}"));
    bench.record(&Row { name: bench.name, shape, variant, times: &measured.wall, metrics })
}

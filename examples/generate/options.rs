//! The command line of `generate`.

use std::path::PathBuf;
use std::str::FromStr;

use wattle::model::forward::Sampling;
use wattle::tuning::ProductPath;

pub const USAGE: &str = "\
generate (--prompt TEXT | --prompt-ids 1,2,3) [OPTIONS]

  --model DIR            a checkpoint (default: the bundled stories)
  --weights FORMAT       f32, f16, or int8 to int1 (default int8); pyramid; bytes that a step may read, 24MiB;
                         or a plan, FILE.json
  --max-tokens N         tokens to generate (default 300)
  --stop-ids 1,2         tokens that end the answer
  --seed S               draws tokens, each seed its own (default: takes the likeliest)
  --temperature T        flattens or sharpens the draw (default where one draws: 1); 0 takes the likeliest
  --top-k K, --top-p P   which tokens may be drawn
  --memory-ceiling MIB   most mebibytes on the device, weights included
  --path float|integer|matrix
                         what products may round their inputs to: nothing (default), 8-bit codes where weights are
                         codes, or f16 where the device has cooperative matrices
  --tuning FILE          which kernels compute products: a table that the example tune has written
  --pipeline-cache FILE  compiled pipelines, for the next start on the same driver
  --ledger FILE.jsonl    what every dispatch moved and computed, and how long passes took
  --baseline             no optional shader features";

/// What is asked for.
pub struct Options {
    pub model: PathBuf,
    pub prompt: Prompt,
    /// A plan: [`wattle::model::plan::WeightPlan::choose`].
    pub weights: String,
    pub max_tokens: u32,
    pub stop_ids: Vec<u32>,
    pub sampling: Sampling,
    /// In bytes.
    pub memory_ceiling: Option<u64>,
    pub path: Option<ProductPath>,
    pub tuning: Option<PathBuf>,
    pub pipeline_cache: Option<PathBuf>,
    pub ledger: Option<PathBuf>,
    pub baseline: bool,
}

/// What to continue.
pub enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut prompt, mut temperature, mut seed) = (None, None, None);
        let mut options = Self {
            model: concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-nested").into(),
            prompt: Prompt::Ids(Vec::new()),
            weights: "int8".into(),
            max_tokens: 300,
            stop_ids: Vec::new(),
            sampling: Sampling::GREEDY,
            memory_ceiling: None,
            path: None,
            tuning: None,
            pipeline_cache: None,
            ledger: None,
            baseline: false,
        };
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--model" => options.model = value()?.into(),
                "--prompt" | "--prompt-ids" if prompt.is_some() => {
                    return Err(format!("{flag}: there is a prompt already"));
                }
                "--prompt" => prompt = Some(Prompt::Text(value()?)),
                "--prompt-ids" => prompt = Some(Prompt::Ids(list(&flag, &value()?)?)),
                "--weights" => options.weights = value()?,
                "--max-tokens" => options.max_tokens = number(&flag, &value()?)?,
                "--stop-ids" => options.stop_ids = list(&flag, &value()?)?,
                "--temperature" => temperature = Some(number(&flag, &value()?)?),
                "--top-k" => options.sampling.top_k = number(&flag, &value()?)?,
                "--top-p" => options.sampling.top_p = number(&flag, &value()?)?,
                "--seed" => seed = Some(number(&flag, &value()?)?),
                "--memory-ceiling" => {
                    options.memory_ceiling = Some(number::<u64>(&flag, &value()?)?.saturating_mul(1 << 20));
                }
                "--path" => {
                    options.path = Some(value()?.parse().map_err(|error: wattle::Error| error.to_string())?);
                }
                "--tuning" => options.tuning = Some(value()?.into()),
                "--pipeline-cache" => options.pipeline_cache = Some(value()?.into()),
                "--ledger" => options.ledger = Some(value()?.into()),
                "--baseline" => options.baseline = true,
                _ => return Err(format!("unknown option {flag}")),
            }
        }
        options.prompt = prompt.ok_or("no prompt given")?;
        options.sampling.temperature = {
            let draws = seed.is_some() || options.sampling.top_k > 0 || options.sampling.top_p < 1.0;
            temperature.unwrap_or(if draws { 1.0 } else { 0.0 })
        };
        options.sampling.seed = seed.unwrap_or_default();
        Ok(options)
    }
}

fn number<T: FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{flag}: '{text}' is no number of its kind"))
}

fn list(flag: &str, text: &str) -> Result<Vec<u32>, String> {
    text.split(',').filter(|part| !part.trim().is_empty()).map(|part| number(flag, part)).collect()
}

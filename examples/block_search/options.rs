//! The command line of `block_search`.

use std::path::PathBuf;
use std::str::FromStr;

use wattle::kernels::expert_plan::MAX_EXPERTS;
use wattle::quant::WeightFormat;

use super::counts::Roofline;
use super::evolution::Search;
use super::shape::{Scale, Shape};
use super::space::Space;

/// What there is to ask for, with the defaults as they are.
pub fn usage() -> String {
    let Options { shape, space, roofline, evaluations, population, tournament, seed, seeds, runs, .. } =
        Options::default();
    let Shape { scale, experts, repeats, tokens } = shape;
    let Roofline { gb_per_s, gop_per_s, format } = roofline;
    let attention = space.min_attention;
    format!(
        "\
block_search [OPTIONS]

  --budget-ms X             what a step may take (default: what it takes with GLaM's block)
  --evaluations N           blocks that each search evaluates (default {evaluations})
  --population N            blocks that are alive in evolution (default {population})
  --tournament N            blocks of which the best becomes a parent (default {tournament})
  --seed N, --seeds N       the first seed, and how many (default {seed} and {seeds})
  --scale N/M               multiplies all widths of the search space (default {scale})
  --tokens N                tokens of a step (default {tokens})
  --experts N               experts of each sparse sub-layer (default {experts})
  --repeats N               how often a model repeats its block (default {repeats})
  --attention N             attention sub-layers that a block has at least, 0 to 4 (default {attention})
  --own-widths no|yes       whether sub-layers may have widths of their own (default no)
  --weights FORMAT          format of all weights (default {format})
  --oracle device|counts    step times: measured, or counts of the ledger over rates (default device)
  --runs N                  of a measured step, of which the median counts (default {runs})
  --gb-per-s X              rates for counts: 10^9 bytes a second (default {gb_per_s}),
  --gop-per-s X               10^9 operations a second (default {gop_per_s})
  --svg FILE, --json FILE   a picture of all blocks, and everything in numbers"
    )
}

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub shape: Shape,
    pub space: Space,
    pub evaluations: usize,
    pub population: usize,
    pub tournament: usize,
    /// Milliseconds; none: those of GLaM's block.
    pub budget_ms: Option<f64>,
    pub seed: u64,
    pub seeds: u64,
    pub on_device: bool,
    pub runs: usize,
    /// The rates of counts, and the format of weights.
    pub roofline: Roofline,
    pub svg: Option<PathBuf>,
    pub json: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A message for people about the first that will not do.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--budget-ms" => options.budget_ms = Some(positive(&flag, &value()?)?),
                "--evaluations" => options.evaluations = within(&flag, &value()?, 1, 1_000_000)?,
                "--population" => options.population = within(&flag, &value()?, 1, 1_000_000)?,
                "--tournament" => options.tournament = within(&flag, &value()?, 1, 1_000_000)?,
                "--seed" => options.seed = within(&flag, &value()?, 0, u64::from(u32::MAX))?,
                "--seeds" => options.seeds = within(&flag, &value()?, 1, 1000)?,
                "--scale" => {
                    options.shape.scale = value()?.parse::<Scale>().map_err(|e| format!("{flag}: {e}"))?
                }
                "--tokens" => options.shape.tokens = within(&flag, &value()?, 1, 65_536)?,
                "--experts" => options.shape.experts = within(&flag, &value()?, 4, MAX_EXPERTS)?,
                "--repeats" => options.shape.repeats = within(&flag, &value()?, 1, 64)?,
                "--attention" => options.space.min_attention = within(&flag, &value()?, 0, 4)?,
                "--own-widths" => options.space.own_widths = is_first(&flag, &value()?, ["yes", "no"])?,
                "--weights" => options.roofline.format = format(&flag, &value()?)?,
                "--oracle" => options.on_device = is_first(&flag, &value()?, ["device", "counts"])?,
                "--runs" => options.runs = within(&flag, &value()?, 1, 1000)?,
                "--gb-per-s" => options.roofline.gb_per_s = positive(&flag, &value()?)?,
                "--gop-per-s" => options.roofline.gop_per_s = positive(&flag, &value()?)?,
                "--svg" => options.svg = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(format!("{flag} is not an option")),
            }
        }
        options.check()?;
        Ok(options)
    }

    /// How is searched within a budget.
    pub fn search(&self, budget_ms: f64) -> Search {
        let Self { space, evaluations, population, tournament, .. } = *self;
        Search { space, evaluations, population, tournament, budget_ms }
    }

    fn check(&self) -> Result<(), String> {
        if self.evaluations <= self.population {
            let (evaluations, population) = (self.evaluations, self.population);
            return Err(format!(
                "--evaluations {evaluations}: a population of {population} evolves only after more than so many"
            ));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shape: Shape { scale: Scale::SIXTEENTH, experts: 32, repeats: 1, tokens: 128 },
            space: Space { min_attention: 2, own_widths: false },
            evaluations: 300,
            population: 30,
            tournament: 10,
            budget_ms: None,
            seed: 1,
            seeds: 3,
            on_device: true,
            runs: 5,
            roofline: Roofline { gb_per_s: 50.0, gop_per_s: 200.0, format: WeightFormat::F32 },
            svg: None,
            json: None,
        }
    }
}

fn within<T>(flag: &str, text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("{flag}: '{text}' is no number from {least} to {most}"))
}

fn positive(flag: &str, text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("{flag}: '{text}' is no positive number"))
}

fn format(flag: &str, text: &str) -> Result<WeightFormat, String> {
    text.parse().map_err(|error: wattle::Error| format!("{flag}: {error}"))
}

fn is_first(flag: &str, text: &str, [first, second]: [&str; 2]) -> Result<bool, String> {
    match text {
        _ if text == first => Ok(true),
        _ if text == second => Ok(false),
        _ => Err(format!("{flag}: there is {first} and {second}, not '{text}'")),
    }
}

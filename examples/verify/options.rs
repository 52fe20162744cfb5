//! The command line of `verify`.

use std::path::PathBuf;

use wattle::model::plan::WeightPlan;
use wattle::quant::WeightFormat;

pub const USAGE: &str = "\
verify [OPTIONS] DIR...

  --weights f32|f16|int8|..|int1     format of projections and head (default f32)
  --expert-weights FORMAT            format of experts (default: as --weights)
  --embedding-weights FORMAT         format of the embedding (default: f32 with f32 weights, else f16)
  --storage sliced                   how integer weights are stored
  --path auto|float                  arithmetic of products
  --cache f32                        type of the key/value cache
  --baseline                         no optional shader features
  --cpu                              the CPU reference alone";

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub plan: WeightPlan,
    /// Whether the float path was asked for by name.
    pub float_path: bool,
    pub baseline: bool,
    pub cpu: bool,
    pub directories: Vec<PathBuf>,
    /// The first thing asked for that is not offered: every directory then fails with it.
    pub unsupported: Option<String>,
}

impl Options {
    /// Reads on after what is not understood, so that every directory is known.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            plan: WeightPlan::uniform(WeightFormat::F32),
            float_path: false,
            baseline: false,
            cpu: false,
            directories: Vec::new(),
            unsupported: None,
        };
        let (mut experts, mut embedding) = (None, None);
        while let Some(argument) = arguments.next() {
            let mut read = || -> Result<(), String> {
                match argument.as_str() {
                    "--weights" => options.plan = WeightPlan::uniform(format(&mut arguments)?),
                    "--expert-weights" => experts = Some(format(&mut arguments)?),
                    "--embedding-weights" => embedding = Some(format(&mut arguments)?),
                    "--storage" => _ = only(&mut arguments, &["sliced"])?,
                    "--path" => options.float_path = only(&mut arguments, &["auto", "float"])? == "float",
                    "--cache" => _ = only(&mut arguments, &["f32"])?,
                    "--baseline" => options.baseline = true,
                    "--cpu" => options.cpu = true,
                    flag if flag.starts_with('-') => return Err("is not an option".into()),
                    directory => options.directories.push(directory.into()),
                }
                Ok(())
            };
            if let Err(message) = read() {
                options.unsupported.get_or_insert(format!("{argument} {message}"));
            }
        }
        options.plan.experts = experts.unwrap_or(options.plan.experts);
        options.plan.embedding = embedding.unwrap_or(options.plan.embedding);
        if options.directories.is_empty() {
            options.unsupported.get_or_insert("no directory given".into());
        }
        options
    }

    /// What is printed where nothing can be checked: a line for each directory, and the count.
    pub fn all_failed(&self, why: &str) -> String {
        let line = |directory: &PathBuf| format!("{}: FAILED: {why}\n", directory.display());
        let lines: String = self.directories.iter().map(line).collect();
        format!("{lines}0 passed, {} failed", self.directories.len())
    }
}

fn format(arguments: &mut impl Iterator<Item = String>) -> Result<WeightFormat, String> {
    let text = value(arguments)?;
    text.parse().map_err(|error: wattle::Error| format!("{text}: {error}"))
}

fn only(arguments: &mut impl Iterator<Item = String>, offered: &[&str]) -> Result<String, String> {
    let value = value(arguments)?;
    match offered.contains(&value.as_str()) {
        true => Ok(value),
        false => Err(format!("{value} is not supported; there is {}", offered.join(", "))),
    }
}

fn value(arguments: &mut impl Iterator<Item = String>) -> Result<String, String> {
    arguments.next().ok_or("needs a value".into())
}

//! The command line of `verify`.

use std::path::PathBuf;

use wattle::fragments::CacheFormat;
use wattle::model::config::ModelConfig;
use wattle::model::plan::{PlanName, WeightPlan};
use wattle::quant::{Storage, WeightFormat};
use wattle::tuning::ProductPath;

pub const USAGE: &str = "\
verify [OPTIONS] DIR...

  --weights f32|f16|int8|..|int1     format of projections and head (default f32); or pyramid, or bytes that a
                                     step may read, 24MiB, or a plan, FILE.json
  --expert-weights FORMAT            format of experts (default: as --weights)
  --embedding-weights FORMAT         format of the embedding (default: f32 with f32 weights, else f16)
  --storage sliced|parent|planes     how integer weights are stored
  --path auto|float|integer|matrix   arithmetic of products (auto: float): f32, inputs as 8-bit codes, or f16 on
                                     cooperative matrices
  --cache f32|f16|int8               what keys and values are stored as (default f32)
  --baseline                         no optional shader features
  --cpu                              the CPU reference alone";

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    pub weights: String,
    pub experts: Option<WeightFormat>,
    pub embedding: Option<WeightFormat>,
    pub storage: Storage,
    /// The path that was asked for.
    pub path: Option<ProductPath>,
    /// What keys and values are stored as.
    pub cache: CacheFormat,
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
            weights: "f32".into(),
            experts: None,
            embedding: None,
            storage: Storage::Sliced,
            path: None,
            cache: CacheFormat::F32,
            baseline: false,
            cpu: false,
            directories: Vec::new(),
            unsupported: None,
        };
        while let Some(argument) = arguments.next() {
            let mut read = || -> Result<(), String> {
                match argument.as_str() {
                    "--weights" => options.weights = weights(&mut arguments)?,
                    "--expert-weights" => options.experts = Some(format(&mut arguments)?),
                    "--embedding-weights" => options.embedding = Some(format(&mut arguments)?),
                    "--storage" => {
                        options.storage =
                            match only(&mut arguments, &["sliced", "parent", "planes"])?.as_str() {
                                "parent" => Storage::Parent,
                                "planes" => Storage::Planes,
                                _ => Storage::Sliced,
                            };
                    }
                    "--path" => {
                        let paths = ["auto", "float", "integer", "matrix"];
                        // That nothing is asked for is what `auto` says.
                        options.path = only(&mut arguments, &paths)?.parse().ok();
                    }
                    "--cache" => {
                        let format = only(&mut arguments, &["f32", "f16", "int8"])?.parse();
                        options.cache = format.map_err(|error: wattle::Error| error.to_string())?;
                    }
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
        if options.directories.is_empty() {
            options.unsupported.get_or_insert("no directory given".into());
        }
        options
    }

    /// The plan for a model.
    pub fn plan(&self, config: &ModelConfig) -> wattle::Result<WeightPlan> {
        let mut plan = WeightPlan::choose(&self.weights, config)?;
        plan.experts = self.experts.unwrap_or(plan.experts);
        plan.embedding = self.embedding.unwrap_or(plan.embedding);
        for format in [&mut plan.linear, &mut plan.experts, &mut plan.embedding] {
            if let WeightFormat::Int(int) = format
                && self.storage != Storage::Sliced
            {
                int.codes.storage = self.storage;
            }
        }
        Ok(plan)
    }

    /// What is printed where nothing can be checked: a line for each directory, and the count.
    pub fn all_failed(&self, why: &str) -> String {
        let line = |directory: &PathBuf| format!("{}: FAILED: {why}\n", directory.display());
        let lines: String = self.directories.iter().map(line).collect();
        format!("{lines}0 passed, {} failed", self.directories.len())
    }
}

/// A plan by name, checked, or a file that is read with the model.
fn weights(arguments: &mut impl Iterator<Item = String>) -> Result<String, String> {
    let text = value(arguments)?;
    if !text.ends_with(".json") {
        text.parse::<PlanName>().map_err(|error| format!("{text}: {error}"))?;
    }
    Ok(text)
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

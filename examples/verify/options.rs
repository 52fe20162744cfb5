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
pub struct Options {
    pub plan: WeightPlan,
    pub baseline: bool,
    pub cpu: bool,
    pub directories: Vec<PathBuf>,
    /// A value that is understood but not offered: every directory then fails with it.
    pub unsupported: Option<String>,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            plan: WeightPlan::uniform(WeightFormat::F32),
            baseline: false,
            cpu: false,
            directories: Vec::new(),
            unsupported: None,
        };
        let (mut experts, mut embedding) = (None, None);
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--weights" => options.plan = WeightPlan::uniform(format(&value()?)?),
                "--expert-weights" => experts = Some(format(&value()?)?),
                "--embedding-weights" => embedding = Some(format(&value()?)?),
                "--storage" => options.only("--storage", &value()?, &["sliced"]),
                "--path" => options.only("--path", &value()?, &["auto", "float"]),
                "--cache" => options.only("--cache", &value()?, &["f32"]),
                "--baseline" => options.baseline = true,
                "--cpu" => options.cpu = true,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                directory => options.directories.push(directory.into()),
            }
        }
        options.plan.experts = experts.unwrap_or(options.plan.experts);
        options.plan.embedding = embedding.unwrap_or(options.plan.embedding);
        if options.directories.is_empty() {
            return Err("no directory given".into());
        }
        Ok(options)
    }

    fn only(&mut self, flag: &str, value: &str, offered: &[&str]) {
        if !offered.contains(&value) {
            let offered = offered.join(", ");
            self.unsupported = Some(format!("{flag} {value} is not supported; there is {offered}"));
        }
    }
}

fn format(text: &str) -> Result<WeightFormat, String> {
    text.parse().map_err(|error: wattle::Error| error.to_string())
}

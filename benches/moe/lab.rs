//! Measures every row once, whatever number of tables it is in.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use wattle::model::config::ModelConfig;
use wattle::model::parameters::Parameters;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

use super::case::{Case, refusal};
use super::check::{check, small};
use super::layer::Layer;
use super::support::roof::Roof;
use super::support::{Bench, Result, Row};
use super::trial::{Measured, take_turns};

pub struct Lab {
    pub bench: Bench,
    roof: Roof,
    path: ProductPath,
    longest: Option<Duration>,
    /// Kinds that agree with the reference.
    checked: HashSet<String>,
    /// By title and variant; nothing where they were skipped.
    known: HashMap<String, Option<Rc<Line>>>,
    /// With the reason.
    pub skipped: Vec<String>,
}

/// What was measured of a layer or a model.
pub struct Line {
    pub title: String,
    pub format: WeightFormat,
    pub tokens: String,
    pub rows: u32,
    pub variant: String,
    pub measured: Measured,
    /// A dense network that took turns with a layer of experts.
    pub dense: Option<Measured>,
    /// Parameters without the table of embeddings, and those of them that a token uses.
    pub parameters: [f64; 2],
}

/// The experts' products, and those of a dense network.
pub const EXPERTS: [&str; 2] = ["expert_up", "expert_down"];
pub const DENSE: [&str; 2] = ["up", "down"];
const ROUTE: [&str; 2] = ["router", "route"];
const PLAN: [&str; 7] = ["priority", "scores", "choose", "list", "count", "scan", "place"];

impl Lab {
    pub fn new(bench: Bench, path: ProductPath, longest: Option<Duration>) -> Result<Self> {
        let roof = Roof::measure(&bench.gpu)?;
        // Without matrices it is the same, and held against the reference as what it is.
        let path = match path {
            ProductPath::Matrix if !bench.gpu.capabilities().has_matrices() => ProductPath::Float,
            path => path,
        };
        let (checked, known, skipped) = Default::default();
        Ok(Self { bench, roof, path, longest, checked, known, skipped })
    }

    /// A layer of experts beside a dense network.
    pub fn layer(&mut self, layer: &Layer) -> Result<Option<Rc<Line>>> {
        let case = |layer: &Layer| Case::of_layer(layer, self.path);
        self.line(&[case(layer), case(&layer.beside())])
    }

    pub fn model(
        &mut self,
        config: &ModelConfig,
        format: WeightFormat,
        rows: u32,
    ) -> Result<Option<Rc<Line>>> {
        self.line(&[Case::of_model(config, format, self.path, rows)])
    }

    fn line(&mut self, cases: &[Case]) -> Result<Option<Rc<Line>>> {
        let key = format!("{:<38}  {}", cases[0].config.name, cases[0].variant());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let line = match refusal(&self.bench.gpu, &self.roof, cases, self.longest)? {
            None => Some(Rc::new(self.measure(cases)?)),
            Some(why) => {
                self.skipped.push(format!("{key:<56}  {why}"));
                None
            }
        };
        self.known.insert(key, line.clone());
        Ok(line)
    }

    fn measure(&mut self, cases: &[Case]) -> Result<Line> {
        for case in cases {
            let kind = format!("{:?} {} {}", small(&case.config), case.format, case.path);
            if !self.checked.contains(&kind) {
                check(&self.bench.gpu, case)?;
                self.checked.insert(kind);
            }
        }
        let mut measured = take_turns(&self.bench.gpu, cases)?.into_iter();
        let (Some(first), dense, case) = (measured.next(), measured.next(), &cases[0]) else {
            return Err("nothing to measure".into());
        };
        let without_table = |of: Parameters| (of.total() - of.embedding) as f64;
        let line = Line {
            title: case.config.name.clone(),
            format: case.format,
            tokens: case.tokens.title(case.rows),
            rows: case.rows,
            variant: case.variant(),
            measured: first,
            dense,
            parameters: [Parameters::of(&case.config), Parameters::activated(&case.config)]
                .map(without_table),
        };
        self.bench.record(&line.row(self.bench.name))?;
        Ok(line)
    }
}

impl Line {
    /// Microseconds of finding experts, by the device's clock.
    pub fn route_us(&self) -> Option<f64> {
        self.measured.of(&ROUTE)
    }

    /// Of sorting rows by expert.
    pub fn plan_us(&self) -> Option<f64> {
        self.measured.of(&PLAN)
    }

    pub fn experts_us(&self) -> Option<f64> {
        self.measured.of(&EXPERTS)
    }

    /// Of routing and planning, of the layer. A token that is alone has no plan.
    pub fn share(&self) -> Option<f64> {
        let all = self.measured.all().filter(|_| self.dense.is_some())?;
        Some((self.route_us()? + self.plan_us().unwrap_or(0.0)) / all)
    }

    /// Speed of the experts' products, of a dense network's.
    pub fn of_dense(&self) -> Option<f64> {
        self.dense.as_ref()?.over(&DENSE, &self.measured, &EXPERTS)
    }

    pub fn seconds(&self) -> f64 {
        self.measured.wall.median().as_secs_f64()
    }

    pub fn tokens_per_s(&self) -> f64 {
        f64::from(self.rows) / self.seconds()
    }

    fn row<'a>(&'a self, bench: &'a str) -> Row<'a> {
        let [parameters, activated] = self.parameters;
        let known = [
            ("tokens_per_s", self.tokens_per_s()),
            ("parameters", parameters),
            ("activated_parameters", activated),
            ("weight_bytes", self.measured.weight_bytes as f64),
            ("bytes", self.measured.bytes as f64),
        ];
        let of_experts = self.dense.as_ref().map(|_| self.measured.executed);
        let where_known = [
            ("executed_rows_per_row", of_experts),
            ("route_us", self.route_us()),
            ("plan_us", self.plan_us()),
            ("experts_us", self.experts_us()),
            ("share_of_routing", self.share()),
            ("speed_of_dense", self.of_dense()),
            ("energy_j", self.measured.joules.as_ref().ok().copied()),
        ];
        let where_known = where_known.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Row {
            name: bench,
            shape: self.title.clone(),
            variant: self.variant.clone(),
            times: &self.measured.wall,
            metrics: known.into_iter().chain(where_known).collect(),
        }
    }
}

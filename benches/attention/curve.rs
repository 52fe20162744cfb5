//! The time of a step's attention over the context, where some of the layers see a window and the others all.

use std::time::Duration;

use wattle::energy::Phase;
use wattle::fragments::CacheFormat;

use super::attention::case::{Case, Heads};
use super::plot::{Axis, Svg};
use super::support::{Result, microseconds};

/// Local layers for each global one; Gemma 2 has one, Gemma 3 five (arXiv 2503.19786, section 2).
const MIXES: [(u32, &str, &str); 3] =
    [(0, "all global", "#d55e00"), (1, "1:1 local to global", "#e69f00"), (5, "5:1", "#0072b2")];

const SIZE: [f64; 2] = [960.0, 600.0];
const X: [f64; 2] = [90.0, 930.0];
const Y: [f64; 2] = [528.0, 120.0];

/// What is measured of one sequence's steps.
pub struct Curve {
    heads: Heads,
    window: u32,
    cache: CacheFormat,
    steps: Vec<(Case, Duration)>,
}

impl Curve {
    /// Of heads whose model has local layers, with keys and values stored in one way.
    pub fn new(models: &[Heads], caches: &[CacheFormat]) -> Result<Self> {
        let (&[heads], &[cache]) = (models, caches) else {
            return Err("a curve is of one model and one cache: --models gemma3-1b --caches f16".into());
        };
        let window = heads.window.ok_or_else(|| format!("{} has no local layers", heads.name))?;
        Ok(Self { heads, window, cache, steps: Vec::new() })
    }

    /// Takes a measured case in.
    pub fn add(&mut self, case: &Case, time: Duration) {
        if case.phase == Phase::Decode && case.batch == 1 {
            self.steps.push((*case, time));
        }
    }

    /// Microseconds of a layer where it sees `window` tokens or all, at each context that was measured.
    fn layer(&self, is_local: bool) -> Vec<(u32, f64)> {
        let of = |tokens: u32| {
            // A window that reaches over all is a global layer.
            let window = Some(self.window).filter(|window| is_local && *window < tokens);
            let found = |(case, _): &&(Case, Duration)| case.window == window && case.tokens == tokens;
            self.steps.iter().find(found).map(|(_, time)| (tokens, microseconds(*time)))
        };
        let mut contexts: Vec<u32> = self.steps.iter().map(|(case, _)| case.tokens).collect();
        contexts.sort_unstable();
        contexts.dedup();
        contexts.into_iter().filter_map(of).collect()
    }

    /// The mean layer of each mix, at contexts where both kinds were measured.
    fn mixed(&self, local_layers: u32) -> Vec<[f64; 2]> {
        let (local, global) = (self.layer(true), self.layer(false));
        let both = global.iter().filter_map(|(tokens, global)| {
            let (_, local) = local.iter().find(|(context, _)| context == tokens)?;
            let n = f64::from(local_layers);
            Some([f64::from(*tokens), (n * local + global) / (n + 1.0)])
        });
        both.collect()
    }

    /// The picture.
    pub fn svg(&self, measured_on: &str) -> Result<String> {
        let mixes = MIXES.map(|(local, name, colour)| (self.mixed(local), name, colour));
        let all = || mixes.iter().flat_map(|(points, ..)| points);
        if all().next().is_none() {
            return Err("no context was measured with all in sight and with the model's window".into());
        }
        let x = Axis::of_powers(2.0, all().map(|point| point[0]), X);
        let y = Axis::of_powers(10.0, all().map(|point| point[1]), Y);
        let mut svg = Svg::new(SIZE);
        let (name, window, cache) = (self.heads.name, self.window, self.cache);
        let title = format!(
            "Attention of one token, mean of a layer: heads of {name}, window {window}, {cache} cache"
        );
        svg.text([X[0], 34.0], "font-size='19' font-weight='bold'", &title);
        svg.text([X[0], 56.0], "font-size='13' fill='#555'", measured_on);
        svg.axes([&x, &y], ["tokens in the cache", "microseconds"]);
        for (n, (points, name, colour)) in mixes.iter().enumerate() {
            let points: Vec<_> = points.iter().map(|[tokens, us]| [x.at(*tokens), y.at(*us)]).collect();
            svg.curve(&points, colour);
            let at = [X[0] + 220.0 * n as f64, 88.0];
            svg.dot(at, 5.0, &format!("fill='{colour}'"));
            svg.text([at[0] + 12.0, at[1] + 4.5], "font-size='13'", name);
        }
        Ok(svg.end())
    }
}

//! The blocks of a search as a picture: step time against proxy.

#[expect(dead_code, reason = "a bench uses the rest")]
#[path = "../../benches/support/plot.rs"]
mod plot;

use super::oracle::Candidate;
use plot::{Axis, Svg};

/// What is drawn.
pub struct Chart<'a> {
    /// What was searched, and on what.
    pub title: &'a str,
    /// Of what size.
    pub subtitle: &'a str,
    /// On what.
    pub measured_by: &'a str,
    /// Blocks of random search.
    pub random: &'a [Candidate],
    /// Blocks of evolution.
    pub evolved: &'a [Candidate],
    /// Blocks that no other beats, fastest first.
    pub front: &'a [Candidate],
    /// Blocks to compare with, by name.
    pub published: &'a [(&'static str, Candidate)],
    /// The most proxy within the budget.
    pub best: Option<&'a Candidate>,
    /// Milliseconds.
    pub budget_ms: f64,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 700.0;
/// Where the axes end, in pixels.
const X: [f64; 2] = [90.0, 930.0];
const Y: [f64; 2] = [628.0, 184.0];

// Colours that remain apart for the colour-blind (Okabe and Ito, 2008).
const RANDOM: &str = "#8a8a8a";
const EVOLVED: &str = "#0072b2";
const FRONT: &str = "#e69f00";
const PUBLISHED: &str = "#d55e00";
const BEST: &str = "#007a5a";

impl Chart<'_> {
    /// The picture, which needs no other file.
    pub fn svg(&self) -> String {
        let published = || self.published.iter().map(|(_, candidate)| candidate);
        let all = || self.random.iter().chain(self.evolved).chain(published());
        let x = Axis::over(all().map(|candidate| candidate.step.ms).chain([self.budget_ms]), X);
        let y = Axis::over(all().map(millions), Y);
        let mut svg = Svg::new([WIDTH, HEIGHT]);
        svg.text([X[0], 34.0], "font-size='19' font-weight='bold'", self.title);
        svg.text([X[0], 56.0], "font-size='13' fill='#555'", self.subtitle);
        svg.text([X[0], 74.0], "font-size='13' fill='#555'", self.measured_by);
        legend(&mut svg);
        svg.axes([&x, &y], ["step time, ms", "proxy: √(parameters × activated), millions; not quality"]);
        let at = |candidate: &Candidate| [x.at(candidate.step.ms), y.at(millions(candidate))];
        self.budget(&mut svg, x.at(self.budget_ms));
        for (candidates, style) in [(self.random, hollow()), (self.evolved, filled())] {
            candidates.iter().for_each(|candidate| svg.dot(at(candidate), 3.5, &style));
        }
        stairs(&mut svg, &self.front.iter().map(at).collect::<Vec<_>>());
        let (named, ring) = (self.named(), format!("fill='none' stroke='{BEST}' stroke-width='2.5'"));
        for (n, (name, candidate)) in named.iter().enumerate() {
            let above = [X[0] + 9.0 + 420.0 * (n % 2) as f64, 122.0 + 24.0 * (n / 2) as f64];
            for place in [at(candidate), above] {
                match n.checked_sub(self.published.len()) {
                    None => diamond(&mut svg, place, n + 1),
                    Some(_) => svg.dot(place, 8.0, &ring),
                }
            }
            svg.text([above[0] + 16.0, above[1] + 4.5], "font-size='13'", name);
        }
        svg.end()
    }

    /// Blocks with a name above the picture: the published ones, then the best.
    fn named(&self) -> Vec<(String, &Candidate)> {
        let published = self.published.iter().map(|(name, candidate)| (*name, candidate));
        let best = self.best.map(|best| ("best within the budget", best));
        let mut named = Vec::new();
        for (name, candidate) in published.chain(best) {
            let Candidate { block, step, .. } = candidate;
            let text =
                format!("{name}: {}, {:.3} ms, {:.3} M", block.letters(), step.ms, millions(candidate));
            named.push((text, candidate));
        }
        named
    }

    fn budget(&self, svg: &mut Svg, x: f64) {
        svg.line([x, Y[0]], [x, Y[1]], "stroke='#333' stroke-width='1.5' stroke-dasharray='6 4'");
        let name = format!("budget {:.3} ms", self.budget_ms);
        svg.text([x, Y[1] - 8.0], "font-size='13' text-anchor='middle'", &name);
    }
}

fn millions(candidate: &Candidate) -> f64 {
    candidate.proxy() / 1e6
}

fn hollow() -> String {
    format!("fill='none' stroke='{RANDOM}' stroke-width='1.2'")
}

fn filled() -> String {
    format!("fill='{EVOLVED}' fill-opacity='0.55'")
}

fn diamond(svg: &mut Svg, [x, y]: [f64; 2], number: usize) {
    let (left, right, top, bottom) = (x - 10.0, x + 10.0, y - 10.0, y + 10.0);
    let path = format!("M{left:.1} {y:.1}L{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {bottom:.1}Z");
    svg.path(&path, &format!("fill='{PUBLISHED}' stroke='white'"));
    let style = "font-size='11' font-weight='bold' fill='white' text-anchor='middle'";
    svg.text([x, y + 4.0], style, &number.to_string());
}

/// A line that keeps its height until the next point, with a dot at each.
fn stairs(svg: &mut Svg, points: &[[f64; 2]]) {
    let Some(([first_x, first_y], rest)) = points.split_first() else { return };
    let mut path = format!("M{first_x:.1} {first_y:.1}");
    for [x, y] in rest {
        path += &format!("H{x:.1}V{y:.1}");
    }
    svg.path(&path, &format!("fill='none' stroke='{FRONT}' stroke-width='2'"));
    points.iter().for_each(|point| svg.dot(*point, 4.0, &format!("fill='{FRONT}'")));
}

fn legend(svg: &mut Svg) {
    let names = [
        (0.0, hollow(), "random search"),
        (140.0, filled(), "evolution"),
        (250.0, format!("fill='{FRONT}'"), "Pareto front of both"),
    ];
    for (dx, style, name) in names {
        svg.dot([X[0] + dx + 5.0, 96.0], 4.5, &style);
        svg.text([X[0] + dx + 16.0, 100.5], "font-size='13'", name);
    }
}

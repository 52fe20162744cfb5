//! The blocks of a search as a picture: step time against proxy.

use std::fmt::Write;

use super::oracle::Candidate;

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

/// A range of values and the pixels it takes.
struct Axis {
    least: f64,
    most: f64,
    step: f64,
    pixels: [f64; 2],
}

impl Chart<'_> {
    /// The picture, which needs no other file.
    pub fn svg(&self) -> String {
        let published = || self.published.iter().map(|(_, candidate)| candidate);
        let all = || self.random.iter().chain(self.evolved).chain(published());
        let x = Axis::over(all().map(|candidate| candidate.step.ms).chain([self.budget_ms]), X);
        let y = Axis::over(all().map(millions), Y);
        let mut svg = Svg::new();
        svg.text([X[0], 34.0], "font-size='19' font-weight='bold'", self.title);
        svg.text([X[0], 56.0], "font-size='13' fill='#555'", self.subtitle);
        svg.text([X[0], 74.0], "font-size='13' fill='#555'", self.measured_by);
        svg.legend();
        svg.axes(&x, &y);
        let at = |candidate: &Candidate| [x.at(candidate.step.ms), y.at(millions(candidate))];
        self.budget(&mut svg, x.at(self.budget_ms));
        for (candidates, style) in [(self.random, hollow()), (self.evolved, filled())] {
            candidates.iter().for_each(|candidate| svg.dot(at(candidate), 3.5, &style));
        }
        svg.stairs(&self.front.iter().map(at).collect::<Vec<_>>());
        let (named, ring) = (self.named(), format!("fill='none' stroke='{BEST}' stroke-width='2.5'"));
        for (n, (name, candidate)) in named.iter().enumerate() {
            let above = [X[0] + 9.0 + 420.0 * (n % 2) as f64, 122.0 + 24.0 * (n / 2) as f64];
            for place in [at(candidate), above] {
                match n.checked_sub(self.published.len()) {
                    None => svg.diamond(place, n + 1),
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

impl Axis {
    /// From round number to round number around all values.
    fn over(values: impl Iterator<Item = f64>, pixels: [f64; 2]) -> Self {
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), v| (least.min(v), most.max(v)));
        // Values that are all alike get a range, too.
        let rough = ((most - least) / 7.0).max(1e-3 * most.abs()).max(1e-9);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        let first = (least / step).floor();
        let last = (most / step).ceil().max(first + 1.0);
        Self { least: first * step, most: last * step, step, pixels }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value - self.least) / (self.most - self.least);
        self.pixels[0] + share * (self.pixels[1] - self.pixels[0])
    }

    /// Round numbers, with as many digits as tell them apart.
    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        let count = ((self.most - self.least) / self.step).round() as u32;
        (0..=count).map(move |n| {
            let value = self.least + f64::from(n) * self.step;
            (self.at(value), format!("{value:.digits$}"))
        })
    }
}

/// The text of a picture, element by element.
struct Svg(String);

impl Svg {
    fn new() -> Self {
        Self(format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' \
             height='{HEIGHT}' font-family='Helvetica, Arial, sans-serif'>\n\
             <rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>\n"
        ))
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        _ = writeln!(self.0, "{element}");
    }

    fn text(&mut self, [x, y]: [f64; 2], style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!("<text x='{x:.1}' y='{y:.1}' {style}>{text}</text>"));
    }

    fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], style: &str) {
        self.add(format_args!("<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' {style}/>"));
    }

    fn dot(&mut self, [x, y]: [f64; 2], radius: f64, style: &str) {
        self.add(format_args!("<circle cx='{x:.1}' cy='{y:.1}' r='{radius}' {style}/>"));
    }

    fn diamond(&mut self, [x, y]: [f64; 2], number: usize) {
        let (left, right, top, bottom) = (x - 10.0, x + 10.0, y - 10.0, y + 10.0);
        self.add(format_args!(
            "<path d='M{left:.1} {y:.1}L{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {bottom:.1}Z' \
             fill='{PUBLISHED}' stroke='white'/>"
        ));
        let style = "font-size='11' font-weight='bold' fill='white' text-anchor='middle'";
        self.text([x, y + 4.0], style, &number.to_string());
    }

    /// A line that keeps its height until the next point, with a dot at each.
    fn stairs(&mut self, points: &[[f64; 2]]) {
        let Some(([first_x, first_y], rest)) = points.split_first() else { return };
        let mut path = format!("M{first_x:.1} {first_y:.1}");
        for [x, y] in rest {
            path += &format!("H{x:.1}V{y:.1}");
        }
        self.add(format_args!("<path d='{path}' fill='none' stroke='{FRONT}' stroke-width='2'/>"));
        points.iter().for_each(|point| self.dot(*point, 4.0, &format!("fill='{FRONT}'")));
    }

    fn legend(&mut self) {
        let names = [
            (0.0, hollow(), "random search"),
            (140.0, filled(), "evolution"),
            (250.0, format!("fill='{FRONT}'"), "Pareto front of both"),
        ];
        for (dx, style, name) in names {
            self.dot([X[0] + dx + 5.0, 96.0], 4.5, &style);
            self.text([X[0] + dx + 16.0, 100.5], "font-size='13'", name);
        }
    }

    fn axes(&mut self, x: &Axis, y: &Axis) {
        for (at, name) in x.ticks() {
            self.line([at, Y[0]], [at, Y[1]], "stroke='#e6e6e6'");
            self.text([at, Y[0] + 20.0], "font-size='12' text-anchor='middle'", &name);
        }
        for (at, name) in y.ticks() {
            self.line([X[0], at], [X[1], at], "stroke='#e6e6e6'");
            self.text([X[0] - 8.0, at + 4.0], "font-size='12' text-anchor='end'", &name);
        }
        self.line([X[0], Y[0]], [X[1], Y[0]], "stroke='#333'");
        self.line([X[0], Y[0]], [X[0], Y[1]], "stroke='#333'");
        let middle = [(X[0] + X[1]) / 2.0, (Y[0] + Y[1]) / 2.0];
        self.text([middle[0], Y[0] + 46.0], "font-size='14' text-anchor='middle'", "step time, ms");
        let turned = format!("font-size='14' text-anchor='middle' transform='rotate(-90 28 {})'", middle[1]);
        let name = "proxy: √(parameters × activated), millions; not quality";
        self.text([28.0, middle[1]], &turned, name);
    }

    fn end(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }
}

//! Pictures of numbers: axes, and the text of an SVG element by element.

use std::fmt::Write;

/// A range of values and the pixels it takes.
pub struct Axis {
    least: f64,
    most: f64,
    pixels: [f64; 2],
    scale: Scale,
}

enum Scale {
    /// From round number to round number, so far apart.
    Steps(f64),
    /// Powers of a base, the same distance from each to the next.
    Powers(f64),
}

impl Axis {
    /// From round number to round number around all values.
    pub fn over(values: impl Iterator<Item = f64>, pixels: [f64; 2]) -> Self {
        let (least, most) = range(values);
        // Values that are all alike get a range, too.
        let rough = ((most - least) / 7.0).max(1e-3 * most.abs()).max(1e-9);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        let first = (least / step).floor();
        let last = (most / step).ceil().max(first + 1.0);
        Self { least: first * step, most: last * step, pixels, scale: Scale::Steps(step) }
    }

    /// From power to power of a base around all values, which are above 0.
    pub fn of_powers(base: f64, values: impl Iterator<Item = f64>, pixels: [f64; 2]) -> Self {
        let (least, most) = range(values.map(|value| value.ln() / base.ln()));
        // A power is not quite whole when it comes out of a logarithm.
        let (least, most) = ((least + 1e-9).floor(), (most - 1e-9).ceil());
        Self { least, most: most.max(least + 1.0), pixels, scale: Scale::Powers(base) }
    }

    pub fn at(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Steps(_) => self.place(value),
            Scale::Powers(base) => self.place(value.ln() / base.ln()),
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value - self.least) / (self.most - self.least);
        self.pixels[0] + share * (self.pixels[1] - self.pixels[0])
    }

    /// Round numbers, with as many digits as tell them apart; or powers.
    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let step = if let Scale::Steps(step) = self.scale { step } else { 1.0 };
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let count = ((self.most - self.least) / step).round() as u32;
        (0..=count).map(move |n| {
            let value = self.least + f64::from(n) * step;
            let name = match self.scale {
                Scale::Steps(_) => format!("{value:.digits$}"),
                Scale::Powers(base) => format!("{}", base.powf(value)),
            };
            (self.place(value), name)
        })
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), v| (least.min(v), most.max(v)))
}

/// The text of a picture, which needs no other file.
pub struct Svg(String);

impl Svg {
    /// An empty one of so many pixels.
    pub fn new([width, height]: [f64; 2]) -> Self {
        Self(format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' \
             height='{height}' font-family='Helvetica, Arial, sans-serif'>\n\
             <rect width='{width}' height='{height}' fill='white'/>\n"
        ))
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        _ = writeln!(self.0, "{element}");
    }

    pub fn text(&mut self, [x, y]: [f64; 2], style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!("<text x='{x:.1}' y='{y:.1}' {style}>{text}</text>"));
    }

    pub fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], style: &str) {
        self.add(format_args!("<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' {style}/>"));
    }

    pub fn dot(&mut self, [x, y]: [f64; 2], radius: f64, style: &str) {
        self.add(format_args!("<circle cx='{x:.1}' cy='{y:.1}' r='{radius}' {style}/>"));
    }

    pub fn path(&mut self, path: &str, style: &str) {
        self.add(format_args!("<path d='{path}' {style}/>"));
    }

    /// Straight lines from point to point, with a dot at each.
    pub fn curve(&mut self, points: &[[f64; 2]], colour: &str) {
        let path: Vec<_> = points.iter().map(|[x, y]| format!("{x:.1} {y:.1}")).collect();
        self.path(
            &format!("M{}", path.join("L")),
            &format!("fill='none' stroke='{colour}' stroke-width='2'"),
        );
        points.iter().for_each(|point| self.dot(*point, 4.0, &format!("fill='{colour}'")));
    }

    /// Both axes with their names, across and up.
    pub fn axes(&mut self, [x, y]: [&Axis; 2], [across, up]: [&str; 2]) {
        let ([left, right], [bottom, top]) = (x.pixels, y.pixels);
        for (at, name) in x.ticks() {
            self.line([at, bottom], [at, top], "stroke='#e6e6e6'");
            self.text([at, bottom + 20.0], "font-size='12' text-anchor='middle'", &name);
        }
        for (at, name) in y.ticks() {
            self.line([left, at], [right, at], "stroke='#e6e6e6'");
            self.text([left - 8.0, at + 4.0], "font-size='12' text-anchor='end'", &name);
        }
        self.line([left, bottom], [right, bottom], "stroke='#333'");
        self.line([left, bottom], [left, top], "stroke='#333'");
        let middle = [(left + right) / 2.0, (bottom + top) / 2.0];
        self.text([middle[0], bottom + 46.0], "font-size='14' text-anchor='middle'", across);
        let turned = format!("font-size='14' text-anchor='middle' transform='rotate(-90 28 {})'", middle[1]);
        self.text([28.0, middle[1]], &turned, up);
    }

    pub fn end(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }
}

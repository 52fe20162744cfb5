//! What a search found, for people and for files.

use serde_json::{Map, Value, json};

use super::evolution::Search;
use super::options::Options;
use super::oracle::Candidate;
use super::shape::{Shape, head_dim};
use super::space::{HEADS, WIDTHS};
use super::support::table::Table;
use super::verdict::{Best, gain};

/// Everything that was asked and found.
pub struct Outcome<'a> {
    pub options: &'a Options,
    /// The device or the rates.
    pub measured_by: &'a str,
    pub search: Search,
    /// Published blocks, by name.
    pub published: Vec<(&'static str, Candidate)>,
    pub runs: Vec<Run>,
    /// Blocks that no other beats.
    pub front: Vec<Candidate>,
}

/// Both searches of a seed.
pub struct Run {
    pub seed: u64,
    pub evolution: Found,
    pub random: Found,
}

/// What a search found: everything in order, and the best of it.
pub struct Found {
    pub all: Vec<Candidate>,
    pub best: Option<Best>,
}

const PROXY: &str = "sqrt(parameters x activated parameters) of the blocks";

/// Says what is searched, and what numbers mean.
pub fn print_question(options: &Options, measured_by: &str) {
    let Shape { scale, experts, repeats, tokens } = options.shape;
    let format = options.roofline.format;
    println!("block_search: {measured_by}");
    println!(
        "a step is {tokens} tokens through {repeats} x 8 sub-layers, {experts} experts, {format} weights"
    );
    println!("blocks are named by the widths of the search space; models have {scale} of them");
    let heads_of = |width| HEADS.map(|heads| head_dim(scale.of(width), heads).to_string()).join(", ");
    let widths = WIDTHS.map(|width| format!("{} in {width}", heads_of(width))).join("; ");
    println!(
        "head_dim is width / heads, rounded down to an even number, at least 2: for {HEADS:?} heads {widths}"
    );
    println!("proxy: {PROXY}. It is no quality: nothing is trained here.");
}

/// What published blocks cost, and what a step may take.
pub fn print_published(published: &[(&str, Candidate)], budget_ms: f64) {
    println!();
    for (name, Candidate { block, step, size }) in published {
        let [total, activated] = [size.total, size.activated].map(millions);
        let proxy = size.proxy() / 1e6;
        println!(
            "{name}: {:.3} ms, {total} M parameters, {activated} M activated, proxy {proxy:.3} M",
            step.ms
        );
        println!("  {block}");
    }
    println!("budget {budget_ms:.3} ms");
}

impl Outcome<'_> {
    /// The best of both searches by seed, and on how many seeds evolution found more.
    pub fn print_searches(&self) {
        let table = Table::begin(&[
            ("seed", 4),
            ("search", 9),
            ("proxy M", 8),
            ("ms", 8),
            ("ms again", 8),
            ("refuted", 7),
            ("best block within the budget, both times", 0),
        ]);
        for Run { seed, evolution, random } in &self.runs {
            for (name, found) in [("evolution", evolution), ("random", random)] {
                let mut row = vec![seed.to_string(), name.to_owned()];
                match &found.best {
                    Some(Best { candidate, ms_again, refuted }) => row.extend([
                        proxy(candidate),
                        format!("{:.3}", candidate.step.ms),
                        format!("{ms_again:.3}"),
                        refuted.to_string(),
                        candidate.block.to_string(),
                    ]),
                    None => row.extend(["-", "-", "-", "-", "none"].map(String::from)),
                }
                table.row(&row);
            }
        }
        println!(
            "refuted: blocks with more proxy that were within the budget at first and not when measured again"
        );
        self.print_verdict();
    }

    fn print_verdict(&self) {
        let gains: Vec<_> =
            self.runs.iter().map(|run| gain(run.evolution.best.as_ref(), run.random.best.as_ref())).collect();
        let won = gains.iter().filter(|gain| gain.is_some_and(|gain| gain > 1.0)).count();
        let percent =
            |gain: &Option<f64>| gain.map_or("-".into(), |gain| format!("{:+.1}%", 100.0 * (gain - 1.0)));
        println!(
            "\nwith {} evaluations each, evolution's best block within the budget",
            self.search.evaluations
        );
        println!(
            "has more proxy than that of random search on {won} of {} seeds: {}",
            self.runs.len(),
            gains.iter().map(percent).collect::<Vec<_>>().join(", ")
        );
    }

    /// A row for every block that no other beats.
    pub fn print_front(&self) {
        println!("\nPareto front, step time against proxy");
        let table = Table::begin(&[
            ("ms", 8),
            ("proxy M", 8),
            ("params M", 9),
            ("active M", 9),
            ("MB", 8),
            ("Mop", 9),
            ("block", 0),
        ]);
        for candidate in &self.front {
            let Candidate { block, step, size } = candidate;
            let counts = [size.total, size.activated, step.bytes, step.ops].map(millions);
            let mut row = vec![format!("{:.3}", step.ms), proxy(candidate)];
            row.extend(counts);
            row.push(block.to_string());
            table.row(&row);
        }
    }

    /// All of it in numbers; bytes and operations are those of a step.
    pub fn json(&self) -> Value {
        let Shape { scale, experts, repeats, tokens } = self.options.shape;
        let of_seed = |run: &Run| json!({ "seed": run.seed, "evolution": in_all(&run.evolution), "random": in_all(&run.random) });
        json!({
            "measured_by": self.measured_by, "proxy": PROXY, "proxy_is_quality": false,
            "scale": scale.to_string(), "experts": experts, "repeats": repeats, "tokens": tokens,
            "weights": self.options.roofline.format.to_string(), "budget_ms": self.search.budget_ms,
            "own_widths": self.search.space.own_widths, "population": self.search.population, "tournament": self.search.tournament,
            "published": self.published.iter().map(|(name, of)| ((*name).to_owned(), in_numbers(of))).collect::<Map<_, _>>(),
            "seeds": self.runs.iter().map(of_seed).collect::<Vec<_>>(),
            "front": all_in_numbers(&self.front),
        })
    }
}

fn in_all(found: &Found) -> Value {
    let best = found.best.as_ref().map(|best| {
        let mut numbers = in_numbers(&best.candidate);
        numbers["ms_again"] = best.ms_again.into();
        numbers["refuted"] = best.refuted.into();
        numbers
    });
    json!({ "best": best, "evaluations": all_in_numbers(&found.all) })
}

fn all_in_numbers(found: &[Candidate]) -> Vec<Value> {
    found.iter().map(in_numbers).collect()
}

fn in_numbers(found: &Candidate) -> Value {
    let Candidate { block, step, size } = found;
    json!({
        "block": block.to_string(), "letters": block.letters(), "ms": step.ms, "bytes": step.bytes, "ops": step.ops,
        "parameters": size.total, "activated": size.activated, "proxy": found.proxy(),
    })
}

fn proxy(candidate: &Candidate) -> String {
    format!("{:.3}", candidate.proxy() / 1e6)
}

fn millions(count: u64) -> String {
    format!("{:.3}", count as f64 / 1e6)
}

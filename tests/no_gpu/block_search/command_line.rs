//! The command line of `block_search`.

use super::options::{Options, usage};

fn parse(line: &str) -> Result<Options, String> {
    Options::parse(line.split_whitespace().map(String::from))
}

#[test]
fn options_are_understood() {
    let options = parse(
        "--budget-ms 2.5 --evaluations 50 --population 10 --tournament 3 --seed 7 --seeds 4 --scale 1/8 --tokens 64 \
         --experts 16 --repeats 2 --attention 1 --own-widths yes --weights int8 --oracle counts --runs 3 --gb-per-s 20 --gop-per-s 90 \
         --svg a.svg --json b.json",
    )
    .unwrap();
    assert_eq!((options.budget_ms, options.seed, options.seeds, options.runs), (Some(2.5), 7, 4, 3));
    let shape = options.shape;
    assert_eq!(
        (shape.tokens, shape.experts, shape.repeats, shape.scale.to_string().as_str()),
        (64, 16, 2, "1/8")
    );
    let search = options.search(1.5);
    assert_eq!((search.evaluations, search.population, search.tournament), (50, 10, 3));
    assert_eq!((search.space.min_attention, search.budget_ms), (1, 1.5));
    assert!(search.space.own_widths && !parse("").unwrap().space.own_widths);
    let rates = options.roofline;
    assert_eq!((rates.gb_per_s, rates.gop_per_s, rates.format.to_string().as_str()), (20.0, 90.0, "int8"));
    assert!(!options.on_device && parse("").unwrap().on_device);
    assert_eq!(
        [options.svg, options.json].map(|path| path.unwrap().to_str().unwrap().to_owned()),
        ["a.svg", "b.json"]
    );
    assert_eq!(parse("").unwrap().budget_ms, None);
}

#[test]
fn what_will_not_do_is_said() {
    for (line, message) in [
        ("--budget-ms", "--budget-ms needs a value"),
        ("--budget-ms 0", "--budget-ms: '0' is no positive number"),
        ("--budget-ms nan", "--budget-ms: 'nan' is no positive number"),
        ("--gb-per-s inf", "--gb-per-s: 'inf' is no positive number"),
        ("--evaluations 30", "--evaluations 30: a population of 30 evolves only after more than so many"),
        ("--population 0", "--population: '0' is no number from 1 to 1000000"),
        ("--tournament x", "--tournament: 'x' is no number from 1 to 1000000"),
        ("--seeds 0", "--seeds: '0' is no number from 1 to 1000"),
        ("--scale 1/3", "--scale: '1/3' is no fraction"),
        ("--experts 3", "--experts: '3' is no number from 4 to 1024"),
        ("--attention 5", "--attention: '5' is no number from 0 to 4"),
        ("--tokens 0", "--tokens: '0' is no number from 1 to 65536"),
        ("--weights int9", "--weights: "),
        ("--own-widths 512", "--own-widths: there is yes and no, not '512'"),
        ("--oracle guess", "--oracle: there is device and counts, not 'guess'"),
        ("--frobnicate", "--frobnicate is not an option"),
        ("blocks.svg", "blocks.svg is not an option"),
    ] {
        let error = parse(line).map(|_| ()).unwrap_err();
        assert!(error.starts_with(message), "{line}: {error}");
    }
}

#[test]
fn every_option_is_in_the_usage() {
    for flag in
        usage().split_whitespace().map(|word| word.trim_matches(',')).filter(|word| word.starts_with("--"))
    {
        let error = parse(flag).map(|_| ()).unwrap_err();
        assert_eq!(error, format!("{flag} needs a value"), "the usage lists {flag}");
    }
}

#[test]
fn the_usage_has_the_defaults() {
    let (usage, rates) = (usage(), parse("").unwrap().roofline);
    for (flag, rate) in [("--gb-per-s", rates.gb_per_s), ("--gop-per-s", rates.gop_per_s)] {
        let line = usage.lines().find(|line| line.contains(flag)).unwrap();
        assert!(line.contains(&format!("(default {rate})")), "{line}");
    }
}

//! The picture of a search.

use super::candidate;
use super::oracle::Candidate;
use super::pareto::front;
use super::svg::Chart;

fn draw(random: &[Candidate], evolved: &[Candidate], measured_by: &str) -> String {
    let front = front(random.iter().chain(evolved));
    let glam = candidate(2.0, 3_000_000);
    let chart = Chart {
        title: "blocks",
        subtitle: "of a size",
        measured_by,
        random,
        evolved,
        front: &front,
        published: &[("GLaM", glam)],
        best: evolved.first(),
        budget_ms: 2.5,
    };
    chart.svg()
}

/// The numbers of every attribute of a name.
fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
    let begins = format!(" {attribute}='");
    svg.split(&begins).skip(1).map(|rest| rest.split('\'').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn every_block_has_its_place() {
    let random = [candidate(1.0, 1_000_000), candidate(4.0, 2_000_000)];
    let evolved = [candidate(2.0, 5_000_000), candidate(3.0, 6_000_000), candidate(3.5, 4_000_000)];
    let svg = draw(&random, &evolved, "a <device> & its driver");
    // Five blocks, three of them again on the front, a ring around the best and beside its name, three in the legend.
    assert_eq!(svg.matches("<circle").count(), 5 + 3 + 2 + 3);
    assert!(svg.contains(">GLaM: afagafag, 2.000 ms, 3.000 M<"), "{svg}");
    assert!(svg.contains(">best within the budget: afagafag, 2.000 ms, 5.000 M<"), "{svg}");
    assert!(svg.contains(">budget 2.500 ms<"), "{svg}");
    assert!(svg.contains("a &lt;device> &amp; its driver"), "{svg}");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    let x = numbers(&svg, "cx");
    assert!(x.iter().all(|x| (0.0..=960.0).contains(x)), "{x:?}");
    let y = numbers(&svg, "cy");
    assert!(y.iter().all(|y| (0.0..=700.0).contains(y)), "{y:?}");
    // Slower is further to the right, more proxy further up; the legend's three come first.
    assert!(x[3] < x[5] && x[5] < x[6] && x[6] < x[4], "{x:?}");
    assert!(y[3] > y[4] && y[4] > y[7] && y[7] > y[5] && y[5] > y[6], "{y:?}");
}

#[test]
fn blocks_that_are_all_alike_are_drawn() {
    let alike = [candidate(2.5, 3_000_000)];
    for svg in [draw(&alike, &alike, ""), draw(&[], &[], "")] {
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

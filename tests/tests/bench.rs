//! The bench measures: that the packets it counts went the way that it says.

use fmip_tests::{
    bench::{self, Options},
    netns, testing,
};

#[test]
fn a_quick_bench_measures_every_kind_of_figure_and_leaves_nothing_behind() {
    let Some(_turn) = testing::turn() else { return };
    let names = [
        "encap_vs_redirect",
        "encap_vs_seg6",
        "decap_vs_end_dt6",
        "pass_vs_forward",
        "match_ns_1k",
        "miss_ns_1k",
        "put_ns_100",
        "drain_vs_sendmmsg",
    ];
    let report = bench::run(&Options {
        only: names.map(str::to_owned).to_vec(),
        quick: true,
        ..Options::default()
    })
    .expect("a bench");
    assert_eq!(report.skipped, []);
    for name in names {
        let figure = report.figures.iter().find(|figure| figure.name == name);
        let figure = figure.unwrap_or_else(|| panic!("{name} is not among {report}"));
        // What they are worth is for a machine that does nothing else: on another, a cost, which is the
        // difference of two times, may come out below nothing.
        let can_be = match figure.unit.as_str() {
            "ratio" => figure.value > 0.0 && figure.value < 10_000.0,
            "ns" => figure.value.is_finite() && figure.value.abs() < 1e6,
            unit => panic!("{name} is counted in {unit}"),
        };
        assert!(can_be, "{figure:?} cannot be");
    }
    let own = format!("fmip-bench-{}-", std::process::id());
    let left: Vec<String> = netns::list()
        .expect("a list")
        .into_iter()
        .filter(|name| name.starts_with(&own))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

//! The simulator against queueing theory: the mean wait in an M/M/c queue is known (Erlang C).

use std::time::Duration;

use rampart_sim::{Latency, Load, Process, Upstream, simulate};

/// The mean time in the queue of M/M/c: C(c, a) / (c mu - lambda).
fn erlang_c(servers: u32, arrivals: f64, service: f64) -> f64 {
    let offered = arrivals * service;
    let utilisation = offered / f64::from(servers);
    // offered^k / k!, from k = 0.
    let terms: Vec<f64> =
        (1..=servers).scan(1.0, |term, k| Some(std::mem::replace(term, *term * offered / f64::from(k)))).collect();
    let below: f64 = terms.iter().sum();
    let last = terms.last().copied().unwrap_or(1.0) * offered / f64::from(servers);
    let waits = last / (1.0 - utilisation) / (below + last / (1.0 - utilisation));
    waits / (f64::from(servers) / service - arrivals)
}

#[test]
fn the_formula_agrees_with_the_closed_form_of_one_server() {
    // M/M/1: rho / (mu - lambda).
    assert!((erlang_c(1, 0.8, 1.0) - 0.8 / 0.2).abs() < 1e-9);
}

#[test]
fn waits_of_mmc_agree_with_theory_to_three_per_cent() {
    for (servers, utilisation) in [(1, 0.5), (4, 0.7), (16, 0.9)] {
        let service = 10.0;
        let arrivals = utilisation * f64::from(servers) / service;
        let calls = 300_000.0;
        let load = Load::open(1, arrivals).lasting(Duration::from_secs_f64(calls / arrivals));
        let upstream = Upstream::new(servers, Latency::Exponential(Duration::from_secs_f64(service)));
        let report = simulate(|process: Process| process.upstream, &load, &upstream, 11);
        let expected = erlang_c(servers, arrivals, service);
        let error = report.mean_queueing / expected - 1.0;
        assert!(error.abs() < 0.03, "M/M/{servers}: {} s, theory {expected} s", report.mean_queueing);
        assert_eq!((report.calls, report.good), (report.attempts, report.calls));
    }
}

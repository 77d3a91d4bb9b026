//! The report for people.

use std::fmt;

use super::plan::Group;
use super::report::{Comparison, Figures, Outage, Recovery, Run};
use super::schedule::Work;

/// What the columns mean.
const LEGEND: &str = "\
fresh    metrics of this pull
cached   no fresh metrics, but the last good value (both runs keep one); age: the median, and the oldest
p50 p99  how long the caller waited";

/// The columns of one run, and how wide they are.
const RUN: [(&str, usize); 5] = [("fresh", 7), ("cached", 7), ("age ms", 11), ("p50 ms", 8), ("p99 ms", 8)];

const RUN_WIDTH: usize = 41;

/// A breaker that was open for long has been probed many times.
const LINES_OF_TIMELINE: usize = 12;

/// What is going to happen, for the seconds until the table is there.
pub(crate) fn headline(work: Work) -> String {
    let Work { tenants, pulls, every, .. } = work;
    let seconds = work.length().as_secs_f64();
    format!(
        "Tenants: {tenants}; pulls of each: {pulls}, one every {every:?}. Takes {seconds:.1} s and the last answers ...\n\n"
    )
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rampart, naive, embedded, recovering } = self;
        header(f)?;
        for (group, figures) in &rampart.groups {
            let naively = naive.groups.get(group).cloned().unwrap_or_default();
            // A group without tenants has nothing to show.
            if figures.tenants > 0 {
                row(f, group.name(), figures, &naively)?;
            }
        }
        total(f, rampart, naive)?;
        writeln!(f, "\n{LEGEND}\n")?;
        answered(f, rampart, naive)?;
        if *embedded {
            reasons(f, rampart, naive)?;
        }
        match recovering {
            Some(recovery) if !recovery.breaker.is_empty() => timeline(f, recovery),
            _ => Ok(()),
        }
    }
}

fn header(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:18}", "")?;
    write!(f, "  {:-^w$}  {:-^w$}", " through the layers ", " naively ", w = RUN_WIDTH - 2)?;
    writeln!(f, "  {:-^22}", " upstream requests ")?;
    write!(f, "{:12}{:>6}", "", "pulls")?;
    for (name, width) in [RUN, RUN].concat() {
        write!(f, "{name:>width$}")?;
    }
    writeln!(f, "{:>8}{:>8}{:>8}", "layers", "naive", "share")
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, ours: &Figures, naively: &Figures) -> fmt::Result {
    write!(f, "{name:12}{:>6}", ours.pulls)?;
    for figures in [ours, naively] {
        let Figures { ok, cached, cached_age_p50_ms, cached_age_max_ms, p50_ms, p99_ms, .. } = figures;
        let age = match cached {
            0 => "-".to_owned(),
            _ => format!("{cached_age_p50_ms:.0}/{cached_age_max_ms:.0}"),
        };
        let [a, b, c, d, e] = RUN.map(|(_, width)| width);
        write!(f, "{ok:>a$}{cached:>b$}{age:>c$}{p50_ms:>d$.1}{p99_ms:>e$.1}")?;
    }
    requests(f, ours.upstream_requests, naively.upstream_requests)
}

/// Percentiles do not add up, so there are none.
fn total(f: &mut fmt::Formatter<'_>, ours: &Run, naively: &Run) -> fmt::Result {
    write!(f, "{:12}{:>6}", "total", ours.sum(&Group::ALL, |figures| figures.pulls))?;
    for run in [ours, naively] {
        let (ok, cached) = (run.sum(&Group::ALL, |figures| figures.ok), run.sum(&Group::ALL, |figures| figures.cached));
        write!(f, "{ok:>7}{cached:>7}{:w$}", "", w = RUN_WIDTH - 14)?;
    }
    requests(f, ours.upstream_requests, naively.upstream_requests)
}

fn requests(f: &mut fmt::Formatter<'_>, ours: u64, naively: u64) -> fmt::Result {
    writeln!(f, "{ours:>8}{naively:>8}{:>8}", share(ours, naively))
}

pub(crate) fn share(ours: u64, naively: u64) -> String {
    match naively {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", 100.0 * ours as f64 / naively as f64),
    }
}

fn answered(f: &mut fmt::Formatter<'_>, ours: &Run, naively: &Run) -> fmt::Result {
    let answered = |run: &Run| {
        let sum = |figure: fn(&Figures) -> u64| run.sum(&Group::ALL, figure);
        let (fresh, cached) = (sum(|figures| figures.ok), sum(|figures| figures.cached));
        format!("{} ({fresh} fresh, {cached} cached)", fresh + cached)
    };
    let pulls = ours.sum(&Group::ALL, |figures| figures.pulls);
    writeln!(f, "Answered, of {pulls} pulls: {} through the layers, {} naively.", answered(ours), answered(naively))
}

/// Why the numbers differ.
fn reasons(f: &mut fmt::Formatter<'_>, ours: &Run, naively: &Run) -> fmt::Result {
    let lost = |run: &Run| run.sum(&Group::LOST, |figures| figures.upstream_requests);
    let (requests, theirs) = (lost(ours), lost(naively));
    if theirs > 0 {
        writeln!(
            f,
            "Load on what is down or hanging: {requests} requests, {theirs} naively ({}). Naively every pull sends 4 \
             requests there,\nand its caller waits for all of them; an open breaker rejects the pull at once and sends only \
             probes.",
            share(requests, theirs)
        )?;
    }

    // The price of an open breaker, where there is one.
    let fewer = |group: &Group| {
        let [ours, theirs] = [ours, naively].map(|run| run.sum(&[*group], |figures| figures.ok));
        ours < theirs
    };
    let fewer: Vec<Group> = Group::ALL.into_iter().filter(fewer).collect();
    if !fewer.is_empty() {
        let [more, less] = [naively, ours].map(|run| run.sum(&fewer, |figures| figures.ok));
        let [sent, naively_sent] = [ours, naively].map(|run| run.sum(&fewer, |figures| figures.upstream_requests));
        let names = fewer.iter().map(|group| group.name()).collect::<Vec<_>>().join(", ");
        writeln!(
            f,
            "Naively {} more answers are fresh ({names}), for {naively_sent} requests there instead of {sent}: while a \
             breaker is open,\nits tenant is answered with the last good value.",
            more - less
        )?;
    }
    Ok(())
}

fn timeline(f: &mut fmt::Formatter<'_>, recovery: &Recovery) -> fmt::Result {
    let Recovery { tenant, outage, breaker } = recovery;
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    write!(f, "\nThe circuit breaker of {tenant}")?;
    match outage {
        Some(Outage { from_ms, to_ms }) => {
            writeln!(f, ", which is down from {:.2} s to {:.2} s", seconds(*from_ms), seconds(*to_ms))?;
        }
        None => writeln!(f)?,
    }
    let left_out = breaker.len().saturating_sub(LINES_OF_TIMELINE);
    for (place, change) in breaker.iter().enumerate() {
        if left_out > 0 && place == LINES_OF_TIMELINE / 2 {
            writeln!(f, "     ...  {left_out} more")?;
        }
        if !(LINES_OF_TIMELINE / 2..LINES_OF_TIMELINE / 2 + left_out).contains(&place) {
            writeln!(f, "{:>8.2} s  {:7}  {}", seconds(change.at_ms), change.event, change.cause)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tally::Load;
    use super::super::timeline::Change;
    use super::*;

    fn run(figures: [(Group, Figures); 2]) -> Run {
        Run { elapsed_ms: 0, upstream_requests: 0, groups: figures.into(), load: Load::default() }
    }

    fn comparison(changes: u64) -> Comparison {
        let figures = |answered, ok, upstream_requests| {
            let (cached, cached_age_p50_ms, cached_age_max_ms) = (answered - ok, 400.0, 900.0);
            let (tenants, pulls) = (1, 100);
            Figures {
                tenants,
                pulls,
                answered,
                ok,
                cached,
                cached_age_p50_ms,
                cached_age_max_ms,
                upstream_requests,
                ..Figures::default()
            }
        };
        let breaker = (0..changes).map(|n| Change { at_ms: 100 * n, event: "probed", cause: "open time over" });
        Comparison {
            rampart: run([(Group::Down, figures(0, 0, 20)), (Group::Throttled, figures(100, 18, 50))]),
            naive: run([(Group::Down, figures(0, 0, 400)), (Group::Throttled, figures(100, 24, 300))]),
            embedded: true,
            recovering: Some(Recovery { tenant: "recovering-01".to_owned(), outage: None, breaker: breaker.collect() }),
        }
    }

    #[test]
    fn the_reasons_follow_from_the_numbers() {
        let table = comparison(0).to_string();
        assert!(
            table.contains("Answered, of 200 pulls: 100 (18 fresh, 82 cached) through the layers, 100 (24 fresh, ")
        );
        assert!(table.contains("down or hanging: 20 requests, 400 naively (5.0 %)"), "{table}");
        assert!(table.contains("Naively 6 more answers are fresh (throttled), for 300 requests there instead of 50"));
        assert!(table.contains("     82    400/900  ") && !table.contains("circuit breaker of"), "{table}");

        let real = Comparison { embedded: false, ..comparison(0) }.to_string();
        assert!(!real.contains("down or hanging") && !real.contains("more answers"), "{real}");
    }

    #[test]
    fn a_long_timeline_is_cut_in_the_middle() {
        let lines = |changes| {
            let table = comparison(changes).to_string();
            table.lines().skip_while(|line| !line.starts_with("The circuit breaker of")).map(str::to_owned).collect()
        };
        let whole: Vec<String> = lines(12);
        assert_eq!((whole.len(), whole[12].as_str()), (13, "    1.10 s  probed   open time over"));
        let cut: Vec<String> = lines(20);
        assert_eq!(
            (cut.len(), cut[7].as_str(), cut[8].split(" s ").next()),
            (14, "     ...  8 more", Some("    1.40"))
        );
    }
}

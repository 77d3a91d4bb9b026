//! Who is pulled, and how the embedded upstream misbehaves for each: a function of the seed and of the requests.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

/// Tenants that get the same treatment from the upstream, in the order of the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    Healthy,
    Down,
    Throttled,
    Hanging,
    Resetting,
    Recovering,
    Unauthorized,
    Truncated,
}

/// A request as the upstream sees it. Both numbers count from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Which request of its tenant.
    pub(crate) nth: u64,
    /// Which request of its tenant in this second of the run.
    pub(crate) nth_in_second: u64,
    /// Since the start of the run.
    pub(crate) at: Duration,
}

/// What the upstream does with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with the metrics.
    Metrics,
    /// 503.
    Unavailable,
    /// 429 with `Retry-After: 1`.
    Throttled,
    /// Nothing, ever.
    Silence,
    /// A reset (RST) of the connection.
    Reset,
    /// 401.
    Unauthorized,
    /// 200 whose body ends before its Content-Length.
    Truncated,
}

/// A customer whose metrics are pulled.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// Its place in [`Plan::tenants`].
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) group: Group,
}

/// All tenants, and the answer to each of their requests.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    /// When the recovering tenants are down.
    outage: Range<Duration>,
    tenants: Vec<Tenant>,
    by_id: HashMap<String, usize>,
}

impl Group {
    pub(crate) const ALL: [Group; 8] = [
        Group::Healthy,
        Group::Down,
        Group::Throttled,
        Group::Hanging,
        Group::Resetting,
        Group::Recovering,
        Group::Unauthorized,
        Group::Truncated,
    ];

    /// Groups that never answer: every request to them is lost.
    pub(crate) const LOST: [Group; 2] = [Group::Down, Group::Hanging];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Group::Healthy => "healthy",
            Group::Down => "down",
            Group::Throttled => "throttled",
            Group::Hanging => "hanging",
            Group::Resetting => "resetting",
            Group::Recovering => "recovering",
            Group::Unauthorized => "unauthorized",
            Group::Truncated => "truncated",
        }
    }

    /// How many of [`SHARES`] tenants are in this group.
    const fn share(self) -> usize {
        match self {
            Group::Healthy => 27,
            Group::Down => 3,
            Group::Throttled | Group::Hanging | Group::Unauthorized | Group::Truncated => 2,
            Group::Resetting | Group::Recovering => 1,
        }
    }
}

/// The sum of all shares.
const SHARES: usize = 40;

/// How many requests of a throttled tenant are answered in each second.
const ALLOWANCE: u64 = 2;

impl Plan {
    /// A recovering tenant is down from a fifth to a half of `length`, the time that the pulls take.
    pub(crate) fn new(seed: u64, tenants: usize, length: Duration) -> Self {
        let groups = Group::ALL.into_iter().zip(apportion(tenants));
        let ids = groups.flat_map(|(group, size)| (1..=size).map(move |n| (group, format!("{}-{n:02}", group.name()))));
        let tenants: Vec<_> = ids.enumerate().map(|(number, (group, id))| Tenant { number, id, group }).collect();
        let by_id = tenants.iter().map(|tenant| (tenant.id.clone(), tenant.number)).collect();
        Self { seed, outage: length / 5..length / 2, tenants, by_id }
    }

    pub(crate) fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Tenant> {
        self.tenants.get(*self.by_id.get(id)?)
    }

    pub(crate) fn outage(&self) -> &Range<Duration> {
        &self.outage
    }

    /// What the upstream does with a request.
    pub(crate) fn answer(&self, tenant: &Tenant, arrival: Arrival) -> Answer {
        let Arrival { nth, nth_in_second, at } = arrival;
        match tenant.group {
            Group::Healthy if self.chance(tenant, nth) < 0.05 => Answer::Unavailable,
            Group::Healthy => Answer::Metrics,
            Group::Down => Answer::Unavailable,
            Group::Throttled if nth_in_second < ALLOWANCE => Answer::Metrics,
            Group::Throttled => Answer::Throttled,
            Group::Hanging => Answer::Silence,
            Group::Resetting if nth % 4 == 3 => Answer::Reset,
            Group::Resetting => Answer::Metrics,
            Group::Recovering if self.outage.contains(&at) => Answer::Unavailable,
            Group::Recovering => Answer::Metrics,
            Group::Unauthorized => Answer::Unauthorized,
            Group::Truncated => Answer::Truncated,
        }
    }

    /// A number in 0..1 that looks random and is the same in every run with this seed.
    fn chance(&self, tenant: &Tenant, nth: u64) -> f64 {
        let bits = mix(mix(mix(self.seed) ^ tenant.number as u64) ^ nth);
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The size of each group, by largest remainder (Hamilton's method): in proportion to the shares, and adding up.
///
/// The healthy have the largest share, so a lone tenant is a healthy one.
fn apportion(tenants: usize) -> [usize; Group::ALL.len()] {
    let mut sizes = Group::ALL.map(|group| tenants * group.share() / SHARES);
    let mut by_remainder: [usize; Group::ALL.len()] = std::array::from_fn(|place| place);
    by_remainder.sort_by_key(|&place| std::cmp::Reverse(tenants * Group::ALL[place].share() % SHARES));
    let missing = tenants - sizes.iter().sum::<usize>();
    for &place in &by_remainder[..missing] {
        sizes[place] += 1;
    }
    sizes
}

/// The output function of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(5);

    fn nth(nth: u64) -> Arrival {
        Arrival { nth, nth_in_second: 0, at: Duration::ZERO }
    }

    #[test]
    fn forty_tenants_are_the_groups_of_the_plan() {
        assert_eq!(apportion(40), [27, 3, 2, 2, 1, 1, 2, 2]);
    }

    #[test]
    fn groups_scale_in_proportion_and_add_up() {
        assert_eq!(apportion(400), [270, 30, 20, 20, 10, 10, 20, 20]);
        for tenants in 1..=1_000 {
            let sizes = apportion(tenants);
            assert_eq!(sizes.iter().sum::<usize>(), tenants);
            assert!(sizes[0] >= 1, "{tenants} tenants, none healthy");
        }
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let answers = |seed| {
            let plan = Plan::new(seed, 40, LENGTH);
            let tenant = &plan.tenants()[7];
            (0..1_000).map(|n| plan.answer(tenant, nth(n))).collect::<Vec<_>>()
        };
        assert_eq!(answers(7), answers(7));
        assert_ne!(answers(7), answers(8));
    }

    #[test]
    fn one_healthy_answer_in_twenty_fails() {
        let plan = Plan::new(1, 40, LENGTH);
        let healthy = plan.tenants().iter().filter(|tenant| tenant.group == Group::Healthy);
        let answers = healthy.flat_map(|tenant| (0..1_000).map(|n| plan.answer(tenant, nth(n))));
        let failed = answers.filter(|answer| *answer == Answer::Unavailable).count();
        // 27,000 draws at 5 %: 1,350, with a standard deviation of 36.
        assert!((1_150..=1_550).contains(&failed), "{failed}");
    }

    #[test]
    fn a_tenant_is_found_by_its_id() {
        let plan = Plan::new(1, 40, LENGTH);
        assert!(plan.tenants().iter().all(|tenant| plan.find(&tenant.id).is_some_and(|t| t.number == tenant.number)));
        assert!(plan.find("healthy-99").is_none());
    }

    #[test]
    fn a_recovering_tenant_is_down_from_a_fifth_to_a_half_of_the_run() {
        let plan = Plan::new(1, 40, LENGTH);
        let tenant = plan.find("recovering-01").unwrap();
        for (ms, answer) in [
            (0, Answer::Metrics),
            (999, Answer::Metrics),
            (1_000, Answer::Unavailable),
            (2_499, Answer::Unavailable),
            (2_500, Answer::Metrics),
        ] {
            let arrival = Arrival { at: Duration::from_millis(ms), ..nth(0) };
            assert_eq!(plan.answer(tenant, arrival), answer, "{ms} ms");
        }
    }

    #[test]
    fn a_throttled_tenant_has_an_allowance_for_each_second() {
        let plan = Plan::new(1, 40, LENGTH);
        let tenant = plan.find("throttled-01").unwrap();
        let answers = [0, 1, 2, 9].map(|nth_in_second| plan.answer(tenant, Arrival { nth_in_second, ..nth(9) }));
        assert_eq!(answers, [Answer::Metrics, Answer::Metrics, Answer::Throttled, Answer::Throttled]);
    }
}

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1, StandardNormal};

/// How long a server works on a request.
#[derive(Clone, Debug)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
    /// Log-normal: half of the times are below the median, and 99 % below the other.
    LogNormal {
        /// Half of the times are below.
        median: Duration,
        /// 99 % of the times are below.
        p99: Duration,
    },
    /// One of these, each as likely as the others.
    Measured(Arc<[Duration]>),
}

/// The 99 % quantile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874;

impl Latency {
    pub(crate) fn draw(&self, rng: &mut SmallRng) -> Duration {
        match self {
            Self::Fixed(time) => *time,
            Self::Exponential(mean) => {
                let draw: f64 = Exp1.sample(rng);
                mean.mul_f64(draw)
            }
            Self::LogNormal { median, p99 } => {
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P99;
                let draw: f64 = StandardNormal.sample(rng);
                // Beyond 40 sigma lies nothing that a run could draw, but the factor must stay finite.
                median.mul_f64((sigma * draw).clamp(-40.0, 40.0).exp())
            }
            Self::Measured(times) if times.is_empty() => Duration::ZERO,
            Self::Measured(times) => times[rng.random_range(0..times.len())],
        }
    }
}

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use super::super::value::{Count, Number, Share, Span, duration};
use super::{Invalid, Time, in_wrong_order};
use crate::{Episode, Latency, Upstream};

const HOUR: u64 = 3_600;
const MOST_EPISODES: usize = 1_000;

type Work = Span<HOUR>;
type Factor = Number<1_000_000, true>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamFields {
    servers: Count<1, 1_000_000>,
    work: WorkField,
    queue: Option<Count<0, 10_000_000>>,
    #[serde(default)]
    episodes: Vec<EpisodeFields>,
}

/// A duration, or a table that names a law.
struct WorkField(WorkFields);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WorkFields {
    #[serde(skip)]
    fixed: Option<Duration>,
    mean: Option<Work>,
    median: Option<Work>,
    p99: Option<Work>,
    one_of: Option<Vec<Work>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EpisodeFields {
    kind: KindField,
    factor: Option<Factor>,
    share: Option<Share>,
    retry_after: Option<Time>,
    replicas: Option<Count<1, 1_000>>,
    each: Option<Time>,
    from: Option<Time>,
    until: Option<Time>,
    tenant: Option<Count<0, 99_999>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindField {
    Down,
    Slow,
    Errors,
    Throttled,
    Capacity,
    Rolling,
}

impl UpstreamFields {
    /// The upstream, and from when until when anything is wrong with it.
    #[allow(clippy::type_complexity)]
    pub(super) fn upstream(
        self,
        end: Duration,
        tenants: u32,
    ) -> Result<(Upstream, Option<(Duration, Duration)>), Invalid> {
        let mut upstream = Upstream::new(self.servers.0, self.work.latency()?);
        if let Some(Count(queue)) = self.queue {
            upstream = upstream.queue(queue as usize);
        }
        if self.episodes.len() > MOST_EPISODES {
            return Err(("upstream.episodes".to_owned(), format!("more than {MOST_EPISODES}")));
        }
        let mut trouble: Option<(Duration, Duration)> = None;
        for (number, fields) in self.episodes.into_iter().enumerate() {
            let field = format!("upstream.episodes[{number}]");
            let from = fields.from.map_or(Duration::ZERO, |from| from.0);
            // Without an end it also holds for the requests that end after the last call has begun.
            let until = fields.until.map_or(Duration::MAX, |until| until.0);
            if until <= from {
                return Err(in_wrong_order(&field, from, until));
            }
            if from >= end {
                return Err((
                    format!("{field}.from"),
                    format!("{from:?} is not before the end of the load at {end:?}"),
                ));
            }
            if let Some(Count(tenant)) = fields.tenant.filter(|tenant| tenant.0 >= tenants) {
                let why = match tenants {
                    0 => "the load has no tenants".to_owned(),
                    _ => format!("there is no tenant {tenant}, counted from 0"),
                };
                return Err((format!("{field}.tenant"), why));
            }
            trouble = Some(trouble.map_or((from, until), |all| (all.0.min(from), all.1.max(until))));
            upstream = upstream.episode(fields.episode(&field)?.between(from, until));
        }
        Ok((upstream, trouble))
    }
}

impl WorkField {
    fn latency(self) -> Result<Latency, Invalid> {
        let invalid = |why: &str| Err(("upstream.work".to_owned(), why.to_owned()));
        match self.0 {
            WorkFields { fixed: Some(time), .. } => Ok(Latency::Fixed(time)),
            WorkFields { mean: Some(mean), median: None, p99: None, one_of: None, .. } => {
                Ok(Latency::Exponential(mean.0))
            }
            WorkFields { mean: None, median: Some(median), p99: Some(p99), one_of: None, .. } => {
                if median.0.is_zero() || p99.0 < median.0 {
                    return invalid("median must be above 0, and p99 no lower");
                }
                Ok(Latency::LogNormal { median: median.0, p99: p99.0 })
            }
            WorkFields { mean: None, median: None, p99: None, one_of: Some(times), .. } if !times.is_empty() => {
                Ok(Latency::Measured(times.iter().map(|time| time.0).collect()))
            }
            _ => invalid("must be a duration, { mean }, { median, p99 } or { one_of = [...] }"),
        }
    }
}

impl EpisodeFields {
    fn episode(&self, field: &str) -> Result<Episode, Invalid> {
        let need = |name: &str| (format!("{field}.{name}"), "missing".to_owned());
        let (factor, share) = (self.factor.ok_or_else(|| need("factor")), self.share.ok_or_else(|| need("share")));
        let (needs, episode): (&[&str], _) = match self.kind {
            KindField::Down => (&[], Episode::down()),
            KindField::Slow => (&["factor"], Episode::slow(factor?.0)),
            KindField::Errors => (&["share"], Episode::errors(share?.0)),
            KindField::Throttled => {
                let wait = self.retry_after.ok_or_else(|| need("retry_after"))?;
                (&["share", "retry_after"], Episode::throttled(share?.0, wait.0))
            }
            KindField::Capacity => (&["share"], Episode::capacity(share?.0)),
            KindField::Rolling => {
                let (replicas, each) =
                    (self.replicas.ok_or_else(|| need("replicas"))?, self.each.ok_or_else(|| need("each"))?);
                (&["replicas", "each"], Episode::rolling(replicas.0, each.0))
            }
        };
        let given = [
            ("factor", self.factor.is_some()),
            ("share", self.share.is_some()),
            ("retry_after", self.retry_after.is_some()),
            ("replicas", self.replicas.is_some()),
            ("each", self.each.is_some()),
        ];
        match given.iter().find(|(name, given)| *given && !needs.contains(name)) {
            Some((name, _)) => Err((format!("{field}.{name}"), "has no meaning for this kind".to_owned())),
            None => Ok(self.tenant.map_or(episode.clone(), |Count(tenant)| episode.for_tenant(tenant))),
        }
    }
}

impl<'de> Deserialize<'de> for WorkField {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WorkVisitor)
    }
}

struct WorkVisitor;

impl<'de> Visitor<'de> for WorkVisitor {
    type Value = WorkField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a duration in quotes up to {HOUR} s, such as \"100ms\", or a table of a law")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WorkField, E> {
        let fixed = duration(text).filter(|time| *time <= Duration::from_secs(HOUR));
        let fixed = fixed.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Ok(WorkField(WorkFields { fixed: Some(fixed), ..WorkFields::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WorkField, A::Error> {
        WorkFields::deserialize(de::value::MapAccessDeserializer::new(map)).map(WorkField)
    }
}

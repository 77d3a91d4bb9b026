use super::Metric;

/// One number of one metric.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The metric.
    pub metric: Metric,
    /// Names and values of its labels; the first one is the `name` of the layer.
    pub labels: Vec<(&'static str, String)>,
    /// The number: whole for a counter, unless it counts seconds.
    pub value: f64,
}

impl Sample {
    /// A number of the layer with this name.
    pub(crate) fn new(metric: Metric, name: &str, labels: &[(&'static str, &str)], value: f64) -> Self {
        let labels = std::iter::once(("name", name)).chain(labels.iter().copied());
        Self { metric, labels: labels.map(|(label, value)| (label, value.to_owned())).collect(), value }
    }
}

/// Numbers that a metrics system can read: the handle of a layer.
pub trait Source {
    /// Adds what there is now. Takes no lock that a call waits for.
    fn collect(&self, samples: &mut Vec<Sample>);
}

/// Reads all sources. What has the same metric and labels is one number: two layers with one name add up, of their
/// budgets, which may be one, the emptiest is shown, and of two breakers with one label the one that has been open for
/// longer.
pub(super) fn read<'a>(sources: impl IntoIterator<Item = &'a (dyn Source + 'a)>) -> Vec<Sample> {
    let mut samples = Vec::new();
    sources.into_iter().for_each(|source| source.collect(&mut samples));
    samples.sort_by(|one, other| (one.metric.place(), &one.labels).cmp(&(other.metric.place(), &other.labels)));
    samples.dedup_by(|next, kept| {
        let is_same = next.metric == kept.metric && next.labels == kept.labels;
        if is_same {
            kept.value = match kept.metric {
                Metric::BREAKER_OPEN => kept.value.max(next.value),
                Metric::RETRY_BUDGET => kept.value.min(next.value),
                _ => kept.value + next.value,
            };
        }
        is_same
    });
    samples
}

use std::hash::Hash;

use super::Handle;
use crate::isolated::isolated;
use crate::retry::observe::trace_reconfigured;
use crate::retry::settings::{Limits, RetrySettings, Tuning};
use crate::settings::changes::Changes;
use crate::settings::invalid_setting::InvalidSetting;

impl<K: Hash + Eq + Clone> Handle<K> {
    /// Changes the settings of a layer or policy and of all its clones, services and functions, while they are in use.
    /// Takes those of a [`RetryLayer`](crate::RetryLayer), a [`HedgedRetryLayer`](crate::retry::HedgedRetryLayer) or a
    /// [`RetryPolicy`](crate::retry::RetryPolicy), all or none: what they leave out has its default, as in a new one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::{Budget, RetryPolicy};
    ///
    /// let layer = RetryLayer::new_for_http().name("billing").budget(Budget::ratio(0.2));
    /// let retries = layer.handle();
    ///
    /// let settings = RetryPolicy::new().deadline(Duration::from_secs(5)).budget(Budget::ratio(0.1));
    /// let changes = retries.reconfigure(&settings)?;
    /// assert_eq!(changes.to_string(), "deadline, budget");
    /// # Ok::<(), tower_rampart::InvalidSetting>(())
    /// ```
    ///
    /// - A call keeps the settings that it began with, for its waits and further attempts too. It begins when the
    ///   service or the function is called. Later calls have the new settings, never some of both.
    /// - The budget keeps its tokens, and takes the numbers of the new one. They hold at once, for calls in flight too,
    ///   because all calls share the tokens, and for whatever else was given a clone of the budget. No token is added:
    ///   the [`reserve`](crate::retry::Budget::reserve) is what budgets of new keys begin with, and tokens above a
    ///   smaller [`capacity`](crate::retry::Budget::capacity) cannot be withdrawn and do not come back. A
    ///   [`grpc`](crate::retry::Budget::grpc) budget keeps its share of `max_tokens`, as gRPC does with a new service
    ///   config. The kind of a budget cannot change.
    /// - With [`budget_by`](crate::RetryLayer::budget_by) the budgets of all keys change. Give each such layer a budget
    ///   of its own: with a clone, the keys of another layer take the new numbers too, but may get tokens back that had
    ///   expired or were above a smaller capacity. If there are more budgets than a lower
    ///   [`max_partitions`](crate::RetryLayer::max_partitions) allows, they stay until they are evicted. A `RetryPolicy`
    ///   has no `max_partitions`, and does not change it.
    /// - Classifiers, callbacks, spans, labels, how a body is kept, and what finds keys and idempotent requests are code.
    ///   They are not compared, and stay. So do the name, the seed,
    ///   [`distrust_refusals`](crate::RetryLayer::distrust_refusals),
    ///   [`max_replay_bytes`](crate::RetryLayer::max_replay_bytes),
    ///   [`deadline_header`](crate::RetryLayer::deadline_header), [`guard`](crate::RetryLayer::guard) and
    ///   [`hedge`](crate::RetryLayer::hedge), which can be left out: a default counts as left out.
    /// - A clone of the layer or policy that gets another name, seed, budget or setting that can change is another one.
    ///   It begins with the settings as they were written, not as they were changed, and this handle reaches no more of
    ///   it than a budget that both share. Other code, and what else cannot change, leaves it in reach.
    ///
    /// A `tracing` event names the settings that changed, not their values.
    ///
    /// All different settings are kept, because calls may still read them: 1,000 at most, not counting those of the
    /// budget and `max_partitions`. Settings that return take no memory, but a function (of
    /// [`attempt_timeout_by`](crate::RetryLayer::attempt_timeout_by) or [`Backoff::custom`](crate::retry::Backoff::custom))
    /// is the same only if it is a clone. So write a loop that tunes settings to choose among a few values.
    ///
    /// # Errors
    ///
    /// If a setting that cannot change is set to another value, or the budget is of another kind. The error names the
    /// setting, and nothing has changed. Also if there were 1,000 different settings before.
    pub fn reconfigure(&self, settings: &impl RetrySettings) -> Result<Changes, InvalidSetting> {
        let (own, new) = (&self.settings, settings.settings());
        own.check_kept(&new)?;
        let change = self.eras.change(&own.tuning);
        let budget = own.budget.changed_by(&new.budget)?;
        let partitions = self.by_key.as_deref().zip(new.of_layer.max_partitions);
        let partitions = partitions.filter(|(by_key, max)| by_key.max() != *max);
        let shared = [("budget", budget.is_none()), ("max_partitions", partitions.is_none())];
        let changes = Changes::of(change.before().compare(&new.tuning).into_iter().chain(shared));
        let era = change.find_or_add(
            |known| known.is_same(&new.tuning),
            |era| Tuning { limits: Limits { era, ..new.tuning.limits }, ..new.tuning.clone() },
        )?;
        // Nothing fails from here on.
        if let Some(settings) = budget {
            own.budget.change(settings, || self.visit_buckets(|bucket| bucket.kind().settle()));
        }
        if let Some((by_key, max)) = partitions {
            by_key.set_max(max);
        }
        change.begin(era);
        // After all locks are released: a subscriber may reconfigure.
        if !changes.is_empty() {
            isolated(|| trace_reconfigured(self.name(), &changes));
        }
        Ok(changes)
    }
}

use super::CircuitBreakerLayer;
use crate::breaker::control::telemetry;
use crate::breaker::partition::Unpartitioned;
use crate::breaker::requests::AnyRequests;
use crate::breaker::{Changes, Handle, InvalidSetting};
use crate::classify::HeadOnly;
use crate::isolated::isolated;

impl<K> Handle<K> {
    /// Changes the settings of all breakers while calls use them, and those of breakers that are made later. Takes the
    /// settings of [`CircuitBreaker::builder`](crate::breaker::CircuitBreaker::builder), all or none: what they leave
    /// out has its default, as in a new layer.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::{CircuitBreaker, Window};
    ///
    /// let layer = CircuitBreakerLayer::new_for_http().name("billing").failure_rate(0.5);
    /// let breakers = layer.handle();
    ///
    /// let settings = CircuitBreaker::builder().failure_rate(0.3).window(Window::time(Duration::from_secs(30)));
    /// println!("changed: {}", breakers.reconfigure(&settings)?);
    /// # Ok::<(), tower_rampart::InvalidSetting>(())
    /// ```
    ///
    /// - Nothing opens or closes by the change itself: the next outcome or call is the first to be judged by the new
    ///   settings. State, mode, generation, totals, deadlines of open breakers, probes and permits stay. A ramp goes on
    ///   as it began.
    /// - A window of calls keeps its newest outcomes. In a window of time the outcomes stay as old as they are, each as
    ///   old as the bucket that held it. A window of time that follows one of calls counts all of them as calls of now;
    ///   one of calls that follows one of time mixes the failures of a bucket evenly.
    /// - An open breaker stays open until its deadline. Its next open time is a new one.
    /// - If there are more partitions than a lower [`max_partitions`](CircuitBreakerLayer::max_partitions) allows, those
    ///   there are stay until they are [evicted](CircuitBreakerLayer::max_partitions).
    /// - Classifier, partitions and [`judge_body`](CircuitBreakerLayer::judge_body) are no settings, and stay. So do
    ///   [`name`](CircuitBreakerLayer::name), [`mode`](CircuitBreakerLayer::mode), which is that of new breakers,
    ///   [`redact_labels`](CircuitBreakerLayer::redact_labels) and [`seed`](CircuitBreakerLayer::seed), which can be
    ///   left out.
    /// - A breaker that has been [removed](Self::remove) keeps its settings.
    ///
    /// A `tracing` event names the settings that changed, not their values.
    ///
    /// A layer keeps all different settings that it has had, and a breaker those that have come since it was made, with
    /// a window if that differs: 1,000 of them at most. Settings that come again take nothing, but a custom function is
    /// the same only if it is a clone. So write a loop that tunes settings to choose among a few values.
    ///
    /// # Errors
    ///
    /// If a setting that cannot change is set to another value, or if the window of
    /// [nested](CircuitBreakerLayer::nested_in) partitions gets another length. The error names the setting, and
    /// nothing has changed. Also if there were 1,000 different settings before.
    pub fn reconfigure(
        &self,
        settings: &CircuitBreakerLayer<(), Unpartitioned, HeadOnly, AnyRequests>,
    ) -> Result<Changes, InvalidSetting> {
        let changes = self.breakers().reconfigure(&settings.config)?;
        // After all locks are released: a subscriber may reconfigure.
        if !changes.is_empty() {
            isolated(|| telemetry::reconfigured(self.name(), &changes));
        }
        Ok(changes)
    }
}

//! Judges settings by arithmetic, before any storm.
//!
//! [`lint`] compares [`Settings`], by hand or [of a configuration](Settings::of), with the [`Facts`] about traffic and
//! upstream. Each [`Finding`] names a setting, the number that is wrong, the limit and what to set instead. [`Settings`]
//! build the layers, too, so that what is judged is what runs.
//!
//! | finding | the number | the limit |
//! |---|---|---|
//! | `mode` | the share of the calls that a breaker rejects while it is forced open | none |
//! | `attempt_timeout`, `deadline` | the time that an attempt has | a usual answer |
//! | `budget` | (1 + retries for every call) to the power of the tiers, times the utilisation | 1: above it the upstream cannot recover |
//! | `budget` | the time to work off the retries that all processes have saved | a quarter of a typical outage |
//! | `max_attempts` | attempts to the power of the tiers | 10 requests for one call |
//! | `attempt_timeout`, `deadline` | the time until a call to an upstream that hangs fails | a typical outage |
//! | `deadline` | the time that a call has | one attempt that is cut, its wait, and a usual answer |
//! | `minimum_calls` | the share of breakers that open by chance at the minimum, with the usual failures | one in 10,000 |
//! | `consecutive_failures` | the share of calls that end so many failures in a row by chance | one in a million |
//! | `minimum_calls` | the calls in a window | the minimum |
//! | `outage`, `consecutive_failures`, `window` | the time until an outage opens the breaker | a quarter of a typical outage, or calls enough to rule out chance |
//! | `open_for` | the longest time for which the breaker stays open after a typical outage | a quarter of it |
//! | `open_for` | the calls that come while the breaker is open, unless that is the default | one |
//! | `slow_calls` | the time after which a call is slow | between a usual answer and what cuts an attempt |
//! | `success_threshold` | the time until so many successes have closed the breaker | a quarter of a typical outage |
//! | `failure_rate` | the rate, in a window of a thousand calls and more | one call in a thousand that works |
//! | `max_attempts` | the attempts | those that a deadline has time for |
//! | `budget` | the retries that a call pays for, if there is more than one attempt | more than none |

mod breaker;
mod config;
mod facts;
mod numbers;
mod opening;
mod retry;
mod settings;

use std::fmt;

use serde::Serialize;

pub use self::config::read;
pub use self::facts::Facts;
pub use self::settings::{Row, Settings, SlowCalls, Tokens, Waits};

/// A setting that does not fit the facts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The setting, as in the builder.
    pub setting: &'static str,
    /// The number that is wrong; times are in seconds, and infinite if it never ends.
    pub found: f64,
    /// What it must not exceed, or must at least be.
    pub limit: f64,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// What to set instead, as one writes it.
    pub instead: String,
    /// The settings with this one changed.
    #[serde(skip)]
    pub mended: Settings,
}

type Rule = fn(&Settings, &Facts) -> Option<Finding>;

/// From what keeps an upstream down to what only costs calls.
const ALL: [Rule; 18] = [
    opening::forced_open,
    retry::cut_answers,
    retry::load,
    retry::burst,
    retry::tiers,
    retry::hanging,
    retry::deadline,
    breaker::chance,
    breaker::slow_calls,
    breaker::chance_in_a_row,
    breaker::unreachable_minimum,
    breaker::detection,
    opening::longest_opening,
    opening::closing,
    breaker::all_or_nothing,
    opening::rejects_nothing,
    retry::unused_attempts,
    retry::no_tokens,
];

/// Returns what in these settings does not fit the facts, the worst first.
///
/// ```
/// use rampart_sim::lint::{Facts, Settings, Waits, lint};
///
/// let facts = Facts::new(2_000, 1.0, 2_500.0);
/// let settings = Settings { no_budget: true, open_for: Waits::fixed(std::time::Duration::from_secs(60)), ..Settings::default() };
/// for finding in lint(&settings, &facts) {
///     println!("{finding}");
/// }
/// assert_eq!(lint(&settings, &facts)[0].setting, "budget");
/// ```
#[must_use]
pub fn lint(settings: &Settings, facts: &Facts) -> Vec<Finding> {
    ALL.iter().filter_map(|rule| rule(settings, facts)).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. Set {} instead.", self.setting, self.problem, self.instead)
    }
}

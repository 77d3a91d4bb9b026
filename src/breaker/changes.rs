use super::Mode;
use super::config::Config;
use crate::settings::changes::Changes;
use crate::settings::invalid_setting::{InvalidSetting, ensure};

impl Config {
    /// These settings in place of its own, with what cannot change.
    pub(super) fn reconfigured(&self, new: &Self) -> Result<(Self, Changes), InvalidSetting> {
        let default = Self::default();
        // What is left out has its default, and stays.
        ensure!(
            new.name == self.name || new.name == default.name,
            "name: cannot change at run time, from {:?} to {:?}",
            self.name,
            new.name
        );
        ensure!(
            new.mode == self.mode || new.mode == Mode::Automatic,
            "mode: is that of new breakers, and cannot change at run time to {}; Handle::set_mode_all sets the others",
            new.mode
        );
        ensure!(
            new.redact_labels == self.redact_labels || !new.redact_labels,
            "redact_labels: cannot change at run time, because the labels are made"
        );
        ensure!(
            new.recorded_decisions == self.recorded_decisions || new.recorded_decisions.is_none(),
            "flight_recorder: cannot change at run time"
        );
        ensure!(new.seed == self.seed || new.seed == default.seed, "seed: cannot change at run time");
        let Self { name, mode, redact_labels, share, recorded_decisions, seed, .. } = self.clone();
        let config = Self { name, mode, redact_labels, share, recorded_decisions, seed, ..new.clone() };
        ensure!(
            self.vote_buckets() == config.vote_buckets(),
            "window: cannot change its length at run time in nested partitions, where votes last as long"
        );
        let changes = self.changes(&config);
        Ok((config, changes))
    }

    /// What differs of the settings that can change.
    pub(super) fn changes(&self, new: &Self) -> Changes {
        let Self {
            name: _,
            window,
            minimum_calls,
            failure_rate,
            slow_calls,
            consecutive_failures,
            outage,
            open_for,
            max_retry_after,
            half_open_max_calls,
            success_threshold,
            probe_lease,
            ramp,
            abandoned,
            mode: _,
            max_partitions,
            redact_labels: _,
            share: _,
            minimum_children,
            recorded_decisions: _,
            seed: _,
        } = self;
        let settings = [
            ("window", *window == new.window),
            ("minimum_calls", *minimum_calls == new.minimum_calls),
            ("failure_rate", *failure_rate == new.failure_rate),
            ("slow_calls", *slow_calls == new.slow_calls),
            ("consecutive_failures", *consecutive_failures == new.consecutive_failures),
            ("outage", *outage == new.outage),
            ("open_for", *open_for == new.open_for),
            ("honor_retry_after", *max_retry_after == new.max_retry_after),
            ("half_open_max_calls", *half_open_max_calls == new.half_open_max_calls),
            ("success_threshold", *success_threshold == new.success_threshold),
            ("probe_lease", *probe_lease == new.probe_lease),
            ("ramp", *ramp == new.ramp),
            ("abandoned", *abandoned == new.abandoned),
            ("max_partitions", *max_partitions == new.max_partitions),
            ("minimum_children", *minimum_children == new.minimum_children),
        ];
        Changes::of(settings)
    }

    /// The buckets that votes lie in, if partitions nest.
    fn vote_buckets(&self) -> Option<(u32, u64)> {
        self.policy().votes.map(|votes| (votes.bucket_shift, votes.buckets))
    }
}

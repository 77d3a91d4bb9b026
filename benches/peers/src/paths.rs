//! What is measured.

/// A way of a call through a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Retry,
    RetryHeaders,
    RetryBody,
    Function,
    FunctionRetry,
    RetryPending,
    ClosedCount,
    ClosedCount10k,
    ClosedTime,
    ClosedTime10k,
    /// With one failure in a window of so many buckets.
    ClosedTimeFailing10,
    ClosedTimeFailing60,
    ClosedTimeFailing1024,
    Keyed1k,
    Keyed100k,
    Nested1k,
    Open,
    TwoThreads,
    TwoThreadsTime,
    BytesPerKey,
    Classify,
    Stack,
    Metrics,
}

impl Path {
    pub(crate) const ALL: [Self; 23] = [
        Self::Retry,
        Self::RetryHeaders,
        Self::RetryBody,
        Self::RetryPending,
        Self::Function,
        Self::FunctionRetry,
        Self::ClosedCount,
        Self::ClosedCount10k,
        Self::ClosedTime,
        Self::ClosedTime10k,
        Self::ClosedTimeFailing10,
        Self::ClosedTimeFailing60,
        Self::ClosedTimeFailing1024,
        Self::Keyed1k,
        Self::Keyed100k,
        Self::Nested1k,
        Self::Open,
        Self::TwoThreads,
        Self::TwoThreadsTime,
        Self::BytesPerKey,
        Self::Classify,
        Self::Stack,
        Self::Metrics,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RetryHeaders => "retry_headers",
            Self::RetryBody => "retry_body",
            Self::Function => "function",
            Self::FunctionRetry => "function_retry",
            Self::RetryPending => "retry_pending",
            Self::ClosedCount => "closed_count",
            Self::ClosedCount10k => "closed_count_10k",
            Self::ClosedTime => "closed_time",
            Self::ClosedTime10k => "closed_time_10k",
            Self::ClosedTimeFailing10 => "closed_time_failing",
            Self::ClosedTimeFailing60 => "closed_time_failing_60",
            Self::ClosedTimeFailing1024 => "closed_time_failing_1024",
            Self::Keyed1k => "keyed_1k",
            Self::Keyed100k => "keyed_100k",
            Self::Nested1k => "nested_1k",
            Self::Open => "open",
            Self::TwoThreads => "two_threads",
            Self::TwoThreadsTime => "two_threads_time",
            Self::BytesPerKey => "bytes_per_key",
            Self::Classify => "classify",
            Self::Stack => "stack",
            Self::Metrics => "metrics",
        }
    }

    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Retry => "the first attempt succeeds, empty body",
            Self::RetryHeaders => "the first attempt succeeds, 20 headers",
            Self::RetryBody => "the first attempt succeeds, a body of 1 KiB that the inner service reads",
            Self::Function => "a function without a service, the first attempt succeeds",
            Self::FunctionRetry => {
                "a function without a service, the first attempt fails and the second follows without a wait"
            }
            Self::RetryPending => "the first attempt succeeds at its second poll, attempt timeout of 2 s",
            Self::ClosedCount => "breaker closed, window of the last 100 calls",
            Self::ClosedCount10k => "breaker closed, window of the last 10,000 calls",
            Self::ClosedTime => "breaker closed, window of 60 s, 200 to 2,200 calls in it",
            Self::ClosedTime10k => "breaker closed, window of 60 s, 10,000 to 12,000 calls in it",
            Self::ClosedTimeFailing10 => "breaker closed, window of 60 s in 10 buckets with one failure in it",
            Self::ClosedTimeFailing60 => "breaker closed, window of 60 s in 60 buckets with one failure in it",
            Self::ClosedTimeFailing1024 => "breaker closed, window of 60 s in 1,024 buckets with one failure in it",
            Self::Keyed1k => "breaker by host, 1,000 hosts in random order",
            Self::Keyed100k => "breaker by host, 100,000 hosts in random order",
            Self::Nested1k => "breaker by header nested in one by host, 1,000 tenants of one host in random order",
            Self::Open => "breaker open, rejecting; over a service that fails at once",
            Self::TwoThreads => "one closed breaker, window of 100 calls, two threads, ns per call and thread",
            Self::TwoThreadsTime => "one closed breaker, window of 60 s, two threads, ns per call and thread",
            Self::BytesPerKey => "live heap bytes per host after one call to each of 100,000",
            Self::Classify => "a plain success is classified",
            Self::Stack => "retry, breaker by host and classify together, 1,000 hosts",
            Self::Metrics => "retry over a closed breaker, window of the last 100 calls",
        }
    }

    /// Calls before anything is measured, so that windows are full and hosts are known.
    pub(crate) const fn prefill(self) -> usize {
        match self {
            Self::Retry | Self::RetryHeaders | Self::RetryBody | Self::RetryPending => 200,
            Self::Open | Self::Classify | Self::Metrics | Self::Function | Self::FunctionRetry => 200,
            Self::ClosedCount | Self::ClosedTime | Self::TwoThreads | Self::TwoThreadsTime => 200,
            Self::ClosedTimeFailing10 | Self::ClosedTimeFailing60 | Self::ClosedTimeFailing1024 => 200,
            Self::ClosedCount10k | Self::ClosedTime10k => 10_000,
            Self::Keyed1k | Self::Nested1k | Self::Stack => 2_000,
            Self::Keyed100k => 200_000,
            Self::BytesPerKey => 0,
        }
    }

    /// Calls in one round.
    pub(crate) const fn calls(self) -> usize {
        match self {
            // Peers that keep every call of the window would otherwise be measured over a window far larger than said.
            Self::ClosedTime | Self::ClosedTime10k => 2_000,
            Self::ClosedTimeFailing10 | Self::ClosedTimeFailing60 | Self::ClosedTimeFailing1024 => 2_000,
            Self::Retry | Self::RetryHeaders | Self::RetryBody | Self::RetryPending => 10_000,
            Self::ClosedCount | Self::ClosedCount10k => 10_000,
            Self::Keyed1k | Self::Nested1k | Self::Open | Self::Classify | Self::Stack | Self::Metrics => 10_000,
            Self::Function | Self::FunctionRetry => 10_000,
            Self::Keyed100k => 25_000,
            // Short, because a round counts only if both threads keep their cores all through it.
            Self::TwoThreads | Self::TwoThreadsTime => 20_000,
            Self::BytesPerKey => 100_000,
        }
    }

    /// How many times the usual number of rounds.
    pub(crate) const fn rounds(self) -> usize {
        match self {
            Self::TwoThreads | Self::TwoThreadsTime => 2,
            _ => 1,
        }
    }

    /// Whether every round starts with a contender built anew.
    pub(crate) const fn is_fresh_each_round(self) -> bool {
        matches!(self, Self::ClosedTime | Self::ClosedTime10k) || self.buckets().is_some()
    }

    /// How many buckets the window with a failure in it has.
    pub(crate) const fn buckets(self) -> Option<u32> {
        match self {
            Self::ClosedTimeFailing10 => Some(10),
            Self::ClosedTimeFailing60 => Some(60),
            Self::ClosedTimeFailing1024 => Some(1_024),
            _ => None,
        }
    }

    /// How many tenants the requests name in a header, all of one host; 0 where they name none.
    pub(crate) const fn tenants(self) -> usize {
        match self {
            Self::Nested1k => 1_000,
            _ => 0,
        }
    }

    /// How many threads call at once.
    pub(crate) const fn threads(self) -> usize {
        match self {
            Self::TwoThreads | Self::TwoThreadsTime => 2,
            _ => 1,
        }
    }

    /// How many hosts the requests go to; 0 where they name none.
    pub(crate) const fn hosts(self) -> usize {
        match self {
            Self::Keyed1k | Self::Stack => 1_000,
            Self::Keyed100k => 100_000,
            _ => 0,
        }
    }
}

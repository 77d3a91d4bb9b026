//! The pages of `docs/`: recipes, reasons and numbers. Exists in the documentation alone.

// A page links to others by reference, with definitions at its end that name files, for readers of the repository. Here
// the definitions of `links!` come first, and the first one counts. `.ci/links` follows them all.
macro_rules! links {
    () => {
        definitions! {
            "config" => "crate::cookbook::config";
            "config-presets" => "crate::cookbook::config#presets";
            "defaults" => "crate::cookbook::defaults";
            "defaults-presets" => "crate::cookbook::defaults#presets";
            "from" => "crate::cookbook::troubleshooting#implementation-of-from-is-not-general-enough";
            "nested" => "crate::cookbook::tenants#tenants-within-a-host";
            "order" => "crate::cookbook::order";
            "script" => "crate::cookbook::testing#an-upstream-that-plays-a-script";
            "stack-over-script" => "crate::cookbook::testing#your-stack-over-a-script";
            "storms" => "crate::cookbook::storms";
            "storms-lint" => "crate::cookbook::storms#judge-settings-without-a-storm";
            "tenants" => "crate::cookbook::tenants";
            "turned-off" => "crate::cookbook::order#a-layer-that-is-turned-off";

            "axum" => source!("docs/CLIENTS.md#axum");
            "functions" => source!("docs/CLIENTS.md#functions");
            "limits" => source!("README.md#what-it-does-not-do");
            "naming" => source!("docs/CLIENTS.md#naming-the-type");
            "never-twice" => source!("README.md#never-twice");
            "reqwest-middleware" => source!("docs/CLIENTS.md#reqwest-middleware");
            "tonic" => source!("docs/CLIENTS.md#tonic");
            "without-tower" => source!("docs/CLIENTS.md#without-tower");

            "backoff-svg" => source!("docs/backoff.svg");
            "status-page-png" => source!("docs/status_page.png");
            "storm-svg" => source!("docs/storm/storm.svg");
            "sweep-budget-capacity" => source!("docs/storm/sweep-budget-capacity.svg");
            "sweep-budget-ratio" => source!("docs/storm/sweep-budget-ratio.svg");
            "sweep-budget-reserve" => source!("docs/storm/sweep-budget-reserve.svg");
            "sweep-budget-ttl" => source!("docs/storm/sweep-budget-ttl.svg");
            "sweep-failure-rate" => source!("docs/storm/sweep-failure-rate.svg");
            "sweep-first-open-time" => source!("docs/storm/sweep-first-open-time.svg");
            "sweep-first-wait" => source!("docs/storm/sweep-first-wait.svg");
            "sweep-longest-open-time" => source!("docs/storm/sweep-longest-open-time.svg");
            "sweep-outage-failures" => source!("docs/storm/sweep-outage-failures.svg");
            "sweep-outage-time" => source!("docs/storm/sweep-outage-time.svg");
        }
    };
}

macro_rules! definitions {
    ($($label:literal => $target:expr;)+) => { concat!($("[", $label, "]: ", $target, "\n",)+ "\n") };
}

/// What no module shows: a file of the published crate.
macro_rules! source {
    ($file:literal) => {
        concat!("https://docs.rs/crate/tower-rampart/latest/source/", $file)
    };
}

macro_rules! pages {
    ($($summary:literal $name:ident = $file:literal;)+) => {$(
        #[doc = concat!($summary, "\n\n")]
        #[doc = links!()]
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    )+};
}

pages! {
    "What real servers and proxies did in the audit." audit = "AUDIT.md";
    "How to choose the waits between attempts." backoff = "BACKOFF.md";
    "Settings from a file, for all names and per name." config = "CONFIG.md";
    "What a call costs, beside other crates." cost = "COST.md";
    "Why the defaults are what they are." defaults = "DEFAULTS.md";
    "From tower::retry, reqwest-retry, tower-resilience, failsafe, backon, resilience4j or Polly, setting by setting."
        migrating = "MIGRATING.md";
    "How to log, count and watch." observing = "OBSERVING.md";
    "Where timeouts, limits and other layers go." order = "ORDER.md";
    "How to test that a stack survives a storm." storms = "STORMS.md";
    "One breaker and one budget for each tenant." tenants = "TENANTS.md";
    "How to test code over the layers, without waiting." testing = "TESTING.md";
    "What compiler messages mean, and what to do if it does not do what you expect." troubleshooting = "TROUBLESHOOTING.md";
}

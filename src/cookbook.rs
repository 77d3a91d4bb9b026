//! The pages of `docs/`: recipes, reasons and numbers. Exists in the documentation alone.

// A page links to others by reference, with definitions at its end that name files, for readers of the repository. Here
// the definitions of `links!` come first, and the first one counts. `.ci/links` follows them all.
macro_rules! links {
    () => {
        definitions! {
            "axum" => "crate::cookbook::clients::axum";
            "config" => "crate::cookbook::config";
            "config-presets" => "crate::cookbook::config#presets";
            "defaults" => "crate::cookbook::defaults";
            "defaults-presets" => "crate::cookbook::defaults#presets";
            "errors" => "crate::classify#what-an-error-means";
            "flight-recorder" => "crate::cookbook::observing#a-flight-recorder";
            "fn-mut" => "crate::cookbook::troubleshooting#expected-a-fnmut-closure-found-impl-future";
            "from" => "crate::cookbook::troubleshooting#implementation-of-from-is-not-general-enough";
            "functions" => "crate::cookbook::clients::functions";
            "guard" => "crate::cookbook::order#servers-that-call-servers";
            "hyper" => "crate::cookbook::clients::hyper";
            "key" => "crate::cookbook::tenants#the-key";
            "metrics" => "crate::cookbook::metrics";
            "naming" => "crate::cookbook::clients::hyper#naming-the-type";
            "nested" => "crate::cookbook::tenants#tenants-within-a-host";
            "order" => "crate::cookbook::order";
            "reqwest" => "crate::cookbook::clients::reqwest";
            "reqwest-middleware" => "crate::cookbook::clients::reqwest_middleware";
            "script" => "crate::cookbook::testing#an-upstream-that-plays-a-script";
            "stack-over-script" => "crate::cookbook::testing#your-stack-over-a-script";
            "storms" => "crate::cookbook::storms";
            "storms-lint" => "crate::cookbook::storms#judge-settings-without-a-storm";
            "storms-replay" => "crate::cookbook::storms#replay-what-was-recorded";
            "tenants" => "crate::cookbook::tenants";
            "tonic" => "crate::cookbook::clients::tonic";
            "turned-off" => "crate::cookbook::order#a-layer-that-is-turned-off";
            "without-tower" => "crate::cookbook::clients::functions#without-tower";

            "limits" => source!("README.md#what-it-does-not-do");
            "never-twice" => source!("README.md#never-twice");

            "alerts" => source!("docs/alerts.yaml");
            "backoff-svg" => source!("docs/backoff.svg");
            "grafana" => source!("docs/grafana.json");
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

/// One page a client: the program, what the layers see, which errors come out, what to set.
pub mod clients {
    pages! {
        "A service that calls an upstream, and layers around routes." axum = "clients/AXUM.md";
        "Functions, async or not, and a breaker without tower." functions = "clients/FUNCTIONS.md";
        "hyper's client, and the type of a stack." hyper = "clients/HYPER.md";
        "What is not HTTP: a command of redis, a query, a consumer." redis_and_queues = "clients/REDIS_AND_QUEUES.md";
        "The client of reqwest as a service, and its request builders." reqwest = "clients/REQWEST.md";
        "A stack as a middleware." reqwest_middleware = "clients/REQWEST_MIDDLEWARE.md";
        "A channel, and the clients that tonic generates." tonic = "clients/TONIC.md";
    }
}

pages! {
    "What real servers and proxies did in the audit." audit = "AUDIT.md";
    "How to choose the waits between attempts." backoff = "BACKOFF.md";
    "Settings from a file, for all names and per name." config = "CONFIG.md";
    "What a call costs, beside other crates." cost = "COST.md";
    "Why the defaults are what they are." defaults = "DEFAULTS.md";
    "The numbers for Prometheus and other systems." metrics = "METRICS.md";
    "From tower::retry, reqwest-retry, tower-resilience, failsafe, backon, resilience4j or Polly, setting by setting."
        migrating = "MIGRATING.md";
    "How to log, count and watch." observing = "OBSERVING.md";
    "Where timeouts, limits and other layers go." order = "ORDER.md";
    "How to test that a stack survives a storm." storms = "STORMS.md";
    "One breaker and one budget for each tenant." tenants = "TENANTS.md";
    "How to test code over the layers, without waiting." testing = "TESTING.md";
    "What compiler messages mean, and what to do if it does not do what you expect." troubleshooting = "TROUBLESHOOTING.md";
}

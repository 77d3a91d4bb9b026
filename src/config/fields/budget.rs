use super::HumanDuration;
use super::setting::required;
use super::table::{kinds, table};
use crate::InvalidSetting;
use crate::retry::Budget;

kinds! {
    /// A [`Budget`], for example `ratio = { ratio = 0.1 }` or `"unlimited"`.
    pub enum BudgetConfig {
        /// [`Budget::ratio`].
        Ratio(RatioConfig) = "ratio",
        /// [`Budget::grpc`].
        Grpc(GrpcBudgetConfig) = "grpc",
        /// [`Budget::aws_standard`].
        AwsStandard = "aws_standard",
        /// [`Budget::concurrent`].
        Concurrent(ConcurrentConfig) = "concurrent",
        /// [`Budget::unlimited`].
        Unlimited = "unlimited",
    }
}

table! {
    /// A share of the calls.
    pub struct RatioConfig {
        /// [`Budget::ratio`]: retries for every call, from 0 to 1000.
        ratio: f64,
        /// [`Budget::reserve`]: tokens at the start.
        reserve: u32,
        /// [`Budget::capacity`]: the most tokens.
        capacity: u32,
        /// [`Budget::ttl`]: how long tokens last.
        ttl: HumanDuration,
        /// [`Budget::min_per_second`]: retries a second beside the ratio.
        min_per_second: u32,
    }
}

table! {
    /// The throttle of gRPC.
    pub struct GrpcBudgetConfig {
        /// The tokens at the start, from 1 to 1000. Required.
        max_tokens: u32,
        /// What a success gives back, from 0.001 to 1000. Required.
        token_ratio: f64,
    }
}

table! {
    /// A share of the calls in progress.
    pub struct ConcurrentConfig {
        /// The share, from 0 to 100. Required.
        percent: f64,
        /// Retries that are always allowed. Required.
        minimum: u32,
    }
}

impl BudgetConfig {
    pub(super) fn budget(&self) -> Result<Budget, InvalidSetting> {
        match self {
            Self::Ratio(ratio) => ratio.budget(),
            Self::Grpc(GrpcBudgetConfig { max_tokens, token_ratio }) => {
                Budget::try_grpc(required(max_tokens, "grpc.max_tokens")?, required(token_ratio, "grpc.token_ratio")?)
            }
            Self::AwsStandard => Ok(Budget::aws_standard()),
            Self::Concurrent(ConcurrentConfig { percent, minimum }) => Budget::try_concurrent(
                required(percent, "concurrent.percent")?,
                required(minimum, "concurrent.minimum")?,
            ),
            Self::Unlimited => Ok(Budget::unlimited()),
        }
    }
}

impl RatioConfig {
    fn budget(&self) -> Result<Budget, InvalidSetting> {
        let Self { ratio, reserve, capacity, ttl, min_per_second } = self;
        let mut budget = ratio.map_or_else(|| Ok(Budget::default()), Budget::try_ratio)?;
        // The capacity first: a larger reserve then raises it, and a smaller capacity would cut the reserve of now.
        if let Some(tokens) = capacity {
            budget = budget.try_capacity(*tokens)?;
        }
        if let Some(tokens) = reserve {
            budget = budget.reserve(*tokens);
        }
        if let Some(ttl) = ttl {
            budget = budget.ttl(ttl.0);
        }
        if let Some(retries) = min_per_second {
            budget = budget.min_per_second(*retries);
        }
        Ok(budget)
    }
}
